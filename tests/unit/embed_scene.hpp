// A coordinator server in this process, for tests of what is embedded; and waiting for what threads do.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "net/coordinator_server.hpp"

namespace gordian::test {

using namespace std::chrono_literals;

/// A coordinator on a free port, or on a port given.
class Server {
 public:
  explicit Server(std::string listen = "tcp://127.0.0.1:*") {
    net::ServerHooks hooks;
    hooks.event = [this](const coordinator::Event& event) {
      const auto* incident = std::get_if<coordinator::IncidentChanged>(&event);
      if (incident == nullptr || incident->incident.outcome == coordinator::Incident::Outcome::resolving) return;
      const std::lock_guard lock(mutex_);
      incidents_.push_back(incident->incident);
    };
    coordinator::Options options;
    options.heartbeat = 50ms;
    options.lease = 1000ms;
    options.takeover_wait = 200ms;
    auto bound = net::CoordinatorServer::bind({.listen = std::move(listen)}, options, std::move(hooks));
    REQUIRE(bound);
    server_.emplace(std::move(*bound));
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Server() {
    server_->stop();
    thread_.join();
  }
  [[nodiscard]] std::string endpoint() const { return server_->endpoint(); }
  [[nodiscard]] std::vector<coordinator::Incident> incidents() {
    const std::lock_guard lock(mutex_);
    return incidents_;
  }

 private:
  std::optional<net::CoordinatorServer> server_;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<coordinator::Incident> incidents_;
};

/// Waits for a condition, and fails the test if it does not come true.
template <class Condition>
void eventually(const char* what, Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!condition()) {
    INFO(what);
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::sleep_for(1ms);
  }
}

}  // namespace gordian::test
