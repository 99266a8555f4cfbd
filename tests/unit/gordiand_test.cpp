// The recorder: what agents report comes out as a trace that the replay's reader takes.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "gordiand/members.hpp"
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
            const char* resource, std::uint32_t need = 0) {
    Wait wait{TxnId(waiter), std::move(blockers), resource, "X"};
    wait.need = need;
    recorder.applied({SiteId(site), wire::WaitChange{sequence, std::move(wait)}});
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

TEST_CASE("who is queued ahead is recorded as such, and how many are needed; of a wait for all, who gives a lock back is left out") {
  Recording r;
  r.wait("a", 1, "T1", {{TxnId("T2"), Kind::soft}, hard("T1")}, "row");
  r.wait("a", 1, "T1", {{TxnId("T2"), Kind::soft}, hard("T3")}, "row");
  r.wait("a", 1, "T1", {{TxnId("T2"), Kind::dotted}}, "row");
  r.wait("a", 2, "T4", {{TxnId("T5"), Kind::dotted}, {TxnId("T6"), Kind::dotted}}, "quorum", 1);
  CHECK(r.lines() == std::vector<std::string>{
                         R"({"op":"wait","txn":"T1","for":[],"behind":["T2"],"site":"a","resource":"row","mode":"X"})",
                         R"({"op":"wait","txn":"T1","for":["T3"],"behind":["T2"],"site":"a","resource":"row","mode":"X"})",
                         R"({"op":"unwait","txn":"T1","site":"a","resource":"row"})",
                         R"({"op":"wait","txn":"T4","for":["T5","T6"],"site":"a","resource":"quorum","need":1,"kind":"dotted","mode":"X"})",
                     });
}

TEST_CASE("groups are recorded as holders, and a deadlock through them is found again by the replay") {
  Recording r;
  const auto group = [&](const char* site, std::uint64_t number, std::vector<TxnId> members) {
    r.recorder.applied({SiteId(site), wire::GroupChange{GroupHandle{number}, "row", "X", std::move(members)}});
  };
  const auto wait_for = [&](const char* site, std::uint64_t sequence, const char* waiter, std::vector<GroupHandle> groups) {
    r.recorder.applied({SiteId(site), wire::WaitChange{sequence, Wait{TxnId(waiter), {}, "row", "S", "", {}, std::move(groups)}}});
  };
  group("a", 1, {TxnId("1"), TxnId("2")});
  group("a", 2, {});
  wait_for("a", 7, "3", {GroupHandle{1}, GroupHandle{2}});
  wait_for("a", 8, "3", {GroupHandle{1}});  // a second wait for the same
  r.end("a", 8);
  r.recorder.applied({SiteId("a"), wire::LeaveChange{GroupHandle{1}, TxnId("1")}});
  r.recorder.applied({SiteId("a"), wire::JoinChange{GroupHandle{1}, TxnId("4")}});
  r.recorder.applied({SiteId("a"), wire::JoinChange{GroupHandle{9}, TxnId("4")}});
  r.wait("b", 1, "4", {hard("3")}, "j");
  const auto lines = r.lines();
  CHECK(lines == std::vector<std::string>{
                     R"({"op":"holders","site":"a","resource":"row [X]","txns":["1","2"]})",
                     R"({"op":"holders","site":"a","resource":"row [X]#2","txns":[]})",
                     R"({"op":"wait","txn":"3","site":"a","resource":"row [X]","mode":"S"})",
                     R"({"op":"wait","txn":"3","site":"a","resource":"row [X]#2","mode":"S"})",
                     R"({"op":"holders","site":"a","resource":"row [X]","txns":["2","4"]})",
                     R"({"op":"wait","txn":"4","for":["3"],"site":"b","resource":"j","mode":"X"})",
                 });
  std::ifstream in(r.file);
  const auto replayed = trace::replay(in, r.file.string());
  REQUIRE(replayed.incidents.size() == 1);
  CHECK(replayed.incidents[0].victims == std::vector{TxnId("4")});

  r.end("a", 7);
  r.recorder.applied({SiteId("a"), wire::EndGroupChange{GroupHandle{1}}});
  r.recorder.site_gone(SiteId("a"));
  group("a", 1, {TxnId("5")});
  const auto after = r.lines();
  CHECK(std::vector(after.begin() + 6, after.end()) ==
        std::vector<std::string>{
            R"({"op":"unwait","txn":"3","site":"a","resource":"row [X]"})",
            R"({"op":"unwait","txn":"3","site":"a","resource":"row [X]#2"})",
            R"({"op":"lost","site":"a"})",
            R"({"op":"holders","site":"a","resource":"row [X]","txns":["5"]})",
        });
}

TEST_CASE("a wait that names blockers and a group is two waits in the trace, and loses one of them") {
  Recording r;
  r.recorder.applied({SiteId("a"), wire::GroupChange{GroupHandle{1}, "k", "", {TxnId("1")}}});
  const auto change = [&](std::vector<Blocker> blockers, std::vector<GroupHandle> groups) {
    r.recorder.applied({SiteId("a"), wire::WaitChange{3, Wait{TxnId("9"), std::move(blockers), "k", "X", "", {}, std::move(groups)}}});
  };
  change({hard("2")}, {GroupHandle{1}});
  change({}, {GroupHandle{1}});
  change({hard("3")}, {});
  CHECK(r.lines() == std::vector<std::string>{
                         R"({"op":"holders","site":"a","resource":"k","txns":["1"]})",
                         R"({"op":"wait","txn":"9","for":["2"],"site":"a","resource":"k#3","mode":"X"})",
                         R"({"op":"wait","txn":"9","site":"a","resource":"k","mode":"X"})",
                         R"({"op":"unwait","txn":"9","site":"a","resource":"k#3"})",
                         R"({"op":"wait","txn":"9","for":["3"],"site":"a","resource":"k#3","mode":"X"})",
                         R"({"op":"unwait","txn":"9","site":"a","resource":"k"})",
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

TEST_CASE("every member makes the same map of the same list, with or without itself in it") {
  const auto a = member_map({"a", {"c=tcp://h:3", "b=tcp://h:2"}, "tcp://h:1", "", 4});
  REQUIRE(a.has_value());
  CHECK(a->version == 4);
  REQUIRE(a->members.size() == 3);
  CHECK(a->members[0] == wire::Member{"a", "tcp://h:1"});
  CHECK(*a == member_map({"b", {"a=tcp://h:1", "b=tcp://h:2", "c=tcp://h:3"}, "tcp://0.0.0.0:2", "", 4}));
  CHECK(*a == member_map({"c", {"b=tcp://h:2", "a=tcp://h:1"}, "tcp://*:3", "tcp://h:3", 4}));
  CHECK(member_map({"", {}, "tcp://h:1", "", 1})->members.empty());
}

TEST_CASE("a list of members that cannot be used says what is wrong") {
  const auto wrong = [](const MemberSettings& settings) {
    const auto map = member_map(settings);
    REQUIRE_FALSE(map.has_value());
    return map.error();
  };
  CHECK(wrong({"", {"b=tcp://h:2"}, "tcp://h:1"}).find("give the one they know it by with --member") != std::string::npos);
  CHECK(wrong({"a", {"b"}, "tcp://h:1"}) == "peer: \"b\" was given, expected NAME=ENDPOINT such as b=tcp://10.0.0.2:7410");
  CHECK(wrong({"a", {"b=h:2"}, "tcp://h:1"}) == "peer b: \"h:2\" was given, expected tcp://ADDRESS:PORT or ipc:///PATH");
  CHECK(wrong({"a", {"b=tcp://h:2", "b=tcp://h:3"}, "tcp://h:1"}) == "peer: b was given twice");
  CHECK(wrong({"a", {"b=tcp://h:2", "c=tcp://h:2"}, "tcp://h:1"}) == "peer: b and c have one endpoint, tcp://h:2");
  CHECK(wrong({"a", {"b=tcp://h:2"}, "tcp://127.0.0.1:*"}).starts_with("advertise: others cannot reach"));
  CHECK(wrong({"a", {"a=tcp://h:1", "b=tcp://h:2"}, "tcp://*:1", "tcp://g:1"}).starts_with("advertise: \"tcp://g:1\""));
  CHECK(wrong({"a b", {"b=tcp://h:2"}, "tcp://h:1"}).starts_with("member: \"a b\" was given"));
  MemberSettings many{"m", {}, "tcp://h:1"};
  for (int i = 0; i < 64; ++i) many.peers.push_back("p" + std::to_string(i) + "=tcp://h:" + std::to_string(i + 2));
  CHECK(wrong(many) == "peer: 65 members, at most 64 may share a graph");
  many.peers.pop_back();
  CHECK(member_map(many).has_value());
}
