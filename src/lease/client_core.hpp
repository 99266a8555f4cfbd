// The lock client's side of docs/lock-protocol.md: sessions, transactions and calls in; messages, answers and notices out.
//
// Pure: no clock, thread or socket. The time is handed in (microseconds of a clock that runs while the machine sleeps), and
// every function first does what is due by then; so after a pause longer than a lease the first call finds it lost. Not
// thread-safe: the host (embed/) guards it with its mutex. Cost of a call without contention: some map look-ups, no O(sessions).
//
// A session has one *lease* per agent that it uses, with a wire number of its own. A lease is *in use* while a lock is held
// there, or a request is known to wait. One that runs out in use ends its session; one that runs out idle is dropped
// silently, and what is still asked for goes out again under a new number.
#pragma once

#include <functional>
#include <gordian/lock_client.hpp>
#include <map>
#include <set>
#include <unordered_map>
#include <variant>

#include "wire/lock_messages.hpp"

namespace gordian::lease {

enum class SessionKey : std::uint64_t {};
enum class TxnKey : std::uint64_t {};
/// Names one call; every call is answered by exactly one CallDone.
enum class CallKey : std::uint64_t {};

struct ClientSettings {
  std::vector<AgentAddress> agents;  ///< not empty, no site twice
  ModeMatrix modes = modes::standard();
  std::string label;
  std::string identity;  ///< random; the beginning of the ids given to transactions that have none
  Micros reply_limit_us = 5'000'000;
  LockClientLimits limits;
  std::function<std::uint64_t()> draw;  ///< random numbers, for the names of leases
};

struct LockTerms {
  wire::LockRequest::Scheme scheme = wire::LockRequest::Scheme::all;
  std::size_t need = 1;  ///< of scheme `some`
  AcquireOptions options{};
};

// --- What comes out besides messages, in order ---

struct CallDone {
  CallKey call;
  tl::expected<std::vector<Grant>, LockError> result;  ///< the grants of a lock call, by place; empty for other calls
};
struct SessionInJeopardy {
  SessionKey session;
  Micros remaining_us;
};
struct SessionLost {
  SessionKey session;
  LockError reason;
};
struct TxnLost {
  TxnKey txn;
  LockError reason;
};
struct LogLine {
  LockClientOptions::Level level;
  std::string text;
};
using Output = std::variant<CallDone, SessionInJeopardy, SessionLost, TxnLost, LogLine>;

class ClientCore {
 public:
  explicit ClientCore(ClientSettings settings);

  // --- Calls of the user ---

  /// Errors: invalid, limit. The callbacks in the options are the host's.
  [[nodiscard]] tl::expected<SessionKey, LockError> open(const SessionOptions& options);
  CallKey close(SessionKey session, Micros now);
  /// close() that nobody waits for; the session is forgotten when its agents know.
  void drop(SessionKey session, Micros now);
  [[nodiscard]] Micros remaining_us(SessionKey session, Micros now) const;
  [[nodiscard]] std::optional<LockError> lost(SessionKey session) const;

  [[nodiscard]] tl::expected<TxnKey, LockError> begin(SessionKey session, ClientTxnOptions options, Micros now);
  /// Of scheme `path`: one item. Of `some`: all at one agent.
  CallKey lock(TxnKey txn, std::span<const LockItem> items, const LockTerms& terms, Micros now);
  CallKey unlock(TxnKey txn, const Grant& grant, Micros now);
  CallKey downgrade(TxnKey txn, const Grant& grant, Mode mode, Micros now);
  CallKey end(TxnKey txn, Micros now);
  /// end() that nobody waits for; the transaction is forgotten when its agents know.
  void drop(TxnKey txn, Micros now);
  /// The lock call ends with `cancelled` at once; should it be granted after all, that is undone.
  void cancel(CallKey call, Micros now);
  void cancel_all(TxnKey txn, Micros now);
  [[nodiscard]] const TxnId& id(TxnKey txn) const;
  [[nodiscard]] std::optional<LockError> error(TxnKey txn) const;
  [[nodiscard]] std::vector<Grant> held(TxnKey txn) const;

  /// Closes all sessions; every call ends.
  void stop(Micros now);

  // --- Messages and time ---

