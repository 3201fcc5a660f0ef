#include "events/host/host.h"

#include "base/log.h"
#include "events/host/admin.h"

namespace knit::events {
namespace {

constexpr std::string_view kLogModule = "events";
constexpr Duration kGather = std::chrono::milliseconds(5);  // changes that come together
constexpr Duration kRetry = std::chrono::seconds(1);

BrokerView read(const Json& dom, const BrokerView*) { return read_broker(dom); }
TriggerView read(const Json& dom, const TriggerView*) { return read_trigger(dom); }
ChannelView read(const Json& dom, const ChannelView*) { return read_channel(dom); }
PingView read(const Json& dom, const PingView*) { return read_ping(dom); }

}  // namespace

/// One followed collection as views. An object that is being deleted is gone for us.
template <class View>
struct Host::Kind {
  explicit Kind(std::string_view name) : resource(kube::Resource::of(name)) {}
  kube::Resource resource;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const View>> views;
  std::unique_ptr<kube::Informer> informer;

  void put(const kube::ObjectPtr& object) {
    const auto key = std::pair(object->key().ns, object->key().name);
    if (object->deleting()) {
      views.erase(key);
    } else {
      views[key] =
          std::make_shared<const View>(read(object->parse(), static_cast<const View*>(nullptr)));
    }
  }
  std::vector<std::shared_ptr<const View>> list() const {
    std::vector<std::shared_ptr<const View>> out;
    for (const auto& [key, view] : views) out.push_back(view);
    return out;
  }
  bool synced() const { return informer && informer->synced(); }
};

Host::Host(io::Loop& loop, RoleRoad& road, kube::Client& api, std::shared_ptr<LogDisk> disk,
           Random& random, HostSettings settings)
    : loop_(loop),
      api_(api),
      settings_(std::move(settings)),
      sender_(std::make_unique<RoadSender>(loop, road, settings_.sender)),
      engine_(std::make_unique<Engine>(loop, std::move(disk), *sender_, settings_.engine)),
      ping_(std::make_unique<PingRunner>(loop, *sender_, random, settings_.zones)),
      ingress_(std::make_unique<RoleDoor>(loop, road, *engine_, Door::Broker,
                                          std::string(kIngressRole), without_channel_,
                                          settings_.gatekeeper, settings_.door)),
      dispatcher_(std::make_unique<RoleDoor>(loop, road, *engine_, Door::ChannelByHost,
                                             std::string(kDispatcherRole), without_channel_,
                                             settings_.gatekeeper, settings_.door)),
      brokers_(std::make_unique<Kind<BrokerView>>("brokers.eventing.knative.dev")),
      triggers_(std::make_unique<Kind<TriggerView>>("triggers.eventing.knative.dev")),
      channels_(std::make_unique<Kind<ChannelView>>("inmemorychannels.messaging.knative.dev")),
      pings_(std::make_unique<Kind<PingView>>("pingsources.sources.knative.dev")) {
  for (const auto group :
       {"eventing.knative.dev", "messaging.knative.dev", "sources.knative.dev"}) {
    api_.set_version(group, "v1");
  }
}
Host::~Host() = default;

template <class View>
void Host::follow(Kind<View>& kind) {
  kube::InformerHandlers handlers;
  handlers.added = [this, &kind](const kube::ObjectPtr& object) {
    kind.put(object);
    changed();
  };
  handlers.updated = [this, &kind](const kube::ObjectPtr&, const kube::ObjectPtr& after) {
    kind.put(after);
    changed();
  };
  handlers.deleted = [this, &kind](const kube::ObjectPtr& last) {
    kind.views.erase({last->key().ns, last->key().name});
    changed();
  };
  handlers.synced = [this] { changed(); };
  handlers.failed = [&kind](const Error& error) {
    KNIT_LOG(Warn, "cannot follow a kind", KV("kind", kind.resource.name()), KV("error", error));
  };
  kind.informer = std::make_unique<kube::Informer>(loop_, api_, kind.resource, kube::ListQuery{},
                                                   std::move(handlers));
  kind.informer->start();
}

void Host::start(std::function<void()> serving) {
  on_serving_ = std::move(serving);
  carrying_ = loop_.spawn_scoped(carry(this));
  follow(*brokers_);
  follow(*triggers_);
  follow(*channels_);
  follow(*pings_);
}

void Host::administer(std::unique_ptr<io::Stream> stream) {
  if (!admin_) {
    http::ServerSettings settings;
    settings.max_connections = 16;
    settings.max_body = settings_.door.max_body;
    admin_ = std::make_unique<http::Server>(
        loop_, settings,
        [this](http::Request request, http::Peer, http::Responder& responder) {
          return events::administer(engine_.get(), std::move(request), &responder);
        },
        admin_error);
  }
  admin_->serve(std::move(stream));
}

void Host::changed() {
  dirty_ = true;
  // Posted: an informer's task must not run ours.
  loop_.post([this, alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) wake_.set();
  });
}

io::Task<void> Host::carry(Host* host) {
  while (true) {
    co_await host->wake_;
    host->wake_.reset();
    if (!host->brokers_->synced() || !host->triggers_->synced() || !host->channels_->synced() ||
        !host->pings_->synced()) {
      continue;
    }
    co_await io::sleep_for(host->loop_, kGather);
    while (host->dirty_) {
      host->dirty_ = false;
      const bool done = co_await carry_once(host);
      if (done) continue;
      host->dirty_ = true;
      co_await io::sleep_for(host->loop_, kRetry);
    }
  }
}

/// False: something failed, and is to be tried again.
io::Task<bool> Host::carry_once(Host* host) {
  World world{host->brokers_->list(), host->triggers_->list(), host->channels_->list()};
  Compiled compiled = compile(world);
  bool good = true;
  const auto applied = co_await host->engine_->apply(std::move(compiled.streams));
  if (!applied) {
    KNIT_LOG(Error, "streams of events are not as they should be",
             KV("error", applied.error().message()));
    good = false;
  }
  host->without_channel_ = std::move(compiled.without_channel);
  host->ping_->set(host->pings_->list());
  if (!host->serving_) {
    host->serving_ = true;
    host->ingress_->open();
    host->dispatcher_->open();
    if (host->on_serving_) host->on_serving_();
  }
  if (!good) co_return false;  // nothing is called ready that may not be there
  for (const ChannelStatus& status : compiled.statuses) {
    kube::Key key{host->channels_->resource, status.ns, status.name};
    Json patch = JsonObject();
    json::set(patch, {"status", "subscribers"},
              status.subscribers.empty() ? Json() : Json(status.subscribers));
    const auto told = co_await host->api_.patch(std::move(key), kube::PatchKind::Merge,
                                                std::move(patch), "status");
    if (told || told.error().code() == Code::NotFound) continue;
    KNIT_LOG(Warn, "cannot tell a channel's status", KV("channel", status.ns + "/" + status.name),
             KV("error", told.error()));
    good = false;
  }
  co_return good;
}

io::Task<Result<void>> Host::stop() {
  carrying_.cancel();
  brokers_->informer.reset();
  triggers_->informer.reset();
  channels_->informer.reset();
  pings_->informer.reset();
  ping_->stop();
  admin_.reset();
  ingress_->drain();
  dispatcher_->drain();
  return engine_->stop();
}

}  // namespace knit::events
