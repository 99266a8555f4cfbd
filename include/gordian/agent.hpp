// The embeddable lock agent: what an engine links to take part in distributed deadlock detection.
//
// The engine reports waits as they begin, change and end. The agent publishes them to the coordinator, answers its
// questions, and calls the engine back when a transaction of its own must be aborted. It owns two threads: one that
// talks (never blocked by the engine), one that runs the engine's callbacks, one at a time and in order.
//
// Coordinators come and go: reports are accepted all the time, and whoever is coordinator gets the full picture.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <gordian/ids.hpp>
#include <gordian/wait.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace gordian {

struct AgentError {
  enum class Code : std::uint8_t {
    invalid_option,  ///< an option cannot be used; the text names it
    limit_reached,   ///< a limit of AgentLimits would be exceeded; nothing was changed
    unknown_wait,    ///< that wait has ended, or never was
    stopped,         ///< the agent was stopped
    unknown_group,   ///< a wait names a group that was ended, or never was
    invalid_wait,    ///< its need does not fit its blockers; the text says why
  };
  Code code;
  std::string message;  ///< what, where, and what to do
};

/// Everything has a limit. What is over a limit is refused with `limit_reached` and counted; nothing is lost silently.
struct AgentLimits {
  std::size_t waits = 100'000;              ///< standing waits of this site
  std::size_t blockers_per_wait = 10'000;   ///< blockers of one wait
  std::size_t transactions = 200'000;       ///< described transactions
  std::size_t resource_bytes = 1024;        ///< resource and mode; longer is refused
  std::size_t detail_bytes = 1024;          ///< Wait::detail and TxnInfo::label; longer is cut
  std::size_t groups = 100'000;             ///< holder groups of this site
  std::size_t members_per_group = 100'000;  ///< members of one holder group
  std::size_t groups_per_wait = 64;         ///< holder groups that one wait names
};

struct AgentOptions {
  /// ZeroMQ endpoint of the coordinator, such as "tcp://127.0.0.1:7410" or "ipc:///run/gordian.sock". Of several that share
  /// the graph: some of them, separated by commas; whichever answers names the others.
  std::string coordinator = "tcp://127.0.0.1:7410";
  SiteId site;
  std::string engine = "custom";  ///< what kind of engine this is, shown to people
  std::string label;              ///< where it runs, shown to people
  /// A wait is published once it is this old: most waits end by themselves. 0 publishes at once.
  std::chrono::microseconds publish_after{std::chrono::milliseconds(100)};
  /// What the coordinator does about a deadlock whose waits are all at this site: `false` leaves it to the engine.
  bool resolve_local_deadlocks = true;
  /// A callback that runs longer is reported (AgentStatus::slow_callbacks, on_log).
  std::chrono::milliseconds callback_warn{200};
  AgentLimits limits;
};

/// Names one wait at this agent, from begin_wait to end_wait. Never used again by this agent.
enum class WaitHandle : std::uint64_t {};

/// An order to abort a transaction, or its branch at this site, because of a confirmed deadlock.
struct AbortOrder {
  enum class Role : std::uint8_t {
    waiting = 0,  ///< abort `victim` while `wait` is its current wait; if that wait is over, answer stale()
    holding = 1,  ///< free the locks of `victim`, which blocks `wait` here; if it no longer does, answer stale()
  };
  std::string incident;  ///< the incident's id, to be shown in the victim's error where that is possible
  TxnId victim;
  WaitHandle wait;
  Role role;
  /// 0 at first; grows each time the order is given again: use stronger means. `wait` may be over by then: the engine
  /// knows whether the first attempt freed the locks.
  unsigned attempt;
  std::chrono::milliseconds grace;  ///< answer within this time, or the order is given again
  std::string reason;               ///< one sentence for logs and people
};

/// An order to let a waiting request jump its queue, instead of an abort: it waits for one that is only queued ahead of it
/// (Kind::soft), and once it is ahead nobody has to die.
struct ReorderOrder {
  std::string incident;  ///< the incident's id
  WaitHandle wait;       ///< of the request that is to go ahead
  TxnId ahead_of;  ///< of that transaction's request for the same resource; if it is not queued ahead, answer stale()
  /// 0 at first; grows each time the order is given again, because no answer came.
  unsigned attempt;
  std::chrono::milliseconds grace;  ///< answer within this time, or the order is given again
  std::string reason;               ///< one sentence for logs and people
};

/// The engine's answer to an order: exactly one of the three, at once or later, from any thread. Dropping it
/// unanswered counts as failed(). Answering twice does nothing.
class AbortAnswer {
 public:
  class Impl;
  explicit AbortAnswer(std::shared_ptr<Impl> impl) noexcept;
  void done() const;   ///< aborted: its locks here are free; or reordered: it is ahead, or has the lock already
  void stale() const;  ///< nothing was done: the wait named in the order is over, or not behind that request
  /// Could not. The coordinator orders a stronger abort, or an abort instead of a reorder.
  void failed(std::string_view why) const;

 private:
  std::shared_ptr<Impl> impl_;
};

/// The coordinator asks whether these waits still stand. An engine that learns of waits by asking (a poller) looks
/// again, brings the agent up to date with set_blockers and end_wait, and then calls ready(). Once, from any thread.
class ConfirmAnswer {
 public:
  class Impl;
  explicit ConfirmAnswer(std::shared_ptr<Impl> impl) noexcept;
  void ready() const;

 private:
  std::shared_ptr<Impl> impl_;
};