  /// A connection to the agent stands (again): what has no answer goes out anew.
  void connected(std::size_t agent, Micros now);
  void receive(std::size_t agent, const wire::ToLockClient& message, Micros now);
  [[nodiscard]] bool has_messages(std::size_t agent) const;
  /// What is to be sent to the agent now. Send at once: leases count from `now`.
  [[nodiscard]] std::vector<wire::FromLockClient> take_messages(std::size_t agent, Micros now);
  /// Does what is due. Call it at next_due(), later is harmless.
  void advance(Micros now);
  [[nodiscard]] Micros next_due() const { return timers_.empty() ? never : timers_.begin()->first; }
  [[nodiscard]] std::vector<Output> take_output() { return std::exchange(output_, {}); }
  [[nodiscard]] bool has_output() const { return !output_.empty(); }

  [[nodiscard]] std::size_t agents() const { return agents_.size(); }
  [[nodiscard]] const SiteId& site_of(std::string_view name) const;
  [[nodiscard]] LockClientStatus status() const;

 private:
  using Number = std::uint64_t;  // of a lease, or of a request within one

  struct Timer {
    enum class Of : std::uint8_t { lease, request, call } of;
    std::size_t agent = 0;
    Number number = 0;  ///< lease, or call
    Number request = 0;
  };
  using Timers = std::multimap<Micros, Timer>;

  /// A request that has no final answer.
  struct Pending {
    wire::LockServiceRequest body;
    TxnKey txn;
    CallKey call{};  ///< 0: nobody waits for it
    Micros made;
    Micros interval;  ///< until it is sent again
    bool sent = false;
    bool queued = false;       ///< in Agent::sends
    bool deferred = false;     ///< goes out after an unlock or downgrade of the same name was answered
    bool waiting = false;      ///< the agent said so
    bool abandoned = false;    ///< a lock request that was given up: undone if it is granted
    bool cancelling = false;   ///< a cancel was sent since it was last sent itself
    bool former_life = false;  ///< the agent was started again since it was asked for
    Timers::iterator timer;
  };

  struct Lease {
    enum class State : std::uint8_t { opening, open, reopening, closing };
    Number number;
    SessionKey session;
    std::size_t agent;
    State state = State::opening;
    Number incarnation = 0;
    Micros ttl_us;
    Micros margin_us;
    Micros opened_at = 0;   ///< when the first OpenSession of this opening was sent; 0: not yet
    Micros proven = never;  ///< when the last OpenSession or Renew that was answered was sent
    Micros capped = never;  ///< while reclaims are unanswered: no deadline later than that of the agent's former life
    Micros try_at = never;  ///< when to renew, open or close (again)
    Micros closing_since = 0;
    bool queued = false;   ///< in one of the agent's lists
    std::size_t uses = 0;  ///< locks held and requests known to wait
    std::size_t reclaims = 0;
    Number next_request = 1;
    std::map<Number, Pending> pending{};
    Timers::iterator timer;

    [[nodiscard]] Micros deadline() const {
      return proven == never ? never : std::min(capped, proven + ttl_us - margin_us);
    }
  };

  struct Renewal {
    Micros sent;
    std::vector<Number> leases;
  };
  struct Agent {
    SiteId site;
    Number incarnation = 0;
    Micros heard = std::numeric_limits<Micros>::min();
    std::unordered_map<Number, Lease> leases{};
    std::map<Number, Renewal> renewals{};  ///< by stamp; unanswered
    // To be sent.
    std::vector<Number> opens{};
    std::vector<Number> renews{};
    std::vector<Number> closes{};
    std::vector<std::pair<Number, Number>> sends{};
  };

  struct Session {
    Micros ttl_us;
    std::uint64_t lock_delay_ms;
    std::optional<LockError> over{};  ///< lost or closed
    bool dropped = false;
    bool in_jeopardy = false;
    CallKey close_call{};
    std::vector<Lease*> leases{};
    std::set<TxnKey> txns{};
  };

