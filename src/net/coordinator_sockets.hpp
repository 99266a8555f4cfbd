// The sockets of one agent: a DEALER for each coordinator it speaks with, opened and closed as its router says.
//
// Not thread-safe: one reactor thread owns it.
#pragma once

#include <functional>
#include <list>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "agent/agent_router.hpp"
#include "net/sockets.hpp"

namespace gordian::net {

class CoordinatorSockets {
 public:
  /// `routing_id` is unique for this process, and leaves 20 bytes for what is added for each socket.
  explicit CoordinatorSockets(std::string routing_id) : routing_id_(std::move(routing_id)) {}

  /// The error is a sentence about the endpoints that are none; the other changes were made all the same.
  tl::expected<void, std::string> change(const std::vector<agent::LinkChange>& changes);
  /// Never blocks. False: the message is lost.
  [[nodiscard]] bool send(const agent::LinkMessage& message);

  using Received = std::function<void(agent::LinkId link, const wire::ToAgent& message)>;
  using Garbled = std::function<void(const std::string& what)>;
  /// A burst from each.
  void receive(const Received& received, const Garbled& garbled);
  /// Adds what Wakeup sleeps on.
  void add_handles(std::vector<void*>& handles) const;

 private:
  struct Open {
    agent::LinkId link;
    DealerSocket socket;
  };
  void dial(const agent::Dial& dial, std::string& errors);
  void hang_up(const agent::Hangup& hangup);

  std::string routing_id_;
  std::shared_ptr<Context> context_ = make_context();
  std::list<Open> open_;
};

}  // namespace gordian::net
