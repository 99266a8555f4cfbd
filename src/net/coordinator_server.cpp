#include "net/coordinator_server.hpp"

#include <atomic>
#include <zmq.hpp>

#include "net/clock.hpp"
#include "net/wakeup.hpp"
#include "wire/codec.hpp"

namespace gordian::net {
namespace {

constexpr int linger_ms = 200;
// Received in one go before answering.
constexpr int receive_burst = 256;
// A message over the limit gets an answer; one this many times over costs its sender the connection.
constexpr std::int64_t hard_limit_factor = 4;

coordinator::Time now() { return {steady_now_us(), unix_now_us()}; }

}  // namespace

class CoordinatorServer::Impl {
 public:
  Impl(ServerOptions options, coordinator::Options core, ServerHooks hooks)
      : options_(std::move(options)), hooks_(std::move(hooks)), core_(std::move(core), now()), socket_(context_, zmq::socket_type::router) {
    limits_.message_bytes = options_.message_bytes;
    socket_.set(zmq::sockopt::router_handover, true);
    socket_.set(zmq::sockopt::router_mandatory, true);
    socket_.set(zmq::sockopt::linger, linger_ms);
    socket_.set(zmq::sockopt::sndhwm, options_.send_queue);
    socket_.set(zmq::sockopt::rcvhwm, options_.send_queue);
    socket_.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(options_.message_bytes) * hard_limit_factor);
    socket_.set(zmq::sockopt::heartbeat_ivl, 1000);
    socket_.set(zmq::sockopt::heartbeat_timeout, 3000);
    socket_.bind(options_.listen);
  }

  [[nodiscard]] std::string endpoint() const { return socket_.get(zmq::sockopt::last_endpoint); }

  void run() {
    while (!stopping_) {
      if (wakeup_.sleep(socket_.handle(), core_.next_tick_us()).message) {
        for (int i = 0; i < receive_burst && receive(); ++i) {
        }
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
    zmq::message_t id;
    if (!socket_.recv(id, zmq::recv_flags::dontwait)) return false;
    const coordinator::PeerId peer = id.to_string();
    zmq::message_t body;
    if (!id.more() || !socket_.recv(body)) return true;
    bool several = false;
    for (zmq::message_t extra; body.more() && socket_.recv(extra);) {
      several = true;
      if (!extra.more()) break;
    }
    if (several) {
      core_.refused(peer, {wire::Error::Code::malformed, "message of several frames, expected one (use a DEALER socket)"}, now());
    } else {
      dispatch(peer, {static_cast<const char*>(body.data()), body.size()});
    }
    return true;
  }

  void dispatch(const coordinator::PeerId& peer, std::string_view bytes) {
    const auto request = wire::decode_request(bytes, limits_);
    if (!request) {
      core_.refused(peer, request.error(), now());
    } else if (const auto* query = std::get_if<wire::Query>(&*request)) {
      answer(peer, *query);
    } else {
      core_.receive(peer, std::get<wire::FromAgent>(*request), now());
    }
  }

  void answer(const coordinator::PeerId& peer, const wire::Query& query) {
    const auto result = hooks_.query ? hooks_.query(core_, now(), query.what, query.argument)
                                     : tl::expected<std::string, std::string>(tl::unexpected(std::string("this coordinator answers no questions")));
    send(peer, wire::Answer{query.id, result.has_value(), result ? *result : result.error()});
  }

  void flush() {
    for (const auto& out : core_.take_outgoing()) send(out.peer, out.message);
    if (hooks_.event) {
      for (const auto& event : core_.take_events()) hooks_.event(event);
    }
  }

  /// A peer that is gone, or does not read, loses the message: its session ends with its lease, or it asks again.
  void send(const coordinator::PeerId& peer, const wire::Reply& message) {
    const auto bytes = wire::encode(message);
    try {
      if (!socket_.send(zmq::buffer(peer), zmq::send_flags::dontwait | zmq::send_flags::sndmore)) return;
      (void)socket_.send(zmq::buffer(bytes), zmq::send_flags::dontwait);
    } catch (const zmq::error_t& e) {
      if (e.num() != EHOSTUNREACH) throw;
    }
  }

  ServerOptions options_;
  ServerHooks hooks_;
  wire::Limits limits_;
  coordinator::Coordinator core_;
  Wakeup wakeup_;
  std::atomic<bool> stopping_{false};
  zmq::context_t context_{1};
  zmq::socket_t socket_;
};

tl::expected<CoordinatorServer, std::string> CoordinatorServer::bind(ServerOptions options, coordinator::Options core,
                                                                     ServerHooks hooks) {
  const auto listen = options.listen;
  try {
    return CoordinatorServer(std::make_unique<Impl>(std::move(options), std::move(core), std::move(hooks)));
  } catch (const zmq::error_t& e) {
    return tl::unexpected("can't listen on '" + listen + "': " + e.what() +
                          "; expected a free endpoint such as tcp://127.0.0.1:7410 or ipc:///PATH");
  }
}

CoordinatorServer::CoordinatorServer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
CoordinatorServer::CoordinatorServer(CoordinatorServer&&) noexcept = default;
CoordinatorServer& CoordinatorServer::operator=(CoordinatorServer&&) noexcept = default;
CoordinatorServer::~CoordinatorServer() = default;

std::string CoordinatorServer::endpoint() const { return impl_->endpoint(); }
void CoordinatorServer::run() { impl_->run(); }
void CoordinatorServer::stop() noexcept { impl_->stop(); }

}  // namespace gordian::net