  struct Hold {
    Mode mode;
    std::uint64_t count = 0;  ///< 0: given back, not answered yet
    Fence first;              ///< of the first grant since it has been held
    Fence fence;
    std::size_t changing = 0;  ///< unlocks and downgrades without an answer
  };
  /// Where a transaction has been.
  struct Branch {
    std::size_t agent;
    bool begun = false;
    Number first = 0;  ///< the number of the first request there
    std::map<std::string, Hold, std::less<>> holds{};
    std::size_t changing = 0;  ///< of all holds
    std::vector<Number> deferred{};
  };
  struct Txn {
    TxnKey key;
    SessionKey session;
    ClientTxnOptions options;
    TxnId id;
    std::optional<LockError> over{};  ///< aborted or ended
    bool ended = false;
    bool dropped = false;
    CallKey end_call{};
    std::size_t ends = 0;  ///< unanswered
    std::vector<Branch> branches{};
    std::vector<CallKey> calls{};
    std::vector<std::pair<std::size_t, Number>> requests{};  ///< (agent, request) without a final answer
  };

  struct Part {
    std::string name;
    Mode mode;
    std::size_t place;
  };
  /// What one request asks for: several agents are asked one after the other.
  struct Step {
    std::size_t agent;
    wire::LockRequest::Scheme scheme;
    std::vector<Part> parts;
  };
  struct Got {
    std::size_t place;
    Grant grant;
    std::optional<Mode> before;  ///< in which mode it was held already
  };
  struct Call {
    TxnKey txn{};
    bool locks = false;
    Micros deadline = never;
    bool may_wait = true;
    std::size_t need = 1;
    std::vector<Step> steps{};
    std::size_t step = 0;
    Number request = 0;  ///< the step's, in the lease of its agent
    std::vector<Got> got{};
    std::optional<LockError> withdrawn{};  ///< it ends like this, unless the agent says worse
    Timers::iterator timer;
  };

  // client_core.cpp: sessions, transactions, time
  Session* find(SessionKey key);
  [[nodiscard]] const Session* find(SessionKey key) const;
  Txn* find(TxnKey key);
  [[nodiscard]] const Txn* find(TxnKey key) const;
  void arm(Timers::iterator& timer, Micros due, const Timer& target);
  void disarm(Timers::iterator& timer);
  void give_up(SessionKey key, Session& session, LockError reason, Micros now, bool tell);
  void abort(Txn& txn, LockError error, Micros now, bool tell);
  void end_everywhere(Txn& txn, Micros now);
  void clear_holds(Txn& txn);
  void forget_if_done(SessionKey key);
  void forget_if_done(TxnKey key);
  void log(LockClientOptions::Level level, std::string text) { output_.emplace_back(LogLine{level, std::move(text)}); }
  [[nodiscard]] const std::string& site_name(std::size_t agent) const { return agents_[agent].site.str(); }

  // client_lease.cpp: leases, their deadlines, and agents that were started again
  Lease* lease_of(const Session& session, std::size_t agent);
  Lease& lease_for(SessionKey key, Session& session, std::size_t agent);
  Number new_number();
  void arm(Lease& lease);
  void on_due(Lease& lease, Micros now);
  void confirm(Lease& lease, Micros sent);
  void ask_again(Lease& lease, std::vector<Number>& list, Micros next);
  void lapse(Lease& lease, const std::string& why, Micros now);
  void renumber(Lease& lease);
  void erase(Lease& lease);
  void close(Lease& lease, Micros now);
  void reopen(Lease& lease, Micros now);
  void reclaim(Lease& lease, Micros now);
  void reclaim(Lease& lease, Txn& txn, const Branch& branch, Micros now);
  void settle_former_life(Lease& lease);
  void drop_pending(Lease& lease, Number request);
  void note_incarnation(Agent& agent, Number incarnation, Micros now);
  void check_jeopardy(Lease& lease, Micros now);
  void on(Agent& agent, const wire::SessionOpened& message, Micros now);
  void on(Agent& agent, const wire::Renewed& message, Micros now);
  void on(Agent& agent, const wire::SessionEnded& message, Micros now);
  void on(Agent& agent, const wire::Replies& message, Micros now);
  void on(Agent& agent, const wire::TxnAborted& message, Micros now);
  void on(Agent& agent, const wire::Error& message, Micros now);

  // client_outbox.cpp: what goes out
  void take_opens(Agent& agent, std::vector<wire::FromLockClient>& out, Micros now);
  void take_requests(Agent& agent, std::vector<wire::FromLockClient>& out, Micros now);
  void take_renewals(Agent& agent, std::vector<wire::FromLockClient>& out, Micros now);
  void prepare(Lease& lease, Pending& pending, Micros now);

