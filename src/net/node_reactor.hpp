// The one thread of a lock agent: serves its clients on a ROUTER, speaks to each coordinator on a DEALER, and drives both pure
// sides in turn, so that a request which closes a cycle is reported, and an order carried out, without a hop between threads.
//
// It knows bytes and time; what is said and meant is the host's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "agent/agent_router.hpp"
#include "net/sockets.hpp"
#include "wire/lock_messages.hpp"

namespace gordian::net {

/// Where a host's messages go. On the reactor's thread only.
class NodeSender {
 public:
  virtual ~NodeSender() = default;
  /// A client that is gone, or does not read, loses the message: it asks again.
  virtual void to_client(const std::string& peer, const wire::ToLockClient& message) = 0;
  /// False: the message is lost.
  [[nodiscard]] virtual bool to_coordinator(const agent::LinkMessage& message) = 0;
  /// Opens and closes connections to coordinators.
  virtual void change(const std::vector<agent::LinkChange>& changes) = 0;
};

/// What a reactor drives. Called on its thread only.
class NodeHost {
 public:
  virtual ~NodeHost() = default;
  virtual void received(const std::string& peer, const wire::FromLockClient& message) = 0;
  /// A client's message that was none; the error is for its sender.
  virtual void refused(const std::string& peer, const wire::Error& why) = 0;
  virtual tl::expected<std::string, std::string> asked(const wire::Query& query) = 0;
  virtual void received(agent::LinkId link, const wire::ToAgent& message) = 0;
  /// A message of a coordinator that was none, or its endpoint: what was wrong with it.
  virtual void garbled(const std::string& what) = 0;
  /// Does what is due, and sends what there is to send. Called after every burst of messages and whenever next_due_us() has come.
  virtual void work(NodeSender& out) = 0;
  /// Asked right before the reactor sleeps.
  virtual std::int64_t next_due_us() = 0;
  /// Connections to open before anything else.
  virtual std::vector<agent::LinkChange> link_changes(std::int64_t now_us) = 0;
  /// The last messages to coordinators before the reactor ends.
  virtual std::vector<agent::LinkMessage> farewells() = 0;
};

class NodeReactor {
 public:
  struct Options {
    RouterSocket::Options clients;
    std::string routing_id;  ///< towards coordinators, as for CoordinatorSockets
  };
  /// Binds; the error is a sentence.
  static tl::expected<NodeReactor, std::string> bind(const Options& options);
  NodeReactor(NodeReactor&&) noexcept;
  NodeReactor& operator=(NodeReactor&&) noexcept;
  ~NodeReactor();

  [[nodiscard]] std::string endpoint() const;
  /// Serves until stop(). Blocks the calling thread. The error is a sentence about the coordinators' endpoints.
  [[nodiscard]] tl::expected<void, std::string> run(NodeHost& host);
  /// From any thread or a signal handler: run() returns soon, or looks for work.
  void stop() noexcept;
  void wake() noexcept;

 private:
  class Impl;
  explicit NodeReactor(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::net
