#include "postgres/observer.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

namespace gordian::postgres {
namespace {

using std::chrono::microseconds;

// Left out everywhere: waits that belong to one page or one insertion. They end by themselves in no time.
constexpr Statement look_statement{"gordian_look", R"sql(
select pid,
       (extract(epoch from backend_start) * 1000000)::int8,
       (extract(epoch from xact_start) * 1000000)::int8,
       (extract(epoch from query_start) * 1000000)::int8,
       (extract(epoch from clock_timestamp() - query_start) * 1000000)::int8
from pg_stat_activity
where wait_event_type = 'Lock' and wait_event not in ('extend', 'page', 'spectoken', 'frozenid')
  and backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start is not null
)sql"};

// One row for each wait and whoever may block it. `lock` is the lock table at one instant, and all but the order of the
// queue is taken from it: whoever holds a lock on the same object (`granted`; whether the modes conflict is for the
// caller), and whoever is queued ahead according to pg_blocking_pids.
//
// behind_row: a second waiter for a row queues for the *tuple* lock of the first one, who waits for the transaction X that
// holds the row. The second cannot go on before X ends either, whatever the first does: X is its blocker too.
constexpr Statement edges_statement{"gordian_edges", R"sql(
with lock as materialized (
  select * from pg_locks where mode <> 'SIReadLock' -- those block nobody
), wait as materialized (
  select lock.*, waitstart <= statement_timestamp() - $2::int8 * interval '1 microsecond' as of_age
  from lock
  where pid = any ($1::int4[]) and not granted and locktype not in ('extend', 'page', 'spectoken', 'frozenid')
), queue as materialized (
  select pid, pg_blocking_pids(pid) as ahead from wait where of_age
), blocker as (
  select wait.pid as waiter, other.pid, other.virtualtransaction, other.mode, other.granted, false as behind_row
  from queue
  join wait using (pid)
  join lock other on other.locktype = wait.locktype
    and coalesce(other.relation, 0) = coalesce(wait.relation, 0)
    and coalesce(other.objid, 0) = coalesce(wait.objid, 0)
    and coalesce(other.transactionid, '0') = coalesce(wait.transactionid, '0')
    and (other.database, other.page, other.tuple, other.virtualxid, other.classid, other.objsubid)
        is not distinct from (wait.database, wait.page, wait.tuple, wait.virtualxid, wait.classid, wait.objsubid)
    and other.pid is distinct from wait.pid
    and (other.granted or other.pid = any (queue.ahead))
  union all
  select wait.pid, holder.pid, holder.virtualtransaction, holder.mode, true, true
  from wait
  join lock first on wait.of_age and wait.locktype = 'tuple' and first.locktype = 'tuple' and first.granted
    and first.pid <> wait.pid
    and (first.database, first.relation, first.page, first.tuple) = (wait.database, wait.relation, wait.page, wait.tuple)
  join lock next on next.pid = first.pid and not next.granted and next.locktype = 'transactionid'
  join lock holder on holder.locktype = 'transactionid' and holder.granted
    and holder.transactionid = next.transactionid and holder.pid is distinct from wait.pid
), prepared as (
  select lock.virtualtransaction, gid, prepared
  from pg_prepared_xacts
  join lock on lock.pid is null and lock.locktype = 'transactionid' and lock.transactionid = transaction
), tally as (
  select pid, count(*) as locks from lock where granted group by pid
), contended_row as (
  -- Whoever waits for a row holds, or waits for, its tuple lock: that names the row.
  select distinct on (pid) pid, page, tuple,
    case when database = (select oid from pg_database where datname = current_database()) then relation::regclass::text
         else relation || ' of database ' || database end as name
  from lock
  where locktype = 'tuple'
)
select wait.pid, wait.mode,
  (extract(epoch from wait.waitstart) * 1000000)::int8,
  (extract(epoch from clock_timestamp() - wait.waitstart) * 1000000)::int8,
  wait.of_age,
  case
    when wait.locktype in ('tuple', 'transactionid') and contended_row.pid is not null
      then 'row ' || name || ' (' || contended_row.page || ',' || contended_row.tuple || ')'
    when wait.locktype = 'transactionid' then 'transaction ' || wait.transactionid
    when wait.locktype = 'virtualxid' then 'virtual transaction ' || wait.virtualxid
    when wait.locktype = 'advisory' then 'advisory lock ' || concat_ws(',', wait.classid, wait.objid, wait.objsubid)
    when wait.locktype = 'relation' and wait.database = (select oid from pg_database where datname = current_database())
      then 'table ' || wait.relation::regclass::text
    when wait.relation is not null then wait.locktype || ' ' || wait.relation || ' of database ' || wait.database
    else concat_ws(' ', wait.locktype, wait.classid, wait.objid)
  end,
  wait.locktype,
  coalesce(waiter_tally.locks, 0),
  (extract(epoch from statement_timestamp()) * 1000000)::int8,
  blocker.waiter is not null, blocker.pid, blocker.mode, blocker.granted, blocker.behind_row,
  coalesce(blocker_tally.locks, 0),
  prepared.gid,
  (extract(epoch from prepared.prepared) * 1000000)::int8
from wait
left join contended_row on contended_row.pid = wait.pid
left join tally waiter_tally on waiter_tally.pid = wait.pid
left join blocker on blocker.waiter = wait.pid
left join tally blocker_tally on blocker_tally.pid = blocker.pid
left join prepared on blocker.pid is null and prepared.virtualtransaction = blocker.virtualtransaction
)sql"};

enum EdgeColumn {
  waiter_pid,
  wait_mode,
  waitstart,
  wait_age,
  of_age,
  resource,
  locktype,
  waiter_locks,
  asked_at,
  has_blocker,
  blocker_pid,
  blocker_mode,
  granted,
  behind_row,
  blocker_locks,
  gid,
  prepared_at
};

// Asked after the edges: see transaction_at().
constexpr Statement sessions_statement{"gordian_sessions", R"sql(
select pid,
       (extract(epoch from backend_start) * 1000000)::int8,
       (extract(epoch from xact_start) * 1000000)::int8,
       application_name,
       coalesce(usename, '') || '@' || coalesce(host(client_addr), 'local'),
       coalesce(usename, ''),
       query,
       backend_type
from pg_stat_activity
where pid = any ($1::int4[])
)sql"};

std::string array_of(const std::vector<int>& pids) {
  std::string text = "{";
  for (const int pid : pids) text += (text.size() > 1 ? "," : "") + std::to_string(pid);
  return text + "}";
}

/// The table lock modes in PostgreSQL's order, and for each the modes that it conflicts with, as bits in that order
/// (manual, 13.3.1). Rows, transactions and advisory locks use some of them.
struct Mode {
  std::string_view name;
  unsigned conflicts;
};
constexpr std::array<Mode, 8> modes{{{"AccessShareLock", 0b10000000},
                                     {"RowShareLock", 0b11000000},
                                     {"RowExclusiveLock", 0b11110000},
                                     {"ShareUpdateExclusiveLock", 0b11111000},
                                     {"ShareLock", 0b11101100},
                                     {"ShareRowExclusiveLock", 0b11111100},
                                     {"ExclusiveLock", 0b11111110},
                                     {"AccessExclusiveLock", 0b11111111}}};

std::size_t index_of(std::string_view mode) {
  return static_cast<std::size_t>(
      std::find_if(modes.begin(), modes.end(), [&](const Mode& m) { return m.name == mode; }) - modes.begin());
}

std::optional<Kind> kind_of(const Rows& rows, int row) {
  if (rows.flag(row, behind_row)) return Kind::hard;
  if (!rows.flag(row, granted)) return Kind::soft;  // pg_blocking_pids named it
  if (!conflicts(rows.text(row, wait_mode), rows.text(row, blocker_mode))) return std::nullopt;
  // A tuple lock is given back as soon as its holder has the row.
  return rows.text(row, locktype) == "tuple" ? Kind::dotted : Kind::hard;
}

struct Session {
  Branch branch;
  std::string application_name, client, user, query, backend_type;

