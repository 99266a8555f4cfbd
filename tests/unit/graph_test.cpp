// The wait-for graph: scenarios, a differential test against a naive model, and Boost.Graph running on it without a copy.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/graph/depth_first_search.hpp>
#include <boost/graph/graph_concepts.hpp>
#include <boost/graph/graphviz.hpp>
#include <boost/graph/reverse_graph.hpp>
#include <boost/graph/strong_components.hpp>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "graph/boost_adaptor.hpp"
#include "graph/wait_for_graph.hpp"

using namespace gordian;
using namespace gordian::graph;

namespace {

std::vector<TxnId> ids(std::initializer_list<const char*> names) { return {names.begin(), names.end()}; }

WaitSlot begin(WaitForGraph& g, WaitRef ref, const char* waiter, std::initializer_list<const char*> blockers) {
  return g.begin_wait(ref, TxnId(waiter), ids(blockers)).value();
}

std::set<std::string> blockers_of(const WaitForGraph& g, WaitSlot w) {
  std::set<std::string> names;
  for (const auto e : g.edges(w)) names.insert(g.txn(g.target(e)).str());
  return names;
}

/// Three transactions on a ring, two that wait for it, and holes where earlier ones were.
void ring_with_tail(WaitForGraph& g) {
  begin(g, {0, 1}, "gone", {"1", "2", "3"});
  begin(g, {0, 2}, "1", {"2"});
  begin(g, {1, 1}, "2", {"3"});
  begin(g, {2, 1}, "3", {"1"});
  begin(g, {2, 2}, "4", {"3", "5"});
  begin(g, {2, 3}, "5", {"1"});
  g.remove_txn(TxnId("gone"));
}

}  // namespace

TEST_CASE("a transaction is in the graph while it waits or blocks") {
  WaitForGraph g;
  begin(g, {0, 1}, "1", {"2"});
  CHECK(g.vertex_count() == 2);
  CHECK(g.edge_count() == 1);
  CHECK(g.end_wait({0, 1}));
  CHECK_FALSE(g.end_wait({0, 1}));
  CHECK(g.vertex_count() == 0);
  CHECK_FALSE(g.find_txn(TxnId("2")));
  CHECK(g.check_invariants() == "");
}

TEST_CASE("self is never one's own blocker, and a blocker named twice counts once") {
  WaitForGraph g;
  const auto w = begin(g, {0, 1}, "1", {"1", "2", "2", "1"});
  CHECK(blockers_of(g, w) == std::set<std::string>{"2"});
  const auto alone = begin(g, {0, 2}, "3", {"3"});
  CHECK(g.edges(alone).empty());
  CHECK(g.find_txn(TxnId("3")));
  CHECK(g.check_invariants() == "");
}

TEST_CASE("a replaced wait keeps the edges to blockers that are named again") {
  WaitForGraph g;
  const auto w = begin(g, {0, 1}, "1", {"2", "3"});
  const auto before = g.reported(w);
  EdgeSlot to_three = no_slot;
  for (const auto e : g.edges(w))
    if (g.txn(g.target(e)) == TxnId("3")) to_three = e;
  REQUIRE(begin(g, {0, 1}, "1", {"3", "4"}) == w);
  CHECK(g.edge_alive(to_three));
  CHECK(g.txn(g.target(to_three)) == TxnId("3"));
  CHECK(blockers_of(g, w) == std::set<std::string>{"3", "4"});
  CHECK(g.reported(w) > before);
  CHECK_FALSE(g.find_txn(TxnId("2")));
}

TEST_CASE("a sequence taken over by another waiter ends the first wait") {
  WaitForGraph g;
  begin(g, {0, 1}, "1", {"2"});
  const auto w = begin(g, {0, 1}, "3", {"2"});
  CHECK(g.txn(g.waiter(w)) == TxnId("3"));
  CHECK_FALSE(g.find_txn(TxnId("1")));
  CHECK(g.wait_count() == 1);
  CHECK(g.check_invariants() == "");
}

