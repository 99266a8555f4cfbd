// How fast the graph and the search are, next to Abseil's GraphCycles (incremental, keeps a topological order: Pearce and
// Kelly) and Boost's strong_components (full pass), in the same run and in turn with them.
//
// Everyone gets the same waits in the same order and must find the same cycles. Both are given their own numbers, looked up
// beforehand, or both are given names; strong_components is given a finished graph.
#include <absl/container/flat_hash_map.h>
#include <absl/synchronization/internal/graphcycles.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <boost/graph/strong_components.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "common.hpp"
#include "detect/detector.hpp"
#include "graph/wait_for_graph.hpp"
#include "program.hpp"

namespace gordian::bench {
namespace {

using Json = nlohmann::ordered_json;
using absl::synchronization_internal::GraphCycles;
using absl::synchronization_internal::GraphId;

/// Who waits for whom, by number.
struct Edge {
  std::uint32_t waiter;
  std::uint32_t blocker;
};

std::vector<TxnId> names(std::size_t txns) {
  std::vector<TxnId> ids;
  for (std::size_t i = 0; i < txns; ++i) ids.emplace_back("site-" + std::to_string(1'000'000 + i));
  return ids;
}

// The contestants: one wait for each transaction at most. By their own numbers each says whether a wait closes a cycle; by
// name each looks the transactions up, and names those on the cycle. A wait that closes one is ended again.

class Gordian {
 public:
  explicit Gordian(std::size_t txns) : waits_(txns) {
    for (const auto& id : names(txns)) held_.push_back(graph_.hold(id));
  }
  bool begin(Edge edge) {
    const graph::HeldBlocker blocker{held_[edge.blocker]};
    auto& wait = waits_[edge.waiter];
    wait = *graph_.begin_wait({0, edge.waiter}, held_[edge.waiter], std::span(&blocker, 1));
    if (!detector_.closes(wait)) return true;
    graph_.end_wait(wait);
    return false;
  }
  void end(Edge edge) { graph_.end_wait(waits_[edge.waiter]); }

 private:
  graph::WaitForGraph graph_;
  detect::Detector detector_{graph_};
  std::vector<graph::Vertex> held_;
  std::vector<graph::WaitSlot> waits_;
};

class GordianByName {
 public:
  explicit GordianByName(std::size_t txns) : ids_(names(txns)) {}
  bool begin(Edge edge) {
    const graph::WaitRef ref{0, edge.waiter};
    const auto wait = graph_.begin_wait(ref, ids_[edge.waiter], std::span(&ids_[edge.blocker], 1));
    const auto cycle = detector_.search(*wait);
    if (!cycle) return true;
    graph_.end_wait(ref);
    return false;
  }
  void end(Edge edge) { graph_.end_wait({0, edge.waiter}); }

 private:
  const std::vector<TxnId> ids_;
  graph::WaitForGraph graph_;
  detect::Detector detector_{graph_};
};

class Abseil {
 public:
  /// It puts its nodes in order as they are numbered: oldest first, or youngest first, which is a convoy's order already.
  explicit Abseil(std::size_t txns, bool youngest_first = false) : objects_(txns), ids_(txns) {
    for (std::size_t i = 0; i < txns; ++i) {
      const auto which = youngest_first ? txns - 1 - i : i;
      ids_[which] = graph_.GetId(&objects_[which]);
    }
  }
  bool begin(Edge edge) { return graph_.InsertEdge(ids_[edge.waiter], ids_[edge.blocker]); }
  void end(Edge edge) { graph_.RemoveEdge(ids_[edge.waiter], ids_[edge.blocker]); }

