#include "net/coordinator_server.hpp"

#include <atomic>

#include "net/clock.hpp"
#include "net/peer_sockets.hpp"
#include "net/sockets.hpp"
#include "net/wakeup.hpp"
#include "wire/codec.hpp"

namespace gordian::net {
namespace {

// Received in one go before answering.
constexpr int receive_burst = 256;

coordinator::Time now() { return {steady_now_us(), unix_now_us()}; }

}  // namespace

class CoordinatorServer::Impl {
 public:
  Impl(RouterSocket socket, PeerSockets peers, const ServerOptions& options, coordinator::Options core,
       ServerHooks hooks)
      : hooks_(std::move(hooks)), core_(std::move(core), now()), socket_(std::move(socket)), peers_(std::move(peers)) {
    limits_.message_bytes = options.message_bytes;
  }

  [[nodiscard]] std::string endpoint() const { return socket_.endpoint(); }

  void run() {
    std::vector<void*> handles{socket_.handle()};
    peers_.add_handles(handles);
    while (!stopping_) {
      if (wakeup_.sleep(handles, core_.next_tick_us()).message) {
        for (int i = 0; i < receive_burst && receive(); ++i) {
        }
        peers_.receive([this](std::size_t member, const std::string& text) { core_.peer_complains(member, text); });
      }
      if (const auto time = now(); time.steady_us >= core_.next_tick_us()) core_.tick(time);
      flush();
    }
  }

  void stop() noexcept {
    stopping_ = true;
    wakeup_.ring();
  }

 private:
  /// Takes one message; false if there is none.
  bool receive() {
    return socket_.receive([this](const coordinator::PeerId& peer, const Frame& frame) {
      if (frame.several) {
        core_.refused(peer,
                      {wire::Error::Code::malformed, "message of several frames, expected one (use a DEALER socket)"},
                      now());
      } else {
        dispatch(peer, frame.bytes);
      }
    });
  }

  void dispatch(const coordinator::PeerId& peer, std::string_view bytes) {
    const auto request = wire::decode_request(bytes, limits_);
    if (!request) {
      core_.refused(peer, request.error(), now());
    } else if (const auto* query = std::get_if<wire::Query>(&*request)) {
      answer(peer, *query);
    } else if (const auto* member = std::get_if<wire::FromPeer>(&*request)) {
      core_.receive(peer, *member, now());
    } else {
      core_.receive(peer, std::get<wire::FromAgent>(*request), now());
    }
  }

  void answer(const coordinator::PeerId& peer, const wire::Query& query) {
    const auto result = hooks_.query ? hooks_.query(core_, now(), query.what, query.argument)
                                     : tl::expected<std::string, std::string>(
                                           tl::unexpected(std::string("this coordinator answers no questions")));
    send(peer, wire::Answer{query.id, result.has_value(), result ? *result : result.error()});
  }

  void flush() {
    for (const auto& out : core_.take_outgoing()) send(out.peer, out.message);
    for (const auto& out : core_.take_peer_outgoing())
      if (!peers_.send(out.member, out.message)) core_.peer_missed(out.member);
    if (hooks_.event) {
      for (const auto& event : core_.take_events()) hooks_.event(event);
    }
  }

  /// A peer that is gone, or does not read, loses the message: its session ends with its lease, or it asks again.
  void send(const coordinator::PeerId& peer, const wire::Reply& message) { socket_.send(peer, wire::encode(message)); }

  ServerHooks hooks_;
  wire::Limits limits_;
  coordinator::Coordinator core_;
  Wakeup wakeup_;
  std::atomic<bool> stopping_{false};
  RouterSocket socket_;
  PeerSockets peers_;
};

tl::expected<CoordinatorServer, std::string> CoordinatorServer::bind(const ServerOptions& options,
                                                                     coordinator::Options core, ServerHooks hooks) {
  auto socket = RouterSocket::bind({options.listen, options.message_bytes, options.send_queue}, "tcp://127.0.0.1:7410");
  if (!socket) return tl::unexpected(socket.error());
  auto peers = PeerSockets::connect(core.map, core.member, core.instance, options.message_bytes);
  if (!peers) return tl::unexpected(peers.error());
  return CoordinatorServer(
      std::make_unique<Impl>(std::move(*socket), std::move(*peers), options, std::move(core), std::move(hooks)));
}

CoordinatorServer::CoordinatorServer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
CoordinatorServer::CoordinatorServer(CoordinatorServer&&) noexcept = default;
CoordinatorServer& CoordinatorServer::operator=(CoordinatorServer&&) noexcept = default;
CoordinatorServer::~CoordinatorServer() = default;

std::string CoordinatorServer::endpoint() const { return impl_->endpoint(); }
void CoordinatorServer::run() { impl_->run(); }
void CoordinatorServer::stop() noexcept { impl_->stop(); }

}  // namespace gordian::net
