// Writes a picture in Graphviz's DOT language. No layout happens here; every text is escaped, whatever it
// contains.
#pragma once

#include <string>

#include "viz/picture.hpp"

namespace gordian::viz {

/// A complete digraph: one cluster per site, boxes for transactions, the deadlock in red. Cost: O(the
/// picture).
[[nodiscard]] std::string to_dot(const Picture& picture);

}  // namespace gordian::viz
