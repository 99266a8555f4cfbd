// Reads a wait-for trace line by line. Strict: what is not exactly as docs/trace-format.md says is refused,
// with what was found and what was expected.
#pragma once

#include <istream>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "trace/operations.hpp"

namespace gordian::trace {

/// Not thread-safe; borrows the stream, which must outlive it.
class Reader {
 public:
  static constexpr std::size_t line_bytes_max = 16U << 20U;

  /// `file` names the stream in errors.
  Reader(std::istream& in, std::string file) : in_(in), file_(std::move(file)) {}

  /// The next operation; nothing at the end. After an error the reader is not to be used again.
  /// Cost: O(length of the line), in memory too.
  [[nodiscard]] tl::expected<std::optional<Line>, TraceError> next();

 private:
  enum class LineRead : std::uint8_t { line, end, too_long };
  LineRead read_line();

  std::istream& in_;
  std::string file_;
  std::string text_;
  std::size_t number_ = 0;
  bool first_operation_ = true;
};

}  // namespace gordian::trace
