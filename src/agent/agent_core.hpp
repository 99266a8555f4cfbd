// The agent's side of the protocol: waits out, confirmations, aborts, resync.
//
// Pure: the engine's reports, the coordinator's messages and the time go in; messages and calls to the engine come out.
// embed/ gives it threads and a socket, sim/ will simulate it. State is kept, not a log of changes: whatever is pending is
// worked out when messages are taken, so a wait that begins and ends in between costs nothing, and an overflow anywhere
// falls back to a snapshot.
//
// Not thread-safe. Cost: a report O(blockers); who joins or leaves a group O(1), however many wait for it; a group's first
// published wait, and the end of its last one, O(members); a confirmation O(edges asked for); a snapshot O(everything).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <gordian/agent.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "wire/messages.hpp"

namespace gordian::agent {

class AgentCore;

/// The cores of one agent, one for each coordinator that shares the graph: a question or an order of one of them may be about
/// a wait that another one was told of. Numbers are the agent's: no two of its cores use the same.
class Cores {
 public:
  virtual ~Cores() = default;
  /// The core that holds the wait now, or null. Cost: O(cores).
  [[nodiscard]] virtual AgentCore* holding(std::uint64_t sequence) = 0;
  [[nodiscard]] virtual std::uint64_t next_sequence() = 0;
  [[nodiscard]] virtual std::uint64_t next_ticket() = 0;
  /// How many waits all of them hold.
  [[nodiscard]] virtual std::size_t waits() const = 0;
  /// A core holds that wait no more.
  virtual void ended(std::uint64_t sequence) = 0;
};

struct Options {
  SiteId site;
  std::uint64_t incarnation;
  std::string instance;  ///< random, names this process
  std::string engine;
  std::string label;
  std::string software;
  std::int64_t publish_after_us = 100'000;
  bool resolve_local_deadlocks = true;
  bool engine_confirms = false;  ///< ask the engine to look again before a confirmation is answered
  bool engine_reorders = false;  ///< it carries out ReorderOrders
  AgentLimits limits;
  Cores* cores = nullptr;  ///< null: this core is the only one
};

/// The engine is to look again at these waits, then confirm_ready(ticket) is to be called.
struct ConfirmCall {
  std::uint64_t ticket;
  std::vector<WaitHandle> waits;
};
/// The engine is to carry out this order, then answer_abort(ticket, …) is to be called.
struct AbortCall {
  std::uint64_t ticket;
  AbortOrder order;
};
/// The engine is to carry out this order, then answer_reorder(ticket, …) is to be called.
struct ReorderCall {
  std::uint64_t ticket;
  ReorderOrder order;
};
/// Something to log.
struct Note {
  AgentCallbacks::Level level;
  std::string text;
};
using Upcall = std::variant<ConfirmCall, AbortCall, ReorderCall, Note>;

/// Collects changes and closes a message whenever it is full.
class Batches {
 public:
  /// Takes the changes of one message; `last`: there are no more.
  using Close = std::function<void(std::vector<wire::Change> changes, bool last)>;

  explicit Batches(Close close) : close_(std::move(close)) {}
  void add(wire::Change change);
  void finish() { flush(true); }

 private:
  void flush(bool last);

  Close close_;
  std::vector<wire::Change> changes_;
  std::size_t bytes_ = 0;
};

class AgentCore {
 public:
  AgentCore(Options options, std::int64_t now_us);

  // The engine's reports: see agent.hpp for their meaning and errors.
  [[nodiscard]] tl::expected<WaitHandle, AgentError> begin_wait(Wait wait, std::int64_t now_us);
  tl::expected<void, AgentError> set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers,
                                              std::optional<std::uint32_t> need = std::nullopt);
  tl::expected<void, AgentError> renew_blocker(WaitHandle wait, const TxnId& blocker);
  void end_wait(WaitHandle wait);
  /// `as`: the name that the group has at the agent's other cores already.
  [[nodiscard]] tl::expected<GroupHandle, AgentError> begin_group(std::string resource, std::string mode,
                                                                  Kind kind = Kind::hard,
                                                                  std::optional<GroupHandle> as = std::nullopt);
  void join_group(GroupHandle group, const TxnId& txn);
  void leave_group(GroupHandle group, const TxnId& txn);
  void end_group(GroupHandle group);
  tl::expected<void, AgentError> describe(const TxnId& txn, TxnInfo info);
  void forget(const TxnId& txn);

  // The engine's answers to calls. Unknown tickets are ignored: an answer given twice does nothing.
  void confirm_ready(std::uint64_t ticket);
  void answer_abort(std::uint64_t ticket, wire::Aborted::Outcome outcome, std::string text);
  void answer_reorder(std::uint64_t ticket, wire::Aborted::Outcome outcome, std::string text);

