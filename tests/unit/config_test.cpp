// Layered options: which layer wins, and what is said about bad input.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "config/duration.hpp"
#include "config/options.hpp"

using namespace gordian::config;
using namespace std::chrono_literals;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A small program's settings, with everything around it put back at the end.
struct Program {
  std::string policy = "youngest";
  std::chrono::milliseconds lease = 5s;
  std::chrono::microseconds publish_after = 100ms;
  std::uint64_t history_rows = 1000;
  double weight_locks = 1;
  bool degraded_ok = false;
  std::string conninfo;
  std::vector<std::string> peers;
  Options options{"prog", "1.2.3", "A program."};
  std::filesystem::path file = std::filesystem::temp_directory_path() / ("config_test." + std::to_string(getpid()));

  Program() {
    options.add("policy", policy, "who must go", one_of({"youngest", "oldest"}));
    options.add("lease", lease, "how long", between(10ms, 1h));
    options.add("publish_after", publish_after, "how old");
    options.add("history_rows", history_rows, "how many", between(1, 10'000));
    options.add("weight_locks", weight_locks, "weight");
    options.add("degraded_ok", degraded_ok, "whether");
    options.add("conninfo", conninfo, "where");
    options.add("peer", peers, "who else", [](const std::string& peer) {
      return contains(peer, "=") ? std::string() : "\"" + peer + "\" was given, expected NAME=WHERE";
    });
  }
  ~Program() {
    std::filesystem::remove(file);
    for (const char* name : {"GORDIAN_POLICY", "GORDIAN_LEASE", "GORDIAN_CONFIG"}) unsetenv(name);
  }
  Outcome parse_file(const std::string& content, std::vector<std::string> more = {}) {
    std::ofstream(file) << content;
    more.insert(more.begin(), {"--config", file.string()});
    return options.parse(more);
  }
};

}  // namespace

TEST_CASE("a flag goes before the environment, that before the file, that before the default") {
  Program p;
  CHECK(!p.options.parse({}).exit_code);
  CHECK(p.policy == "youngest");
  CHECK(p.lease == 5s);

  SUBCASE("file over default") {
    CHECK(!p.parse_file("policy = \"oldest\"\nlease = \"200ms\"\npublish_after = 0\nweight_locks = 2\n"
                        "history_rows = 7\ndegraded_ok = true\n")
               .exit_code);
    CHECK(p.policy == "oldest");
    CHECK(p.lease == 200ms);
    CHECK(p.publish_after == 0ms);
    CHECK(p.weight_locks == 2);
    CHECK(p.history_rows == 7);
    CHECK(p.degraded_ok);
  }
  SUBCASE("environment over file") {
    setenv("GORDIAN_LEASE", "3s", 1);
    CHECK(!p.parse_file("lease = \"200ms\"").exit_code);
    CHECK(p.lease == 3s);
  }
  SUBCASE("flag over environment") {
    setenv("GORDIAN_LEASE", "3s", 1);
    CHECK(!p.parse_file("lease = \"200ms\"", {"--lease", "4s"}).exit_code);
    CHECK(p.lease == 4s);
  }
  SUBCASE("the file named by the environment") {
    std::ofstream(p.file) << "lease = \"200ms\"";
    setenv("GORDIAN_CONFIG", p.file.c_str(), 1);
    CHECK(!p.options.parse({}).exit_code);
    CHECK(p.lease == 200ms);
  }
}

TEST_CASE("a boolean is a flag that also takes a value") {
  Program p;
  CHECK(!p.options.parse({"--degraded-ok"}).exit_code);
  CHECK(p.degraded_ok);
  CHECK(!p.options.parse({"--degraded-ok=false"}).exit_code);
  CHECK(!p.degraded_ok);
}

TEST_CASE("a list: a flag that is repeated, an array in the file, commas in the environment") {
  using List = std::vector<std::string>;
  Program p;
  CHECK(!p.options.parse({"--peer", "a=1", "--peer=b=2", "--peer", "c=3,d=4"}).exit_code);
  CHECK(p.peers == List{"a=1", "b=2", "c=3", "d=4"});
  CHECK(!p.parse_file("peer = [\"x=1\", \"y=2\"]").exit_code);
  CHECK(p.peers == List{"x=1", "y=2"});
  setenv("GORDIAN_PEER", "e=1, f=2", 1);
  const auto shown = p.parse_file("peer = [\"x=1\"]", {"--print-config"});
  CHECK(contains(shown.out, "peer = \"e=1, f=2\"  # environment GORDIAN_PEER"));
  unsetenv("GORDIAN_PEER");
  CHECK(!p.parse_file("peer = \"e=1, f=2\"").exit_code);
  CHECK(p.peers == List{"e=1", "f=2"});
  CHECK(contains(p.options.parse({"--peer", "a=1", "--peer", "b"}).err, "--peer: \"b\" was given, expected NAME=WHERE"));
  CHECK(contains(p.parse_file("peer = [1]").err, "peer: array was given, expected an array of strings"));
}

TEST_CASE("a bad file is refused with file, line, key and what was expected") {
  Program p;
  const std::string path = p.file.string();
  const auto refused = [&](const std::string& content, const std::string& place, const std::string& expected) {
    const Outcome outcome = p.parse_file(content);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.out.empty());
    CHECK(contains(outcome.err, path + place));
    CHECK(contains(outcome.err, expected));
  };
  refused("\nleese = \"1s\"\n", ":2: unknown key \"leese\"", "expected one of: policy, lease");
  refused("\n\nlease = 5\n", ":3: lease: integer was given", "expected a duration");
  refused("policy = 3", ":1: policy: integer", "expected a string");
  refused("history_rows = -1", ":1: history_rows", "not negative");
  refused("history_rows = \"x\"", ":1: history_rows: string", "expected a whole number");
  refused("policy = \"eldest\"", ":1: policy: \"eldest\"", "expected one of: youngest, oldest");
  refused("lease = \"5\"", ":1: lease: \"5\" is not a duration", "\"100ms\"");
  refused("lease = \"1ms\"", ":1: lease", "expected 10ms to 1h");
  refused("lease = \"1500us\"\nlease = \"1s\"", ":2", "TOML");
  refused("lease = \"10500us\"", ":1: lease", "whole milliseconds");
  refused("lease = ", ":1", "TOML");
  refused("[policy]\nx = 1", ":1: policy: table", "expected a string");
  CHECK(p.policy == "youngest");
  CHECK(p.options.parse({"--config", path + ".absent"}).exit_code == 2);
}

