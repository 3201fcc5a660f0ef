// What `knit event` asks a running data plane, as JSON over HTTP. Whoever hands over the connection
// has judged who asks.
//
//   GET  /stat                                        streams, subscribers, counts, lag
//   GET  /trace?id=ID                                 everything about an event
//   GET  /recent?kind=&namespace=&name=[&from=][&limit=]   events of one stream
//   GET  /dlq                                         events that rest after their dead letter sink
//   POST /redrive[?subscriber=]                       try those again now
//   POST /replay?kind=&namespace=&name=&subscriber=&from=  deliver once more
//   POST /send?kind=&namespace=&name=                 an event as at the ingress
#pragma once

#include "events/engine/engine.h"
#include "http/server.h"

namespace knit::events {

io::Task<void> administer(Engine* engine, http::Request request, http::Responder* responder);
http::Response admin_error(int status, std::string_view text);

}  // namespace knit::events