  // The network's side.
  void receive(const wire::ToAgent& message, std::int64_t now_us);
  /// A message taken could not be sent: the coordinator's picture is repaired with a snapshot.
  void send_failed(std::int64_t now_us);
  /// Whatever is due, in the order in which it is to be sent.
  [[nodiscard]] std::vector<wire::FromAgent> take_outgoing(std::int64_t now_us);
  [[nodiscard]] std::vector<Upcall> take_upcalls();
  /// When take_outgoing will have something to say even if nothing happens until then.
  [[nodiscard]] std::int64_t next_due_us() const;
  /// True if there is something to send at once.
  [[nodiscard]] bool has_outgoing() const;
  // For the agent's other cores (agent_router.hpp).
  [[nodiscard]] bool holds(std::uint64_t sequence) const { return waits_.contains(sequence); }
  [[nodiscard]] std::vector<std::uint64_t> held() const;
  [[nodiscard]] std::size_t waits() const { return waits_.size(); }
  /// The wait must be held here.
  [[nodiscard]] const TxnId& waiter(std::uint64_t sequence) const { return waits_.at(sequence).wait.waiter; }
  /// Ends the wait, which must be held here, and returns it as it stands, to be begun elsewhere: its groups are those that
  /// have not ended.
  [[nodiscard]] Wait withdraw(std::uint64_t sequence, std::int64_t now_us);
  /// Takes over the other's groups and descriptions, and none of its waits. For a new core.
  void know_what_is_known_to(const AgentCore& other);
  /// Begins the session anew, under this incarnation.
  void hello_again(std::uint64_t incarnation, std::int64_t now_us);
  [[nodiscard]] bool online() const { return online_; }
  [[nodiscard]] std::uint64_t incarnation() const { return options_.incarnation; }
  [[nodiscard]] wire::Goodbye goodbye() const { return {options_.incarnation}; }

  /// The host counts slow callbacks itself; everything else is counted here.
  [[nodiscard]] AgentStatus status() const;

 private:
  struct Edge {
    Kind kind;
    std::uint64_t since;  ///< number of the first message that reports it without a break
  };
  struct Standing {
    Wait wait;  ///< its blockers are in `edges`; its groups are sorted, each named once
    std::unordered_map<TxnId, Edge> edges;
    std::int64_t began_us;
    std::uint64_t since = 0;  ///< number of the first message that names its groups
    /// Number of the first message that reports exactly these blockers and this need: what a wait for some of several is
    /// about is the complete set.
    std::uint64_t set_since = 0;
    bool published = false;
    bool dirty = false;
  };
  struct Txn {
    TxnInfo info;
    bool described = false;
    bool sent = false;
    bool dirty = false;
    std::uint32_t mentions = 0;               ///< by published waits
    std::unordered_set<std::uint64_t> waits;  ///< as waiter, published or not
  };
  using Waits = std::unordered_map<std::uint64_t, Standing>;
  struct Group {
    std::string resource;
    std::string mode;
    Kind kind = Kind::hard;
    std::unordered_map<TxnId, std::uint64_t>
        members;                  ///< → number of the first message that reports it without a break
    std::uint32_t waits = 0;      ///< that name it
    std::uint32_t published = 0;  ///< of those; none: the coordinator does not know the group
    std::set<TxnId> changed;      ///< joined or left, not told yet
    bool whole = false;           ///< nothing of it was told yet
    bool dirty = false;           ///< it is in dirty_groups_
    bool ended = false;           ///< kept for waits that still name it
    bool overfull = false;        ///< a member was left out
  };
  using Groups = std::unordered_map<std::uint64_t, Group>;

