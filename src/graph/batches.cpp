// Many look-ups at once: each pass over a batch reads one place for each of its members, and has the next one fetched.
#include <algorithm>
#include <array>

#include "graph/fetch.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::graph {
namespace {

constexpr std::size_t batch_max = 32;  // about as many fetches as can be under way

/// Calls `each(first, size)` for parts that are no larger than a batch.
void in_batches(std::size_t count, auto each) {
  for (std::size_t first = 0; first < count; first += batch_max) each(first, std::min(batch_max, count - first));
}

}  // namespace

void WaitForGraph::hold(std::span<const TxnId* const> txns, std::vector<Vertex>& held) {
  in_batches(txns.size(), [&](std::size_t first, std::size_t size) {
    std::array<Name, batch_max> names;
    std::array<Vertex, batch_max> likely;
    for (std::size_t i = 0; i < size; ++i) {
      names[i] = Name(*txns[first + i]);
      txns_.prefetch(names[i]);
    }
    for (std::size_t i = 0; i < size; ++i) {
      auto& seen = likely[i] = no_slot;
      (void)txns_.contains(Guess{names[i].hash, &seen});
      if (seen != no_slot) fetch(vertices_[seen]), fetch(links_[seen]);
    }
    const SameTxn same{&vertices_};
    for (std::size_t i = 0; i < size; ++i) {
      const bool found = likely[i] != no_slot && same(likely[i], names[i]);
      const auto v = held.emplace_back(found ? likely[i] : vertex_for(names[i], *txns[first + i]));
      ++vertices_[v].held;
      fetch(*links_[v].in.data());
    }
  });
}

void WaitForGraph::find_waits(std::span<const WaitRef> refs, std::vector<WaitSlot>& found) const {
  in_batches(refs.size(), [&](std::size_t first, std::size_t size) {
    const auto here = refs.subspan(first, size);
    std::array<WaitSlot, batch_max> waits;
    for (const auto ref : here)
      if (ref.site < sites_.size()) sites_[ref.site].prefetch(Sequence{ref.sequence});
    for (std::size_t i = 0; i < size; ++i) {
      auto& seen = waits[i] = no_slot;
      if (here[i].site < sites_.size()) (void)sites_[here[i].site].contains(Guess{here[i].sequence, &seen});
      if (seen != no_slot) fetch(waits_[seen]);
    }
    for (std::size_t i = 0; i < size; ++i) {
      waits[i] = find_wait(here[i], waits[i]).value_or(no_slot);
      found.push_back(waits[i]);
      if (waits[i] == no_slot) continue;
      const auto v = waiter(waits[i]);
      fetch(vertices_[v]), fetch(links_[v]);
      for (const auto e : edges(waits[i])) fetch(edges_[e]);
    }
    const auto each_blocker = [&](auto f) {
      for (const auto w : std::span(waits).first(size)) {
        if (w == no_slot) continue;
        for (const auto e : edges(w)) f(target(e));
      }
    };
    each_blocker([&](Vertex v) { fetch(vertices_[v]), fetch(links_[v]); });
    each_blocker([&](Vertex v) { fetch(*links_[v].in.data()); });
    // Perhaps they go with this wait.
    for (const auto w : std::span(waits).first(size))
      if (w != no_slot && vertices_[waiter(w)].waits.single() && links_[waiter(w)].in.empty())
        txns_.prefetch(waiter(w));
    each_blocker([&](Vertex v) {
      if (links_[v].in.single() && vertices_[v].waits.empty()) txns_.prefetch(v);
    });
  });
}

}  // namespace gordian::graph
