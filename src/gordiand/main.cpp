// gordiand, the coordinator program: settings, history, server, and a clean stop.
//
// Logs go to stderr. Exit codes: 0 stopped by SIGTERM or SIGINT, 1 stopped by a fault, 2 settings or history cannot be
// used, 3 the endpoint cannot be bound.
#include <spdlog/spdlog.h>

#include <filesystem>

#include "daemon/endpoint_file.hpp"
#include "daemon/guarded.hpp"
#include "daemon/log.hpp"
#include "daemon/memory.hpp"
#include "daemon/stop_on_signal.hpp"
#include "gordiand/answers.hpp"
#include "gordiand/journal.hpp"
#include "gordiand/settings.hpp"
#include "net/clock.hpp"

namespace gordian::gordiand {
namespace {

constexpr int bad_input = 2, unreachable = 3;

/// Opens the history and takes from it what this term needs: its epoch and the sites that are known.
store::Result<std::optional<store::History>> open_history(const Settings& settings, coordinator::Options& core) {
  if (settings.history.empty()) return std::nullopt;
  auto history = store::History::open(settings.history, settings.max_history);
  if (!history) return tl::unexpected(history.error());
  const auto epoch = history->next_epoch();
  if (!epoch) return tl::unexpected(epoch.error());
  auto sites = history->sites();
  if (!sites) return tl::unexpected(sites.error());
  core.epoch = *epoch;
  core.expected_sites = *std::move(sites);
  return std::optional(*std::move(history));
}

tl::expected<std::optional<Recorder>, std::string> open_recorder(const Settings& settings) {
  if (settings.record.empty()) return std::nullopt;
  auto recorder = Recorder::create(settings.record, settings.policy);
  if (!recorder) return tl::unexpected(recorder.error());
  return std::optional(*std::move(recorder));
}

int serve(Settings& settings, spdlog::logger& log, Journal& journal) {
  const net::ServerHooks hooks{[&](const coordinator::Coordinator& core, coordinator::Time now, std::string_view what,
                                   std::string_view argument) { return answer(core, now, what, argument, journal); },
                               [&](const coordinator::Event& event) { journal.take(event); }};
  auto server = net::CoordinatorServer::bind(settings.server, settings.core, hooks);
  if (!server) {
    log.error("{}", server.error());
    return unreachable;
  }
  const daemon::StopOnSignal stop_on_signal(*server);
  const std::string endpoint = server->endpoint();
  const daemon::EndpointFile endpoint_file(settings.endpoint_file, endpoint);
  log.info("listening on {} (epoch {}, policy {}{})", endpoint, settings.core.epoch, settings.policy,
           settings.core.map.members.empty()
               ? ""
               : ", member " + settings.core.member + " of " + std::to_string(settings.core.map.members.size()));
  server->run();
  log.info("stopped by a signal");
  return 0;
}

int run(int argc, const char* const* argv) {
  Settings settings;
  config::Options options(
      "gordiand", GORDIAN_VERSION,
      "The coordinator of Gordian: finds deadlocks that run through several sites, and breaks them.");
  settings.declare(options);
  if (const auto exit_code = options.parse_or_exit(argc, argv)) return *exit_code;
  settings.read_back();
  settings.core.version = GORDIAN_VERSION;
  settings.core.instance = static_cast<std::uint64_t>(net::unix_now_us());

  const auto log = daemon::make_log("gordiand", settings.log_level, settings.log_format);
  auto history = open_history(settings, settings.core);
  if (!history) {
    log->error("{}", history.error().message);
    return bad_input;
  }
  if (!*history)
    log->warn(
        "no history file: incidents are kept in memory only and are gone when this program ends (--history FILE)");
  auto recorder = open_recorder(settings);
  if (!recorder) {
    log->error("{}", recorder.error());
    return bad_input;
  }
  Journal journal(*std::move(history), *std::move(recorder), log);
  return daemon::guarded(*log, [&] { return serve(settings, *log, journal); });
}

}  // namespace
}  // namespace gordian::gordiand

int main(int argc, char** argv) {
  gordian::daemon::keep_freed_memory();
  return gordian::gordiand::run(argc, argv);
}
