#include "store/history.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "store/sqlite_file.hpp"

namespace gordian::store {
namespace {

using coordinator::Incident;
using coordinator::IncidentEdge;
using coordinator::IncidentTxn;

constexpr const char* schema = R"sql(
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('epoch', 0);
CREATE TABLE sites (site TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE incidents (
  key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL, number INTEGER NOT NULL,
  found_unix_us INTEGER NOT NULL, outcome INTEGER NOT NULL, policy TEXT NOT NULL, why TEXT NOT NULL,
  confirm_us INTEGER NOT NULL, resolve_us INTEGER NOT NULL);
CREATE INDEX incidents_by_age ON incidents (epoch, number);
CREATE TABLE victims (
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE, place INTEGER NOT NULL, txn TEXT NOT NULL,
  PRIMARY KEY (incident, place)) WITHOUT ROWID;
CREATE TABLE txns (
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE, place INTEGER NOT NULL, txn TEXT NOT NULL,
  victim INTEGER NOT NULL, start REAL, priority REAL NOT NULL, locks REAL NOT NULL, work REAL NOT NULL,
  restarts REAL NOT NULL, class INTEGER NOT NULL, label TEXT NOT NULL,
  PRIMARY KEY (incident, place)) WITHOUT ROWID;
CREATE TABLE edges (
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE, place INTEGER NOT NULL,
  waiter TEXT NOT NULL, blocker TEXT NOT NULL, site TEXT NOT NULL, incarnation INTEGER NOT NULL,
  sequence INTEGER NOT NULL, resource TEXT NOT NULL, mode TEXT NOT NULL, detail TEXT NOT NULL, age_ms REAL NOT NULL,
  kind INTEGER NOT NULL DEFAULT 0, reordered INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (incident, place)) WITHOUT ROWID;
CREATE TABLE steps (
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE, place INTEGER NOT NULL,
  after_us INTEGER NOT NULL, what TEXT NOT NULL, PRIMARY KEY (incident, place)) WITHOUT ROWID;
)sql";
constexpr FileKind kind{"history", 0x47524449 /* "GRDI" */, 2, schema,
                        "ALTER TABLE edges ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;"
                        "ALTER TABLE edges ADD COLUMN reordered INTEGER NOT NULL DEFAULT 0"};

/// SQLite has no NaN: it would come back as NULL.
double storable(double value) { return std::isnan(value) ? 0 : value; }

/// Reads what belongs to one incident after the other; its statements are prepared once.
class PartsReader {
 public:
  explicit PartsReader(SQLite::Database& db)
      : victim_(db, "SELECT txn FROM victims WHERE incident = ? ORDER BY place"),
        txn_(db,
             "SELECT txn, victim, start, priority, locks, work, restarts, class, label "
             "FROM txns WHERE incident = ? ORDER BY place"),
        edge_(db,
              "SELECT waiter, blocker, site, incarnation, sequence, resource, mode, detail, age_ms, kind, "
              "reordered "
              "FROM edges WHERE incident = ? ORDER BY place"),
        step_(db, "SELECT after_us, what FROM steps WHERE incident = ? ORDER BY place") {}

  void read(Incident& incident, std::int64_t key) {
    each(victim_, key, [&] { incident.victims.push_back(id<TxnId>(victim_.getColumn(0))); });
    each(txn_, key, [&] { incident.txns.push_back(txn()); });
    each(edge_, key, [&] { incident.edges.push_back(edge()); });
    each(step_, key, [&] {
      incident.steps.push_back({step_.getColumn(0).getInt64(), step_.getColumn(1).getString()});
    });
  }

 private:
  template <class Row>
  static void each(SQLite::Statement& statement, std::int64_t key, Row row) {
    statement.reset();
    statement.bind(1, key);
    while (statement.executeStep()) row();
  }

