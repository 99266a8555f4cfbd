#include "store/sqlite_file.hpp"

#include <sqlite3.h>

namespace gordian::store {
namespace {

// How long a write waits for another program that reads or writes the file.
constexpr int busy_ms = 2'000;

int pragma(SQLite::Database& db, const char* name) { return db.execAndGet(std::string("PRAGMA ") + name).getInt(); }

bool can_upgrade(const FileKind& kind, int version) {
  return kind.upgrade != nullptr && version + 1 == kind.schema_version;
}

/// True if the file is of this kind, false if it is empty. Only reads.
bool recognise(SQLite::Database& db, const FileKind& kind) {
  const bool empty = db.execAndGet("SELECT count(*) FROM sqlite_master").getInt() == 0;
  const int application = pragma(db, "application_id"), version = pragma(db, "user_version");
  if (empty && application == 0 && version == 0) return false;
  if (application != kind.application_id)
    throw Unusable{std::string("it is a SQLite database, but not a Gordian ") + kind.name + "; name another file"};
  if (version != kind.schema_version && !can_upgrade(kind, version))
    throw Unusable{"it has schema version " + std::to_string(version) + ", this program knows " +
                   std::to_string(kind.schema_version) + "; use the Gordian that wrote it, or name another file"};
  const std::string sound = db.execAndGet("PRAGMA quick_check(1)").getString();
  if (sound != "ok")
    throw Unusable{"it is damaged (" + sound + "); move it away, or mend it with sqlite3 and its command .recover"};
  return true;
}

void create(SQLite::Database& db, const FileKind& kind) {
  SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
  db.exec(kind.schema);
  db.exec("PRAGMA application_id = " + std::to_string(kind.application_id));
  db.exec("PRAGMA user_version = " + std::to_string(kind.schema_version));
  transaction.commit();
}

void upgrade(SQLite::Database& db, const FileKind& kind) {
  SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
  if (!can_upgrade(kind, pragma(db, "user_version"))) return;  // it is of this version, or somebody else was faster
  db.exec(kind.upgrade);
  db.exec("PRAGMA user_version = " + std::to_string(kind.schema_version));
  transaction.commit();
}

}  // namespace

std::string explain(const SQLite::Exception& error) {
  switch (error.getErrorCode()) {
    case SQLITE_NOTADB: return "it is not a SQLite database; name another file";
    case SQLITE_CORRUPT:
      return "it is damaged (" + std::string(error.what()) +
             "); move it away, or mend it with sqlite3 and its command .recover";
    case SQLITE_CANTOPEN: return "it cannot be opened or made; its directory must exist and be writable";
    case SQLITE_READONLY: return "it cannot be written; give this user the right to write it";
    case SQLITE_FULL: return "the disk is full";
    case SQLITE_BUSY: return "another program keeps it locked";
    default: return error.what();
  }
}

SqliteFile::SqliteFile(std::filesystem::path file, const FileKind& kind)
    : file_(std::move(file)), kind_(kind), db(file_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, busy_ms) {
  const bool ours = recognise(db, kind_);
  db.exec("PRAGMA journal_mode = WAL");
  db.exec("PRAGMA synchronous = NORMAL");
  db.exec("PRAGMA foreign_keys = ON");
  if (!ours) {
    create(db, kind_);
  } else if (pragma(db, "user_version") != kind_.schema_version) {
    upgrade(db, kind_);
  }
}

std::uint64_t SqliteFile::raise_counter(const char* name, std::uint64_t least) {
  db.exec("PRAGMA synchronous = FULL");  // a term given out twice could let two of them give orders
  SQLite::Statement statement(db, "UPDATE counters SET value = max(value + 1, ?) WHERE name = ? RETURNING value");
  SQLite::bind(statement, bits(least), name);
  if (!statement.executeStep()) throw Unusable{std::string("it is damaged: the counter ") + name + " is missing"};
  const std::uint64_t value = number(statement.getColumn(0));
  statement.executeStep();  // the change is committed when the statement has ended
  statement.reset();
  db.exec("PRAGMA synchronous = NORMAL");
  return value;
}

}  // namespace gordian::store
