// A SQLite file of Gordian's: opened or made, recognised by its kind, with errors that say what to do. For this room's .cpp files.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>
#include <SQLiteCpp/VariadicBind.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "store/error.hpp"

namespace gordian::store {

/// A file that cannot be used, in words; the name of the file is added.
struct Unusable {
  std::string why;
};

/// What tells one kind of file from others.
struct FileKind {
  const char* name;  ///< such as "history"
  std::int32_t application_id;
  int schema_version;  ///< PRAGMA user_version; a change of the tables raises it and adds a step
  const char* schema;
  const char* upgrade = nullptr;  ///< what makes a file of the version before one of this version
};

[[nodiscard]] std::string explain(const SQLite::Exception& error);

class SqliteFile {
 public:
  /// Throws Unusable and SQLite::Exception; open() catches them.
  SqliteFile(std::filesystem::path file, const FileKind& kind);

  /// Runs `make`, which constructs an object with a SqliteFile; whatever it throws becomes an error.
  template <class Make>
  static auto open(const std::filesystem::path& file, const FileKind& kind, Make make) -> Result<decltype(make())> {
    const auto refuse = [&](const std::string& why) {
      return tl::unexpected(StoreError{std::string(kind.name) + " " + file.string() + ": " + why});
    };
    std::error_code none;
    if (std::filesystem::is_directory(file, none)) return refuse("it is a directory; name a file");
    try {
      return make();
    } catch (const SQLite::Exception& error) {
      return refuse(explain(error));
    } catch (const Unusable& error) {
      return refuse(error.why);
    }
  }

  /// Runs `work`; whatever it throws becomes an error that names the file.
  template <class Work>
  auto guarded(const char* doing, Work work) const -> Result<decltype(work())> {
    const auto refuse = [&](const std::string& why) {
      return tl::unexpected(StoreError{std::string(kind_.name) + " " + file_.string() + ": " + doing + ": " + why});
    };
    try {
      if constexpr (std::is_void_v<decltype(work())>) {
        work();
        return {};
      } else {
        return work();
      }
    } catch (const SQLite::Exception& error) {
      return refuse(explain(error));
    } catch (const Unusable& error) {
      return refuse(error.why);
    }
  }

  template <class... Values>
  void run(const char* sql, const Values&... values) {
    SQLite::Statement statement(db, sql);
    SQLite::bind(statement, values...);
    statement.exec();
  }
  /// On disk when this returns: counts `name` in the table `counters` up, to at least `least`.
  std::uint64_t raise_counter(const char* name, std::uint64_t least);

 private:
  const std::filesystem::path file_;
  const FileKind kind_;

 public:
  SQLite::Database db;
};

// Ids and texts are opaque bytes, stored as they are. Unsigned 64-bit numbers are stored with the same bits.
inline std::int64_t bits(std::uint64_t number) { return static_cast<std::int64_t>(number); }
inline std::uint64_t number(const SQLite::Column& column) { return static_cast<std::uint64_t>(column.getInt64()); }

template <class IdType>
IdType id(const SQLite::Column& column) {
  auto parsed = IdType::parse(column.getString());
  if (!parsed) throw Unusable{"it is damaged: " + parsed.error()};
  return *std::move(parsed);
}

}  // namespace gordian::store
