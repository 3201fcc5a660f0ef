// Which protocol a port speaks (spec mesh.md 2.13).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace knit::mesh_model {

enum class PortProtocol { Tcp, Http, Http2, Tls, Udp, Unknown };

/// appProtocol, else the port name's prefix up to '-', else a well-known number; Unknown: sniff
/// where that is on, else TCP.
/// Source: istio pkg/config/kube/conversion.go ConvertProtocol
PortProtocol select_protocol(std::string_view transport, std::string_view app_protocol,
                             std::string_view port_name, std::uint32_t port);

}  // namespace knit::mesh_model
