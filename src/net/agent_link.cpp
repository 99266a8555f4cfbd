#include "net/agent_link.hpp"

#include <atomic>
#include <thread>
#include <zmq.hpp>

#include "net/clock.hpp"
#include "net/wakeup.hpp"
#include "wire/codec.hpp"

namespace gordian::net {
namespace {

// How long a closing link tries to deliver the farewell.
constexpr int linger_ms = 200;
// Received in one go before sending again, so that a flood from one side can't starve the other.
constexpr int receive_burst = 256;

}  // namespace

class AgentLink::Impl {
 public:
  Impl(LinkOptions options, LinkHost& host) : options_(std::move(options)), host_(host), socket_(context_, zmq::socket_type::dealer) {
    socket_.set(zmq::sockopt::routing_id, options_.routing_id);
    socket_.set(zmq::sockopt::linger, linger_ms);
    socket_.set(zmq::sockopt::immediate, true);  // nothing is queued for a coordinator that is not there
    socket_.set(zmq::sockopt::sndhwm, options_.send_queue);
    socket_.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(options_.message_bytes));
    socket_.set(zmq::sockopt::reconnect_ivl, 50);
    socket_.set(zmq::sockopt::reconnect_ivl_max, 1000);
    socket_.set(zmq::sockopt::heartbeat_ivl, 1000);
    socket_.set(zmq::sockopt::heartbeat_timeout, 3000);
    socket_.connect(options_.endpoint);
  }

  void start() {
    thread_ = std::thread([this] { run(); });
  }
  void stop() {
    stopping_ = true;
    wakeup_.ring();
    if (thread_.joinable()) thread_.join();
  }
  void wake() noexcept {
    if (!rung_.exchange(true)) wakeup_.ring();
  }

 private:
  void run() {
    while (!stopping_) {
      send_all(host_.outgoing(steady_now_us()));
      const auto woken = wakeup_.sleep(socket_.handle(), host_.next_due_us());
      if (woken.rung) rung_ = false;
      if (woken.message) receive_burst_of_messages();
    }
    if (const auto farewell = host_.farewell()) send(*farewell);
    socket_.close();
  }

  void receive_burst_of_messages() {
    for (int i = 0; i < receive_burst; ++i) {
      zmq::message_t message;
      if (!socket_.recv(message, zmq::recv_flags::dontwait)) return;
      const auto reply = message.more() ? drain_extra_frames()
                                        : wire::decode_reply({static_cast<const char*>(message.data()), message.size()});
      if (!reply) {
        host_.garbled(reply.error().text);
      } else if (const auto* to_agent = std::get_if<wire::ToAgent>(&*reply)) {
        host_.received(*to_agent, steady_now_us());
      }
    }
  }

  tl::expected<wire::Reply, wire::Error> drain_extra_frames() {
    zmq::message_t frame;
    do {
      if (!socket_.recv(frame, zmq::recv_flags::dontwait)) break;
    } while (frame.more());
    return tl::unexpected(wire::Error{wire::Error::Code::malformed, "message of several frames, expected one"});
  }

  void send_all(const std::vector<wire::FromAgent>& messages) {
    for (const auto& message : messages) {
      if (!send(message)) return host_.send_failed(steady_now_us());
    }
  }

  bool send(const wire::FromAgent& message) {
    const auto bytes = wire::encode(wire::Request(message));
    return socket_.send(zmq::buffer(bytes), zmq::send_flags::dontwait).has_value();
  }

  LinkOptions options_;
  LinkHost& host_;
  Wakeup wakeup_;
  std::atomic<bool> rung_{false};
  std::atomic<bool> stopping_{false};
  zmq::context_t context_{1};
  zmq::socket_t socket_;
  std::thread thread_;
};

tl::expected<std::unique_ptr<AgentLink>, std::string> AgentLink::start(LinkOptions options, LinkHost& host) {
  const auto endpoint = options.endpoint;
  try {
    auto impl = std::make_unique<Impl>(std::move(options), host);
    impl->start();
    return std::unique_ptr<AgentLink>(new AgentLink(std::move(impl)));
  } catch (const zmq::error_t& e) {
    return tl::unexpected("coordinator endpoint '" + endpoint + "': " + e.what() +
                          "; expected something like tcp://HOST:7410 or ipc:///PATH");
  }
}

AgentLink::AgentLink(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
AgentLink::~AgentLink() { impl_->stop(); }
void AgentLink::wake() noexcept { impl_->wake(); }

}  // namespace gordian::net
