// Peels off, again and again, whoever blocks nobody (Kahn's topological sorting, 1962, from the waiters' end), which leaves the
// cycles and those they wait for; Boost's strong_components, on a compact copy of that, tells them apart.
#include "detect/cyclic_components.hpp"

#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <boost/graph/strong_components.hpp>

namespace gordian::detect {
namespace {

using graph::Vertex;
using graph::WaitForGraph;

/// The graph as far as peeling needs it, made in two passes over its edges in order of slots: a walk along waits then stays
/// in the cache, and no address is waited for to find the next.
struct Compact {
  static constexpr std::uint32_t peeled = ~0U;

  struct Entry {
    std::uint32_t begin = 0;         ///< of the vertex's blockers; they end where the next one's begin
    std::uint32_t waiters_left = 0;  ///< edges from vertices that are not peeled, or `peeled`
  };
  std::vector<Entry> entries;  ///< by vertex, and one more
  std::vector<Vertex> targets;

  explicit Compact(const WaitForGraph& graph) : entries(graph.vertex_capacity() + 1), targets(graph.edge_count()) {
    const auto each = [&](auto f) {
      for (graph::EdgeSlot e = 0; e < graph.edge_capacity(); ++e)
        if (graph.edge_alive(e)) f(graph.source(e), graph.target(e));
    };
    each([&](Vertex source, Vertex target) {
      ++entries[source].begin;
      ++entries[target].waiters_left;
    });
    std::uint32_t sum = 0;
    for (auto& entry : entries) entry.begin = sum += entry.begin;  // where they end, for now
    each([&](Vertex source, Vertex target) { targets[--entries[source].begin] = target; });
  }

  [[nodiscard]] Vertex vertices() const { return static_cast<Vertex>(entries.size() - 1); }
  [[nodiscard]] std::span<const Vertex> blockers(Vertex v) const {
    return {targets.data() + entries[v].begin, targets.data() + entries[v + 1].begin};
  }

  void peel() {
    std::vector<Vertex> unblocking;
    for (Vertex first = 0; first < vertices(); ++first) {
      if (entries[first].waiters_left == 0) unblocking.push_back(first);
      while (!unblocking.empty()) {
        const auto v = unblocking.back();
        unblocking.pop_back();
        entries[v].waiters_left = peeled;
        for (const auto blocker : blockers(v))
          if (--entries[blocker].waiters_left == 0) unblocking.push_back(blocker);
      }
    }
  }
};

}  // namespace

std::vector<std::vector<Vertex>> cyclic_components(const WaitForGraph& graph) {
  Compact compact(graph);
  compact.peel();
  std::vector<Vertex> left;
  for (Vertex v = 0; v < compact.vertices(); ++v) {
    auto& waiters_left = compact.entries[v].waiters_left;
    if (waiters_left == Compact::peeled) continue;
    waiters_left = static_cast<std::uint32_t>(left.size());  // from here on its place among those who are left
    left.push_back(v);
  }
  if (left.empty()) return {};
  std::vector<std::pair<std::uint32_t, std::uint32_t>> edges;
  for (std::uint32_t i = 0; i < left.size(); ++i)
    for (const auto blocker : compact.blockers(left[i])) edges.emplace_back(i, compact.entries[blocker].waiters_left);

  const boost::compressed_sparse_row_graph<boost::directedS> rest(boost::edges_are_sorted, edges.begin(), edges.end(),
                                                                  left.size());
  std::vector<std::uint32_t> component(left.size());
  const auto count = boost::strong_components(
      rest, boost::make_iterator_property_map(component.begin(), boost::get(boost::vertex_index, rest)));
  std::vector<std::vector<Vertex>> components(count);
  for (std::size_t i = 0; i < left.size(); ++i) components[component[i]].push_back(left[i]);
  std::erase_if(components, [](const auto& members) { return members.size() < 2; });
  return components;
}

}  // namespace gordian::detect
