// The strongly connected components of the whole graph that have a cycle: what a full pass starts with.
#pragma once

#include <vector>

#include "graph/wait_for_graph.hpp"

namespace gordian::detect {

/// Transactions and groups of each component of two vertices or more, in order of slots; the components in no particular, but
/// always the same order. Cost: O(V + E); whoever waits neither on a cycle nor ahead of one is only peeled. Memory meanwhile:
/// eight bytes for each vertex and four for each edge.
[[nodiscard]] std::vector<std::vector<graph::Vertex>> cyclic_components(const graph::WaitForGraph& graph);

}  // namespace gordian::detect
