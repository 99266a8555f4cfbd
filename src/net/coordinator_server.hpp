// Runs a coordinator on a ZeroMQ ROUTER socket, and a DEALER to each other one that shares the graph: one thread receives,
// drives the coordinator, and sends.
//
// Refuses what is malformed, too large or of another version with an error to the sender; answers queries through a hook.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "coordinator/coordinator.hpp"

namespace gordian::net {

struct ServerOptions {
  std::string listen = "tcp://127.0.0.1:7410";  ///< a port of `*` takes a free one: see CoordinatorServer::endpoint()
  std::size_t message_bytes = 4u << 20;         ///< larger messages close the sender's connection (ZMQ_MAXMSGSIZE)
  int send_queue = 100'000;                     ///< messages queued for one slow peer; more are dropped and counted
};

/// Called on the server's thread; must be quick.
struct ServerHooks {
  /// Answers a query with JSON, or with a sentence that says what is wrong with it.
  std::function<tl::expected<std::string, std::string>(const coordinator::Coordinator&, coordinator::Time,
                                                       std::string_view what, std::string_view argument)>
      query;
  std::function<void(const coordinator::Event&)> event;
};

class CoordinatorServer {
 public:
  /// Binds, and connects to the other members of `core.map`; the error is a sentence with the endpoint and the reason.
  static tl::expected<CoordinatorServer, std::string> bind(const ServerOptions& options, coordinator::Options core,
                                                           ServerHooks hooks);
  CoordinatorServer(CoordinatorServer&&) noexcept;
  CoordinatorServer& operator=(CoordinatorServer&&) noexcept;
  ~CoordinatorServer();

  /// Where it listens, with the real port.
  [[nodiscard]] std::string endpoint() const;
  /// Serves until stop(). Blocks the calling thread.
  void run();
  /// Makes run() return soon. From any thread, or from a signal handler.
  void stop() noexcept;

 private:
  class Impl;
  explicit CoordinatorServer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::net
