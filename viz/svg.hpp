// Lays a picture out and renders it as SVG, in this process, with Graphviz's library.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "viz/picture.hpp"

namespace gordian::viz {

/// Above this many lines the layout would take minutes and nobody could read it.
inline constexpr std::size_t svg_lines_max = 1000;

/// A complete SVG document. The error says why there is none and what to do. Thread-safe, one at a time
/// (Graphviz has global state). Leaves some kilobytes behind per picture (in libgvc): for programs that draw
/// now and then. Cost: 2 ms for a small picture, more near the limit.
[[nodiscard]] tl::expected<std::string, std::string> to_svg(const Picture& picture);

}  // namespace gordian::viz
