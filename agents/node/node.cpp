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
      modes_(settings.table().modes),
      agent_(agent_options(settings, start.epoch, std::move(instance)), agent::endpoints_of(settings.coordinator),
             net::steady_now_us()),
      reporter_(modes_, *this),
      server_(
          [&] {
            lease::ServerOptions options{.site = SiteId(settings.site),
                                         .table = settings.table(),
                                         .journal = settings.journal(),
                                         .found = start.found,
                                         .txn_ended = [this](const TxnId& txn) { agent_.forget(txn); }};
            options.table.epoch = start.epoch;
            options.table.observer = &reporter_;
            options.limits.sessions = settings.max_sessions;
            options.limits.ttl_max_us = std::chrono::microseconds(settings.ttl_max).count();
            return options;
          }(),
          now()) {}

// --- What comes in ---

void Node::received(const std::string& peer, const wire::FromLockClient& message) {
  server_.receive(peer, message, now());
}

void Node::refused(const std::string& peer, const wire::Error& why) {
  log_->warn("message of a client not understood: {}", why.text);
  server_.refused(peer, why);
}

void Node::received(agent::LinkId link, const wire::ToAgent& message) {
  agent_.receive(link, message, net::steady_now_us());
  carry_out_orders();
}

void Node::garbled(const std::string& what) { log_->warn("coordinator not understood: {}", what); }

tl::expected<std::string, std::string> Node::asked(const wire::Query& query) {
  if (query.what == "locks") {
    auto selection = admin::parse_lock_selection(query.argument);
    if (!selection) return tl::unexpected("query locks: " + selection.error());
    selection->limit = std::min(selection->limit, resources_shown_max);
    return admin::to_json(server_.locks(*selection));
  }
  if (query.what == "status")
    return admin::to_json(admin::NodeStatus{settings_.site, GORDIAN_VERSION, settings_.coordinator, start_epoch_,
                                            settings_.journal(), agent_.status(), server_.status(),
                                            reporter_.left_out()});
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
  const auto done = server_.unlock_by_force(argument->name, argument->why, argument->by, now());
  if (!done) return tl::unexpected(text::visible(argument->name) + ": " + done.error());
  log_->warn("{} released by force by {}: {}; {} transactions aborted", argument->name, argument->by, argument->why,
             done->aborted.size());
  return admin::to_json(*done);
}

// --- Orders of the coordinator ---

void Node::carry_out_orders() {
  for (const auto& call : agent_.take_upcalls()) {
    if (const auto* order = std::get_if<agent::AbortCall>(&call)) {
      carry_out(*order);
    } else if (const auto* reorder = std::get_if<agent::ReorderCall>(&call)) {
      carry_out(*reorder);
    } else if (const auto* note = std::get_if<agent::Note>(&call)) {
      const auto level = note->level == AgentCallbacks::Level::debug  ? spdlog::level::debug
                         : note->level == AgentCallbacks::Level::info ? spdlog::level::info
                         : note->level == AgentCallbacks::Level::warn ? spdlog::level::warn
                                                                      : spdlog::level::err;
      log_->log(level, "{}", note->text);
    }
  }
}

void Node::carry_out(const agent::AbortCall& call) {
  const AbortOrder& order = call.order;
  const auto wait = reporter_.find(order.wait);
  const bool done =
      wait && (order.role == AbortOrder::Role::waiting
                   ? server_.abort_waiting(order.victim, order.incident, wait->number, now())
                   : server_.abort_holding(order.victim, order.incident, wait->resource, wait->number, now()));
  log_->debug("order to abort {} for incident {}: {}", order.victim.str(), order.incident, done ? "done" : "too late");
  agent_.answer_abort(call.ticket, done ? wire::Aborted::Outcome::done : wire::Aborted::Outcome::stale,
                      done ? "" : "the wait was over");
}

void Node::carry_out(const agent::ReorderCall& call) {
  const ReorderOrder& order = call.order;
  const auto wait = reporter_.find(order.wait);
  const bool done = wait && server_.reorder(wait->resource, wait->number, order.ahead_of, now());
  log_->debug("order to go ahead of {} at {} for incident {}: {}", order.ahead_of.str(),
              wait ? text::visible(wait->resource) : "-", order.incident, done ? "done" : "too late");
  agent_.answer_reorder(call.ticket, done ? wire::Aborted::Outcome::done : wire::Aborted::Outcome::stale,
                        done ? "" : "it is not behind that request any more");
}

// --- Reports ---

void Node::complain(const AgentError& error) {
  if (error.message == last_complaint_) return;  // once, not for every wait
  last_complaint_ = error.message;
  log_->warn("not reported: {}", error.message);
}

std::optional<WaitHandle> Node::begin_wait(Wait wait) {
  const auto handle = agent_.begin_wait(std::move(wait), net::steady_now_us());
  if (handle) return *handle;
  complain(handle.error());
  return std::nullopt;
}

std::optional<GroupHandle> Node::begin_group(std::string resource, std::string mode, Kind kind) {
  const auto group = agent_.begin_group(std::move(resource), std::move(mode), kind);
  if (group) return *group;
  complain(group.error());
  return std::nullopt;
}

void Node::named(const TxnId& txn) {
  if (const auto described = agent_.describe(txn, server_.info(txn)); !described) complain(described.error());
}

// --- What goes out ---

void Node::work(net::NodeSender& out) {
  if (const auto time = now(); time.steady_us >= server_.next_tick_us()) server_.tick(time);
  const auto now_us = net::steady_now_us();
  out.change(agent_.take_link_changes(now_us));
  std::optional<agent::LinkId> broken;  // once one of a link's messages is lost, those behind it must not arrive
  for (const auto& message : agent_.take_outgoing(now_us)) {
    if (message.link == broken || out.to_coordinator(message)) continue;
    broken = message.link;
    agent_.send_failed(message.link, now_us);
  }
  carry_out_orders();  // it may have something to say
  if (auto records = server_.take_records(); !records.empty()) journal_.take(std::move(records));
  send_to_clients(out);
}

void Node::send_to_clients(net::NodeSender& out) {
  for (auto& message : server_.take_outgoing()) held_.push_back(std::move(message));
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

std::int64_t Node::next_due_us() {
  const std::int64_t due = std::min(server_.next_tick_us(), agent_.next_due_us());
  return agent_.has_outgoing() ? std::min(due, net::steady_now_us()) : due;
}

}  // namespace gordian::node