  /// Was it in this transaction at the moment `asked_us`, at which the lock table was read? The session was read later: it
  /// may have ended that transaction and begun another, whose name must not be put on the old one's locks.
  [[nodiscard]] bool was_there_at(std::int64_t asked_us) const {
    return branch.xact_start_us != 0 && branch.xact_start_us <= asked_us;
  }
};
using Sessions = std::map<int, Session>;

tl::expected<Sessions, ServerError> read_sessions(Connection& connection, const Rows& edges) {
  std::set<int> pids;
  for (int row = 0; row < edges.size(); ++row) {
    pids.insert(static_cast<int>(edges.number(row, waiter_pid)));
    if (!edges.null(row, blocker_pid)) pids.insert(static_cast<int>(edges.number(row, blocker_pid)));
  }
  Sessions sessions;
  if (pids.empty()) return sessions;
  const auto rows = connection.run(sessions_statement, {array_of({pids.begin(), pids.end()})});
  if (!rows) return tl::unexpected(rows.error());
  for (int row = 0; row < rows->size(); ++row) {
    const auto text = [&](int column) { return std::string(rows->text(row, column)); };
    const int pid = static_cast<int>(rows->number(row, 0));
    const Branch branch{pid, rows->number(row, 1), rows->number(row, 2), {}};
    sessions.insert({pid, {branch, text(3), text(4), text(5), text(6), text(7)}});
  }
  return sessions;
}

/// Turns the rows of the edges statement into an observation, one by one.
class Reading {
 public:
  Reading(const Rows& rows, const Sessions& sessions, const Identity& identity, const ObserverOptions& options)
      : rows_(rows), sessions_(sessions), identity_(identity), options_(options) {}

