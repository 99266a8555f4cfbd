#include "node/options.hpp"

#include "config/options.hpp"

namespace gordian::node {
namespace {

using namespace std::chrono_literals;

constexpr Strategy strategies[] = {Strategy::detect,   Strategy::timeout,    Strategy::no_wait,
                                   Strategy::wait_die, Strategy::wound_wait, Strategy::ordered};

std::vector<std::string> strategy_names() {
  std::vector<std::string> names;
  for (const auto strategy : strategies) names.emplace_back(name(strategy));
  return names;
}

}  // namespace

LockTableOptions Settings::table() const {
  LockTableOptions options;
  for (const auto each : strategies)
    if (name(each) == strategy) options.strategy = each;
  options.lock_timeout = lock_timeout.count();
  options.modes = modes == "dlm" ? modes::dlm() : modes::standard();
  options.limits.waiters_per_resource = max_waiters;
  return options;
}

std::optional<int> read_settings(Settings& s, int argc, const char* const* argv) {
  config::Options options(
      "gordian-agent", GORDIAN_VERSION,
      "The lock server of a node: locks with leases and fences, and deadlocks found across all nodes.");
  options.add("site", s.site, "name of this node among all sites; required");
  options.add("listen", s.listen, "ZeroMQ endpoint for clients");
  options.add("endpoint_file", s.endpoint_file, "write the endpoint with its real port into this file");
  options.add("coordinator", s.coordinator,
              "ZeroMQ endpoint of the coordinator, of several some, with commas; empty: deadlocks are not detected");
  options.add("state", s.state, "file for what must survive a restart (fences grow across it); required");
  options.add("durability", s.durability,
              "none: holders reclaim their locks after a restart; journal: nothing is forgotten",
              config::one_of({"none", "journal"}));
  options.add("label", s.label, "where this node runs, shown to people");
  options.add("strategy", s.strategy, "what transactions do about deadlocks unless they say so themselves",
              config::one_of(strategy_names()));
  options.add("modes", s.modes, "lock modes: standard (IS IX S SIX U X) or dlm (NL CR CW PR PW EX)",
              config::one_of({"standard", "dlm"}));
  options.add("lock_timeout", s.lock_timeout, "for strategy timeout", config::between(1ms, 24h));
  options.add("publish_after", s.publish_after, "a wait is reported once it is this old", config::between(0us, 1min));
  options.add("ttl_max", s.ttl_max, "longest time to live of a session", config::between(100ms, 1h));
  options.add("max_sessions", s.max_sessions, "sessions at most", config::between(1, 10'000'000));
  options.add("max_waiters", s.max_waiters, "waiters for one resource at most", config::between(1, 10'000'000));
  options.add("max_message_bytes", s.max_message_bytes, "size of one message", config::between(1 << 16, 1 << 30));
  options.add("max_send_queue", s.max_send_queue, "messages queued for one slow client", config::between(100, 1 << 30));
  options.add("log_level", s.log_level, "least level to log", config::one_of({"debug", "info", "warn", "error"}));
  options.add("log_format", s.log_format, "text or json", config::one_of({"text", "json"}));
  options.check([&s]() -> std::string {
    if (const auto site = SiteId::parse(s.site); !site) return "site: " + site.error() + "; give one with --site";
    if (s.state.empty())
      return "state: a file is needed, for fences must grow across restarts; give one that no other agent uses with "
             "--state FILE";
    return {};
  });
  return options.parse_or_exit(argc, argv);
}

}  // namespace gordian::node
