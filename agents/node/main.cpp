// gordian-agent: the lock server of a node. docs/lock-agent.md describes how to operate it.
//
// Logs go to stderr. Exit codes: 0 stopped by SIGTERM or SIGINT, 1 stopped by a fault, 2 settings or the state file cannot be
// used, 3 the endpoint cannot be bound.
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdlib>
#include <random>

#include "daemon/endpoint_file.hpp"
#include "daemon/guarded.hpp"
#include "daemon/log.hpp"
#include "daemon/stop_on_signal.hpp"
#include "node/node.hpp"

namespace gordian::node {
namespace {

constexpr int fine = 0, bad_input = 2, unreachable = 3;

std::string random_instance() {
  std::random_device source;
  std::string text;
  for (int i = 0; i < 16; ++i) text += "0123456789abcdef"[source() % 16];
  return text;
}

/// Of GORDIAN_FAILPOINT; for tests only.
Failpoint failpoint() {
  constexpr std::string_view prefix = "kill_before_grant:";
  const char* text = std::getenv("GORDIAN_FAILPOINT");
  if (text == nullptr || !std::string_view(text).starts_with(prefix)) return {};
  return {std::strtoull(text + prefix.size(), nullptr, 10)};
}

int serve(const Settings& settings, const std::shared_ptr<spdlog::logger>& log) {
  auto state = store::LockState::open(settings.state);
  if (!state) {
    log->error("{}", state.error().message);
    return bad_input;
  }
  auto start = state->start(settings.journal());
  if (!start) {
    log->error("{}", start.error().message);
    return bad_input;
  }
  const std::string instance = random_instance();
  const net::NodeReactor::Options options{
      .clients = {settings.listen, settings.max_message_bytes, static_cast<int>(settings.max_send_queue)},
      .routing_id = "n" + instance + settings.site};
  auto reactor = net::NodeReactor::bind(options);
  if (!reactor) {
    log->error("{}", reactor.error());
    return unreachable;
  }
  Journal journal(*std::move(state), log, [&] { reactor->wake(); });
  Node node(settings, *start, journal, instance, log, failpoint());
  const daemon::StopOnSignal stop_on_signal(*reactor);
  const daemon::EndpointFile endpoint_file(settings.endpoint_file, reactor->endpoint());
  log->info("site {} listening on {} (epoch {}, durability {}, {} locks found{})", settings.site, reactor->endpoint(),
            start->epoch, settings.durability, start->found.holds.size(),
            settings.journal() || start->found.clean
                ? std::string()
                : ", holders may reclaim for " + std::to_string(start->found.longest_ttl_us / 1000) + " ms");
  const auto ran = node.run(*reactor);
  journal.stop(node.holds_nothing());
  if (!ran) {
    log->error("{}", ran.error());
    return unreachable;
  }
  log->info("stopped by a signal");
  return fine;
}

int run(int argc, const char* const* argv) {
  Settings settings;
  if (const auto exit_code = read_settings(settings, argc, argv)) return *exit_code;
  const auto log = daemon::make_log("gordian-agent", settings.log_level, settings.log_format);
  return daemon::guarded(*log, [&] { return serve(settings, log); });
}

}  // namespace
}  // namespace gordian::node

int main(int argc, char** argv) { return gordian::node::run(argc, argv); }