 private:
  std::vector<char> objects_;
  GraphCycles graph_;
  std::vector<GraphId> ids_;
};

/// What a detector built on it would need beside: names and their nodes, and for every wait which edge it is. Nodes stay: to
/// let them go when nobody waits or is waited for, it would have to count.
class AbseilByName {
 public:
  explicit AbseilByName(std::size_t txns) : ids_(names(txns)), path_(txns + 1) { nodes_.reserve(txns); }
  bool begin(Edge edge) {
    const GraphId waiter = node(ids_[edge.waiter]), blocker = node(ids_[edge.blocker]);
    if (graph_.InsertEdge(waiter, blocker)) {
      waits_[edge.waiter] = {waiter, blocker};
      return true;
    }
    const auto length = graph_.FindPath(blocker, waiter, static_cast<int>(path_.size()), path_.data());
    std::vector<TxnId> cycle;
    for (int i = 0; i < length; ++i)
      cycle.push_back(*static_cast<const TxnId*>(graph_.Ptr(path_[static_cast<std::size_t>(i)])));
    if (cycle.empty()) fail("GraphCycles refused an edge, but finds no path");
    return false;
  }
  void end(Edge edge) {
    const auto wait = waits_.find(edge.waiter);
    graph_.RemoveEdge(wait->second.first, wait->second.second);
    waits_.erase(wait);
  }

