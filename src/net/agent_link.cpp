#include "net/agent_link.hpp"

#include <atomic>
#include <thread>

#include "net/clock.hpp"
#include "net/sockets.hpp"
#include "net/wakeup.hpp"
#include "wire/codec.hpp"

namespace gordian::net {
namespace {

// Received in one go before sending again, so that a flood from one side can't starve the other.
constexpr int receive_burst = 256;

}  // namespace

class AgentLink::Impl {
 public:
  Impl(DealerSocket socket, LinkHost& host) : host_(host), socket_(std::move(socket)) {}

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
      const auto woken = wakeup_.sleep({socket_.handle()}, host_.next_due_us());
      if (woken.rung) rung_ = false;
      if (woken.message) receive_burst_of_messages();
    }
    if (const auto farewell = host_.farewell()) (void)send(*farewell);
  }

  void receive_burst_of_messages() {
    for (int i = 0; i < receive_burst; ++i)
      if (!socket_.receive([this](const Frame& frame) { take(frame); })) return;
  }

  void take(const Frame& frame) {
    if (frame.several) return host_.garbled("message of several frames, expected one");
    const auto reply = wire::decode_reply(frame.bytes);
    if (!reply) {
      host_.garbled(reply.error().text);
    } else if (const auto* to_agent = std::get_if<wire::ToAgent>(&*reply)) {
      host_.received(*to_agent, steady_now_us());
    }
  }

  void send_all(const std::vector<wire::FromAgent>& messages) {
    for (const auto& message : messages) {
      if (!send(message)) return host_.send_failed(steady_now_us());
    }
  }

  bool send(const wire::FromAgent& message) { return socket_.send(wire::encode(wire::Request(message))); }

  LinkHost& host_;
  Wakeup wakeup_;
  std::atomic<bool> rung_{false};
  std::atomic<bool> stopping_{false};
  DealerSocket socket_;
  std::thread thread_;
};

tl::expected<std::unique_ptr<AgentLink>, std::string> AgentLink::start(const DealerSocket::Options& options,
                                                                       LinkHost& host) {
  auto socket = DealerSocket::connect(options);
  if (!socket) return tl::unexpected("coordinator " + socket.error());
  auto impl = std::make_unique<Impl>(std::move(*socket), host);
  impl->start();
  return std::unique_ptr<AgentLink>(new AgentLink(std::move(impl)));
}

AgentLink::AgentLink(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
AgentLink::~AgentLink() { impl_->stop(); }
void AgentLink::wake() noexcept { impl_->wake(); }

}  // namespace gordian::net
