// gordian-postgres: the lock agent beside a PostgreSQL server. docs/postgres.md describes how to operate it.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <exception>
#include <thread>

#include "postgres/engine.hpp"
#include "postgres/options.hpp"

namespace {

constexpr int exit_ok = 0, exit_usage = 2;

int run(int argc, const char* const* argv) {
  gordian::postgres::Settings settings;
  if (const auto code = gordian::postgres::read_settings(settings, argc, argv)) return *code;

  spdlog::set_default_logger(spdlog::stderr_color_mt("gordian-postgres"));
  spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %l site=" + settings.site + " %v");
  spdlog::set_level(spdlog::level::from_str(settings.log_level));
  spdlog::flush_on(spdlog::level::debug);

  // Every thread inherits the mask: the signals are taken here alone.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  auto engine = gordian::postgres::Engine::start(settings);
  if (!engine) {
    spdlog::error("{}", engine.error());
    return exit_usage;
  }
  int received = 0;
  sigwait(&signals, &received);
  spdlog::info("stopping on signal {}", received);
  (*engine)->stop();
  return exit_ok;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    spdlog::critical("{}", error.what());
    return exit_usage;
  }
}