 private:
  GraphId node(const TxnId& txn) {
    const auto [at, is_new] = nodes_.try_emplace(txn.view());
    if (is_new) at->second = graph_.GetId(const_cast<TxnId*>(&txn));
    return at->second;
  }
  const std::vector<TxnId> ids_;
  GraphCycles graph_;
  absl::flat_hash_map<std::string_view, GraphId> nodes_;
  absl::flat_hash_map<std::uint64_t, std::pair<GraphId, GraphId>> waits_;  ///< by sequence
  std::vector<GraphId> path_;
};

/// This thread's time on a processor: everything here runs on one thread, and others may want the machine meanwhile.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}
double seconds_since(double start) { return cpu_seconds() - start; }

// --- Churn: every transaction has a wait, and again and again one of them ends and another begins ---

struct Outcome {
  double seconds = 0;
  std::size_t cycles = 0;
};

std::vector<Edge> random_waits(std::size_t txns, std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Edge> waits;
  const auto any = [&](std::size_t n) { return static_cast<std::uint32_t>(random() % n); };
  while (waits.size() < count) {
    const Edge edge{any(txns), any(txns)};
    if (edge.waiter != edge.blocker) waits.push_back(edge);
  }
  return waits;
}

/// A wait that would close a cycle is given up at once; its transaction waits for nobody until its turn comes again.
template <class Contestant>
Outcome churn(std::size_t txns, std::size_t standing, const std::vector<Edge>& waits) {
  Contestant contestant(txns);
  Outcome outcome;
  constexpr std::uint32_t nobody = ~0U;
  std::vector<std::uint32_t> blocker(txns, nobody);
  const auto step = [&](Edge edge) {
    if (blocker[edge.waiter] != nobody) contestant.end({edge.waiter, blocker[edge.waiter]});
    const bool free = contestant.begin(edge);
    blocker[edge.waiter] = free ? edge.blocker : nobody;
    outcome.cycles += free ? 0 : 1;
  };
  for (std::size_t i = 0; i < standing; ++i) step(waits[i]);
  const auto start = cpu_seconds();
  for (std::size_t i = standing; i < waits.size(); ++i) step(waits[i]);
  outcome.seconds = seconds_since(start);
  return outcome;
}

template <class Ours, class Theirs>
Json churn_row(const char* by, std::size_t txns, std::size_t rounds) {
  std::vector<double> ours, theirs, ratios;
  const std::size_t standing = txns * 4;  // nearly everyone has had its turn
  const std::size_t steps = 200'000;
  for (std::size_t round = 0; round < rounds; ++round) {
    const auto waits = random_waits(txns, standing + steps, static_cast<unsigned>(round));
    const auto gordian = churn<Ours>(txns, standing, waits);
    const auto abseil = churn<Theirs>(txns, standing, waits);
    if (gordian.cycles != abseil.cycles) fail("churn: the contestants found different cycles");
    ours.push_back(gordian.seconds / static_cast<double>(steps) * 1e9);
    theirs.push_back(abseil.seconds / static_cast<double>(steps) * 1e9);
    ratios.push_back(theirs.back() / ours.back());
  }
  return {{"part", "churn"},
          {"by", by},
          {"txns", txns},
          {"gordian_ns", median(ours)},
          {"graphcycles_ns", median(theirs)},
          {"gordian_to_it", median(ratios)},
          {"wanted", 8}};
}

// --- Convoy: a chain, built up wait by wait and drained ---

/// In pairs: of every two waits the second first, so that whoever begins to wait is waited for, and waits for the whole chain.
std::vector<std::uint32_t> in_pairs(std::size_t length) {
  std::vector<std::uint32_t> waits;
  for (std::uint32_t i = 0; i + 1 < length; i += 2) waits.insert(waits.end(), {i + 1, i});
  if (length % 2 == 1) waits.push_back(static_cast<std::uint32_t>(length - 1));
  return waits;
}

/// Wait i is of transaction i+1 for transaction i: 0 stands at the front.
std::vector<std::uint32_t> in_order(const std::string& order, std::size_t length, unsigned seed) {
  std::vector<std::uint32_t> waits(length);
  std::iota(waits.begin(), waits.end(), 0U);
  if (order == "back to front") std::ranges::reverse(waits);
  if (order == "in pairs") waits = in_pairs(length);
  if (order == "random") std::shuffle(waits.begin(), waits.end(), std::mt19937(seed));
  if (order == "middle out") {
    const auto middle = static_cast<std::int64_t>(length) / 2;
    std::ranges::sort(waits, {}, [&](std::uint32_t i) { return std::abs(2 * (std::int64_t{i} - middle) + 1); });
  }
  return waits;
}

double convoy(auto contestant, const std::vector<std::uint32_t>& build, const std::vector<std::uint32_t>& drain) {
  const auto start = cpu_seconds();
  for (const auto i : build)
    if (!contestant->begin({i + 1, i})) fail("convoy: a cycle was found where there is none");
  for (const auto i : drain) contestant->end({i + 1, i});
  return seconds_since(start) * 1e3;
}

Json convoy_row(const std::string& build, const std::string& drain, std::size_t length, std::size_t rounds) {
  std::vector<double> ours, theirs, best, ratios, to_best, ours_by_name, theirs_by_name, by_name;
  for (std::size_t round = 0; round < rounds; ++round) {
    const auto begun = in_order(build, length, static_cast<unsigned>(round));
    const auto ended = in_order(drain, length, static_cast<unsigned>(round + rounds));
    ours.push_back(convoy(std::make_unique<Gordian>(length + 1), begun, ended));
    theirs.push_back(convoy(std::make_unique<Abseil>(length + 1), begun, ended));
    best.push_back(convoy(std::make_unique<Abseil>(length + 1, true), begun, ended));
    ratios.push_back(theirs.back() / ours.back());
    to_best.push_back(best.back() / ours.back());
    ours_by_name.push_back(convoy(std::make_unique<GordianByName>(length + 1), begun, ended));
    theirs_by_name.push_back(convoy(std::make_unique<AbseilByName>(length + 1), begun, ended));
    by_name.push_back(theirs_by_name.back() / ours_by_name.back());
  }
  return {{"part", "convoy"},
          {"length", length},
          {"built", build},
          {"drained", drain},
          {"gordian_ms", median(ours)},
          {"graphcycles_ms", median(theirs)},
          {"gordian_to_it", median(ratios)},
          {"graphcycles_in_order_ms", median(best)},
          {"gordian_to_it_in_order", median(to_best)},
          {"gordian_by_name_ms", median(ours_by_name)},
          {"graphcycles_by_name_ms", median(theirs_by_name)},
          {"gordian_to_it_by_name", median(by_name)},
          {"wanted", 1}};
}

// --- Full pass ---

/// One in a hundred on rings of 2 to 5; the others wait for one or two that began before them, in trees that end at
/// somebody who waits for nobody or, one in a hundred, on a ring.
std::vector<Edge> mostly_free(std::size_t txns, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint32_t> place(txns);
  std::iota(place.begin(), place.end(), 0U);
  std::shuffle(place.begin(), place.end(), random);
  std::vector<Edge> edges;
  const auto on_rings = static_cast<std::uint32_t>(txns / 100);
  std::uint32_t i = 0;
  while (i < on_rings) {
    const auto left = on_rings - i;
    auto size = static_cast<std::uint32_t>(2 + random() % 4);
    if (left < size + 2) size = left;
    for (std::uint32_t k = 0; k < size; ++k) edges.push_back({place[i + k], place[i + (k + 1) % size]});
    i += size;
  }
  for (++i; i < txns; ++i) {
    const auto before = [&] { return place[on_rings + static_cast<std::uint32_t>(random() % (i - on_rings))]; };
    edges.push_back({place[i], random() % 100 == 0 ? place[random() % on_rings] : before()});
    if (random() % 4 == 0) edges.push_back({place[i], before()});
  }
  std::shuffle(edges.begin(), edges.end(), random);
  return edges;
}

template <class Graph>
double strong_components_ms(const Graph& graph, std::size_t& rings) {
  std::vector<int> component(boost::num_vertices(graph));
  const auto start = cpu_seconds();
  const auto count = boost::strong_components(
      graph, boost::make_iterator_property_map(component.begin(), boost::get(boost::vertex_index, graph)));
  const auto took = seconds_since(start) * 1e3;
  std::vector<int> size(static_cast<std::size_t>(count), 0);
  for (const auto c : component) ++size[static_cast<std::size_t>(c)];
  rings = static_cast<std::size_t>(std::ranges::count_if(size, [](int n) { return n > 1; }));
  return took;
}

Json full_pass_rows(std::size_t txns, std::size_t rounds) {
  using List = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS>;
  using Rows = boost::compressed_sparse_row_graph<boost::directedS>;
  std::vector<double> ours, lists, rows, to_lists, to_rows;
  for (std::size_t round = 0; round < rounds; ++round) {
    const auto edges = mostly_free(txns, static_cast<unsigned>(round));
    const auto ids = names(txns);
    graph::WaitForGraph graph;
    for (std::size_t i = 0; i < edges.size(); ++i)
      (void)graph.begin_wait({0, i}, ids[edges[i].waiter], std::span(&ids[edges[i].blocker], 1));
    std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
    for (const auto& edge : edges) pairs.emplace_back(edge.waiter, edge.blocker);
    const List list(pairs.begin(), pairs.end(), txns);
    const Rows row(boost::edges_are_unsorted, pairs.begin(), pairs.end(), txns);

    detect::Detector detector(graph);
    std::size_t list_rings = 0, row_rings = 0;
    (void)detector.full_pass();
    const auto start = cpu_seconds();
    const auto found = detector.full_pass();
    ours.push_back(seconds_since(start) * 1e3);
    (void)strong_components_ms(list, list_rings);
    lists.push_back(strong_components_ms(list, list_rings));
    (void)strong_components_ms(row, row_rings);
    rows.push_back(strong_components_ms(row, row_rings));
    if (found.size() != list_rings || found.size() != row_rings) fail("full pass: different components were found");
    to_lists.push_back(lists.back() / ours.back());
    to_rows.push_back(rows.back() / ours.back());
  }
  const auto row = [&](const char* peer, const std::vector<double>& ms, const std::vector<double>& ratios) {
    return Json{{"part", "full pass"},
                {"txns", txns},
                {"peer", peer},
                {"gordian_ms", median(ours)},
                {"strong_components_ms", median(ms)},
                {"gordian_to_it", median(ratios)},
                {"wanted", 3}};
  };
  return Json::array({row("adjacency_list", lists, to_lists), row("compressed_sparse_row_graph", rows, to_rows)});
}

// --- Output ---

void print(const Json& row) {
  char line[300];
  if (row["part"] == "churn") {
    std::snprintf(line, sizeof line,
                  "churn by %s, %zu transactions: %.0f ns, GraphCycles %.0f ns, ratio %.2f (wanted 8)",
                  row["by"].get<std::string>().c_str(), row["txns"].get<std::size_t>(), row["gordian_ns"].get<double>(),
                  row["graphcycles_ns"].get<double>(), row["gordian_to_it"].get<double>());
  } else if (row["part"] == "convoy") {
    std::snprintf(line, sizeof line,
                  "convoy of %zu, built %s, drained %s: %.2f ms, GraphCycles %.2f ms, ratio %.2f (wanted 1); its nodes "
                  "in order: %.2f ms, %.2f; by name: %.2f ms, %.2f ms, %.2f",
                  row["length"].get<std::size_t>(), row["built"].get<std::string>().c_str(),
                  row["drained"].get<std::string>().c_str(), row["gordian_ms"].get<double>(),
                  row["graphcycles_ms"].get<double>(), row["gordian_to_it"].get<double>(),
                  row["graphcycles_in_order_ms"].get<double>(), row["gordian_to_it_in_order"].get<double>(),
                  row["gordian_by_name_ms"].get<double>(), row["graphcycles_by_name_ms"].get<double>(),
                  row["gordian_to_it_by_name"].get<double>());
  } else {
    std::snprintf(line, sizeof line,
                  "full pass, %zu transactions: %.2f ms, strong_components on %s %.2f ms, ratio %.2f (wanted 3)",
                  row["txns"].get<std::size_t>(), row["gordian_ms"].get<double>(),
                  row["peer"].get<std::string>().c_str(), row["strong_components_ms"].get<double>(),
                  row["gordian_to_it"].get<double>());
  }
  std::cout << line << std::endl;
}

int run(int argc, char** argv) {
  CLI::App app{"Graph and search next to Abseil's GraphCycles and Boost's strong_components in the same run."};
  std::size_t rounds = 7, convoy_length = 10'000, full_pass_txns = 100'000;
  std::vector<std::size_t> churn_txns{1'000, 10'000, 100'000};
  std::string format = "table";
  app.add_option("--rounds", rounds, "rounds of each part; medians are shown")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--churn", churn_txns, "numbers of transactions")
      ->capture_default_str()
      ->check(CLI::Range(10, 1'000'000));
  app.add_option("--convoy", convoy_length, "length of the convoy")
      ->capture_default_str()
      ->check(CLI::Range(2, 1'000'000));
  app.add_option("--full-pass", full_pass_txns, "transactions")
      ->capture_default_str()
      ->check(CLI::Range(1000, 10'000'000));
  add_format(app, format);
  if (const auto code = parsed(app, argc, argv)) return *code;
  const auto show = [&](const Json& row) {
    if (format == "json") {
      std::cout << row.dump() << std::endl;
    } else {
      print(row);
    }
  };
  for (const auto txns : churn_txns) {
    show(churn_row<Gordian, Abseil>("number", txns, rounds));
    show(churn_row<GordianByName, AbseilByName>("name", txns, rounds));
  }
  const std::vector<std::string> orders{"front to back", "back to front", "random", "middle out", "in pairs"};
  for (const auto& build : orders)
    for (const auto& drain : orders) show(convoy_row(build, drain, convoy_length, rounds));
  for (const auto& row : full_pass_rows(full_pass_txns, rounds)) show(row);
  return 0;
}

}  // namespace
}  // namespace gordian::bench

int main(int argc, char** argv) {
  return gordian::bench::run_program("incremental_detection", gordian::bench::run, argc, argv);
}
