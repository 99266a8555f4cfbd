#include "sim/describe.hpp"

#include <type_traits>
#include <variant>

namespace gordian::sim {
namespace {

template <class... Cases>
struct Overload : Cases... {
  using Cases::operator()...;
};

std::string text(std::uint64_t number) { return std::to_string(number); }
std::string text(const wire::RequestId& id) { return "#" + text(id.request) + " of " + text(id.session % 10'000); }
std::string text(wire::LockStatus status) {
  static constexpr const char* names[] = {"done",       "waiting", "deadlock", "timeout",      "cancelled",
                                          "lease_lost", "refused", "wounded",  "out_of_order", "limit",
                                          "not_held",   "invalid", "forced"};
  return names[static_cast<std::size_t>(status)];
}
std::string text(const Wait& wait) {
  std::string all = wait.waiter.str() + " for " + wait.resource + " " + wait.mode + " [";
  for (const auto& blocker : wait.blockers) all += " " + blocker.txn.str();
  for (const auto group : wait.groups) all += " group " + text(static_cast<std::uint64_t>(group));
  return all + " ]" + (wait.need == 0 ? "" : " need " + text(wait.need));
}

std::string change(const wire::Change& change) {
  const auto group = [](GroupHandle handle) { return "group " + text(static_cast<std::uint64_t>(handle)); };
  return std::visit(Overload{
                        [](const wire::WaitChange& c) { return "wait " + text(c.sequence) + ": " + text(c.wait); },
                        [](const wire::EndWaitChange& c) { return "end of wait " + text(c.sequence); },
                        [](const wire::TxnChange& c) { return "about " + c.txn.str(); },
                        [](const wire::ForgetTxnChange& c) { return "forget " + c.txn.str(); },
                        [&](const wire::GroupChange& c) {
                          std::string all = group(c.group) + " of " + c.resource + " " + c.mode + " [";
                          for (const auto& member : c.members) all += " " + member.str();
                          return all + " ]";
                        },
                        [&](const wire::JoinChange& c) { return c.txn.str() + " joins " + group(c.group); },
                        [&](const wire::LeaveChange& c) { return c.txn.str() + " leaves " + group(c.group); },
                        [&](const wire::EndGroupChange& c) { return "end of " + group(c.group); },
                    },
                    change);
}
std::string changes(const std::vector<wire::Change>& all) {
  std::string list;
  for (const auto& each : all) list += (list.empty() ? "" : "; ") + change(each);
  return list;
}

std::string request(const wire::LockServiceRequest& request) {
  return std::visit(
      Overload{
          [](const wire::LockRequest& r) {
            std::string all = "lock " + text(r.id) + " " + r.txn.str();
            for (const auto& item : r.items) all += " " + item.name + ":" + item.mode;
            return all;
          },
          [](const wire::UnlockRequest& r) { return "unlock " + text(r.id) + " " + r.txn.str() + " " + r.name; },
          [](const wire::DowngradeRequest& r) { return "downgrade " + text(r.id) + " " + r.txn.str() + " " + r.name; },
          [](const wire::EndRequest& r) { return "end " + text(r.id) + " " + r.txn.str(); },
          [](const wire::CancelRequest& r) { return "cancel " + text(r.id) + " target #" + text(r.target); },
          [](const wire::BeginRequest& r) { return "begin " + text(r.id) + " " + r.txn.str(); },
          [](const wire::ReclaimRequest& r) { return "reclaim " + text(r.id) + " " + r.txn.str(); },
      },
      request);
}

}  // namespace

std::string describe(const wire::FromAgent& message) {
  return std::visit(
      Overload{
          [](const wire::Hello& m) { return "hello of " + m.site.str() + ", incarnation " + text(m.incarnation); },
          [](const wire::Heartbeat& m) { return "heartbeat, message " + text(m.number); },
          [](const wire::Delta& m) { return "delta " + text(m.number) + ": " + changes(m.changes); },
          [](const wire::Snapshot& m) { return "snapshot " + text(m.number) + ": " + changes(m.changes); },
          [](const wire::Confirmed& m) {
            return "confirmation " + text(m.confirm) +
                   (m.denied.empty() ? ": yes" : ": no, " + m.denied.front().blocker.str());
          },
          [](const wire::Aborted& m) {
            return "order " + text(m.order) + ": " + text(static_cast<std::uint64_t>(m.outcome)) + " " + m.text;
          },
          [](const wire::Goodbye&) { return std::string("goodbye"); },
      },
      message);
}

std::string describe(const wire::ToAgent& message) {
  return std::visit(Overload{
                        [](const wire::Welcome& m) { return "welcome, epoch " + text(m.epoch); },
                        [](const wire::HeartbeatAck& m) { return "heartbeat ack, applied " + text(m.applied); },
                        [](const wire::Resync& m) { return "resync: " + m.reason; },
                        [](const wire::Confirm& m) {
                          std::string all = "confirm " + text(m.confirm) + ":";
                          for (const auto& edge : m.edges)
                            all += " " + text(edge.sequence) + "->" + edge.blocker.str() + " since " + text(edge.since);
                          return all;
                        },
                        [](const wire::Abort& m) {
                          return "order " + text(m.order) + ": abort " + m.victim.str() + " (wait " + text(m.sequence) +
                                 (m.role == wire::Abort::Role::waiting ? ", waiting" : ", holding") + ", attempt " +
                                 text(m.attempt) + ", incident " + m.incident + ")";
                        },
                        [](const wire::Reorder& m) {
                          return "order " + text(m.order) + ": wait " + text(m.sequence) + " goes ahead of " +
                                 m.blocker.str() + " (attempt " + text(m.attempt) + ", incident " + m.incident + ")";
                        },
                        [](const wire::Error& m) { return "error " + std::string(wire::name(m.code)) + ": " + m.text; },
                    },
                    message);
}

std::string describe(const wire::PeerMessage& message) {
  const auto edges = [](const std::vector<wire::GlobalEdge>& list) {
    std::string all;
    for (const auto& edge : list)
      all += " " + edge.waiter.str() + ">" + edge.blocker.str() + "@" + edge.site.str() + "/" + text(edge.incarnation) +
             "/" + text(edge.sequence);
    return all;
  };
  const auto names = [](const std::vector<TxnId>& list) {
    std::string all;
    for (const auto& txn : list) all += " " + txn.str();
    return all;
  };
  return std::visit(
      Overload{
          [](const wire::PeerHello&) { return std::string("hello"); },
          [&](const wire::Probe& m) {
            return "probe " + text(m.round) + " for " + m.target.str() + ":" + edges(m.path);
          },
          [&](const wire::Suspect& m) { return "suspect:" + edges(m.cycle); },
          [](const wire::Poke& m) { return "poke " + m.txn.str(); },
          [&](const wire::Gather& m) { return "gather " + text(m.gather) + ":" + names(m.txns); },
          [&](const wire::Gathered& m) {
            return "gathered " + text(m.gather) + (m.complete ? ":" : ", incomplete:") + edges(m.edges);
          },
          [&](const wire::Reserve& m) { return "reserve " + text(m.number) + ":" + names(m.txns); },
          [](const wire::Reserved& m) { return (m.granted ? "reserved " : "refused ") + text(m.number); },
          [](const wire::FreeBranches& m) { return "free branches of " + m.victim.str() + ", " + m.incident; },
          [](const wire::BranchesFree& m) { return "branches free of " + m.victim.str(); },
          [](const wire::Release& m) { return "release " + text(m.number); },
      },
      message);
}

std::string describe(const wire::FromLockClient& message) {
  return std::visit(Overload{
                        [](const wire::OpenSession& m) { return "open session " + text(m.session % 10'000); },
                        [](const wire::Renew& m) { return "renew " + text(m.sessions.size()) + " sessions"; },
                        [](const wire::CloseSession& m) { return "close session " + text(m.session % 10'000); },
                        [](const wire::Requests& m) {
                          std::string all;
                          for (const auto& each : m.requests) all += (all.empty() ? "" : "; ") + request(each);
                          return all;
                        },
                    },
                    message);
}

std::string describe(const wire::ToLockClient& message) {
  return std::visit(
      Overload{
          [](const wire::SessionOpened& m) {
            return "session " + text(m.session % 10'000) + " opened, incarnation " + text(m.incarnation) + ", grace " +
                   text(m.grace_ms) + " ms";
          },
          [](const wire::Renewed& m) { return "renewed, " + text(m.unknown.size()) + " unknown"; },
          [](const wire::SessionEnded& m) { return "session " + text(m.session % 10'000) + " ended: " + m.text; },
          [](const wire::Replies& m) {
            std::string all;
            for (const auto& each : m.replies)
              all += (all.empty() ? "" : "; ") + std::string("reply #") + text(each.request) + " of " +
                     text(each.session % 10'000) + ": " + text(each.status);
            return all;
          },
          [](const wire::TxnAborted& m) { return m.txn.str() + " aborted: " + text(m.status) + " " + m.incident; },
          [](const wire::Error& m) { return "error " + m.text; },
      },
      message);
}

}  // namespace gordian::sim
