// A real gordian-agent, in a process and a folder of its own, for tests of what talks to it.
#pragma once

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace gordian::test {

/// Waits for a condition, and fails the test if it does not come true.
template <class Condition>
void until(const char* what, Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    INFO(what);
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

class LockAgentProcess {
 public:
  explicit LockAgentProcess(std::string site = "a", std::vector<std::string> options = {})
      : site_(std::move(site)), options_(std::move(options)) {
    std::string folder = (std::filesystem::temp_directory_path() / "gordian-lock-client-XXXXXX").string();
    REQUIRE(mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
    start("tcp://127.0.0.1:*");
  }
  LockAgentProcess(const LockAgentProcess&) = delete;
  LockAgentProcess& operator=(const LockAgentProcess&) = delete;
  ~LockAgentProcess() {
    kill();
    std::filesystem::remove_all(folder_);
  }

  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  /// As a client is told of it.
  [[nodiscard]] std::string address() const { return site_ + "=" + endpoint_; }

  void signal(int number) const { ::kill(pid_, number); }
  void kill() {
    if (pid_ <= 0) return;
    signal(SIGCONT);
    signal(SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  /// At the same endpoint, on the same state.
  void restart() {
    kill();
    start(endpoint_);
  }

 private:
  void start(const std::string& listen) {
    const auto endpoint_file = folder_ / "endpoint";
    std::filesystem::remove(endpoint_file);
    std::vector<std::string> words{
        GORDIAN_AGENT,     "--site",        site_, "--listen",    listen, "--endpoint-file", endpoint_file, "--state",
        folder_ / "state", "--coordinator", "",    "--log-level", "error"};
    words.insert(words.end(), options_.begin(), options_.end());
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      execv(arguments[0], arguments.data());
      _exit(127);
    }
    until("the agent's endpoint", [&] { return std::filesystem::exists(endpoint_file); });
    std::ifstream(endpoint_file) >> endpoint_;
  }

  std::string site_;
  std::vector<std::string> options_;
  std::filesystem::path folder_;
  std::string endpoint_;
  pid_t pid_ = 0;
};

}  // namespace gordian::test
