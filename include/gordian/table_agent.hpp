// A lock table with an agent: for an engine that embeds both, and wants deadlocks with other sites found and broken.
//
// The table's waits and holders go to the coordinator; its orders to abort are carried out on the table, and only while they
// are still right. The engine sees them as LockEvents. It has nothing to report by itself: it describes its transactions when
// asked, and says when they are over. Not for an engine with locks of its own: that one uses gordian::Agent.
#pragma once

#include <cstdint>
#include <functional>
#include <gordian/agent.hpp>
#include <gordian/lock_table.hpp>
#include <memory>
#include <optional>
#include <string_view>
#include <tl/expected.hpp>

namespace gordian {

struct TableAgentOptions {
  AgentOptions agent;
  LockTableOptions table;  ///< without an observer: that is the agent's place
  /// What victim policies and people should know of a transaction that waits here, or is waited for; none if it is over.
  /// Called from any thread that uses the table, one call at a time. Must not call the TableAgent or its table, nor
  /// take a lock that the engine holds while it calls one of them. Unset: nothing is known.
  std::function<std::optional<TxnInfo>(const TxnId&)> describe;
  std::function<void(AgentCallbacks::Level, std::string_view)> on_log;  ///< as AgentCallbacks::on_log
};

/// Thread-safe. Owns the table and the agent's two threads. Movable. All LockTxn of its table end before it does.
///
/// An abort frees the victim's locks at once (LockTable::abort): an engine keeps its changes to itself until it commits, or
/// a reader may see what is about to be undone. While a transaction does not wait, no deadlock aborts it: once it has all its
/// locks, its commit is not disturbed. A transaction that is run again has a new id and keeps its TxnInfo::start.
class TableAgent {
 public:
  /// Returns before a coordinator was reached; the table works without one. Errors: invalid_option.
  [[nodiscard]] static tl::expected<TableAgent, AgentError> start(TableAgentOptions options);
  TableAgent(TableAgent&&) noexcept;
  TableAgent& operator=(TableAgent&&) noexcept;
  ~TableAgent();

  [[nodiscard]] LockTable& table();
  [[nodiscard]] const LockTable& table() const;

  /// The transaction is over here, and `describe` no longer knows it: drops its description. Call it after LockTxn::release_all.
  void forget(const TxnId& txn);

  [[nodiscard]] AgentStatus status() const;
  /// Waits that were not reported, and calls for some of several resources that were not reported in full: over a limit of the
  /// agent, or with too many holders (docs/lock-table.md).
  [[nodiscard]] std::uint64_t left_out() const;

 private:
  class Impl;
  explicit TableAgent(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian
