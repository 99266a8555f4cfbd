// A program run by a benchmark: started with pipes to it and from it, ended with its object.
#pragma once

#include <cstdio>
#include <string>
#include <sys/types.h>
#include <vector>

namespace gordian::bench {

/// Not thread-safe. Start children before any thread: they end with the thread that started them, should this be killed.
class Child {
 public:
  /// `arguments`: the program's path first. Throws std::system_error.
  explicit Child(const std::vector<std::string>& arguments);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  /// Closes its input, sends SIGTERM and waits for its end.
  ~Child();

  /// Throws std::system_error if the child is gone.
  void write_line(const std::string& line);
  /// Blocks; empty once the child has closed its output.
  [[nodiscard]] std::string read_line();

 private:
  pid_t pid_ = -1;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
};

/// The folder of this program, where the other programs are, too.
[[nodiscard]] std::string own_folder();

}  // namespace gordian::bench