TEST_CASE("sites keep their own waits: the same sequence at two sites, parallel edges, a site that is lost") {
  WaitForGraph g;
  begin(g, {0, 7}, "1", {"2"});
  begin(g, {1, 7}, "1", {"2"});
  CHECK(g.wait_count() == 2);
  CHECK(g.out_edges(*g.find_txn(TxnId("1"))).size() == 2);
  CHECK(g.remove_site(0) == 1);
  CHECK(g.wait_count(0) == 0);
  CHECK(g.wait_count(1) == 1);
  CHECK(g.out_edges(*g.find_txn(TxnId("1"))).size() == 1);
  CHECK(g.remove_site(99) == 0);
  CHECK(g.check_invariants() == "");
}

TEST_CASE("an ended transaction waits for nothing and blocks nobody; the waits for it stay") {
  WaitForGraph g;
  begin(g, {0, 1}, "2", {"3"});
  begin(g, {1, 1}, "2", {"4"});
  const auto w = begin(g, {0, 2}, "1", {"2"});
  CHECK(g.remove_txn(TxnId("2")) == 2);
  CHECK(g.edges(w).empty());
  CHECK(g.vertex_count() == 1);
  CHECK(g.remove_txn(TxnId("2")) == 0);
  CHECK(g.check_invariants() == "");
}

TEST_CASE("a transaction that is held keeps its vertex, and goes with the last hold or the last wait") {
  WaitForGraph g;
  const auto one = g.hold(TxnId("1"));
  CHECK(g.hold(TxnId("1")) == one);
  const HeldBlocker two{g.hold(TxnId("2"))};
  const auto w = g.begin_wait({0, 1}, one, std::span(&two, 1)).value();
  CHECK(blockers_of(g, w) == std::set<std::string>{"2"});
  CHECK(g.find_wait({0, 1}, w) == w);
  CHECK(g.find_wait({0, 1}, no_slot) == w);
  CHECK_FALSE(g.find_wait({0, 2}, w));
  g.let_go(two.txn);
  CHECK(g.find_txn(TxnId("2")));  // it blocks
  g.end_wait(w);
  CHECK_FALSE(g.find_wait({0, 1}, w));
  CHECK_FALSE(g.find_txn(TxnId("2")));
  g.let_go(one);
  CHECK(g.find_txn(TxnId("1")) == one);  // held once more
  CHECK(g.check_invariants() == "");
  g.let_go(one);
  CHECK(g.vertex_count() == 0);
  CHECK(g.check_invariants() == "");
}

TEST_CASE("many look-ups at once find what one at a time does") {
  WaitForGraph g;
  std::vector<TxnId> names;
  for (int i = 0; i < 100; ++i) names.emplace_back("txn " + std::to_string(i % 70));  // some twice
  for (std::uint64_t i = 0; i < 40; ++i) REQUIRE(g.begin_wait({0, i}, names[i], std::span(&names[i + 1], 1)));
  std::vector<const TxnId*> wanted;
  for (const auto& name : names) wanted.push_back(&name);
  std::vector<Vertex> held;
  g.hold(wanted, held);
  REQUIRE(held.size() == names.size());
  for (std::size_t i = 0; i < names.size(); ++i) CHECK(g.find_txn(names[i]) == held[i]);

  std::vector<WaitRef> refs{{5, 1}};  // a site that nobody has heard of
  for (std::uint64_t i = 0; i < 80; ++i) refs.push_back({0, i});
  std::vector<WaitSlot> found;
  g.find_waits(refs, found);
  REQUIRE(found.size() == refs.size());
  for (std::size_t i = 0; i < refs.size(); ++i) CHECK(found[i] == g.find_wait(refs[i]).value_or(no_slot));
  for (const auto v : held) g.let_go(v);
  CHECK(g.vertex_count() == 41);
  CHECK(g.check_invariants() == "");
}

TEST_CASE("a limit refuses the wait and leaves the graph as it was") {
  WaitForGraph g(Limits{.waits = 2, .edges = 3});
  begin(g, {0, 1}, "1", {"2", "3"});
  const auto too_many_edges = g.begin_wait({0, 2}, TxnId("2"), ids({"3", "4"}));
  REQUIRE_FALSE(too_many_edges);
  CHECK(std::string(too_many_edges.error().what) == "edges");
  CHECK(too_many_edges.error().limit == 3);
  begin(g, {0, 2}, "2", {"3"});
  const auto too_many_waits = g.begin_wait({0, 3}, TxnId("9"), ids({}));
  REQUIRE_FALSE(too_many_waits);
  CHECK(std::string(too_many_waits.error().what) == "waits");
  CHECK(g.begin_wait({0, 1}, TxnId("1"), ids({"4", "5"})));  // a replacement needs no further room
  CHECK_FALSE(g.find_txn(TxnId("9")));
  CHECK(g.check_invariants() == "");
}