  IncidentTxn txn() {
    IncidentTxn member{id<TxnId>(txn_.getColumn(0)), {}, txn_.getColumn(1).getInt() != 0};
    TxnInfo& info = member.info;
    if (!txn_.getColumn(2).isNull()) info.start = txn_.getColumn(2).getDouble();
    info.priority = txn_.getColumn(3).getDouble();
    info.locks = txn_.getColumn(4).getDouble();
    info.work = txn_.getColumn(5).getDouble();
    info.restarts = txn_.getColumn(6).getDouble();
    info.victim_class = txn_.getColumn(7).getInt() == 0 ? TxnInfo::Class::normal : TxnInfo::Class::never;
    info.label = txn_.getColumn(8).getString();
    return member;
  }

  IncidentEdge edge() {
    return {id<TxnId>(edge_.getColumn(0)),
            id<TxnId>(edge_.getColumn(1)),
            WaitId{id<SiteId>(edge_.getColumn(2)), number(edge_.getColumn(3)), number(edge_.getColumn(4))},
            edge_.getColumn(5).getString(),
            edge_.getColumn(6).getString(),
            edge_.getColumn(7).getString(),
            edge_.getColumn(8).getDouble(),
            static_cast<Kind>(std::clamp(edge_.getColumn(9).getInt(), 0, 2)),
            edge_.getColumn(10).getInt() != 0};
  }

  SQLite::Statement victim_, txn_, edge_, step_;
};

}  // namespace

class History::Impl {
 public:
  Impl(const std::filesystem::path& file, std::size_t incidents_max)
      : incidents_max_(std::max<std::size_t>(incidents_max, 1)), file_(file, kind) {
    incidents_ = static_cast<std::size_t>(db_.execAndGet("SELECT count(*) FROM incidents").getInt64());
  }

  template <class Work>
  auto guarded(const char* doing, Work work) const {
    return file_.guarded(doing, work);
  }

  std::uint64_t next_epoch() {
    return file_.raise_counter("epoch", 1 + number(db_.execAndGet("SELECT coalesce(max(epoch), 0) FROM incidents")));
  }

  void put(const Incident& incident) {
    SQLite::Transaction transaction(db_, SQLite::TransactionBehavior::IMMEDIATE);
    SQLite::Statement old(db_, "DELETE FROM incidents WHERE id = ?");
    old.bind(1, incident.id);
    const bool replaced = old.exec() > 0;
    file_.run(
        "INSERT INTO incidents (id, epoch, number, found_unix_us, outcome, policy, why, confirm_us, "
        "resolve_us) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        incident.id, bits(incident.epoch), bits(incident.number), incident.found_unix_us,
        static_cast<int>(incident.outcome), incident.policy, incident.why, incident.confirm_us, incident.resolve_us);
    put_parts(incident, db_.getLastInsertRowid());
    std::size_t count = incidents_ + (replaced ? 0 : 1);
    if (count > incidents_max_) {
      file_.run("DELETE FROM incidents WHERE key IN (SELECT key FROM incidents ORDER BY epoch, number LIMIT ?)",
                static_cast<std::int64_t>(count - incidents_max_));
      count = incidents_max_;
    }
    transaction.commit();
    incidents_ = count;
  }

  std::vector<Incident> list(std::size_t limit, const std::optional<std::string>& only) {
    SQLite::Statement row(db_,
                          "SELECT key, id, epoch, number, found_unix_us, outcome, policy, why, confirm_us, resolve_us "
                          "FROM incidents WHERE ?1 IS NULL OR id = ?1 ORDER BY epoch DESC, number DESC LIMIT ?2");
    if (only) row.bind(1, *only);
    row.bind(2, bits(std::min<std::uint64_t>(limit, std::numeric_limits<std::int64_t>::max())));
    PartsReader parts(db_);
    std::vector<Incident> incidents;
    while (row.executeStep()) {
      Incident incident;
      incident.id = row.getColumn(1).getString();
      incident.epoch = number(row.getColumn(2));
      incident.number = number(row.getColumn(3));
      incident.found_unix_us = row.getColumn(4).getInt64();
      const int outcome = row.getColumn(5).getInt();
      if (outcome < 0 || outcome > static_cast<int>(Incident::Outcome::dissolved))
        throw Unusable{"it is damaged: incident " + incident.id + " has outcome " + std::to_string(outcome)};
      incident.outcome = static_cast<Incident::Outcome>(outcome);
      incident.policy = row.getColumn(6).getString();
      incident.why = row.getColumn(7).getString();
      incident.confirm_us = row.getColumn(8).getInt64();
      incident.resolve_us = row.getColumn(9).getInt64();
      parts.read(incident, row.getColumn(0).getInt64());
      incidents.push_back(std::move(incident));
    }
    return incidents;
  }

