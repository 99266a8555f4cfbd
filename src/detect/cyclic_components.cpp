// Peels off, again and again, whoever blocks nobody (Kahn's topological sorting, 1962, from the waiters' end), which leaves the
// cycles and those they wait for; Boost's strong_components, on a compact copy of that, tells them apart.
#include "detect/cyclic_components.hpp"

#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <boost/graph/strong_components.hpp>

namespace gordian::detect {
namespace {

using graph::Vertex;
using graph::WaitForGraph;

constexpr std::uint32_t peeled = ~0U;

/// For each vertex how many edges lead to it from such as are left, or `peeled`.
std::vector<std::uint32_t> peel(const WaitForGraph& graph) {
  std::vector<std::uint32_t> waiters_left(graph.vertex_capacity(), 0);
  for (graph::EdgeSlot e = 0; e < graph.edge_capacity(); ++e)
    if (graph.edge_alive(e)) ++waiters_left[graph.target(e)];
  std::vector<Vertex> unblocking;
  for (Vertex first = 0; first < waiters_left.size(); ++first) {
    if (waiters_left[first] != 0) continue;
    unblocking.push_back(first);
    while (!unblocking.empty()) {
      auto v = unblocking.back();
      unblocking.pop_back();
      // Along a chain there is nothing to remember.
      for (auto next = graph.only_target(v); next != graph::no_slot; next = graph.only_target(v)) {
        waiters_left[v] = peeled;
        if (--waiters_left[next] != 0) break;
        v = next;
      }
      if (waiters_left[v] != 0) continue;
      waiters_left[v] = peeled;
      for (const auto e : graph.out_edges(v))
        if (--waiters_left[graph.target(e)] == 0) unblocking.push_back(graph.target(e));
    }
  }
  return waiters_left;
}

}  // namespace

std::vector<std::vector<Vertex>> cyclic_components(const WaitForGraph& graph) {
  auto index = peel(graph);
  std::vector<Vertex> left;
  for (Vertex v = 0; v < index.size(); ++v) {
    if (index[v] == peeled) continue;
    index[v] = static_cast<std::uint32_t>(left.size());
    left.push_back(v);
  }
  if (left.empty()) return {};
  std::vector<std::pair<std::uint32_t, std::uint32_t>> edges;
  for (const auto v : left)
    for (const auto e : graph.out_edges(v)) edges.emplace_back(index[v], index[graph.target(e)]);

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