  void read(int row) {
    const auto found = sessions_.find(static_cast<int>(rows_.number(row, waiter_pid)));
    if (found == sessions_.end() || !found->second.was_there_at(rows_.number(row, asked_at))) return;
    const Session& session = found->second;
    const microseconds age{std::max<std::int64_t>(rows_.number(row, wait_age), 0)};
    if (!rows_.flag(row, of_age)) {
      seen_.young.push_back({session.branch, age});
      return;
    }
    const auto [at, is_new] = wait_at_.try_emplace(session.branch.pid, seen_.waits.size());
    if (is_new) {
      const TxnId txn = identity_.of_session(session.branch, session.application_name);
      seen_.waits.push_back({session.branch,
                             rows_.number(row, waitstart),
                             txn,
                             {},
                             std::string(rows_.text(row, resource).substr(0, 512)),
                             std::string(rows_.text(row, wait_mode)),
                             session.query,
                             age});
      describe(txn, session, rows_.number(row, waiter_locks));
    }
    if (rows_.flag(row, has_blocker)) read_blocker(row, seen_.waits[at->second]);
  }

  [[nodiscard]] Observation take() { return std::move(seen_); }

 private:
  void read_blocker(int row, SeenWait& wait) {
    const auto kind = kind_of(rows_, row);
    if (!kind) return;
    if (rows_.null(row, blocker_pid)) {
      if (rows_.null(row, gid)) return;  // committed or rolled back in the meantime
      const Branch branch{0, 0, rows_.number(row, prepared_at), std::string(rows_.text(row, gid))};
      const TxnId txn = identity_.of_prepared(branch);
      wait.blockers.push_back({txn, *kind, branch});
      describe_prepared(txn, branch);
      return;
    }
    const auto found = sessions_.find(static_cast<int>(rows_.number(row, blocker_pid)));
    if (found == sessions_.end() || !blocks(row, found->second)) return;
    const Session& session = found->second;
    const TxnId txn = identity_.of_session(session.branch, session.application_name);
    wait.blockers.push_back({txn, *kind, session.branch});
    describe(txn, session, rows_.number(row, blocker_locks));
  }

