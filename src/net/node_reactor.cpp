#include "net/node_reactor.hpp"

#include <atomic>

#include "net/clock.hpp"
#include "net/coordinator_sockets.hpp"
#include "net/wakeup.hpp"
#include "wire/codec.hpp"

namespace gordian::net {
namespace {

// Received in one go before the other socket's turn, and before anything is sent.
constexpr int receive_burst = 256;

}  // namespace

class NodeReactor::Impl : public NodeSender {
 public:
  Impl(RouterSocket clients, const Options& options) : clients_(std::move(clients)), coordinators_(options.routing_id) {
    limits_.message_bytes = options.clients.message_bytes;
  }

  tl::expected<void, std::string> run(NodeHost& host) {
    host_ = &host;
    if (auto connected = coordinators_.change(host.link_changes(steady_now_us())); !connected) return connected;
    while (!stopping_) {
      const auto woken = sleep(host.next_due_us());
      if (woken.message) {
        receive_from_clients(host);
        receive_from_coordinators(host);
      }
      host.work(*this);
    }
    for (const auto& farewell : host.farewells()) (void)to_coordinator(farewell);
    return {};
  }

  [[nodiscard]] std::string endpoint() const { return clients_.endpoint(); }
  void stop() noexcept {
    stopping_ = true;
    wakeup_.ring();
  }
  void wake() noexcept { wakeup_.ring(); }

  void to_client(const std::string& peer, const wire::ToLockClient& message) override {
    clients_.send(peer, wire::encode(wire::LockClientInput(message)));
  }
  bool to_coordinator(const agent::LinkMessage& message) override { return coordinators_.send(message); }
  void change(const std::vector<agent::LinkChange>& changes) override {
    if (const auto changed = coordinators_.change(changes); !changed) host_->garbled(changed.error());
  }

 private:
  Wakeup::Woken sleep(std::int64_t until_us) {
    handles_.clear();
    handles_.push_back(clients_.handle());
    coordinators_.add_handles(handles_);
    return wakeup_.sleep(handles_, until_us);
  }

  void receive_from_clients(NodeHost& host) {
    const auto take = [&](const std::string& peer, const Frame& frame) { take_request(host, peer, frame); };
    for (int i = 0; i < receive_burst; ++i)
      if (!clients_.receive(take)) return;
  }

  void take_request(NodeHost& host, const std::string& peer, const Frame& frame) {
    if (frame.several)
      return host.refused(
          peer, {wire::Error::Code::malformed, "message of several frames, expected one (use a DEALER socket)"});
    const auto message = wire::decode_lock_request(frame.bytes, limits_);
    if (!message) return host.refused(peer, message.error());
    if (const auto* query = std::get_if<wire::Query>(&*message)) {
      auto answer = host.asked(*query);
      const bool ok = answer.has_value();
      clients_.send(
          peer,
          wire::encode(wire::LockClientInput(wire::Answer{query->id, ok, ok ? *std::move(answer) : answer.error()})));
    } else {
      host.received(peer, std::get<wire::FromLockClient>(*message));
    }
  }

  void receive_from_coordinators(NodeHost& host) {
    coordinators_.receive([&](agent::LinkId link, const wire::ToAgent& message) { host.received(link, message); },
                          [&](const std::string& what) { host.garbled(what); });
  }

  wire::Limits limits_;
  Wakeup wakeup_;
  std::atomic<bool> stopping_{false};
  RouterSocket clients_;
  CoordinatorSockets coordinators_;
  NodeHost* host_ = nullptr;
  std::vector<void*> handles_;
};

tl::expected<NodeReactor, std::string> NodeReactor::bind(const Options& options) {
  auto clients = RouterSocket::bind(options.clients, "tcp://127.0.0.1:7420");
  if (!clients) return tl::unexpected(clients.error());
  return NodeReactor(std::make_unique<Impl>(std::move(*clients), options));
}

NodeReactor::NodeReactor(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
NodeReactor::NodeReactor(NodeReactor&&) noexcept = default;
NodeReactor& NodeReactor::operator=(NodeReactor&&) noexcept = default;
NodeReactor::~NodeReactor() = default;

std::string NodeReactor::endpoint() const { return impl_->endpoint(); }
tl::expected<void, std::string> NodeReactor::run(NodeHost& host) { return impl_->run(host); }
void NodeReactor::stop() noexcept { impl_->stop(); }
void NodeReactor::wake() noexcept { impl_->wake(); }

}  // namespace gordian::net
