#include "store/lock_state.hpp"

#include "store/sqlite_file.hpp"

namespace gordian::store {
namespace {

using namespace lease;

constexpr const char* schema = R"sql(
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('epoch', 0), ('longest_ttl_us', 0), ('clean', 1);
CREATE TABLE sessions (
  session INTEGER PRIMARY KEY, ttl_us INTEGER NOT NULL, lock_delay_us INTEGER NOT NULL, label TEXT NOT NULL);
CREATE TABLE holds (
  txn TEXT NOT NULL, name TEXT NOT NULL, session INTEGER NOT NULL, start REAL NOT NULL, mode TEXT NOT NULL,
  count INTEGER NOT NULL, epoch INTEGER NOT NULL, counter INTEGER NOT NULL, since_unix_us INTEGER NOT NULL,
  request INTEGER NOT NULL, item INTEGER NOT NULL, PRIMARY KEY (txn, name)) WITHOUT ROWID;
CREATE INDEX holds_by_session ON holds (session);
CREATE TABLE audit (
  key INTEGER PRIMARY KEY, unix_us INTEGER NOT NULL, what TEXT NOT NULL, why TEXT NOT NULL, who TEXT NOT NULL);
)sql";
constexpr FileKind kind{"lock state", 0x47524c53 /* "GRLS" */, 1, schema};

}  // namespace

class LockState::Impl {
 public:
  explicit Impl(const std::filesystem::path& path) : file(path, kind) {
    // Two servers with one file would give out the same fences: the first one keeps it locked.
    file.db.exec("PRAGMA locking_mode = EXCLUSIVE");
    file.db.exec("BEGIN EXCLUSIVE");
    file.db.exec("COMMIT");
    file.db.exec("PRAGMA synchronous = FULL");
  }

  Start start(bool journal) {
    Start start{file.raise_counter("epoch", 1), {}};
    file.db.exec("PRAGMA synchronous = FULL");
    start.found.longest_ttl_us = counter("longest_ttl_us");
    start.found.clean = counter("clean") != 0;
    if (journal) {
      read(start.found);
    } else {
      SQLite::Transaction transaction(file.db);
      // Holders written by a start with a journal come to reclaim, too.
      if (file.db.execAndGet("SELECT count(*) FROM holds").getInt64() != 0) start.found.clean = false;
      file.db.exec("DELETE FROM holds");
      file.db.exec("DELETE FROM sessions");
      transaction.commit();
    }
    set_counter("clean", 0);
    return start;
  }

  void write(std::span<const Record> records) {
    SQLite::Transaction transaction(file.db, SQLite::TransactionBehavior::IMMEDIATE);
    for (const Record& record : records) std::visit([this](const auto& r) { put(r); }, record);
    transaction.commit();
  }

  void set_counter(const char* name, std::int64_t value) {
    file.run("UPDATE counters SET value = ? WHERE name = ?", value, name);
  }

  std::vector<AuditRecord> audit(std::size_t limit) {
    SQLite::Statement row(file.db, "SELECT unix_us, what, why, who FROM audit ORDER BY key DESC LIMIT ?");
    row.bind(1, static_cast<std::int64_t>(limit));
    std::vector<AuditRecord> records;
    while (row.executeStep())
      records.push_back({row.getColumn(0).getInt64(), row.getColumn(1).getString(), row.getColumn(2).getString(),
                         row.getColumn(3).getString()});
    return records;
  }

  SqliteFile file;

 private:
  std::int64_t counter(const char* name) {
    SQLite::Statement row(file.db, "SELECT value FROM counters WHERE name = ?");
    row.bind(1, name);
    if (!row.executeStep()) throw Unusable{std::string("it is damaged: the counter ") + name + " is missing"};
    return row.getColumn(0).getInt64();
  }

  void read(Durable& found) {
    SQLite::Statement session(file.db, "SELECT session, ttl_us, lock_delay_us, label FROM sessions");
    while (session.executeStep())
      found.sessions.push_back({number(session.getColumn(0)), session.getColumn(1).getInt64(),
                                session.getColumn(2).getInt64(), session.getColumn(3).getString()});
    SQLite::Statement hold(
        file.db,
        "SELECT session, txn, start, name, mode, count, epoch, counter, since_unix_us, request, item FROM holds");
    while (hold.executeStep())
      found.holds.push_back({number(hold.getColumn(0)),
                             id<TxnId>(hold.getColumn(1)),
                             hold.getColumn(2).getDouble(),
                             hold.getColumn(3).getString(),
                             hold.getColumn(4).getString(),
                             number(hold.getColumn(5)),
                             {number(hold.getColumn(6)), number(hold.getColumn(7))},
                             hold.getColumn(8).getInt64(),
                             number(hold.getColumn(9)),
                             number(hold.getColumn(10))});
  }

  void put(const SessionRecord& r) { bind_and_run(session_, bits(r.session), r.ttl_us, r.lock_delay_us, r.label); }
  void put(const HoldRecord& r) {
    bind_and_run(hold_, r.txn.str(), r.name, bits(r.session), r.start, r.mode, bits(r.count), bits(r.fence.epoch),
                 bits(r.fence.counter), r.since_unix_us, bits(r.request), bits(r.item));
  }
  void put(const HoldGone& r) { bind_and_run(hold_gone_, r.txn.str(), r.name); }
  void put(const TxnGone& r) { bind_and_run(txn_gone_, r.txn.str()); }
  void put(const SessionGone& r) {
    file.run("DELETE FROM holds WHERE session = ?", bits(r.session));
    file.run("DELETE FROM sessions WHERE session = ?", bits(r.session));
  }
  void put(const LongestLease& r) { set_counter("longest_ttl_us", r.ttl_us); }
  void put(const AuditRecord& r) {
    file.run("INSERT INTO audit (unix_us, what, why, who) VALUES (?, ?, ?, ?)", r.unix_us, r.what, r.why, r.by);
  }

  template <class... Values>
  static void bind_and_run(SQLite::Statement& statement, const Values&... values) {
    statement.reset();
    SQLite::bind(statement, values...);
    statement.exec();
  }

  // Prepared once: these are in the way of every grant.
  SQLite::Statement session_{file.db, "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)"};
  SQLite::Statement hold_{file.db, "INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"};
  SQLite::Statement hold_gone_{file.db, "DELETE FROM holds WHERE txn = ? AND name = ?"};
  SQLite::Statement txn_gone_{file.db, "DELETE FROM holds WHERE txn = ?"};
};

LockState::LockState(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
LockState::LockState(LockState&&) noexcept = default;
LockState& LockState::operator=(LockState&&) noexcept = default;
LockState::~LockState() = default;

Result<LockState> LockState::open(const std::filesystem::path& file) {
  return SqliteFile::open(file, kind, [&] { return LockState(std::make_unique<Impl>(file)); });
}

Result<LockState::Start> LockState::start(bool journal) {
  return impl_->file.guarded("starting", [&] { return impl_->start(journal); });
}
Result<void> LockState::write(std::span<const Record> records) {
  return impl_->file.guarded("writing the journal", [&] { impl_->write(records); });
}
Result<void> LockState::stopped(bool clean) {
  return impl_->file.guarded("stopping", [&] { impl_->set_counter("clean", clean ? 1 : 0); });
}
Result<std::vector<AuditRecord>> LockState::audit(std::size_t limit) const {
  return impl_->file.guarded("reading the audit", [&] { return impl_->audit(limit); });
}

}  // namespace gordian::store
