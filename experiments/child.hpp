// Programs run by this one: started with pipes to them and from them, ended with their object; and a folder for their files.
// Benchmarks use it, too.
#pragma once

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <sys/types.h>
#include <thread>
#include <vector>

namespace gordian::experiments {

/// Not thread-safe. They end with the thread that started them, should this be killed: of a program with threads, start them in
/// one that stays.
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

/// "unknown processor" where the system does not tell.
[[nodiscard]] std::string cpu_model();

/// A folder of its own, removed with the object.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name);
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline constexpr auto give_up_after = std::chrono::seconds(10);

/// Throws std::runtime_error if it does not come true in time.
template <class Condition>
void wait_until(Condition condition, const std::string& what) {
  using Clock = std::chrono::steady_clock;
  for (const auto deadline = Clock::now() + give_up_after; !condition();
       std::this_thread::sleep_for(std::chrono::microseconds(200)))
    if (Clock::now() > deadline) throw std::runtime_error("not within 10 s: " + what);
}

/// The line that a service has written into its endpoint file, once it is there.
[[nodiscard]] std::string endpoint_in(const std::string& file);

}  // namespace gordian::experiments
