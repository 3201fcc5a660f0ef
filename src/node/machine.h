// What kind of machine this is, for the Node object and for defaults.
#pragma once

#include "node/host.h"

namespace knit::node {

/// Reads /proc, /etc and the data directory's file system once. Never fails: unknown is empty.
Machine read_machine(const std::string& data_dir);

/// The Node object as it is created. Source: kubernetes pkg/kubelet/nodestatus/setters.go
Json node_object(const Settings& settings, const Machine& machine, WallTime now);
/// {"status": {…}}: addresses, capacity, conditions, nodeInfo.
Json node_status(const Settings& settings, const Machine& machine, WallTime now,
                 std::string_view ready_since);
/// The Lease by which the node says that it lives.
Json lease_object(const Settings& settings, WallTime now);

}  // namespace knit::node
