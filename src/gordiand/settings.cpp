#include "gordiand/settings.hpp"

#include <limits>

namespace gordian::gordiand {
namespace {

using namespace std::chrono_literals;

std::string endpoint_complaint(const std::string& text) {
  if (text.starts_with("tcp://") || text.starts_with("ipc://")) return {};
  return "\"" + text + "\" was given, expected tcp://ADDRESS:PORT (port * takes a free one) or ipc:///PATH";
}

std::string policy_complaint(const std::string& text) {
  if (detect::parse_policy(text)) return {};
  return "\"" + text + "\" was given, expected one of: " + detect::policy_names();
}

std::string weight_complaint(const double& weight) {
  return weight >= 0 ? std::string() : "a negative weight was given, expected 0 or more";
}

void declare_limits(config::Options& options, Settings& settings) {
  const auto count = config::between(1, std::numeric_limits<std::uint64_t>::max());
  coordinator::Limits& limits = settings.core.limits;
  options.add("max_sites", limits.sites, "sites at most", count);
  options.add("max_waits_per_site", limits.waits_per_site, "waits of one site at most; further ones are left out",
              count);
  options.add("max_txns", limits.txns, "described transactions at most", count);
  options.add("max_candidate_edges", limits.candidate_edges, "a larger deadlock is broken cycle by cycle", count);
  options.add("max_incidents_in_memory", limits.incidents_in_memory, "incidents kept without a history", count);
  options.add("max_confirms", limits.confirms_in_flight, "confirmations at one time", count);
  options.add("max_history", settings.max_history, "incidents in the history; the oldest are deleted", count);
  options.add("max_message_bytes", settings.server.message_bytes, "size of one message",
              config::between(1 << 16, 1 << 30));
  options.add("max_send_queue", settings.max_send_queue, "messages queued for one slow agent",
              config::between(100, 1 << 30));
}

}  // namespace

void Settings::declare(config::Options& options) {
  options.add("listen", server.listen, "ZeroMQ endpoint for agents and the command line", endpoint_complaint);
  options.add("member", members.member, "name of this coordinator among all that share the graph");
  options.add("peer", members.peers, "NAME=ENDPOINT of each other coordinator that shares the graph");
  options.add("advertise", members.advertise, "where peers and agents reach this one, if not at listen");
  options.add("map_version", members.map_version, "a changed list of peers needs a larger one",
              config::between(1, std::numeric_limits<std::uint64_t>::max()));
  options.add("endpoint_file", endpoint_file, "write the endpoint with its real port into this file");
  options.add("history", history, "SQLite file for incidents, epochs and known sites");
  options.add("record", record, "record what agents report as a trace for 'gordian replay' in this file");
  options.add("policy", policy, "who must go: " + detect::policy_names(), policy_complaint);
  options.add("weight_locks", core.weights.locks, "weight of held locks for policy weighted", weight_complaint);
  options.add("weight_work", core.weights.work, "weight of work done for policy weighted", weight_complaint);
  options.add("weight_restarts", core.weights.restarts, "weight of restarts for policy weighted", weight_complaint);
  options.add("heartbeat", core.heartbeat, "agents say something at least this often", config::between(10ms, 1h));
  options.add("lease", core.lease, "an agent silent for this long loses its waits", config::between(20ms, 24h));
  options.add("confirm_timeout", core.confirm_timeout, "time for agents to confirm a deadlock",
              config::between(1ms, 1h));
  options.add("confirm_attempts", confirm_attempts, "questions to a silent agent before a suspicion is dropped",
              config::between(1, 100));
  options.add("abort_grace", core.abort_grace, "time for an abort before it is ordered again, stronger",
              config::between(1ms, 1h));
  options.add("abort_attempts", abort_attempts, "orders to one victim before another is chosen",
              config::between(1, 100));
  options.add("full_pass_interval", core.full_pass_interval, "how often the whole graph is searched",
              config::between(1ms, 1h));
  options.add("takeover_wait", core.takeover_wait, "time for the former agent of a site to show that it lives",
              config::between(0ms, 1h));
  declare_limits(options, *this);
  options.add("log_level", log_level, "debug, info, warn or error", config::one_of({"debug", "info", "warn", "error"}));
  options.add("log_format", log_format, "text or json", config::one_of({"text", "json"}));
  options.check([this] {
    return core.lease >= 2 * core.heartbeat
               ? std::string()
               : "lease is shorter than two heartbeats: one late message would end it; raise lease or lower heartbeat";
  });
  options.check([this] {
    const auto read = map();
    return read ? std::string() : read.error();
  });
}

tl::expected<wire::MemberMap, std::string> Settings::map() const {
  auto all = members;
  all.listen = server.listen;
  return member_map(all);
}

void Settings::read_back() {
  if (auto checked = map()) core.map = *std::move(checked);
  core.member = members.member;
  core.policy = detect::parse_policy(policy).value_or(core.policy);  // checked when it was parsed
  core.confirm_attempts = static_cast<unsigned>(confirm_attempts);
  core.abort_attempts = static_cast<unsigned>(abort_attempts);
  server.send_queue = static_cast<int>(max_send_queue);
  core.record = !record.empty();
}

}  // namespace gordian::gordiand
