#include "ipc/messages.h"

namespace knit::ipc {

std::string_view to_string(Process p) {
  switch (p) {
    case Process::None:
      return "none";
    case Process::Supervisor:
      return "supervisor";
    case Process::Server:
      return "server";
    case Process::Node:
      return "node";
    case Process::Proxy:
      return "proxy";
    case Process::Events:
      return "events";
  }
  return "unknown";
}

std::string_view to_string(MessageType t) {
  switch (t) {
    case MessageType::Hello:
      return "Hello";
    case MessageType::Ready:
      return "Ready";
    case MessageType::Stopped:
      return "Stopped";
    case MessageType::Peer:
      return "Peer";
    case MessageType::Put:
      return "Put";
    case MessageType::Drop:
      return "Drop";
    case MessageType::Kept:
      return "Kept";
    case MessageType::KeptEnd:
      return "KeptEnd";
    case MessageType::Bind:
      return "Bind";
    case MessageType::Bound:
      return "Bound";
    case MessageType::Expect:
      return "Expect";
    case MessageType::Exit:
      return "Exit";
    case MessageType::Roles:
      return "Roles";
    case MessageType::Listener:
      return "Listener";
    case MessageType::Stop:
      return "Stop";
    case MessageType::ApiOpen:
      return "ApiOpen";
    case MessageType::Start:
      return "Start";
    case MessageType::Started:
      return "Started";
    case MessageType::Failed:
      return "Failed";
    case MessageType::Reserve:
      return "Reserve";
    case MessageType::Reserved:
      return "Reserved";
    case MessageType::LogOpen:
      return "LogOpen";
    case MessageType::LogOpened:
      return "LogOpened";
    case MessageType::Pod:
      return "Pod";
    case MessageType::Gone:
      return "Gone";
    case MessageType::Want:
      return "Want";
    case MessageType::Sockets:
      return "Sockets";
    case MessageType::Listening:
      return "Listening";
    case MessageType::Probed:
      return "Probed";
    case MessageType::Have:
      return "Have";
    case MessageType::Delta:
      return "Delta";
    case MessageType::Ack:
      return "Ack";
    case MessageType::Nack:
      return "Nack";
    case MessageType::Csr:
      return "Csr";
    case MessageType::Cert:
      return "Cert";
    case MessageType::Demand:
      return "Demand";
    case MessageType::Stats:
      return "Stats";
    case MessageType::Reach:
      return "Reach";
    case MessageType::Acked:
      return "Acked";
    case MessageType::HostData:
      return "HostData";
    case MessageType::Metrics:
      return "Metrics";
    case MessageType::MetricsReply:
      return "MetricsReply";
    case MessageType::Logged:
      return "Logged";
    case MessageType::Drain:
      return "Drain";
    case MessageType::Drained:
      return "Drained";
  }
  return {};
}

}  // namespace knit::ipc
