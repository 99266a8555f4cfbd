// The lock server: sessions with leases on top of a lock table, requests known by number, and what is to be written down.
//
// Pure: messages and the time go in; messages, records for the journal and counters come out. The lock protocol's page says
// what each message means (docs/lock-protocol.md). Deadlocks are somebody else's: the table tells its observer who waits, and
// abort() carries out an order.
//
// Not thread-safe: a reactor owns one. The observer must not call back into it.
// Cost: a request O(1) beside the table's own, a renewal O(1) per session, an expiry O(log sessions + what is held).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <gordian/lock_table.hpp>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "lease/records.hpp"
#include "lease/views.hpp"
#include "wire/lock_messages.hpp"

namespace gordian::lease {

/// The routing id of a client's connection.
using PeerId = std::string;

struct ServerLimits {
  std::size_t sessions = 200'000;
  std::size_t txns_per_session = 100'000;
  std::size_t requests_per_session = 100'000;  ///< waiting, or answered and not yet known to have arrived
  std::size_t held_back = 100'000;             ///< requests that wait for the end of the grace period
  std::int64_t ttl_min_us = 100'000;
  std::int64_t ttl_max_us = 3'600'000'000;
  std::int64_t lock_delay_max_us = 3'600'000'000;
};

struct ServerOptions {
  SiteId site;
  /// The epoch is the server's incarnation, too: larger at each start, from durable state. `events` is set by the server.
  LockTableOptions table;
  bool journal = false;  ///< what is held is written down: a restart forgets nothing
  Durable found;         ///< by the last start
  /// Nobody looked at the time for this long although something was due: the server stood still, and all leases are extended.
  std::int64_t stall_us = 200'000;
  /// A transaction ends that info() was asked about.
  std::function<void(const TxnId&)> txn_ended;
  ServerLimits limits;
};

/// Two clocks: the steady one decides, the wall clock is only shown.
struct ServerTime {
  std::int64_t steady_us;
  std::int64_t unix_us;
};

struct Outgoing {
  PeerId peer;
  wire::ToLockClient message;
  std::uint64_t after;  ///< to be sent once so many records are durable, counted from the start
};

class LockServer : private LockEvents {
 public:
  LockServer(ServerOptions options, ServerTime now);
  LockServer(const LockServer&) = delete;
  LockServer& operator=(const LockServer&) = delete;
  ~LockServer() override;

  void receive(const PeerId& peer, const wire::FromLockClient& message, ServerTime now);
  /// A message of `peer` could not be read.
  void refused(const PeerId& peer, wire::Error why);
  /// What has become due: leases, deadlines, the end of the grace period.
  void tick(ServerTime now);
  /// When tick() is due next; to be asked before every sleep, for that is how a stall is noticed.
  [[nodiscard]] std::int64_t next_tick_us();

  [[nodiscard]] std::vector<Outgoing> take_outgoing();
  [[nodiscard]] std::vector<Record> take_records();

  /// Orders of the coordinator. False: that wait is over, or the transaction does not block it any more; nothing was done.
  bool abort_waiting(const TxnId& txn, const std::string& incident, WaitNumber wait, ServerTime now);
  bool abort_holding(const TxnId& txn, const std::string& incident, const std::string& name, WaitNumber wait,
                     ServerTime now);
  /// The same for an order to let a waiting request jump its queue (LockTable::advance).
  bool reorder(const std::string& name, WaitNumber wait, const TxnId& ahead_of, ServerTime now);
  /// What victim policies and people should know of a transaction.
  [[nodiscard]] TxnInfo info(const TxnId& txn);

  /// Aborts whoever holds `name`; whoever gets it next has a fence larger than the one returned… or that one.
  tl::expected<ForcedUnlock, std::string> unlock_by_force(const std::string& name, const std::string& why,
                                                          const std::string& by, ServerTime now);

  [[nodiscard]] LocksView locks(const LockSelection& selection) const;
  [[nodiscard]] ServerStatus status() const;
  /// Whether anything is held: if not, the next start needs no grace period.
  [[nodiscard]] bool holds_nothing() const;
  [[nodiscard]] const LockTable& table() const { return table_; }

 private:
  struct Session;
  /// What a transaction holds of one resource.
  struct Hold {
    Mode mode;
    std::uint64_t count;
    Fence table;  ///< as the table says
    Fence shown;  ///< another one for what was held before the start: fences of holders do not change by a restart
    std::int64_t since_unix_us;
    std::uint64_t request;
    std::uint64_t item;
  };
  struct Txn {
    Session* session;
    std::optional<LockTxn> handle;
    double start;
    double priority = 0;
    double restarts = 0;
    std::string label;
    std::optional<LockError> doom;
    std::unordered_map<std::string, Hold> holds;
    bool described = false;
    std::uint64_t request = 0;           ///< the largest number of a lock, begin or reclaim of it
    std::vector<std::uint64_t> waiting;  ///< its requests that wait, held back or in a queue
  };
  /// A request that may come again.
  struct Remembered {
    wire::LockReply reply;  ///< as sent last
    Txn* txn = nullptr;     ///< of a lock request that waits; set by wait_for()
    Ticket ticket{};
    std::vector<wire::WantedLock> items;  ///< of a lock request that waits
    std::int64_t since_unix_us = 0;
    bool held_back = false;
  };
  struct Session {
    std::uint64_t id;
    PeerId peer;
    std::string label;
    std::int64_t ttl_us;
    std::int64_t lock_delay_us;
    std::int64_t expires_us;  ///< in lease time
    bool expired = false;     ///< in its lock-delay
    std::uint64_t done_below = 0;
    std::unordered_set<Txn*> txns;
    std::map<std::uint64_t, Remembered> requests;
    /// → the number of the request that ended it: what was asked for it before, and comes later, does not begin it anew.
    std::map<TxnId, std::uint64_t> ended;
  };
  struct HeldBack {
    std::uint64_t session;
    wire::LockRequest request;
    std::int64_t deadline_us;
  };
  struct Due {
    std::int64_t at_us;
    std::uint64_t session;
    bool operator>(const Due& other) const { return at_us > other.at_us; }
  };

