// The incident history: what is put in comes out, the oldest go, and no foreign file is touched.
#include <doctest/doctest.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <filesystem>
#include <fstream>
#include <limits>

#include "incidents.hpp"
#include "store/history.hpp"

using namespace gordian;
using namespace gordian::store;
using coordinator::Incident;
namespace fs = std::filesystem;

namespace {

/// A directory of one test case.
struct Directory {
  fs::path path = fs::temp_directory_path() / ("store_test." + std::to_string(getpid()));
  Directory() { fs::create_directories(path); }
  ~Directory() { fs::remove_all(path); }
};

History open(const fs::path& file, std::size_t incidents_max = History::default_incidents_max) {
  auto history = History::open(file, incidents_max);
  if (!history) FAIL(history.error().message);
  return *std::move(history);
}

std::string content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void check_refused_untouched(const fs::path& file, const std::string& expected) {
  const std::string before = content(file);
  const auto history = History::open(file);
  REQUIRE(!history);
  INFO(history.error().message);
  CHECK(history.error().message.find(file.string()) != std::string::npos);
  CHECK(history.error().message.find(expected) != std::string::npos);
  CHECK(content(file) == before);
}

Incident numbered(std::uint64_t epoch, std::uint64_t number) {
  Incident incident;
  incident.epoch = epoch;
  incident.number = number;
  incident.id = std::to_string(epoch) + "-" + std::to_string(number);
  return incident;
}

}  // namespace

TEST_CASE("an incident comes back as it was, after a restart") {
  Directory dir;
  Incident incident = test::crossing_incident();
  incident.epoch = std::numeric_limits<std::uint64_t>::max();
  incident.txns.push_back({TxnId(std::string("\0\xff'\"\n", 5)), TxnInfo{}, false});
  incident.edges[0].wait.sequence = std::numeric_limits<std::uint64_t>::max();
  incident.edges[0].detail = std::string("SELECT '\0\x80'", 11);
  REQUIRE(open(dir.path / "h.db").put(incident));
  const auto listed = open(dir.path / "h.db").list(10);
  REQUIRE(listed);
  REQUIRE(listed->size() == 1);
  test::check_equal(listed->front(), incident);
}

TEST_CASE("an incident that evolves is one row") {
  Directory dir;
  History history = open(dir.path / "h.db");
  Incident incident = test::crossing_incident();
  incident.outcome = Incident::Outcome::resolving;
  incident.steps.clear();
  REQUIRE(history.put(incident));
  REQUIRE(history.put(test::crossing_incident()));
  const auto listed = history.list(10);
  REQUIRE(listed);
  REQUIRE(listed->size() == 1);
  test::check_equal(listed->front(), test::crossing_incident());
}

TEST_CASE("incidents are listed newest first, with a limit, or one by its id") {
  Directory dir;
  History history = open(dir.path / "h.db");
  for (const auto& [epoch, number] : {std::pair{1, 9}, {2, 1}, {1, 10}, {2, 2}})
    REQUIRE(history.put(numbered(epoch, number)));
  const auto ids = [&](std::size_t limit, std::optional<std::string> id = {}) {
    std::string text;
    const auto listed = history.list(limit, id);
    for (const auto& incident : *listed) text += incident.id + " ";
    return text;
  };
  CHECK(ids(10) == "2-2 2-1 1-10 1-9 ");
  CHECK(ids(std::numeric_limits<std::size_t>::max()) == "2-2 2-1 1-10 1-9 ");
  CHECK(ids(3) == "2-2 2-1 1-10 ");
  CHECK(ids(0).empty());
  CHECK(ids(10, "1-10") == "1-10 ");
  CHECK(ids(10, "1-11").empty());
}

TEST_CASE("beyond the limit the oldest incidents go, with all their parts") {
  Directory dir;
  for (int i = 1; i <= 3; ++i) REQUIRE(open(dir.path / "h.db", 5).put(numbered(1, i)));
  History history = open(dir.path / "h.db", 5);
  Incident whole = test::crossing_incident();
  whole.id = "0-1";
  whole.epoch = 0;
  REQUIRE(history.put(whole));  // the oldest of all, although it was put last
  for (int i = 4; i <= 6; ++i) REQUIRE(history.put(numbered(1, i)));
  const auto listed = history.list(100);
  REQUIRE(listed->size() == 5);
  CHECK(listed->back().id == "1-2");
  REQUIRE(open(dir.path / "h.db", 2).put(numbered(1, 7)));
  CHECK(open(dir.path / "h.db", 2).list(100)->size() == 2);
}

