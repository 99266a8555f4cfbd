// The trace reader's grammar: what it takes, what it refuses and in which words; and the writer's lines read back.
#include <doctest/doctest.h>

#include <sstream>

#include "trace/reader.hpp"
#include "trace/writer.hpp"

using namespace gordian;
using namespace gordian::trace;

namespace {

std::vector<Operation> read_all(const std::string& text) {
  std::istringstream in(text);
  Reader reader(in, "t.jsonl");
  std::vector<Operation> operations;
  while (true) {
    auto line = reader.next();
    if (!line) FAIL(to_string(line.error()));
    if (!*line) return operations;
    operations.push_back(std::move((**line).operation));
  }
}

template <class Op>
Op read_one(const std::string& text) {
  auto operations = read_all(text);
  REQUIRE(operations.size() == 1);
  REQUIRE(std::holds_alternative<Op>(operations[0]));
  return std::get<Op>(operations[0]);
}

TraceError refused(const std::string& text) {
  std::istringstream in(text);
  Reader reader(in, "t.jsonl");
  while (true) {
    auto line = reader.next();
    if (!line) return line.error();
    if (!*line) FAIL("nothing was refused in: " << text);
  }
}

/// That the line is malformed, and what is said of it.
void malformed(const std::string& line, const std::string& found, const std::string& expected) {
  CAPTURE(line);
  const auto error = refused(line);
  CHECK(error.kind == TraceError::Kind::malformed);
  CHECK(to_string(error) == "t.jsonl:1: found " + found + ", expected " + expected);
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

}  // namespace

TEST_CASE("every operation is read with all of its keys") {
  const auto mode = read_one<Mode>(R"({"op":"mode","detect":"on_demand","policy":"least_work","coordinators":1})");
  CHECK(mode.on_demand);
  CHECK(mode.policy == detect::Policy::least_work);

  const auto begin = read_one<Begin>(R"({"op":"begin","txn":"1","start":2.5,"priority":-1,"locks":3,"work":4,)"
                                     R"("restarts":5,"class":"never","label":"app \"x\""})");
  CHECK(begin.txn == TxnId("1"));
  CHECK(begin.start == 2.5);
  CHECK(begin.priority == -1);
  CHECK(begin.locks == 3);
  CHECK(begin.work == 4);
  CHECK(begin.restarts == 5);
  CHECK(begin.victim_class == TxnInfo::Class::never);
  CHECK(begin.label == "app \"x\"");
  CHECK_FALSE(read_one<Begin>(R"({"op":"begin","txn":"1"})").victim_class);

  const auto wait = read_one<BeginWait>(
      R"({"op":"wait","txn":"1","for":["2","3"],"site":"s","resource":"k","need":"all","kind":"hard","mode":"X"})");
  CHECK(wait.blockers == std::vector{TxnId("2"), TxnId("3")});
  CHECK(wait.site == SiteId("s"));
  CHECK(wait.resource == "k");
  const auto plain = read_one<BeginWait>(R"({"op":"wait","txn":"1","for":[]})");
  CHECK(plain.site == SiteId("0"));
  CHECK(plain.resource.empty());

  const auto unwait = read_one<EndWait>(R"({"op":"unwait","txn":"1","site":"s","resource":""})");
  CHECK(unwait.site == SiteId("s"));
  CHECK(unwait.resource == "");
  CHECK_FALSE(read_one<EndWait>(R"({"op":"unwait","txn":"1"})").resource);
  CHECK(read_one<EndTxn>(R"({"op":"end","txn":"1"})").txn == TxnId("1"));
  CHECK(read_one<LoseSite>(R"({"op":"lost","site":"s"})").site == SiteId("s"));
  (void)read_one<Detect>(R"({"op":"detect"})");

  const auto expect =
      read_one<Expect>(R"({"op":"expect","victims":["1"],"deadlocked":[],"reorder":false,"incidents":2})");
  CHECK(expect.victims == std::vector{TxnId("1")});
  CHECK(expect.deadlocked == std::vector<TxnId>{});
  CHECK(expect.reorder == false);
  CHECK(expect.incidents == 2);
  CHECK_FALSE(read_one<Expect>(R"({"op":"expect"})").victims);
}

TEST_CASE("comments are skipped, also before the mode line; lines may end in CR LF; the last needs no newline") {
  const auto operations = read_all("# a\n{\"op\":\"mode\"}\r\n#{\n {\"op\":\"detect\"}");
  REQUIRE(operations.size() == 2);
  CHECK(std::holds_alternative<Mode>(operations[0]));
  CHECK(read_all("").empty());
}