  void remember(const SiteId& site) { file_.run("INSERT OR IGNORE INTO sites VALUES (?)", site.str()); }
  void forget(const SiteId& site) { file_.run("DELETE FROM sites WHERE site = ?", site.str()); }

  std::vector<SiteId> sites() {
    std::vector<SiteId> sites;
    SQLite::Statement row(db_, "SELECT site FROM sites ORDER BY site");
    while (row.executeStep()) sites.push_back(id<SiteId>(row.getColumn(0)));
    return sites;
  }

 private:
  void put_parts(const Incident& incident, std::int64_t key) {
    std::int64_t place = 0;
    for (const auto& victim : incident.victims)
      file_.run("INSERT INTO victims VALUES (?, ?, ?)", key, place++, victim.str());
    for (const auto& [txn, info, victim] : incident.txns) {
      SQLite::Statement row(db_, "INSERT INTO txns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
      SQLite::bind(row, key, place++, txn.str(), victim ? 1 : 0, 0.0, storable(info.priority), storable(info.locks),
                   storable(info.work), storable(info.restarts), static_cast<int>(info.victim_class), info.label);
      if (info.start) {
        row.bind(5, storable(*info.start));
      } else {
        row.bind(5);  // NULL
      }
      row.exec();
    }
    for (const auto& edge : incident.edges)
      file_.run("INSERT INTO edges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", key, place++, edge.waiter.str(),
                edge.blocker.str(), edge.wait.site.str(), bits(edge.wait.incarnation), bits(edge.wait.sequence),
                edge.resource, edge.mode, edge.detail, storable(edge.age_ms), static_cast<int>(edge.kind),
                edge.reordered ? 1 : 0);
    for (const auto& step : incident.steps)
      file_.run("INSERT INTO steps VALUES (?, ?, ?, ?)", key, place++, step.after_us, step.what);
  }

  std::size_t incidents_max_;
  SqliteFile file_;
  SQLite::Database& db_ = file_.db;
  std::size_t incidents_ = 0;
};

History::History(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
History::History(History&&) noexcept = default;
History& History::operator=(History&&) noexcept = default;
History::~History() = default;

Result<History> History::open(const std::filesystem::path& file, std::size_t incidents_max) {
  return SqliteFile::open(file, kind, [&] { return History(std::make_unique<Impl>(file, incidents_max)); });
}

Result<std::uint64_t> History::next_epoch() {
  return impl_->guarded("raising the epoch", [&] { return impl_->next_epoch(); });
}
Result<void> History::put(const Incident& incident) {
  return impl_->guarded("storing an incident", [&] { impl_->put(incident); });
}
Result<std::vector<Incident>> History::list(std::size_t limit, const std::optional<std::string>& id) const {
  return impl_->guarded("reading incidents", [&] { return impl_->list(limit, id); });
}
Result<void> History::remember(const SiteId& site) {
  return impl_->guarded("storing a site", [&] { impl_->remember(site); });
}
Result<void> History::forget(const SiteId& site) {
  return impl_->guarded("forgetting a site", [&] { impl_->forget(site); });
}
Result<std::vector<SiteId>> History::sites() const {
  return impl_->guarded("reading the sites", [&] { return impl_->sites(); });
}

}  // namespace gordian::store
