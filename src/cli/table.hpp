// Tables for people. For this room's .cpp files.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/text.hpp"

namespace gordian::cli {

constexpr std::size_t cell_characters = 60;

/// Rows of cells, written with each column as wide as its widest cell.
class Table {
 public:
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  [[nodiscard]] std::string text() const {
    std::vector<std::size_t> widths;
    for (const auto& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], text::characters(row[i]));
    }
    std::string out;
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i)
        line += row[i] + std::string(widths[i] - text::characters(row[i]) + 2, ' ');
      out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return out;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// Bytes as a cell, shortened; "-" if there are none.
inline std::string cell(std::string_view bytes) {
  const std::string text = text::shortened(bytes, cell_characters);
  return text.empty() ? "-" : text;
}

}  // namespace gordian::cli
