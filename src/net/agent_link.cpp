#include "net/agent_link.hpp"

#include <atomic>
#include <optional>
#include <thread>

#include "net/clock.hpp"
#include "net/coordinator_sockets.hpp"
#include "net/wakeup.hpp"

namespace gordian::net {

class AgentLink::Impl {
 public:
  Impl(const std::string& routing_id, LinkHost& host) : host_(host), sockets_(routing_id) {}

  tl::expected<void, std::string> start() {
    if (auto connected = sockets_.change(host_.link_changes(steady_now_us())); !connected) return connected;
    thread_ = std::thread([this] { run(); });
    return {};
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
    std::vector<void*> handles;
    while (!stopping_) {
      if (auto changed = sockets_.change(host_.link_changes(steady_now_us())); !changed) host_.garbled(changed.error());
      send_all(host_.outgoing(steady_now_us()));
      handles.clear();
      sockets_.add_handles(handles);
      const auto woken = wakeup_.sleep(handles, host_.next_due_us());
      if (woken.rung) rung_ = false;
      if (woken.message) receive();
    }
    for (const auto& farewell : host_.farewells()) (void)sockets_.send(farewell);
  }

  void receive() {
    sockets_.receive(
        [this](agent::LinkId link, const wire::ToAgent& message) { host_.received(link, message, steady_now_us()); },
        [this](const std::string& what) { host_.garbled(what); });
  }

  /// Once one of a link's messages is lost, those behind it must not arrive.
  void send_all(const std::vector<agent::LinkMessage>& messages) {
    std::optional<agent::LinkId> broken;
    for (const auto& message : messages) {
      if (message.link == broken || sockets_.send(message)) continue;
      broken = message.link;
      host_.send_failed(message.link, steady_now_us());
    }
  }

  LinkHost& host_;
  Wakeup wakeup_;
  std::atomic<bool> rung_{false};
  std::atomic<bool> stopping_{false};
  CoordinatorSockets sockets_;
  std::thread thread_;
};

tl::expected<std::unique_ptr<AgentLink>, std::string> AgentLink::start(const std::string& routing_id, LinkHost& host) {
  auto impl = std::make_unique<Impl>(routing_id, host);
  if (auto started = impl->start(); !started) return tl::unexpected(started.error());
  return std::unique_ptr<AgentLink>(new AgentLink(std::move(impl)));
}

AgentLink::AgentLink(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
AgentLink::~AgentLink() { impl_->stop(); }
void AgentLink::wake() noexcept { impl_->wake(); }

}  // namespace gordian::net