TEST_CASE("bad flags and variables end with 2 and name their source") {
  Program p;
  CHECK(p.options.parse({"--no-such-thing"}).exit_code == 2);
  CHECK(contains(p.options.parse({"--no-such-thing"}).err, "--help"));
  CHECK(p.options.parse({"--lease"}).exit_code == 2);
  CHECK(contains(p.options.parse({"--lease", "soon"}).err, "prog: --lease: \"soon\""));
  setenv("GORDIAN_POLICY", "", 1);
  CHECK(contains(p.options.parse({}).err, "GORDIAN_POLICY: \"\" was given"));
}

TEST_CASE("--check-config says ok or what is wrong; settings are checked together last") {
  Program p;
  CHECK(p.options.parse({"--check-config"}).out == "ok\n");
  CHECK(p.options.parse({"--check-config"}).exit_code == 0);
  p.options.check([&] { return p.lease > 10s ? std::string("lease is too long") : std::string(); });
  CHECK(p.options.parse({"--check-config", "--lease", "20s"}).exit_code == 2);
  CHECK(contains(p.options.parse({"--check-config", "--lease", "20s"}).err, "prog: lease is too long"));
}

TEST_CASE("--print-config can be read back, and says where each value came from") {
  Program p;
  setenv("GORDIAN_POLICY", "oldest", 1);
  const Outcome printed =
      p.parse_file("weight_locks = 0.25\n", {"--lease", "1500ms", "--conninfo", "a\"b\\c\nd", "--print-config"});
  REQUIRE(printed.exit_code == 0);
  CHECK(contains(printed.out, "policy = \"oldest\"  # environment GORDIAN_POLICY"));
  CHECK(contains(printed.out, "lease = \"1500ms\"  # flag --lease"));
  CHECK(contains(printed.out, "weight_locks = 0.25  # file " + p.file.string() + ":1"));
  CHECK(contains(printed.out, "history_rows = 1000  # default"));
  Program again;
  CHECK(!again.parse_file(printed.out).exit_code);
  CHECK(again.lease == 1500ms);
  CHECK(again.weight_locks == 0.25);
  CHECK(again.conninfo == "a\"b\\c\nd");
}

TEST_CASE("--help and --version") {
  Program p;
  const Outcome help = p.options.parse({"--help"});
  CHECK(help.exit_code == 0);
  for (const char* part : {"--publish-after", "100ms", "how old", "--check-config", "GORDIAN_"})
    CHECK(contains(help.out, part));
  CHECK(p.options.parse({"--version"}).out == "prog 1.2.3\n");
}

TEST_CASE("durations") {
  CHECK(parse_duration("0") == 0us);
  CHECK(parse_duration("100ms") == 100ms);
  CHECK(parse_duration("2s") == 2s);
  CHECK(parse_duration("15min") == 15min);
  for (const char* bad : {"", "5", "-1s", "1.5s", "s", "1 s", "1sec", "99999999999999999h", "0x"})
    CHECK(!parse_duration(bad));
  for (const auto us : {0us, 1us, 1500us, 100000us, 2000000us, 90000000us, 7200000000us})
    CHECK(parse_duration(to_text(us)) == us);
}

TEST_CASE("passwords are not shown") {
  CHECK(without_password("host=a password=secret user=b") == "host=a password=*** user=b");
  CHECK(without_password("password = 'it''s \\' x' user=b").find("it") == std::string::npos);
  CHECK(without_password("postgresql://u:secret@h:5432/d?x=1") == "postgresql://u:***@h:5432/d?x=1");
  CHECK(without_password("postgresql://u@h:5432/d") == "postgresql://u@h:5432/d");
  CHECK(without_password("tcp://127.0.0.1:7410") == "tcp://127.0.0.1:7410");
  CHECK(without_password("postgresql://h/d?password=s&x=1") == "postgresql://h/d?password=***&x=1");
}
