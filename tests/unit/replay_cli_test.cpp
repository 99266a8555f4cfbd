// `gordian replay`: texts, exit codes, several files.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/replay.hpp"

using gordian::cli::ReplayOptions;
using gordian::cli::run_replay;

namespace {

/// A directory of traces that goes with the test.
struct Traces {
  std::filesystem::path folder;

  Traces() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gordian-replay-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    folder = pattern;
  }
  ~Traces() { std::filesystem::remove_all(folder); }
  Traces(const Traces&) = delete;
  Traces& operator=(const Traces&) = delete;

  std::string write(const std::string& name, std::string text) const {
    std::ranges::replace(text, '\'', '"');
    std::ofstream(folder / name) << text;
    return (folder / name).string();
  }
};

struct Run {
  std::string out;
  std::string err;
  int exit_code;
};
Run run(const ReplayOptions& options) {
  std::ostringstream out;
  std::ostringstream err;
  const auto exit_code = run_replay(options, out, err);
  return {out.str(), err.str(), exit_code};
}

constexpr auto crossing =
    "{'op':'wait','txn':'1','for':['2'],'resource':'k1'}\n"
    "{'op':'wait','txn':'2','for':['1'],'site':'b'}\n";

}  // namespace

TEST_CASE("incidents are printed with their cycle and the reason; nothing found is said too") {
  const Traces traces;
  const auto cross = traces.write("cross", crossing);
  const auto calm = traces.write("calm", "{'op':'wait','txn':'1','for':['2']}\n");
  const auto ran = run({.files = {cross, calm}});
  CHECK(ran.out == cross + ":2: deadlock 1, victim 2\n" +
                       "  cycle       1 -> 2 [site 0, k1] -> 1 [site b]\n"
                       "  deadlocked  1, 2\n"
                       "  why         2 is the youngest of the 2 that wait for each other (policy youngest)\n" +
                       calm + ": no deadlock\n");
  CHECK(ran.err.empty());
  CHECK(ran.exit_code == 0);
}

TEST_CASE("as JSON: one object per incident and line, nothing else") {
  const Traces traces;
  const auto ran = run({.format = ReplayOptions::Format::json,
                        .policy = gordian::detect::Policy::oldest,
                        .files = {traces.write("cross", crossing), traces.write("calm", "")}});
  CHECK(ran.out == R"({"incident":1,"line":2,"victims":["1"],"deadlocked":["1","2"],"reorder":[],"cycle":[)"
                   R"({"waiter":"1","blocker":"2","site":"0","resource":"k1","kind":"hard"},)"
                   R"({"waiter":"2","blocker":"1","site":"b","resource":"","kind":"hard"}],"policy":"oldest"})"
                   "\n");
  CHECK(ran.exit_code == 0);
}

TEST_CASE("a reorder is printed, and what kind of wait an edge is") {
  const Traces traces;
  const auto file = traces.write("queue",
                                 "{'op':'wait','txn':'1','for':['2'],'resource':'a'}\n"
                                 "{'op':'wait','txn':'2','for':[],'behind':['1'],'resource':'b'}\n");
  CHECK(run({.files = {file}}).out == file + ":2: deadlock 1, nobody is aborted\n" +
                                          "  cycle       1 -> 2 [site 0, a] -> 1 [site 0, b, soft]\n"
                                          "  reorder     2 before 1 [site 0, b]\n"
                                          "  deadlocked  1, 2\n"
                                          "  why         nobody needs to go: 2 need not wait behind 1 in the queue "
                                          "(policy youngest)\n");
  CHECK(run({.format = ReplayOptions::Format::json, .files = {file}}).out ==
        R"({"incident":1,"line":2,"victims":[],"deadlocked":["1","2"],)"
        R"("reorder":[{"waiter":"2","behind":"1","site":"0","resource":"b"}],"cycle":[)"
        R"({"waiter":"1","blocker":"2","site":"0","resource":"a","kind":"hard"},)"
        R"({"waiter":"2","blocker":"1","site":"0","resource":"b","kind":"soft"}],"policy":"youngest"})"
        "\n");
}

TEST_CASE("check: failed expectations are named, the other files still run, exit 1") {
  const Traces traces;
  const auto wrong = traces.write("wrong", std::string(crossing) + "{'op':'expect','victims':['1']}\n");
  const auto right = traces.write("right", std::string(crossing) + "{'op':'expect','victims':['2']}\n");
  const auto both = run({.check = true, .files = {wrong, right}});
  CHECK(both.out == wrong + ":3: victims: expected {1}, found {2} (missing {1}, extra {2})\n1 of 2 traces hold\n");
  CHECK(both.exit_code == 1);
  const auto fine = run({.check = true, .files = {right}});
  CHECK(fine.out == "1 of 1 traces hold\n");
  CHECK(fine.exit_code == 0);
  CHECK(run({.files = {wrong}}).exit_code == 0);  // without check, expectations are not compared
}

TEST_CASE("malformed files and a missing one are reported, the others run, exit 2 comes before 1") {
  const Traces traces;
  const auto bad = traces.write("bad", "{'op':'go'}\n");
  const auto some = traces.write("some", "{'op':'wait','txn':'1','resource':'k','need':'any'}\n");
  const auto wrong = traces.write("wrong", std::string(crossing) + "{'op':'expect','victims':[]}\n");
  const auto missing = (traces.folder / "missing").string();
  const auto ran = run({.check = true, .files = {bad, some, missing, traces.folder.string(), wrong}});
  CHECK(ran.exit_code == 2);
  CHECK(ran.err.find(bad + ":1: found unknown operation \"go\", expected one of mode, begin") != std::string::npos);
  CHECK(ran.err.find(some + ":1: found \"need\": \"any\" without \"for\", expected") != std::string::npos);
  CHECK(ran.err.find(missing + ": found no file that can be opened, expected a wait-for trace\n") != std::string::npos);
  CHECK(ran.err.find(traces.folder.string() + ":1: found nothing that can be read, expected a file\n") !=
        std::string::npos);
  CHECK(ran.out == wrong + ":3: victims: expected {}, found {2} (extra {2})\n0 of 5 traces hold\n");
}

TEST_CASE("check as JSON: one object per file") {
  const Traces traces;
  const auto wrong = traces.write("wrong", std::string(crossing) + "{'op':'expect','victims':['1'],'incidents':1}\n");
  const auto bad = traces.write("bad", "{}\n");
  const auto ran = run({.check = true, .format = ReplayOptions::Format::json, .files = {wrong, bad}});
  CHECK(ran.out ==
        "{\"file\":\"" + wrong +
            "\",\"holds\":false,\"failed\":[{\"line\":3,\"key\":\"victims\",\"expected\":[\"1\"],\"found\":"
            "[\"2\"]}]}\n{\"file\":\"" +
            bad + "\",\"holds\":false,\"failed\":[],\"error\":\"" + bad +
            ":1: found no \\\"op\\\", expected one of mode, begin, wait, holders, unwait, end, lost, detect, "
            "expect\"}\n");
}

TEST_CASE("control characters in ids do not reach the terminal") {
  const Traces traces;
  const auto file = traces.write("bell",
                                 "{'op':'wait','txn':'\\u001b[2J','for':['2']}\n"
                                 "{'op':'wait','txn':'2','for':['\\u001b[2J']}\n");
  const auto out = run({.files = {file}}).out;
  CHECK(out.find('\x1b') == std::string::npos);
  CHECK(out.find("\\x1b[2J") != std::string::npos);
}