TEST_CASE("a group stands between those who wait for it and its members, and goes with its site") {
  WaitForGraph g(Limits{.waits = 10, .edges = 4, .groups = 1});
  REQUIRE(g.begin_group({0, 5}));
  CHECK(std::string(g.begin_group({0, 6}).error().what) == "groups");
  CHECK(g.join({0, 5}, TxnId("a")).value());
  CHECK_FALSE(g.join({0, 5}, TxnId("a")).value());
  CHECK(g.join({0, 5}, TxnId("b")).value());
  const std::vector<std::uint64_t> group{5, 5, 6};
  const auto w = g.begin_wait({0, 1}, TxnId("a"), std::span<const TxnId>{}, group).value();
  REQUIRE(g.edges(w).size() == 1);
  CHECK(g.waits_for(w, TxnId("b")));
  CHECK_FALSE(g.waits_for(w, TxnId("a")));  // nobody blocks itself
  CHECK(g.begin_wait({0, 2}, TxnId("c"), std::span<const TxnId>{}, group));
  CHECK(std::string(g.join({0, 5}, TxnId("d")).error().what) == "edges");
  CHECK(g.edge_count() == 4);
  CHECK(g.check_invariants() == "");
  CHECK(g.leave({0, 5}, TxnId("b")));
  CHECK_FALSE(g.leave({0, 5}, TxnId("b")));
  CHECK_FALSE(g.find_txn(TxnId("b")));
  CHECK(g.remove_site(0) == 2);
  CHECK(g.vertex_count() + g.edge_count() + g.group_count() == 0);
  CHECK(g.check_invariants() == "");
}

TEST_CASE("slots are stable while others come and go") {
  WaitForGraph g;
  const auto w = begin(g, {0, 1}, "a", {"b"});
  const auto a = *g.find_txn(TxnId("a"));
  const auto e = g.edges(w)[0];
  const auto* const id = &g.txn(a);
  for (std::uint64_t i = 2; i < 2000; ++i) begin(g, {0, i}, ("t" + std::to_string(i)).c_str(), {"b", "c"});
  for (std::uint64_t i = 2; i < 2000; ++i) g.end_wait({0, i});
  CHECK(g.find_txn(TxnId("a")) == a);
  CHECK(&g.txn(a) == id);
  CHECK(g.find_wait({0, 1}) == w);
  CHECK(g.source(e) == a);
  CHECK(g.wait(e) == w);
  const auto capacity = g.vertex_capacity();
  for (std::uint64_t i = 2; i < 2000; ++i) begin(g, {0, i}, ("u" + std::to_string(i)).c_str(), {"b", "c"});
  CHECK(g.vertex_capacity() == capacity);
  g.clear();
  CHECK(g.vertex_count() + g.edge_count() + g.wait_count() == 0);
  CHECK(g.check_invariants() == "");
}

namespace {

/// The same thing, as simple as it can be said.
struct NaiveGraph {
  struct NaiveWait {
    TxnId waiter;
    std::set<TxnId> blockers;
    std::set<std::uint64_t> groups;
  };
  std::map<WaitRef, NaiveWait> waits;
  std::map<GroupRef, std::set<TxnId>> groups;

