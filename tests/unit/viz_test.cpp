// Pictures: what is in them, and that every text reaches the SVG as it is, whatever Graphviz means by it.
#include <doctest/doctest.h>

#include <random>

#include "incidents.hpp"
#include "text/text.hpp"
#include "viz/dot.hpp"
#include "viz/picture.hpp"
#include "viz/svg.hpp"

using namespace gordian;
using namespace gordian::viz;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// What a person reads in the SVG: the content of its text elements, entities replaced, one per line.
std::string read(const std::string& svg) {
  std::string text;
  for (std::size_t at = 0; (at = svg.find("<text", at)) != std::string::npos;) {
    std::size_t begin = svg.find('>', at) + 1;
    at = svg.find("</text>", begin);
    while (begin < at) {
      if (svg[begin] != '&') {
        text += svg[begin++];
        continue;
      }
      const std::size_t end = svg.find(';', begin);
      const std::string entity = svg.substr(begin + 1, end - begin - 1);
      if (entity == "amp")
        text += '&';
      else if (entity == "lt")
        text += '<';
      else if (entity == "gt")
        text += '>';
      else if (entity == "quot")
        text += '"';
      else
        text += entity == "#160" ? ' ' : static_cast<char>(std::stoi(entity.substr(1)));
      begin = end + 1;
    }
    text += '\n';
  }
  return text;
}

std::string svg_of(const Picture& picture) {
  auto svg = to_svg(picture);
  if (!svg) FAIL(svg.error() << "\n" << to_dot(picture));
  return *std::move(svg);
}

coordinator::WaitView wait(const char* waiter, std::vector<Blocker> blockers, const char* site, const char* resource) {
  static std::uint64_t sequence = 0;
  return {{SiteId(site), 1, ++sequence}, Wait{TxnId(waiter), std::move(blockers), resource, "X", "", {}}, 5};
}