  // lock_server.cpp: sessions and time
  void advance(ServerTime now);
  [[nodiscard]] std::int64_t lease_now_us() const { return now_.steady_us - shift_us_; }
  [[nodiscard]] bool in_grace() const { return grace_until_us_ > now_.steady_us; }
  void end_grace();
  void run_due_leases();
  void withdraw_waiting(Session& session);
  void finish(Session& session);
  void restore();
  void on(const PeerId& peer, const wire::OpenSession& m);
  void on(const PeerId& peer, const wire::Renew& m);
  void on(const PeerId& peer, const wire::CloseSession& m);
  void on(const PeerId& peer, const wire::Requests& m);
  [[nodiscard]] std::string complaint(const wire::OpenSession& m);
  void open(const PeerId& peer, const wire::OpenSession& m);
  [[nodiscard]] Session* find_session(std::uint64_t id);
  void send(const PeerId& peer, wire::ToLockClient message);
  void reply(Session& session, wire::LockReply reply);
  void record(Record record);

  // requests.cpp: what a session asks for
  void handle(Session& session, const wire::LockServiceRequest& request);
  [[nodiscard]] static bool overtaken_by_end(const Session& session, const wire::LockServiceRequest& request);
  void on(Session& session, const wire::LockRequest& r);
  void on(Session& session, const wire::UnlockRequest& r);
  void on(Session& session, const wire::DowngradeRequest& r);
  void on(Session& session, const wire::EndRequest& r);
  void on(Session& session, const wire::CancelRequest& r);
  void on(Session& session, const wire::BeginRequest& r);
  void on(Session& session, const wire::ReclaimRequest& r);
  void lock_now(Session& session, const wire::RequestId& id, Txn& txn, const wire::LockRequest& r,
                std::int64_t deadline_us);
  void hold_back(Session& session, Txn& txn, const wire::LockRequest& r, std::int64_t deadline_us);
  void release_held_back();
  void expire_held_back();
  /// Sends the reply and remembers it.
  void answer(Session& session, std::uint64_t request, wire::LockStatus status, std::string text = {});
  void answer(Session& session, std::uint64_t request, const LockError& error);
  void answer_waiting(Session& session, std::uint64_t request);
  /// The request waits from now on, or is asked for again after it was held back.
  Remembered& wait_for(Session& session, std::uint64_t request, Txn& txn, bool held_back);
  void finish_request(Session& session, std::uint64_t request, wire::LockReply reply);
  [[nodiscard]] tl::expected<Txn*, LockError> txn_of(Session& session, const TxnId& id, std::uint64_t request,
                                                     std::optional<double> start,
                                                     std::optional<Strategy> strategy = {});
  [[nodiscard]] Txn* find_txn(Session& session, const TxnId& id);
  tl::expected<void, LockError> undo_one(Txn& txn, const std::string& name);
  [[nodiscard]] tl::expected<void, LockError> reclaim(Txn& txn, const wire::HeldLock& held, std::uint64_t request,
                                                      std::uint64_t item);
  /// The transaction is over: it holds nothing here, and everything it asks for fails.
  void doom(Txn& txn, const LockError& error);
  /// Aborts it without the table's doing.
  void abort(Txn& txn, const LockError& error);
  void end_txn(Txn& txn);
  wire::LockReply grant(Txn& txn, std::uint64_t request, const std::vector<wire::WantedLock>& items,
                        std::span<const GrantedItem> granted);
  void write_down(const Txn& txn, const std::string& name, const Hold& hold);

  void granted(const Party& party, Ticket ticket, std::uint64_t tag, std::span<const GrantedItem> items) override;
  void failed(const Party& party, Ticket ticket, std::uint64_t tag, const LockError& error) override;
  void aborted(const Party& party, const LockError& error) override;

  // look.cpp: views
  [[nodiscard]] std::optional<std::int64_t> waiting_since(const Txn& txn, const std::string& name) const;
  [[nodiscard]] LockedResource show(const ResourceView& view) const;

  const ServerOptions options_;
  ServerTime now_;
  std::int64_t shift_us_ = 0;  ///< for how long the server stood still: lease time is steady time without it
  std::int64_t planned_wake_us_;
  std::int64_t grace_until_us_ = 0;
  std::int64_t longest_ttl_us_;

  // The table is destroyed last: transactions' handles are in it.
  LockTable table_;
  std::unordered_map<std::uint64_t, Session> sessions_;
  std::unordered_map<TxnId, Txn> txns_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> leases_;  ///< one for each session, perhaps too early
  std::unordered_set<std::uint64_t> ended_;                            ///< numbers of sessions that were over last
  std::deque<std::uint64_t> ended_order_;
  std::deque<HeldBack> held_back_;

  std::vector<Outgoing> outgoing_;
  std::unordered_map<PeerId, std::size_t> replies_at_;  ///< in `outgoing_`, where a peer's newest replies are
  std::vector<Record> records_;
  std::uint64_t recorded_ = 0;
  ServerStatus counters_;
};

}  // namespace gordian::lease