  void begin(WaitRef ref, const TxnId& waiter, const std::vector<TxnId>& blockers,
             const std::vector<std::uint64_t>& named) {
    std::set<TxnId> others(blockers.begin(), blockers.end());
    others.erase(waiter);
    std::set<std::uint64_t> standing;
    for (const auto number : named)
      if (groups.contains({ref.site, number})) standing.insert(number);
    waits.insert_or_assign(ref, NaiveWait{waiter, std::move(others), std::move(standing)});
  }
  bool end_group(GroupRef group) {
    for (auto& [ref, wait] : waits)
      if (ref.site == group.site) wait.groups.erase(group.number);
    return groups.erase(group) == 1;
  }
  std::size_t remove_txn(const TxnId& txn) {
    for (auto& [ref, wait] : waits) wait.blockers.erase(txn);
    for (auto& [ref, members] : groups) members.erase(txn);
    return std::erase_if(waits, [&](const auto& item) { return item.second.waiter == txn; });
  }
  std::size_t remove_site(SiteSlot site) {
    std::erase_if(groups, [&](const auto& item) { return item.first.site == site; });
    return std::erase_if(waits, [&](const auto& item) { return item.first.site == site; });
  }
};

void check_same(const WaitForGraph& g, const NaiveGraph& naive) {
  REQUIRE(g.check_invariants() == "");
  REQUIRE(g.wait_count() == naive.waits.size());
  std::set<TxnId> txns;
  std::size_t edge_count = 0;
  for (const auto& [ref, wait] : naive.waits) {
    const auto slot = g.find_wait(ref);
    REQUIRE(slot);
    REQUIRE(g.ref(*slot) == ref);
    REQUIRE(g.txn(g.waiter(*slot)) == wait.waiter);
    std::set<TxnId> blockers;
    std::set<std::uint64_t> groups;
    for (const auto e : g.edges(*slot)) {
      const auto to = g.target(e);
      if (g.is_group(to)) groups.insert(g.group(to).number);
      if (!g.is_group(to)) blockers.insert(g.txn(to));
    }
    REQUIRE(blockers == wait.blockers);
    REQUIRE(groups == wait.groups);
    edge_count += blockers.size() + groups.size();
    txns.insert(wait.waiter);
    txns.insert(blockers.begin(), blockers.end());
  }
  for (const auto& [ref, members] : naive.groups) {
    const auto group = g.find_group(ref);
    REQUIRE(group);
    std::set<TxnId> found;
    for (const auto e : g.out_edges(*group)) found.insert(g.txn(g.target(e)));
    REQUIRE(found == members);
    edge_count += members.size();
    txns.insert(members.begin(), members.end());
  }
  REQUIRE(g.edge_count() == edge_count);
  REQUIRE(g.group_count() == naive.groups.size());
  REQUIRE(g.vertex_count() == txns.size() + naive.groups.size());
}

struct RandomOperations {
  std::mt19937 random;
  WaitForGraph graph;
  NaiveGraph naive;

  explicit RandomOperations(unsigned seed) : random(seed) {}
  unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }
  TxnId txn() { return TxnId("transaction-" + std::to_string(below(24))); }
  WaitRef ref() { return {below(4), below(16)}; }

  void step() {
    const auto dice = below(130);
    if (dice >= 100) {
      change_group(dice);
    } else if (dice < 70) {
      begin_or_replace();
    } else if (dice < 90) {
      const auto at = ref();
      REQUIRE(graph.end_wait(at) == (naive.waits.erase(at) == 1));
    } else if (dice < 98) {
      const auto gone = txn();
      REQUIRE(graph.remove_txn(gone) == naive.remove_txn(gone));
    } else {
      const auto site = below(4);
      REQUIRE(graph.remove_site(site) == naive.remove_site(site));
    }
  }

  void change_group(unsigned dice) {
    const GroupRef group{below(4), below(3)};
    const auto member = txn();
    if (dice < 115) {
      REQUIRE(graph.begin_group(group));
      REQUIRE(graph.join(group, member).value() == naive.groups[group].insert(member).second);
    } else if (dice < 126) {
      const auto standing = naive.groups.find(group);
      REQUIRE(graph.leave(group, member) == (standing != naive.groups.end() && standing->second.erase(member) == 1));
    } else {
      REQUIRE(graph.end_group(group) == naive.end_group(group));
    }
  }

  void begin_or_replace() {
    const auto at = ref();
    const auto waiter = txn();
    std::vector<TxnId> blockers;
    for (auto n = below(7); n > 0; --n) blockers.push_back(txn());
    std::vector<std::uint64_t> groups;
    for (auto n = below(4); n > 1; --n) groups.push_back(below(3));
    std::map<TxnId, EdgeSlot> kept;
    const auto standing = graph.find_wait(at);
    if (standing && graph.txn(graph.waiter(*standing)) == waiter)
      for (const auto e : graph.edges(*standing))
        if (!graph.is_group(graph.target(e))) kept.emplace(graph.txn(graph.target(e)), e);
    const auto slot = graph.begin_wait(at, waiter, blockers, groups);
    REQUIRE(slot);
    naive.begin(at, waiter, blockers, groups);
    for (const auto e : graph.edges(*slot)) {
      if (graph.is_group(graph.target(e))) continue;
      const auto before = kept.find(graph.txn(graph.target(e)));
      if (before != kept.end()) REQUIRE(before->second == e);
    }
  }
};

}  // namespace