  bool blocks(int row, const Session& session) const {
    // An autovacuum worker gives way by itself; what a parallel worker holds its leader holds too.
    if (session.backend_type == "autovacuum worker" || session.backend_type == "parallel worker") return false;
    // Advisory locks can be held outside a transaction.
    const bool outside = session.branch.xact_start_us == 0 && rows_.text(row, locktype) == "advisory";
    return outside || session.was_there_at(rows_.number(row, asked_at));
  }

  /// Several sessions may belong to one transaction: earliest start, sum of locks, `never` if one says so.
  void describe(const TxnId& txn, const Session& session, std::int64_t locks) {
    if (!described_.insert({txn, session.branch}).second) return;
    TxnInfo& info = seen_.txns[txn];
    if (const auto start = static_cast<double>(session.branch.xact_start_us); start > 0)
      info.start = std::min(info.start.value_or(start), start);
    info.locks += static_cast<double>(locks);
    if (info.label.empty()) info.label = session.application_name.empty() ? session.client : session.application_name;
    if (options_.never && (std::regex_search(session.application_name, *options_.never) ||
                           std::regex_search(session.user, *options_.never)))
      info.victim_class = TxnInfo::Class::never;
  }

  void describe_prepared(const TxnId& txn, const Branch& branch) {
    if (!described_.insert({txn, branch}).second) return;
    TxnInfo& info = seen_.txns[txn];
    const auto start = static_cast<double>(branch.xact_start_us);
    info.start = std::min(info.start.value_or(start), start);
    if (info.label.empty()) info.label = to_text(branch);
    if (options_.prepared_never_victim) info.victim_class = TxnInfo::Class::never;
  }

  const Rows& rows_;
  const Sessions& sessions_;
  const Identity& identity_;
  const ObserverOptions& options_;
  Observation seen_;
  std::map<int, std::size_t> wait_at_;  ///< pid → its index in seen_.waits: a session waits for one lock at a time
  std::set<std::pair<TxnId, Branch>> described_;
};

}  // namespace

bool conflicts(std::string_view awaited, std::string_view held) {
  const std::size_t a = index_of(awaited), h = index_of(held);
  if (a == modes.size() || h == modes.size()) return true;  // a mode that PostgreSQL 15 does not have
  return ((modes[a].conflicts >> h) & 1U) != 0;
}

tl::expected<std::vector<Waiter>, ServerError> Observer::look(Connection& connection) const {
  const auto rows = connection.run(look_statement);
  if (!rows) return tl::unexpected(rows.error());
  std::vector<Waiter> waiters;
  for (int row = 0; row < rows->size(); ++row) {
    const Branch branch{static_cast<int>(rows->number(row, 0)), rows->number(row, 1), rows->number(row, 2), {}};
    const microseconds age{std::max<std::int64_t>(rows->number(row, 4), 0)};
    waiters.push_back({branch, rows->number(row, 3), age});
  }
  return waiters;
}

tl::expected<Observation, ServerError> Observer::ask(Connection& connection, const std::vector<int>& pids,
                                                     microseconds age_min) const {
  const auto rows = connection.run(edges_statement, {array_of(pids), std::to_string(age_min.count())});
  if (!rows) return tl::unexpected(rows.error());
  const auto sessions = read_sessions(connection, *rows);
  if (!sessions) return tl::unexpected(sessions.error());
  Reading reading(*rows, *sessions, identity_, options_);
  for (int row = 0; row < rows->size(); ++row) reading.read(row);
  return reading.take();
}

}  // namespace gordian::postgres