  [[nodiscard]] std::uint64_t next_number() const { return number_ + 1; }
  /// The agent's core that holds the wait now, if that is another one.
  [[nodiscard]] AgentCore* elsewhere(std::uint64_t sequence) const;
  [[nodiscard]] std::uint64_t next_ticket();
  tl::expected<void, AgentError> check(const Wait& wait);
  tl::expected<void, AgentError> check_texts(const std::string& resource, const std::string& mode);
  [[nodiscard]] tl::unexpected<AgentError> over_limit(std::string what, std::size_t limit, const char* advice);
  [[nodiscard]] static tl::expected<void, AgentError> check_need(const Wait& wait, const std::vector<Blocker>& blockers,
                                                                 std::uint32_t need);
  void assign_blockers(Standing& standing, const std::vector<Blocker>& blockers, std::uint32_t need);
  void publish_due(std::int64_t now_us);
  void mention(const TxnId& txn);
  void unmention(const TxnId& txn);
  void drop_if_idle(const TxnId& txn);
  void mark_dirty(std::uint64_t sequence, Standing& standing);
  void erase_wait(Waits::iterator it);
  /// The group, unless it is unknown or ended.
  [[nodiscard]] Group* standing_group(GroupHandle group);
  void name_groups(const Standing& standing);
  void unname_groups(const Standing& standing);
  void publish_groups(Standing& standing);
  void mark_dirty(std::uint64_t number, Group& group);
  void member_changed(std::uint64_t number, Group& group, const TxnId& txn);
  [[nodiscard]] bool blocks_by_group(const Standing& standing, const TxnId& txn, std::uint64_t since) const;
  [[nodiscard]] bool ahead_by_group(GroupHandle group, const TxnId& txn) const;
  void unname(GroupHandle group, bool published);

  [[nodiscard]] wire::Change wait_change(std::uint64_t sequence, const Standing& standing, std::int64_t now_us) const;
  void add_whole_group(Batches& batches, std::uint64_t number, Group& group) const;
  void add_leaves(Batches& batches) const;
  void add_groups_and_joins(Batches& batches);
  void take_snapshot(std::vector<wire::FromAgent>& out, std::int64_t now_us);
  void take_deltas(std::vector<wire::FromAgent>& out, std::int64_t now_us);
  [[nodiscard]] bool pending_changes() const;

  void on(const wire::Welcome& m, std::int64_t now_us);
  void on(const wire::HeartbeatAck& m, std::int64_t now_us);
  void on(const wire::Resync& m, std::int64_t now_us);
  void on(const wire::Confirm& m, std::int64_t now_us);
  void on(const wire::Abort& m, std::int64_t now_us);
  void on(const wire::Reorder& m, std::int64_t now_us);
  void on(const wire::Error& m, std::int64_t now_us);
  [[nodiscard]] bool older_epoch(std::uint64_t epoch, const char* what);
  void answer(const wire::Confirm& question);
  [[nodiscard]] bool stands(const wire::ConfirmEdge& edge) const;
  template <class Order>
  [[nodiscard]] bool answered_already(const Order& order, const char* what);
  template <class Order>
  void remember_done(const Order& order);
  [[nodiscard]] bool order_applies(const wire::Abort& order) const;
  void end_wait_of(const wire::Abort& order);
  [[nodiscard]] bool order_applies(const wire::Reorder& order) const;
  void take_from_behind(std::uint64_t sequence, const TxnId& ahead);
  void go_offline(std::int64_t now_us, std::int64_t retry_after_us);
  void note(AgentCallbacks::Level level, std::string text);

  Options options_;

  // What stands at this site.
  Waits waits_;
  Groups groups_;
  std::uint64_t last_group_ = 0;
  std::set<std::pair<std::int64_t, std::uint64_t>> unpublished_;  ///< (due, sequence)
  std::unordered_map<TxnId, Txn> txns_;
  std::size_t described_ = 0;
  std::uint64_t last_sequence_ = 0;

  // What the coordinator has not been told yet.
  std::vector<std::uint64_t> dirty_waits_;
  std::vector<std::uint64_t> ended_;
  std::vector<std::uint64_t> dirty_groups_;
  std::vector<std::uint64_t> ended_groups_;
  std::vector<TxnId> dirty_txns_;
  std::vector<TxnId> forgotten_;
  std::vector<wire::FromAgent> replies_;
  bool need_snapshot_ = false;
  std::uint64_t number_ = 0;  ///< of the last delta or snapshot taken

  // The session.
  bool online_ = false;
  std::uint64_t epoch_ = 0;
  std::int64_t heartbeat_us_ = 500'000;
  std::int64_t lease_us_ = 3'000'000;
  std::int64_t last_heard_us_;
  std::int64_t next_hello_us_;
  std::int64_t next_heartbeat_us_ = 0;
  std::int64_t resend_after_us_ = 0;  ///< nothing is sent before: the queue was full
  std::string last_complaint_;        ///< each refusal is logged once, not at every retry

  // Calls the engine has not answered.
  std::uint64_t last_ticket_ = 0;
  std::unordered_map<std::uint64_t, wire::Confirm> asked_;
  std::unordered_map<std::uint64_t, wire::Abort> ordered_;
  std::unordered_map<std::uint64_t, wire::Reorder> reorders_;
  std::deque<std::string> done_;  ///< keys of the orders carried out last, see order_key()
  std::vector<Upcall> upcalls_;
  AgentStatus counters_;
};

}  // namespace gordian::agent