TEST_CASE("random operations: the graph is the same as a naive model, over 200 seeds") {
  for (unsigned seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    RandomOperations run(seed);
    for (int i = 0; i < 1000; ++i) {
      run.step();
      if (i % 10 == 0) check_same(run.graph, run.naive);
    }
    check_same(run.graph, run.naive);
  }
}

BOOST_CONCEPT_ASSERT((boost::VertexListGraphConcept<WaitForGraph>));
BOOST_CONCEPT_ASSERT((boost::BidirectionalGraphConcept<WaitForGraph>));
BOOST_CONCEPT_ASSERT((boost::EdgeListGraphConcept<WaitForGraph>));

TEST_CASE("Boost's strong_components runs on the graph itself, holes and all") {
  WaitForGraph g;
  ring_with_tail(g);
  REQUIRE(g.vertex_capacity() > g.vertex_count());
  std::vector<int> component(g.vertex_capacity(), -1);
  const auto count =
      boost::strong_components(g, boost::make_iterator_property_map(component.begin(), get(boost::vertex_index, g)));
  CHECK(count == 3);
  const auto of = [&](const char* name) { return component[*g.find_txn(TxnId(name))]; };
  CHECK(of("1") == of("2"));
  CHECK(of("2") == of("3"));
  CHECK(of("4") != of("1"));
  CHECK(of("5") != of("4"));
}

TEST_CASE("Boost's depth_first_search sees every living vertex once, and the ring's back edge") {
  struct Seen : boost::default_dfs_visitor {
    explicit Seen(std::multiset<std::string>& names, int& back) : names_(&names), back_(&back) {}
    void discover_vertex(Vertex v, const WaitForGraph& g) const { names_->insert(g.txn(v).str()); }
    void back_edge(EdgeSlot, const WaitForGraph&) const { ++*back_; }
    std::multiset<std::string>* names_;
    int* back_;
  };
  WaitForGraph g;
  ring_with_tail(g);
  std::multiset<std::string> names;
  int back = 0;
  boost::depth_first_search(g, boost::visitor(Seen(names, back)));
  CHECK(names == std::multiset<std::string>{"1", "2", "3", "4", "5"});
  CHECK(back == 1);
}

TEST_CASE("Boost's reverse_graph turns waiters and blockers round") {
  WaitForGraph g;
  ring_with_tail(g);
  const auto reversed = boost::make_reverse_graph(g);
  std::set<std::string> waiting_for_one;
  const auto [begin, end] = boost::out_edges(*g.find_txn(TxnId("1")), reversed);
  for (auto e = begin; e != end; ++e) waiting_for_one.insert(g.txn(boost::target(*e, reversed)).str());
  CHECK(waiting_for_one == std::set<std::string>{"3", "5"});
  std::vector<int> component(g.vertex_capacity(), -1);
  CHECK(boost::strong_components(
            reversed, boost::make_iterator_property_map(component.begin(), get(boost::vertex_index, g))) == 3);
}

TEST_CASE("Boost's write_graphviz draws it without a copy") {
  WaitForGraph g;
  begin(g, {0, 1}, "gone", {"1"});
  begin(g, {0, 2}, "1", {"2"});
  begin(g, {0, 3}, "2", {"1"});
  g.end_wait({0, 1});
  std::ostringstream dot;
  boost::write_graphviz(dot, g, [&](std::ostream& out, Vertex v) { out << "[label=\"" << g.txn(v).str() << "\"]"; });
  const auto v1 = std::to_string(*g.find_txn(TxnId("1")));
  const auto v2 = std::to_string(*g.find_txn(TxnId("2")));
  CHECK(dot.str().find(v1 + "[label=\"1\"];") != std::string::npos);
  CHECK(dot.str().find(v1 + "->" + v2 + " ;") != std::string::npos);
  CHECK(dot.str().find(v2 + "->" + v1 + " ;") != std::string::npos);
  CHECK(dot.str().find("gone") == std::string::npos);
}
