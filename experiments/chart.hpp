// A chart as an SVG element: lines with error bars, or stacked bars. gnuplot draws it; what is drawn is pictures.hpp's.
//
// Lines and text take the colour of the page around them, so that one picture is readable on dark and on light.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace gordian::experiments {

struct ChartPoint {
  double x;  ///< in a chart with categories: the place of one
  double y;
  double plus_minus = 0;  ///< 0: no bar
  bool apart = false;     ///< no line from the point before to this one
};
struct ChartLine {
  std::string name;
  std::vector<ChartPoint> points;
  std::size_t colour;  ///< a number: the same in all charts for what is the same
};
struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<std::string> categories;  ///< of x; none: x is a number
  bool log_x = false;
  bool log_y = false;                 ///< what is not above 0 is left out then
  bool stacked = false;               ///< bars upon each other, one for each category, in place of lines
  std::vector<std::size_t> groups{};  ///< places in `categories` before which a gap is left
  std::vector<ChartLine> lines;
};

struct ChartError {
  bool no_gnuplot;  ///< it is not installed; else it failed
  std::string message;
};

/// `id` begins all ids in the element, so that a page may have several. Any text is drawn as it stands: none is taken for
/// gnuplot's or SVG's commands. Cost: one run of gnuplot, some 20 ms.
[[nodiscard]] tl::expected<std::string, ChartError> draw(const Chart& chart, const std::string& id);

/// `text` for HTML and XML, in elements and in quoted attributes; control characters become spaces.
[[nodiscard]] std::string escaped(std::string_view text);

}  // namespace gordian::experiments
