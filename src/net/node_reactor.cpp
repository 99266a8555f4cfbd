#include "net/node_reactor.hpp"

#include <atomic>

#include "net/wakeup.hpp"
#include "wire/codec.hpp"

namespace gordian::net {
namespace {

// Received in one go before the other socket's turn, and before anything is sent.
constexpr int receive_burst = 256;

}  // namespace

class NodeReactor::Impl : public NodeSender {
 public:
  Impl(RouterSocket clients, std::optional<DealerSocket> coordinator, const Options& options)
      : clients_(std::move(clients)), coordinator_(std::move(coordinator)) {
    limits_.message_bytes = options.clients.message_bytes;
  }

  void run(NodeHost& host) {
    while (!stopping_) {
      const auto woken = sleep(host.next_due_us());
      if (woken.message) {
        receive_from_clients(host);
        receive_from_coordinator(host);
      }
      host.work(*this);
    }
    if (const auto farewell = host.farewell()) (void)to_coordinator(*farewell);
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
  bool to_coordinator(const wire::FromAgent& message) override {
    return coordinator_ && coordinator_->send(wire::encode(wire::Request(message)));
  }

 private:
  Wakeup::Woken sleep(std::int64_t until_us) {
    if (coordinator_) return wakeup_.sleep({clients_.handle(), coordinator_->handle()}, until_us);
    return wakeup_.sleep({clients_.handle()}, until_us);
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

  void receive_from_coordinator(NodeHost& host) {
    if (!coordinator_) return;
    const auto take = [&](const Frame& frame) {
      if (frame.several) return host.garbled("message of several frames, expected one");
      const auto reply = wire::decode_reply(frame.bytes);
      if (!reply) {
        host.garbled(reply.error().text);
      } else if (const auto* message = std::get_if<wire::ToAgent>(&*reply)) {
        host.received(*message);
      }
    };
    for (int i = 0; i < receive_burst; ++i)
      if (!coordinator_->receive(take)) return;
  }

  wire::Limits limits_;
  Wakeup wakeup_;
  std::atomic<bool> stopping_{false};
  RouterSocket clients_;
  std::optional<DealerSocket> coordinator_;
};

tl::expected<NodeReactor, std::string> NodeReactor::bind(const Options& options) {
  auto clients = RouterSocket::bind(options.clients, "tcp://127.0.0.1:7420");
  if (!clients) return tl::unexpected(clients.error());
  std::optional<DealerSocket> coordinator;
  if (options.coordinator) {
    auto connected = DealerSocket::connect(*options.coordinator);
    if (!connected) return tl::unexpected("coordinator " + connected.error());
    coordinator = std::move(*connected);
  }
  return NodeReactor(std::make_unique<Impl>(std::move(*clients), std::move(coordinator), options));
}

NodeReactor::NodeReactor(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
NodeReactor::NodeReactor(NodeReactor&&) noexcept = default;
NodeReactor& NodeReactor::operator=(NodeReactor&&) noexcept = default;
NodeReactor::~NodeReactor() = default;

std::string NodeReactor::endpoint() const { return impl_->endpoint(); }
void NodeReactor::run(NodeHost& host) { impl_->run(host); }
void NodeReactor::stop() noexcept { impl_->stop(); }
void NodeReactor::wake() noexcept { impl_->wake(); }

}  // namespace gordian::net
