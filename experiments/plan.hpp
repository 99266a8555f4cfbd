// A configuration: which cells an experiment has, with how many seeds, and what of them is to be drawn.
//
// A TOML file: title, about, seeds; [base] with settings (settings.hpp); [[vary]] axes, either `setting` with `values`, or `name`
// with `cases`, each a table of settings with an optional `label`; [[plot]] pictures. The cells are the grid of all axes.
// Those that ship are in configs/ and in the program itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "experiments/settings.hpp"

namespace gordian::experiments {

/// One point of an axis.
struct Point {
  std::string label;
  std::vector<std::pair<std::string, SettingValue>> settings;
  bool cases = false;  ///< its label says all: several settings, or a name that was given
};
struct Axis {
  std::string name;
  std::vector<Point> points;
};

/// One picture for a report.
struct Plot {
  std::string title;
  std::string x;         ///< an axis
  std::string y;         ///< a metric (result.hpp)
  std::string lines;     ///< an axis, one line for each of its points; empty: one line
  std::string relative;  ///< a label of axis x or lines, to whose cells y is relative; empty: y itself
  bool log_x = false;
  bool log_y = false;
};

/// One cell of the grid.
struct Cell {
  std::vector<std::size_t> place;  ///< on each axis
  Settings settings;
};

struct Plan {
  static constexpr std::size_t cells_max = 10'000;
  static constexpr std::uint64_t seeds_max = 1'000;

  std::string name;  ///< of the file, or of the shipped configuration
  std::string title;
  std::string about;  ///< what is asked, and what is expected
  std::uint64_t seeds = 10;
  std::vector<Axis> axes;
  std::vector<Plot> plots;
  std::vector<Cell> cells;  ///< the last axis changes fastest
  std::string text;         ///< the file as it was read

  [[nodiscard]] std::size_t axis(std::string_view axis_name) const;  ///< axes.size() if there is none
  /// "N=10, timeout 8".
  [[nodiscard]] std::string label(const Cell& cell) const;
};

/// `file` names the text in errors: "FILE:LINE: key: what was given, expected what".
[[nodiscard]] tl::expected<Plan, std::string> parse_plan(std::string text, std::string name, const std::string& file);
/// A file's, or the shipped one's of that name. A relative `trace` is looked for beside the file, and read.
[[nodiscard]] tl::expected<Plan, std::string> load_plan(const std::string& file_or_name);

/// A configuration that ships.
struct Shipped {
  std::string_view name;
  std::string_view text;
};
/// In the order of names. shipped.cpp is made from configs/ by CMake.
[[nodiscard]] const std::vector<Shipped>& shipped();

}  // namespace gordian::experiments
