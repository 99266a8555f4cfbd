// The strongly connected components of the whole graph that have a cycle: what a full pass starts with.
#pragma once

#include <vector>

#include "graph/wait_for_graph.hpp"

namespace gordian::detect {

/// Transactions and groups of each component of two vertices or more, in order of slots; the components in no particular, but
/// always the same order. Cost: O(V + E), of which the part that is ahead of no cycle is only peeled: one sequential pass
/// over the edges, and one visit of each vertex. Memory meanwhile: four bytes for each vertex.
[[nodiscard]] std::vector<std::vector<graph::Vertex>> cyclic_components(const graph::WaitForGraph& graph);

}  // namespace gordian::detect
