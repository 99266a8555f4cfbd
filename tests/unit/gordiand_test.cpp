// The recorder: what agents report comes out as a trace that the replay's reader takes.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "gordiand/recorder.hpp"
#include "incidents.hpp"
#include "trace/replay.hpp"

using namespace gordian;
using namespace gordian::gordiand;
namespace fs = std::filesystem;

namespace {

struct Recording {
  fs::path file = fs::temp_directory_path() / ("gordiand_test." + std::to_string(getpid()));
  Recorder recorder = create();

  ~Recording() {
    for (const char* suffix : {"", ".previous"}) fs::remove(file.string() + suffix);
  }
  Recorder create() const {
    auto made = Recorder::create(file, "youngest");
    if (!made) FAIL(made.error());
    return *std::move(made);
  }
  void wait(const char* site, std::uint64_t sequence, const char* waiter, std::vector<Blocker> blockers,
            const char* resource) {
    recorder.applied(
        {SiteId(site), wire::WaitChange{sequence, Wait{TxnId(waiter), std::move(blockers), resource, "X"}}});
  }
  void end(const char* site, std::uint64_t sequence) {
    recorder.applied({SiteId(site), wire::EndWaitChange{sequence}});
  }
  /// The lines after the heading.
  std::vector<std::string> lines() {
    CHECK(recorder.flush());
    std::ifstream in(file);
    std::vector<std::string> result;
    for (std::string line; std::getline(in, line);) result.push_back(line);
    result.erase(result.begin(), result.begin() + 2);
    return result;
  }
};

Blocker hard(const char* txn) { return {TxnId(txn), Kind::hard}; }

}  // namespace

TEST_CASE("a recorded deadlock is found again by the replay") {
  Recording r;
  r.recorder.applied({SiteId("a"), wire::TxnChange{TxnId("T1"), TxnInfo{.start = 2.0, .label = "shop"}}});
  r.recorder.applied({SiteId("b"), wire::TxnChange{TxnId("T1"), TxnInfo{.start = 1.0, .locks = 3}}});
  r.recorder.applied({SiteId("b"), wire::TxnChange{TxnId("T2"), TxnInfo{.start = 5.0}}});
  r.wait("a", 1, "T1", {hard("T2")}, "row");
  r.wait("b", 1, "T2", {hard("T1")}, "row");
  r.recorder.incident(test::crossing_incident());
  CHECK(r.recorder.flush());
  std::ifstream in(r.file);
  const auto replayed = trace::replay(in, r.file.string());
  REQUIRE(replayed.incidents.size() == 1);
  CHECK(replayed.incidents[0].victims == std::vector{TxnId("T2")});
}

TEST_CASE("two waits of one transaction for one resource stay two") {
  Recording r;
  r.wait("a", 1, "T1", {hard("T2")}, "row");
  r.wait("a", 2, "T1", {hard("T3")}, "row");
  r.wait("a", 1, "T1", {hard("T4")}, "row");
  r.end("a", 1);
  r.end("a", 2);
  r.end("a", 2);
  CHECK(r.lines() == std::vector<std::string>{
                         R"({"op":"wait","txn":"T1","for":["T2"],"site":"a","resource":"row","mode":"X"})",
                         R"({"op":"wait","txn":"T1","for":["T3"],"site":"a","resource":"row#2","mode":"X"})",
                         R"({"op":"wait","txn":"T1","for":["T4"],"site":"a","resource":"row","mode":"X"})",
                         R"({"op":"unwait","txn":"T1","site":"a","resource":"row"})",
                         R"({"op":"unwait","txn":"T1","site":"a","resource":"row#2"})",
                     });
}

TEST_CASE("what the detector leaves out is not recorded") {
  Recording r;
  r.wait("a", 1, "T1", {{TxnId("T2"), Kind::soft}, hard("T1")}, "row");
  CHECK(r.lines().empty());
  r.wait("a", 1, "T1", {{TxnId("T2"), Kind::soft}, hard("T3")}, "row");
  r.wait("a", 1, "T1", {{TxnId("T2"), Kind::dotted}}, "row");
  CHECK(r.lines() == std::vector<std::string>{
                         R"({"op":"wait","txn":"T1","for":["T3"],"site":"a","resource":"row","mode":"X"})",
                         R"({"op":"unwait","txn":"T1","site":"a","resource":"row"})",
                     });
}

TEST_CASE("a site that is gone takes its waits with it") {
  Recording r;
  r.wait("a", 1, "T1", {hard("T2")}, "row");
  r.recorder.site_gone(SiteId("a"));
  r.end("a", 1);
  r.wait("a", 1, "T1", {hard("T2")}, "row");
  const auto lines = r.lines();
  REQUIRE(lines.size() == 3);
  CHECK(lines[1] == R"({"op":"lost","site":"a"})");
  CHECK(lines[2] == lines[0]);
}

TEST_CASE("an earlier recording is kept, and a place that cannot be written is refused") {
  Recording r;
  r.wait("a", 1, "T1", {hard("T2")}, "row");
  CHECK(r.recorder.flush());
  const auto size = fs::file_size(r.file);
  r.recorder = r.create();
  CHECK(fs::file_size(r.file.string() + ".previous") == size);
  CHECK(r.lines().empty());
  CHECK(!Recorder::create(r.file / "below", "youngest"));
}