TEST_CASE("every start has a larger epoch, and none is smaller than a stored incident's") {
  Directory dir;
  CHECK(open(dir.path / "h.db").next_epoch() == 1);
  CHECK(open(dir.path / "h.db").next_epoch() == 2);
  REQUIRE(open(dir.path / "h.db").put(numbered(9, 1)));  // the coordinator raised its term while it ran
  CHECK(open(dir.path / "h.db").next_epoch() == 10);
  History one = open(dir.path / "h.db"), other = open(dir.path / "h.db");
  CHECK(one.next_epoch() == 11);
  CHECK(other.next_epoch() == 12);
}

TEST_CASE("known sites are remembered until they are forgotten") {
  Directory dir;
  REQUIRE(open(dir.path / "h.db").remember(SiteId("b")));
  History history = open(dir.path / "h.db");
  REQUIRE(history.remember(SiteId("b")));
  REQUIRE(history.remember(SiteId("a\xff")));
  CHECK(*history.sites() == std::vector{SiteId("a\xff"), SiteId("b")});
  REQUIRE(history.forget(SiteId("b")));
  REQUIRE(history.forget(SiteId("never seen")));
  CHECK(history.sites()->size() == 1);
}

TEST_CASE("a history of the version before: its incidents are kept, and newer ones stored beside them") {
  Directory dir;
  const fs::path file = dir.path / "h.db";
  auto incident = test::crossing_incident();
  incident.edges[0].kind = Kind::soft, incident.edges[0].reordered = true;
  REQUIRE(open(file).put(incident));
  {
    SQLite::Database db(file.string(), SQLite::OPEN_READWRITE);
    db.exec("ALTER TABLE edges DROP COLUMN kind; ALTER TABLE edges DROP COLUMN reordered; PRAGMA user_version = 1");
  }
  auto history = open(file);
  auto kept = history.list(1).value().at(0);
  test::check_equal(kept, test::crossing_incident());  // what version 1 knew of it
  auto newer = incident;
  newer.id = "7-13", newer.number = 13;
  REQUIRE(history.put(newer));
  test::check_equal(open(file).list(1).value().at(0), newer);
}

TEST_CASE("a file that is no sound Gordian history is refused and stays as it is") {
  Directory dir;
  const fs::path file = dir.path / "h.db";
  SUBCASE("text") {
    std::ofstream(file) << std::string(5000, 'x');
    check_refused_untouched(file, "not a SQLite database");
  }
  SUBCASE("another program's database, a newer schema, a broken page") {
    REQUIRE(open(file).put(test::crossing_incident()));
    std::string bytes = content(file);  // closed: the write-ahead log is gone
    REQUIRE(bytes.substr(68, 4) == "GRDI");
    const std::string sound = bytes;
    bytes[68] = 'X';
    std::ofstream(file, std::ios::binary) << bytes;
    check_refused_untouched(file, "not a Gordian history");
    bytes = sound;
    bytes[63] = 3;  // the low byte of user_version
    std::ofstream(file, std::ios::binary) << bytes;
    check_refused_untouched(file, "schema version 3");
    bytes = sound;
    for (std::size_t page = 4096; page + 16 < bytes.size(); page += 4096)
      bytes.replace(page, 16, std::string(16, '\x5a'));
    std::ofstream(file, std::ios::binary) << bytes;
    check_refused_untouched(file, "damaged");
  }
  SUBCASE("a directory, and a directory that does not exist") {
    CHECK(!History::open(dir.path));
    CHECK(!History::open(dir.path / "absent" / "h.db"));
    CHECK(!fs::exists(dir.path / "absent"));
  }
  SUBCASE("an empty file is a new history") {
    std::ofstream{file};
    CHECK(open(file).next_epoch() == 1);
  }
}