/// The lines as "T1>r waits cycle", for comparison.
std::vector<std::string> lines(const Picture& picture) {
  std::vector<std::string> result;
  for (const auto& line : picture.lines) {
    const std::string txn = picture.txns[line.txn].name,
                      resource = picture.sites[line.site].resources[line.resource].name;
    result.push_back((line.type == Picture::Line::Type::waits ? txn + ">" + resource : resource + ">" + txn) +
                     (line.kind == Kind::soft     ? " soft"
                      : line.kind == Kind::dotted ? " dotted"
                                                  : "") +
                     (line.cycle ? " cycle" : ""));
  }
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace

TEST_CASE("an incident shows its sites, transactions, lines and victim") {
  const Picture picture = draw(test::crossing_incident());
  REQUIRE(picture.sites.size() == 2);
  CHECK(picture.sites[0].name == "berlin");
  CHECK(picture.sites[1].resources.at(0).name == "transaction 901");
  CHECK(picture.sites[1].resources.at(0).modes == "ShareLock");
  CHECK(lines(picture) == std::vector<std::string>{"shop-16>transaction 742 cycle", "shop-17>transaction 901 cycle",
                                                   "transaction 742>shop-17 cycle", "transaction 901>shop-16 cycle"});
  REQUIRE(picture.txns.size() == 2);
  CHECK(!picture.txns[0].victim);
  CHECK(picture.txns[1].victim);
  CHECK(picture.txns[1].label == "orders");
  const std::string seen = read(svg_of(picture));
  for (const char* part :
       {"Deadlock 7-12", "resolved in 4.2 ms", "shop-17 is the youngest", "victim", "waits 3.2 s (ShareLock)",
        "held by", "UPDATE account SET balance = balance + 10 WHERE id = 1", "berlin", "billing"})
    CHECK_MESSAGE(contains(seen, part), seen);
}

TEST_CASE("only the cycle is red; those who queue behind it, soft and dotted lines look different") {
  coordinator::GraphView graph;
  graph.txns = {{TxnId("idle"), TxnInfo{}, false}, {TxnId("T1"), TxnInfo{}, true}};
  graph.waits = {
      wait("T1", {{TxnId("T2"), Kind::hard}}, "a", "r"), wait("T2", {{TxnId("T1"), Kind::hard}}, "b", "r"),
      wait("T3", {{TxnId("T2"), Kind::hard}, {TxnId("T1"), Kind::soft}, {TxnId("T3"), Kind::hard}}, "a", "r"),
      wait("T4", {{TxnId("T5"), Kind::dotted}}, "a", "")};
  const Picture picture = draw(graph);
  CHECK(picture.txns.size() == 5);  // "idle" is left out
  CHECK(picture.txns[0].victim);
  CHECK(lines(picture) == std::vector<std::string>{"(unnamed)>T5 dotted", "T1>r cycle", "T2>r cycle", "T3>r",
                                                   "T4>(unnamed)", "r>T1 cycle", "r>T1 soft", "r>T2 cycle"});
  const std::string dot = to_dot(picture);
  CHECK(contains(dot, "style=dashed"));
  CHECK(contains(dot, "style=dotted"));
  CHECK(contains(read(svg_of(picture)), "5 transactions, 4 waits"));
}

TEST_CASE("a group's members are drawn once, however many wait for them; one that converts beside a reader is no cycle") {
  const auto for_group = [](const char* waiter, std::uint64_t group) {
    auto view = wait(waiter, {}, "a", "r");
    view.wait.groups = {GroupHandle{group}};
    return view;
  };
  coordinator::GraphView graph;
  graph.waits = {for_group("T1", 7), for_group("T3", 7), for_group("T9", 8)};
  graph.groups = {{SiteId("a"), GroupHandle{7}, "r", "S", {TxnId("T1"), TxnId("T2")}, 2},
                  {SiteId("a"), GroupHandle{8}, "r", "U", {TxnId("T9")}, 5}};
  CHECK(lines(draw(graph)) == std::vector<std::string>{"T1>r", "T3>r", "T9>r", "r>T1", "r>T2", "r>T9"});
  CHECK(draw(graph).sites[0].resources[0].modes == "X, held by 4 more");
  graph.waits.push_back(for_group("T2", 7));
  CHECK(lines(draw(graph)) ==
        std::vector<std::string>{"T1>r cycle", "T2>r cycle", "T3>r", "T9>r", "r>T1 cycle", "r>T2 cycle", "r>T9"});
  CHECK(contains(read(svg_of(draw(graph))), "held by (S)"));
}

TEST_CASE("nobody waits") { CHECK(contains(read(svg_of(draw(coordinator::GraphView{}))), "nobody waits")); }

TEST_CASE("a picture too large to lay out is refused; its DOT is not") {
  coordinator::GraphView graph;
  for (int i = 0; i < 600; ++i)
    graph.waits.push_back(
        wait(std::to_string(i).c_str(), {{TxnId(std::to_string(i + 1)), Kind::hard}}, "a", std::to_string(i).c_str()));
  const auto svg = to_svg(draw(graph));
  REQUIRE(!svg);
  CHECK(contains(svg.error(), "1200 lines"));
  CHECK(contains(to_dot(draw(graph)), "txn600"));
}

TEST_CASE("nasty texts come through Graphviz as they are") {
  const std::string_view pieces[] = {"\"",       "\\", "\\n",   "\\N",   "\\G", "\\\"", "\n", "<",      ">",  "<b>",
                                     "</table>", "&",  "&amp;", "&#10;", "]]>", "-->",  "'",  ";",      "}",  "{|}",
                                     "\xff",     "ü",  "\x01",  "漢",    "a",   " ",    "%s", "label=", "//", "#"};
  std::mt19937 random(42);
  const auto nasty = [&] {
    std::string text;
    for (auto n = 1 + random() % 6; n > 0; --n) text += pieces[random() % std::size(pieces)];
    return text + "z";  // not only white space
  };
  for (int round = 0; round < 150; ++round) {
    coordinator::Incident incident = test::crossing_incident();
    const std::string txn = nasty(), site = nasty(), resource = nasty(), mode = nasty(), detail = nasty(),
                      label = nasty(), why = nasty();
    incident.why = why;
    incident.txns[0].txn = incident.edges[0].waiter = incident.edges[1].blocker = TxnId(txn);
    incident.txns[0].info.label = label;
    incident.edges[0].wait.site = SiteId(site);
    incident.edges[0].resource = resource;
    incident.edges[0].mode = mode;
    incident.edges[0].detail = detail;
    const Picture picture = draw(incident);
    const std::string svg = svg_of(picture), seen = read(svg);
    for (const auto& text : {txn, site, resource, mode, detail, label, why}) {
      const std::string expected = text::shortened(text, 60);
      CHECK_MESSAGE(contains(seen, expected), expected << "\nin\n" << seen);
    }
    REQUIRE(picture.lines.size() == 4);
    CHECK(contains(svg, "</svg>"));
  }
}