TEST_CASE("what is malformed is refused with what was found and what was expected") {
  const std::string ops = "one of mode, begin, wait, holders, unwait, end, lost, detect, expect";
  malformed("  \n", "an empty line", "an operation, or a comment that begins with #");
  malformed("[]", "[]", "an object");
  malformed("{}", "no \"op\"", ops);
  malformed(R"({"op":7})", "\"op\": 7", "a string for \"op\" in \"\"");
  malformed(R"({"op":"abort","txn":"1"})", "unknown operation \"abort\"", ops);
  malformed(R"({"op":"end"})", "no \"txn\" in \"end\"", "it to be there");
  malformed(R"({"op":"end","txn":"1","site":"0"})", "unknown key \"site\" in \"end\"", "one of txn");
  malformed(R"({"op":"detect","now":true})", "unknown key \"now\" in \"detect\"", "no further key");
  malformed(R"({"op":"unwait","txn":"1","need":1})", "unknown key \"need\" in \"unwait\"",
            "one of txn, site, resource");
  malformed(R"({"op":"end","txn":1})", "1 in \"txn\"", "a string of 1 to 128 bytes as id");
  malformed(R"({"op":"end","txn":""})", "an id of 0 bytes in \"txn\"", "1 to 128 bytes");
  malformed(R"({"op":"lost","site":)" + quoted(std::string(129, 's')) + "}", "an id of 129 bytes in \"site\"",
            "1 to 128 bytes");
  malformed(R"({"op":"wait","txn":"1","for":"2"})", "\"for\": \"2\"", "a list of transactions for \"for\" in \"wait\"");
  malformed(R"({"op":"wait","txn":"1","for":["2",3]})", "3 in \"for\"", "a string of 1 to 128 bytes as id");
  malformed(R"({"op":"wait","txn":"1","for":["2"],"resource":5})", "\"resource\": 5",
            "a string for \"resource\" in \"wait\"");
  malformed(R"({"op":"wait","txn":"1","for":["2"],"kind":"soft"})", "\"kind\": \"soft\"",
            "\"hard\" or \"dotted\" for \"kind\" in \"wait\"");
  malformed(R"({"op":"wait","txn":"1","for":["2"],"need":0})", "\"need\": 0", "at least 1 for \"need\" in \"wait\"");
  malformed(R"({"op":"wait","txn":"1","for":["2"],"need":2})", "\"need\": 2",
            "at most 1, the number of blockers, for \"need\" in \"wait\"");
  malformed(R"({"op":"wait","txn":"1","for":["2"],"need":1.0})", "\"need\": 1.0",
            "\"all\", \"any\" or an integer for \"need\" in \"wait\"");
  malformed(R"({"op":"wait","txn":"1","for":["2"],"need":"some"})", "\"need\": \"some\"",
            "\"all\", \"any\" or an integer for \"need\" in \"wait\"");
  malformed(R"({"op":"wait","txn":"1","for":["2"],"behind":["3"],"need":"any"})", "\"behind\" with \"need\": \"any\"",
            "\"need\": \"all\"");
  malformed(R"({"op":"wait","txn":"1","need":true})", "\"need\": true",
            "\"all\", \"any\" or an integer for \"need\" in \"wait\"");
  malformed(R"({"op":"begin","txn":"1","start":"2"})", "\"start\": \"2\"", "a number for \"start\" in \"begin\"");
  malformed(R"({"op":"begin","txn":"1","locks":true})", "\"locks\": true", "a number for \"locks\" in \"begin\"");
  malformed(R"({"op":"begin","txn":"1","class":"admin"})", "\"class\": \"admin\"",
            "\"normal\" or \"never\" for \"class\" in \"begin\"");
  malformed(R"({"op":"begin","txn":"1","start":1e999})", "a number out of range", "one that fits a double");
  malformed(R"({"op":"mode","detect":"always"})", "\"detect\": \"always\"",
            "\"continuous\" or \"on_demand\" for \"detect\" in \"mode\"");
  malformed(R"({"op":"mode","policy":"newest"})", "\"policy\": \"newest\"",
            "one of " + detect::policy_names() + " for \"policy\" in \"mode\"");
  malformed(R"({"op":"mode","coordinators":0})", "\"coordinators\": 0",
            "an integer from 1 to 64 for \"coordinators\" in \"mode\"");
  malformed(R"({"op":"mode","coordinators":65})", "\"coordinators\": 65",
            "an integer from 1 to 64 for \"coordinators\" in \"mode\"");
  malformed(R"({"op":"holders","txns":[]})", "no \"resource\" in \"holders\"", "it to be there");
  malformed(R"({"op":"holders","resource":"k","txns":[1]})", "1 in \"txns\"", "a string of 1 to 128 bytes as id");
  malformed(R"({"op":"holders","resource":7,"txns":[]})", "\"resource\": 7", "a string for \"resource\" in \"holders\"");
  malformed(R"({"op":"expect","victims":"1"})", "\"victims\": \"1\"",
            "a list of transactions for \"victims\" in \"expect\"");
  malformed(R"({"op":"expect","reorder":0})", "\"reorder\": 0", "true or false for \"reorder\" in \"expect\"");
  malformed(R"({"op":"expect","incidents":-1})", "\"incidents\": -1", "a whole number for \"incidents\" in \"expect\"");
  malformed(R"({"op":"end","txn":"1","txn":"2"})", "key \"txn\" twice", "each key once");
  malformed(R"({"op":"end","txn":{"id":{}}})", "a value nested deeper than a list",
            "an object of plain values and lists");
  malformed("\xEF\xBB\xBF{\"op\":\"detect\"}", "a byte order mark", "a line that begins with { or #");
  CHECK(refused(R"({"op":"detect"} {"op":"detect"})").message.starts_with("found no JSON at byte 17 (syntax error"));
  CHECK(refused(R"({"op":"det)").message.starts_with("found no JSON at byte 11 (syntax error"));
  CHECK(refused("{\"op\":\"end\",\"txn\":\"\xff\"}").message.find("ill-formed UTF-8 byte") != std::string::npos);
  CHECK(refused(R"({"op":"end","txn":"\ud800"})").message.ends_with("expected one JSON object"));
  CHECK(refused("detect").kind == TraceError::Kind::malformed);
}

TEST_CASE("need, kind and behind say which wait model it is; self and repetitions are no blockers") {
  const auto need = [](const std::string& line) { return read_one<BeginWait>(line).need; };
  CHECK(need(R"({"op":"wait","txn":"1","for":["2","3"]})") == graph::need_all);
  CHECK(need(R"({"op":"wait","txn":"1","for":["2","3"],"need":"all"})") == graph::need_all);
  CHECK(need(R"({"op":"wait","txn":"1","for":["2","3"],"need":2})") == graph::need_all);
  CHECK(need(R"({"op":"wait","txn":"1","for":["1","2","2"],"need":1})") == graph::need_all);
  CHECK(need(R"({"op":"wait","txn":"1","for":["2","3","4"],"need":2})") == 2);
  CHECK(need(R"({"op":"wait","txn":"1","for":["2","3"],"need":"any"})") == 1);
  CHECK(need(R"({"op":"wait","txn":"1","for":["2"],"need":"any"})") == graph::need_all);
  CHECK(need(R"({"op":"wait","txn":"1","for":[],"need":"any"})") == graph::need_all);
  CHECK(need(R"({"op":"wait","txn":"1","need":"all","behind":["2"]})") == graph::need_all);
  CHECK(need(R"({"op":"wait","txn":"1","for":["2","3"],"need":"any","behind":[]})") == 1);

  const auto behind = read_one<BeginWait>(R"({"op":"wait","txn":"1","for":["2"],"kind":"dotted","behind":["3","4"]})");
  CHECK(behind.kind == Kind::dotted);
  CHECK(behind.behind == std::vector{TxnId("3"), TxnId("4")});
  CHECK_FALSE(behind.for_holders);
  CHECK(read_one<BeginWait>(R"({"op":"wait","txn":"1","behind":["3"]})").for_holders);
  CHECK(read_one<Mode>(R"({"op":"mode","coordinators":64})").coordinators == 64);
  CHECK(read_one<Mode>(R"({"op":"mode"})").coordinators == 1);
}

TEST_CASE("what goes with `for` is refused without it, and a partial need with a queue") {
  malformed(R"({"op":"wait","txn":"1","for":["2","3"],"behind":["4"],"need":1})", "\"behind\" with \"need\": 1",
            "\"need\": \"all\"");
  malformed(R"({"op":"wait","txn":"1","resource":"k","need":"any"})", "\"need\": \"any\" without \"for\"",
            "\"for\", of which so many are needed; all holders always are");
  malformed(R"({"op":"wait","txn":"1","resource":"k","need":99999999999})", "\"need\": 99999999999 without \"for\"",
            "\"for\", of which so many are needed; all holders always are");
  malformed(R"({"op":"wait","txn":"1","resource":"k","kind":"dotted"})", "\"kind\": \"dotted\" without \"for\"",
            "\"for\", whose kind it is; holders are hard");
}

TEST_CASE("errors name the line they are in, comments counted") {
  const auto error = refused("# one\n{\"op\":\"detect\"}\n{\"op\":\"mode\"}\n");
  CHECK(to_string(error) == "t.jsonl:3: found \"mode\" after other operations, expected it as the first operation");
  CHECK(refused("# one\n{\"op\":\"mode\"}\n{\"op\":\"mode\"}\n").line == 3);
}

TEST_CASE("a line may be 16 MiB long, and not a byte longer") {
  const std::string fits = "#" + std::string(Reader::line_bytes_max - 1, 'x');
  CHECK(read_all(fits + "\n{\"op\":\"detect\"}").size() == 1);
  CHECK(to_string(refused(fits + "x\n")) == "t.jsonl:1: found a longer line, expected at most 16777216 bytes");
}

TEST_CASE("a line of nothing but brackets is refused without taking memory for each") {
  const auto error = refused("{\"op\":" + std::string(1'000'000, '['));
  CHECK(error.message == "found a value nested deeper than a list, expected an object of plain values and lists");
}

TEST_CASE("what the writer writes is what the reader reads") {
  const std::vector<TxnId> holders{TxnId("t \"quoted\" \\ \n \x01"), TxnId("größe-✓")};
  const SiteId site("site\t1");
  const TxnInfo info{.start = 1.25,
                     .priority = -2,
                     .locks = 3,
                     .work = 0.1,
                     .restarts = 4,
                     .victim_class = TxnInfo::Class::never,
                     .label = "psql \"x\""};
  const auto begin = read_one<Begin>(begin_line(holders[0], info));
  CHECK(begin.txn == holders[0]);
  CHECK(begin.start == info.start);
  CHECK(begin.priority == info.priority);
  CHECK(begin.locks == info.locks);
  CHECK(begin.work == info.work);
  CHECK(begin.restarts == info.restarts);
  CHECK(begin.victim_class == info.victim_class);
  CHECK(begin.label == info.label);
  CHECK(begin_line(TxnId("1"), {}) == "{\"op\":\"begin\",\"txn\":\"1\"}\n");

  const auto wait = read_one<BeginWait>(
      wait_line({.txn = TxnId("w"), .holders = holders, .site = site, .resource = "a\"b\u20ac", .mode = "X"}));
  CHECK(wait.txn == TxnId("w"));
  CHECK(wait.blockers == holders);
  CHECK(wait.site == site);
  CHECK(wait.resource == "a\"b\u20ac");

  const auto for_holders = read_one<BeginWait>(wait_line({.txn = TxnId("w"), .holders = {}, .for_holders = true, .site = site, .resource = "k"}));
  CHECK(for_holders.for_holders);
  CHECK(for_holders.blockers.empty());
  const auto held = read_one<Holders>(holders_line(site, "k\xff", holders));
  CHECK(held.txns == holders);
  CHECK(held.site == site);
  CHECK(held.resource == "k\\xff");
  CHECK(read_one<Holders>(R"({"op":"holders","resource":"","txns":[]})").site == SiteId("0"));

  const auto unwait = read_one<EndWait>(unwait_line(holders[0], site, ""));
  CHECK(unwait.txn == holders[0]);
  CHECK(unwait.site == site);
  CHECK(unwait.resource == "");
  CHECK(read_one<EndTxn>(end_line(holders[1])).txn == holders[1]);
  CHECK(read_one<LoseSite>(lost_line(site)).site == site);
}

TEST_CASE("the writer says need, behind and dotted as the reader reads them") {
  const std::vector<TxnId> holders{TxnId("2"), TxnId("5"), TxnId("6")};
  const std::vector<TxnId> ahead{TxnId("3")};
  const auto behind =
      wait_line({.txn = TxnId("1"), .holders = {}, .behind = ahead, .site = SiteId("0"), .resource = "k"});
  CHECK(behind == "{\"op\":\"wait\",\"txn\":\"1\",\"for\":[],\"behind\":[\"3\"],\"site\":\"0\",\"resource\":\"k\"}\n");
  CHECK(read_one<BeginWait>(behind).behind == ahead);
  const auto some = read_one<BeginWait>(wait_line({.txn = TxnId("1"),
                                                   .holders = holders,
                                                   .need = 2,
                                                   .dotted = true,
                                                   .site = SiteId("0"),
                                                   .resource = {}}));
  CHECK(some.blockers == holders);
  CHECK(some.need == 2);
  CHECK(some.kind == Kind::dotted);
}

TEST_CASE("ids that are not UTF-8 are written readably, differ where the bytes differ, and fit") {
  const TxnId long_one(std::string(127, '\xff') + "a");
  const TxnId other(std::string(127, '\xff') + "b");
  const auto a = read_one<EndTxn>(end_line(long_one)).txn;
  const auto b = read_one<EndTxn>(end_line(other)).txn;
  CHECK(a != b);
  CHECK(read_one<EndTxn>(end_line(TxnId("x\xff"))).txn == TxnId("x\\xff"));
}