  // client_plan.cpp: which agent is asked for what, in which order
  [[nodiscard]] tl::expected<std::vector<Step>, LockError> plan(std::span<const LockItem> items,
                                                                const LockTerms& terms) const;
  [[nodiscard]] std::vector<Part> parts_of_path(std::string_view path, Mode mode) const;
  [[nodiscard]] std::vector<Part> parts_of(const wire::LockRequest& request) const;
  [[nodiscard]] std::optional<LockError> complaint(std::span<const LockItem> items, const LockTerms& terms) const;
  [[nodiscard]] tl::expected<std::size_t, LockError> agent_named(const SiteId& site) const;

  // client_calls.cpp: calls
  CallKey new_call(TxnKey txn, bool locks);
  CallKey refuse(CallKey key, LockError error);
  void complete(CallKey key, tl::expected<std::vector<Grant>, LockError> result);
  void fail(CallKey key, LockError error, Micros now);
  void withdraw(CallKey key, LockError error, Micros now);
  [[nodiscard]] bool withdrawn(const Pending& pending) const;
  /// When what has no answer is sent again for the first time.
  [[nodiscard]] static Micros resend_first(const Lease& lease) { return std::min<Micros>(500'000, lease.ttl_us / 3); }
  void abandon(CallKey key, Call& call, Micros now);
  void start_step(CallKey key, Call& call, Txn& txn, Micros now);
  void begin_at(Lease& lease, Txn& txn, Branch& branch, Micros now);
  void undo(Txn& txn, const std::vector<Got>& got, Micros now);
  void give_back(Lease& lease, Txn& txn, Branch& branch, const std::string& name, CallKey call, Micros now);
  void lower(Lease& lease, Txn& txn, Branch& branch, const std::string& name, Mode mode, CallKey call, Micros now);
  [[nodiscard]] bool asks_for(const Txn& txn, std::size_t agent, const std::string& name);
  Branch& branch_of(Txn& txn, std::size_t agent);
  tl::expected<Branch*, LockError> holder_of(TxnKey key, const Grant& grant);

  // client_requests.cpp: requests and their answers
  Number post(Lease& lease, wire::LockServiceRequest body, TxnKey txn, CallKey call, Micros now);
  void queue(Lease& lease, Number request, Pending& pending);
  [[nodiscard]] bool must_wait(const Branch& branch, const wire::LockRequest& request) const;
  void release_deferred(Lease& lease, Branch& branch);
  void send_cancel(Lease& lease, Number target, Pending& pending, Micros now);
  void forget_request(TxnKey txn, std::size_t agent, Number request);
  [[nodiscard]] CallKey caller_of(const Pending& pending) const;
  void on_due(Lease& lease, Number request, Micros now);
  void arm(Lease& lease, Number request, Pending& pending, Micros now);
  void finish(Lease& lease, Number request, const wire::LockReply& reply, Micros now);
  void on_waiting(Lease& lease, Number request, Pending& pending, Micros now);
  void on_locked(Lease& lease, const wire::LockRequest& request, const Pending& pending, const wire::LockReply& reply,
                 Micros now);
  std::vector<Got> record(Lease& lease, Txn& txn, const wire::LockRequest& request, const wire::LockReply& reply);
  void keep_raised(const Txn& txn, const Part& part, std::size_t agent);
  void on_changed(Lease& lease, const std::string& name, bool unlocked, const Pending& pending,
                  const wire::LockReply& reply, Micros now);
  void on_ended(const Pending& pending);
  void on_reclaimed(Lease& lease, const Pending& pending, const wire::LockReply& reply, Micros now);

  ClientSettings settings_;
  std::vector<Agent> agents_;
  std::unordered_map<SessionKey, Session> sessions_;
  std::unordered_map<TxnKey, Txn> txns_;
  std::unordered_map<TxnId, TxnKey> ids_;  ///< of transactions that some agent may still know
  std::unordered_map<CallKey, Call> calls_;
  Timers timers_;
  std::vector<Output> output_;
  std::uint64_t last_key_ = 0;
  Number last_stamp_ = 0;
  LockClientStatus counters_;
};

}  // namespace gordian::lease
