// Makes WaitForGraph a model of Boost.Graph's VertexListGraph, BidirectionalGraph and EdgeListGraph, so that Boost's
// algorithms and write_graphviz run on it without a copy. Include it only where they are used: Boost.Graph is heavy.
//
// vertices() and edges() name what is alive. The vertex index is the slot, which has gaps, so num_vertices() is the
// size of a table indexed by vertex, not the number of living vertices (that is vertex_count()): every table that
// Boost makes by default is large enough.
#pragma once

#include <boost/graph/graph_traits.hpp>
#include <boost/graph/properties.hpp>
#include <boost/iterator/counting_iterator.hpp>
#include <boost/iterator/filter_iterator.hpp>
#include <boost/property_map/property_map.hpp>
#include <utility>

#include "graph/wait_for_graph.hpp"

namespace gordian::graph {

struct VertexAlive {
  const WaitForGraph* graph = nullptr;
  bool operator()(Vertex v) const { return graph->alive(v); }
};
struct EdgeAlive {
  const WaitForGraph* graph = nullptr;
  bool operator()(EdgeSlot e) const { return graph->edge_alive(e); }
};
using VertexIterator = boost::filter_iterator<VertexAlive, boost::counting_iterator<Vertex>>;
using EdgeIterator = boost::filter_iterator<EdgeAlive, boost::counting_iterator<EdgeSlot>>;
using EdgeListIterator = std::span<const EdgeSlot>::iterator;

struct TraversalCategory : virtual boost::bidirectional_graph_tag,
                           virtual boost::vertex_list_graph_tag,
                           virtual boost::edge_list_graph_tag {};

}  // namespace gordian::graph

namespace boost {

template <>
struct graph_traits<gordian::graph::WaitForGraph> {
  using vertex_descriptor = gordian::graph::Vertex;
  using edge_descriptor = gordian::graph::EdgeSlot;
  using vertex_iterator = gordian::graph::VertexIterator;
  using edge_iterator = gordian::graph::EdgeIterator;
  using out_edge_iterator = gordian::graph::EdgeListIterator;
  using in_edge_iterator = gordian::graph::EdgeListIterator;
  using adjacency_iterator = void;
  using directed_category = bidirectional_tag;
  using edge_parallel_category = allow_parallel_edge_tag;
  using traversal_category = gordian::graph::TraversalCategory;
  using vertices_size_type = std::size_t;
  using edges_size_type = std::size_t;
  using degree_size_type = std::size_t;
  static vertex_descriptor null_vertex() { return gordian::graph::no_slot; }
};

template <>
struct property_map<gordian::graph::WaitForGraph, vertex_index_t> {
  using type = typed_identity_property_map<gordian::graph::Vertex>;
  using const_type = type;
};

}  // namespace boost

namespace gordian::graph {

inline std::pair<VertexIterator, VertexIterator> vertices(const WaitForGraph& g) {
  const boost::counting_iterator<Vertex> begin(0);
  const boost::counting_iterator<Vertex> end(static_cast<Vertex>(g.vertex_capacity()));
  return {VertexIterator({&g}, begin, end), VertexIterator({&g}, end, end)};
}
inline std::pair<EdgeIterator, EdgeIterator> edges(const WaitForGraph& g) {
  const boost::counting_iterator<EdgeSlot> begin(0);
  const boost::counting_iterator<EdgeSlot> end(static_cast<EdgeSlot>(g.edge_capacity()));
  return {EdgeIterator({&g}, begin, end), EdgeIterator({&g}, end, end)};
}
inline std::size_t num_vertices(const WaitForGraph& g) { return g.vertex_capacity(); }
inline std::size_t num_edges(const WaitForGraph& g) { return g.edge_count(); }
inline Vertex source(EdgeSlot e, const WaitForGraph& g) { return g.source(e); }
inline Vertex target(EdgeSlot e, const WaitForGraph& g) { return g.target(e); }
inline std::pair<EdgeListIterator, EdgeListIterator> out_edges(Vertex v, const WaitForGraph& g) {
  const auto list = g.out_edges(v);
  return {list.begin(), list.end()};
}
inline std::pair<EdgeListIterator, EdgeListIterator> in_edges(Vertex v, const WaitForGraph& g) {
  const auto list = g.in_edges(v);
  return {list.begin(), list.end()};
}
inline std::size_t out_degree(Vertex v, const WaitForGraph& g) { return g.out_edges(v).size(); }
inline std::size_t in_degree(Vertex v, const WaitForGraph& g) { return g.in_edges(v).size(); }
inline std::size_t degree(Vertex v, const WaitForGraph& g) { return in_degree(v, g) + out_degree(v, g); }

inline boost::typed_identity_property_map<Vertex> get(boost::vertex_index_t, const WaitForGraph&) { return {}; }
inline Vertex get(boost::vertex_index_t, const WaitForGraph&, Vertex v) { return v; }

}  // namespace gordian::graph
