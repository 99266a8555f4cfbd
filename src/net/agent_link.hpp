// An agent's connections: one thread with a ZeroMQ DEALER socket for each coordinator, which drives the agent's side of the
// protocol.
//
// It knows bytes and time; what is said and meant is the host's (embed/). A full queue or a broken connection is told to
// the host, who repairs it with a snapshot.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "agent/agent_router.hpp"
#include "wire/messages.hpp"

namespace gordian::net {

/// The agent behind a link. Called on the link's thread only.
class LinkHost {
 public:
  virtual ~LinkHost() = default;
  virtual void received(agent::LinkId link, const wire::ToAgent& message, std::int64_t now_us) = 0;
  /// A message that was none, or an endpoint: what was wrong with it.
  virtual void garbled(const std::string& what) = 0;
  /// Connections to open and close; asked before outgoing().
  virtual std::vector<agent::LinkChange> link_changes(std::int64_t now_us) = 0;
  virtual std::vector<agent::LinkMessage> outgoing(std::int64_t now_us) = 0;
  virtual void send_failed(agent::LinkId link, std::int64_t now_us) = 0;
  /// When to ask for outgoing() again at the latest; called right before the link sleeps.
  virtual std::int64_t next_due_us() = 0;
  /// The last messages before the link closes.
  virtual std::vector<agent::LinkMessage> farewells() = 0;
};

class AgentLink {
 public:
  /// Connects and starts the thread; `routing_id` as for CoordinatorSockets. The error is a sentence about the endpoints.
  static tl::expected<std::unique_ptr<AgentLink>, std::string> start(const std::string& routing_id, LinkHost& host);
  /// Says farewell, closes, and joins the thread.
  ~AgentLink();
  /// There may be something to send. From any thread.
  void wake() noexcept;

 private:
  class Impl;
  explicit AgentLink(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::net