/// What the agent calls. on_abort, on_reorder and on_confirm run on the agent's callback thread, on_log on either of its threads; they
/// may call the agent's functions, but not destroy the agent. An exception that leaves one is
/// reported and counts as failed().
struct AgentCallbacks {
  /// Required.
  std::function<void(const AbortOrder&, AbortAnswer)> on_abort;
  /// Only for engines that can reorder a queue. Unset: a deadlock that a reorder would end is broken by an abort.
  std::function<void(const ReorderOrder&, AbortAnswer)> on_reorder;
  /// Only for engines that must look again before a confirmation. Unset: what was reported is the truth.
  std::function<void(const std::vector<WaitHandle>&, ConfirmAnswer)> on_confirm;
  enum class Level : std::uint8_t { debug, info, warn, error };
  /// What the agent has to say. Unset: nothing is logged.
  std::function<void(Level, std::string_view)> on_log;
};

struct AgentStatus {
  bool connected = false;         ///< a coordinator has accepted this agent
  std::uint64_t epoch = 0;        ///< the highest coordinator's term seen; orders of an older one are refused
  std::uint64_t incarnation = 0;  ///< this agent's start number
  std::size_t waits = 0;          ///< standing waits, published or not
  std::size_t published = 0;      ///< those the coordinator was told of
  std::uint64_t deltas_sent = 0;
  std::uint64_t snapshots_sent = 0;
  std::uint64_t confirmations = 0;    ///< confirmations answered
  std::uint64_t aborts_done = 0;      ///< orders answered with done()
  std::uint64_t aborts_stale = 0;     ///< orders that came too late
  std::uint64_t aborts_failed = 0;    ///< orders answered with failed()
  std::uint64_t orders_refused = 0;   ///< orders of an older epoch or another incarnation
  std::uint64_t slow_callbacks = 0;   ///< callbacks that ran longer than AgentOptions::callback_warn
  std::uint64_t limit_reached = 0;    ///< reports refused because of a limit
  std::size_t groups = 0;             ///< standing holder groups, published or not
  std::uint64_t reorders_done = 0;    ///< orders to reorder a queue, answered with done()
  std::uint64_t reorders_stale = 0;   ///< those that came too late
  std::uint64_t reorders_failed = 0;  ///< those answered with failed(), or because there is no on_reorder
  std::size_t coordinators = 0;       ///< that share the graph, as far as is known
  std::size_t connected_to = 0;       ///< those of them that have accepted this agent
};

/// Thread-safe: every function may be called from any thread. No function blocks on the network.
class Agent {
 public:
  /// Starts the agent's threads; returns before a coordinator was reached.
  /// Errors: invalid_option.
  [[nodiscard]] static tl::expected<Agent, AgentError> start(AgentOptions options, AgentCallbacks callbacks);

  Agent(Agent&&) noexcept;
  Agent& operator=(Agent&&) noexcept;
  /// Says goodbye (the coordinator withdraws this site's waits at once) and joins both threads.
  ~Agent();

  /// A transaction begins to wait. A waiter among its own blockers is dropped (an upgrader among the holders).
  /// Errors: limit_reached, unknown_group, invalid_wait, stopped. Cost: O(blockers + groups), no system call beyond one
  /// wake-up.
  [[nodiscard]] tl::expected<WaitHandle, AgentError> begin_wait(Wait wait);

  /// The wait's blockers are now these; its groups stay as they are. Those that were there before and are named again, in
  /// the same kind, count as having held without a break. `need`: how many of them must end (Wait::need); none: as
  /// before, at most as many as there are. Tell it when one of several has ended and fewer are needed. Errors: unknown_wait, limit_reached, invalid_wait, stopped.
  tl::expected<void, AgentError> set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers,
                                              std::optional<std::uint32_t> need = std::nullopt);

  /// One blocker let go and took the lock again, or might have: its edge is a new one from now on.
  /// Errors: unknown_wait, stopped.
  tl::expected<void, AgentError> renew_blocker(WaitHandle wait, const TxnId& blocker);

  /// The wait is over: granted, given up or aborted. Unknown handles are ignored, so it may be called twice.
  void end_wait(WaitHandle wait);

  // Holder groups, for engines whose resources draw long queues: a wait names groups instead of blockers, and a lock that
  // passes on is one leave and one join, however many wait for it. The coordinator learns of a group while a published
  // wait names it.

  /// A new group without members: the holders of `resource` in `mode`, both shown to people. Kind::soft: its members do not
  /// hold, they are queued ahead of the waits that name it. Errors: limit_reached, invalid_wait (dotted), stopped.
  [[nodiscard]] tl::expected<GroupHandle, AgentError> begin_group(std::string resource, std::string mode,
                                                                  Kind kind = Kind::hard);

  /// From now on `txn` is a member, without a break until it leaves. A member that joins again let go and took the lock
  /// again, or might have: it counts as a blocker from now on only. Over AgentLimits::members_per_group it is left out
  /// (a deadlock through it is not found then), counted and logged. Unknown groups are ignored. Cost: O(1).
  void join_group(GroupHandle group, const TxnId& txn);
  /// Ignored if it is no member. Cost: O(1).
  void leave_group(GroupHandle group, const TxnId& txn);

  /// The group is over: it has no members any more, and no new wait may name it. Unknown groups are ignored, so it may be
  /// called twice.
  void end_group(GroupHandle group);

  /// Describes a transaction for victim policies and people; replaces an earlier description by this agent.
  /// Errors: limit_reached, stopped.
  tl::expected<void, AgentError> describe(const TxnId& txn, TxnInfo info);

  /// This agent has nothing more to say of that transaction: its waits here end and its description is dropped. It stays
  /// a blocker, and a member of its groups, where it is one.
  void forget(const TxnId& txn);

  [[nodiscard]] AgentStatus status() const;

 private:
  class Impl;
  explicit Agent(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian
