// An agent's connection: one thread with a ZeroMQ DEALER socket that drives the agent's side of the protocol.
//
// It knows bytes and time; what is said and meant is the host's (embed/). A full queue or a broken connection is told to
// the host, who repairs it with a snapshot.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "net/sockets.hpp"
#include "wire/messages.hpp"

namespace gordian::net {

/// The agent behind a link. Called on the link's thread only.
class LinkHost {
 public:
  virtual ~LinkHost() = default;
  virtual void received(const wire::ToAgent& message, std::int64_t now_us) = 0;
  /// A message that was none: what was wrong with it.
  virtual void garbled(const std::string& what) = 0;
  virtual std::vector<wire::FromAgent> outgoing(std::int64_t now_us) = 0;
  virtual void send_failed(std::int64_t now_us) = 0;
  /// When to ask for outgoing() again at the latest; called right before the link sleeps.
  virtual std::int64_t next_due_us() = 0;
  /// The last message before the link closes.
  virtual std::optional<wire::FromAgent> farewell() = 0;
};

class AgentLink {
 public:
  /// Starts the thread. The error is a sentence about the endpoint.
  static tl::expected<std::unique_ptr<AgentLink>, std::string> start(const DealerSocket::Options& options,
                                                                     LinkHost& host);
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
