#include "node/node.hpp"

#include <spdlog/spdlog.h>

#include <csignal>

#include "admin/lock_json.hpp"
#include "net/clock.hpp"
#include "text/text.hpp"

namespace gordian::node {
namespace {

// Selections beyond this are cut, however many are asked for.
constexpr std::size_t resources_shown_max = 20'000;
constexpr std::size_t audit_shown_max = 1'000;
constexpr std::chrono::seconds flush_longest{3};

lease::ServerTime now() { return {net::steady_now_us(), net::unix_now_us()}; }

agent::Options agent_options(const Settings& settings, std::uint64_t incarnation, std::string instance) {
  AgentLimits limits;
  limits.waits = 1'000'000;
  limits.transactions = 2'000'000;
  return {.site = SiteId(settings.site),
          .incarnation = incarnation,
          .instance = std::move(instance),
          .engine = "gordian-agent",
          .label = settings.label,
          .software = "gordian " GORDIAN_VERSION,
          .publish_after_us = settings.publish_after.count(),
          .engine_reorders = true,
          .limits = limits};
}

}  // namespace

Node::Node(const Settings& settings, const store::LockState::Start& start, Journal& journal, std::string instance,
           std::shared_ptr<spdlog::logger> log, Failpoint failpoint)
    : settings_(settings),
      start_epoch_(start.epoch),
      log_(std::move(log)),
      journal_(journal),
      failpoint_(failpoint),
      core_(
          agent_options(settings, start.epoch, std::move(instance)), agent::endpoints_of(settings.coordinator),
          [&] {
            lease::ServerOptions options{.site = SiteId(settings.site),
                                         .table = settings.table(),
                                         .journal = settings.journal(),
                                         .found = start.found};
            options.table.epoch = start.epoch;
            options.limits.sessions = settings.max_sessions;
            options.limits.ttl_max_us = std::chrono::microseconds(settings.ttl_max).count();
            return options;
          }(),
          now()) {}

// --- What comes in ---

void Node::received(const std::string& peer, const wire::FromLockClient& message) {
  core_.receive(peer, message, now());
}

void Node::refused(const std::string& peer, const wire::Error& why) {
  log_->warn("message of a client not understood: {}", why.text);
  core_.server().refused(peer, why);
}

void Node::received(agent::LinkId link, const wire::ToAgent& message) { core_.receive(link, message, now()); }

std::vector<agent::LinkChange> Node::link_changes(std::int64_t) { return core_.take_link_changes(now()); }

void Node::garbled(const std::string& what) { log_->warn("coordinator not understood: {}", what); }

tl::expected<std::string, std::string> Node::asked(const wire::Query& query) {
  if (query.what == "locks") {
    auto selection = admin::parse_lock_selection(query.argument);
    if (!selection) return tl::unexpected("query locks: " + selection.error());
    selection->limit = std::min(selection->limit, resources_shown_max);
    return admin::to_json(core_.server().locks(*selection));
  }
  if (query.what == "status")
    return admin::to_json(admin::NodeStatus{settings_.site, GORDIAN_VERSION, settings_.coordinator, start_epoch_,
                                            settings_.journal(), core_.agent().status(), core_.server().status(),
                                            core_.reporter().left_out()});
  if (query.what == "audit") {
    const auto records = journal_.audit(audit_shown_max);
    if (!records) return tl::unexpected(records.error().message);
    return admin::to_json(*records);
  }
  if (query.what == "unlock") return unlock_by_force(query.argument);
  return tl::unexpected("query \"" + query.what + "\" is not known; expected locks, status, audit or unlock");
}

tl::expected<std::string, std::string> Node::unlock_by_force(const std::string& json) {
  const auto argument = admin::parse_force(json);
  if (!argument) return tl::unexpected("query unlock: " + argument.error());
  const auto done = core_.server().unlock_by_force(argument->name, argument->why, argument->by, now());
  if (!done) return tl::unexpected(text::visible(argument->name) + ": " + done.error());
  log_->warn("{} released by force by {}: {}; {} transactions aborted", argument->name, argument->by, argument->why,
             done->aborted.size());
  // Who did it, and why, must not be lost with this process.
  journal_.take(core_.server().take_records());
  if (!journal_.flush(flush_longest))
    return tl::unexpected(text::visible(argument->name) +
                          ": released, but the record of it is not on disk yet; see the agent's log for why");
  return admin::to_json(*done);
}

// --- What goes out ---

void Node::log_notes() {
  for (const auto& note : core_.take_notes()) {
    const auto level = note.level == AgentCallbacks::Level::debug  ? spdlog::level::debug
                       : note.level == AgentCallbacks::Level::info ? spdlog::level::info
                       : note.level == AgentCallbacks::Level::warn ? spdlog::level::warn
                                                                   : spdlog::level::err;
    log_->log(level, "{}", note.text);
  }
}

void Node::work(net::NodeSender& out) {
  const auto time = now();
  core_.tick(time);
  out.change(core_.take_link_changes(time));
  std::optional<agent::LinkId> broken;  // once one of a link's messages is lost, those behind it must not arrive
  for (const auto& message : core_.take_for_coordinators(time)) {
    if (message.link == broken || out.to_coordinator(message)) continue;
    broken = message.link;
    core_.send_failed(message.link, time);
  }
  log_notes();
  if (auto records = core_.server().take_records(); !records.empty()) journal_.take(std::move(records));
  send_to_clients(out);
}

void Node::send_to_clients(net::NodeSender& out) {
  for (auto& message : core_.server().take_outgoing()) held_.push_back(std::move(message));
  for (const std::uint64_t committed = journal_.committed(); !held_.empty() && held_.front().after <= committed;
       held_.pop_front()) {
    if (failpoint_.kill_before_grant != 0) check_failpoint(held_.front().message);
    out.to_client(held_.front().peer, held_.front().message);
  }
}

void Node::check_failpoint(const wire::ToLockClient& message) {
  const auto* replies = std::get_if<wire::Replies>(&message);
  if (replies == nullptr) return;
  for (const auto& reply : replies->replies)
    if (!reply.grants.empty() && ++granted_ == failpoint_.kill_before_grant) std::raise(SIGKILL);
}

std::int64_t Node::next_due_us() { return core_.next_due_us(now()); }

}  // namespace gordian::node
