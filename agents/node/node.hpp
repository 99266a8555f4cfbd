// A node: the core of a lock agent with its sockets, its journal and its log, on one reactor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "lease/node_core.hpp"
#include "net/node_reactor.hpp"
#include "node/journal.hpp"
#include "node/options.hpp"
#include "store/lock_state.hpp"

namespace gordian::node {

/// For tests: the process kills itself (SIGKILL) right before it sends the n-th reply that grants a lock, which is decided, and
/// on disk if there is a journal. GORDIAN_FAILPOINT=kill_before_grant:N.
struct Failpoint {
  std::uint64_t kill_before_grant = 0;  ///< 0: never
};

/// Not thread-safe: everything runs on the reactor's thread.
class Node : private net::NodeHost {
 public:
  Node(const Settings& settings, const store::LockState::Start& start, Journal& journal, std::string instance,
       std::shared_ptr<spdlog::logger> log, Failpoint failpoint);

  /// Serves until the reactor is stopped.
  [[nodiscard]] tl::expected<void, std::string> run(net::NodeReactor& reactor) { return reactor.run(*this); }
  [[nodiscard]] bool holds_nothing() const { return core_.server().holds_nothing(); }

 private:
  // NodeHost
  void received(const std::string& peer, const wire::FromLockClient& message) override;
  void refused(const std::string& peer, const wire::Error& why) override;
  tl::expected<std::string, std::string> asked(const wire::Query& query) override;
  void received(agent::LinkId link, const wire::ToAgent& message) override;
  void garbled(const std::string& what) override;
  void work(net::NodeSender& out) override;
  std::int64_t next_due_us() override;
  std::vector<agent::LinkChange> link_changes(std::int64_t now_us) override;
  std::vector<agent::LinkMessage> farewells() override { return core_.agent().farewells(); }

  void log_notes();
  void send_to_clients(net::NodeSender& out);
  void check_failpoint(const wire::ToLockClient& message);
  tl::expected<std::string, std::string> unlock_by_force(const std::string& argument);

  const Settings settings_;
  const std::uint64_t start_epoch_;
  const std::shared_ptr<spdlog::logger> log_;
  Journal& journal_;
  Failpoint failpoint_;
  std::uint64_t granted_ = 0;
  lease::NodeCore core_;
  std::deque<lease::Outgoing> held_;  ///< messages, some of which wait for the journal
};

}  // namespace gordian::node
