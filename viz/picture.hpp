// What is to be seen in a drawing of waits: sites with their contested resources, transactions, and the lines
// between them. Plain values, made from a graph or an incident; how they are written down is dot.hpp's and
// svg.hpp's affair.
//
// Every text in a picture is UTF-8 that is safe to show, in one line (text::visible), and short enough for a
// box.
#pragma once

#include <cstddef>
#include <gordian/wait.hpp>
#include <string>
#include <vector>

#include "coordinator/views.hpp"

namespace gordian::viz {

struct Picture {
  struct Resource {
    std::string name;
    std::string modes;  ///< the lock modes wanted, separated by ", "
  };
  struct Site {
    std::string name;
    std::vector<Resource> resources;
  };
  struct Txn {
    std::string name;
    std::string label;                 ///< application or client; may be empty
    std::vector<std::string> details;  ///< what its waits are doing, such as SQL, shortened
    bool victim = false;
    bool spared = false;  ///< of class `never`
  };
  /// A transaction waits for a resource, or holds it (or is queued ahead: `soft`).
  struct Line {
    enum class Type : std::uint8_t { waits, blocks } type;
    std::size_t txn;
    std::size_t site;
    std::size_t resource;  ///< within its site
    std::string text;
    Kind kind = Kind::hard;  ///< of `blocks`
    bool cycle = false;      ///< it is part of a deadlock
  };

  std::vector<std::string> title;  ///< lines, the first is the heading
  std::vector<Site> sites;
  std::vector<Txn> txns;
  std::vector<Line> lines;
};

/// Transactions that neither wait nor block are left out. Cost: O(n log n) in the waits' edges.
[[nodiscard]] Picture draw(const coordinator::GraphView& graph);
[[nodiscard]] Picture draw(const coordinator::Incident& incident);

}  // namespace gordian::viz
