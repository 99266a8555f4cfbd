// The agent's side towards several coordinators: a session (AgentCore) with each, and each wait told to its waiter's owner.
//
// The map of coordinators comes with a Welcome; the newest counts. When it changes, the waits of transactions that have
// another owner now end at the old one and begin at the new one under new sequences; the engine's handles stay. Groups and
// descriptions are known to every session, which tells of them what its own published waits name. Questions and orders may
// come over any session, about waits of any. Before the first Welcome waits are kept and told to nobody.
//
// Pure and not thread-safe, like AgentCore. Cost: with one coordinator that of AgentCore; with several a wait takes
// O(members) to find its owner, groups and descriptions cost as much as all sessions together.
#pragma once

#include <list>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "agent/agent_core.hpp"
#include "wire/ownership.hpp"

namespace gordian::agent {

/// A connection to a coordinator, given by the router; never used again.
enum class LinkId : std::uint64_t {};

/// The host is to connect to this endpoint.
struct Dial {
  LinkId link;
  std::string endpoint;
};
/// The host is to close that connection, after a last message.
struct Hangup {
  LinkId link;
  std::optional<wire::Goodbye> farewell;
};
using LinkChange = std::variant<Dial, Hangup>;

struct LinkMessage {
  LinkId link;
  wire::FromAgent message;
};

/// Adds the counters (not what stands) of `one` to `sum`.
void count(AgentStatus& sum, const AgentStatus& one);

/// The endpoints in a list separated by commas; white space around them does not count. At most MemberMap::members_max.
[[nodiscard]] std::vector<std::string> endpoints_of(std::string_view list);

class AgentRouter final : private Cores {
 public:
  /// `endpoints`: any coordinators; whichever answers brings the map of all. `options.cores` is not used.
  AgentRouter(Options options, std::vector<std::string> endpoints, std::int64_t now_us);
  AgentRouter(const AgentRouter&) = delete;
  AgentRouter& operator=(const AgentRouter&) = delete;

  // The engine's reports and answers: as in AgentCore.
  [[nodiscard]] tl::expected<WaitHandle, AgentError> begin_wait(Wait wait, std::int64_t now_us);
  tl::expected<void, AgentError> set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers,
                                              std::optional<std::uint32_t> need = std::nullopt);
  tl::expected<void, AgentError> renew_blocker(WaitHandle wait, const TxnId& blocker);
  void end_wait(WaitHandle wait);
  [[nodiscard]] tl::expected<GroupHandle, AgentError> begin_group(std::string resource, std::string mode,
                                                                  Kind kind = Kind::hard);
  void join_group(GroupHandle group, const TxnId& txn);
  void leave_group(GroupHandle group, const TxnId& txn);
  void end_group(GroupHandle group);
  tl::expected<void, AgentError> describe(const TxnId& txn, TxnInfo info);
  void forget(const TxnId& txn);
  void confirm_ready(std::uint64_t ticket);
  void answer_abort(std::uint64_t ticket, wire::Aborted::Outcome outcome, std::string text);
  void answer_reorder(std::uint64_t ticket, wire::Aborted::Outcome outcome, std::string text);

  // The network's side. Of a link that was hung up everything is ignored.
  /// Connections to open and close, in order. To be asked before take_outgoing().
  [[nodiscard]] std::vector<LinkChange> take_link_changes(std::int64_t now_us);
  void receive(LinkId link, const wire::ToAgent& message, std::int64_t now_us);
  void send_failed(LinkId link, std::int64_t now_us);
  [[nodiscard]] std::vector<LinkMessage> take_outgoing(std::int64_t now_us);
  [[nodiscard]] std::vector<Upcall> take_upcalls();
  [[nodiscard]] std::int64_t next_due_us() const;
  [[nodiscard]] bool has_outgoing() const;
  /// The last messages before the agent ends.
  [[nodiscard]] std::vector<LinkMessage> farewells() const;
  /// Sums over all sessions; the highest epoch.
  [[nodiscard]] AgentStatus status() const;

  /// The map that waits are placed by; nothing before the first Welcome. Of one coordinator alone it has no members.
  [[nodiscard]] const std::optional<wire::MemberMap>& map() const { return map_; }
  /// The engine's name of the standing wait that coordinators know by this sequence.
  [[nodiscard]] WaitHandle handle(std::uint64_t sequence) const;

 private:
  struct Link {
    LinkId id;
    std::string endpoint;
    std::string member;  ///< whom it leads to; empty: not known, or one that is alone
    std::unique_ptr<AgentCore> core;
    bool bound = false;  ///< its coordinator is in the map, or alone and the one that is followed
  };
  struct Place {
    AgentCore* core;
    std::uint64_t sequence;
  };
  using Links = std::list<Link>;  // cores and their links stay where they are

  // Cores
  AgentCore* holding(std::uint64_t sequence) override;
  std::uint64_t next_sequence() override { return ++last_sequence_; }
  std::uint64_t next_ticket() override { return ++last_ticket_; }
  [[nodiscard]] std::size_t waits() const override;
  void ended(std::uint64_t sequence) override;

  Link& dial(const std::string& endpoint, const std::string& member, std::int64_t now_us);
  void redial(Link& link, const std::string& endpoint, std::int64_t now_us);
  [[nodiscard]] bool dialled(const std::string& endpoint) const;
  void dial_all_given(std::int64_t now_us);
  /// Nobody is online, and not all given endpoints are tried.
  [[nodiscard]] bool gave_up() const;
  [[nodiscard]] bool online() const;
  [[nodiscard]] Link* find(LinkId id);
  void welcomed(Link& link, const wire::Welcome& welcome, std::int64_t now_us);
  void settle(Link& heard, std::int64_t now_us);
  void hang_up_strangers();
  void place_waits(std::int64_t now_us);
  void move(std::uint64_t sequence, AgentCore& from, AgentCore& to, std::int64_t now_us);
  [[nodiscard]] AgentCore& owner(const TxnId& txn);
  [[nodiscard]] Place place(WaitHandle wait);
  void note(AgentCallbacks::Level level, std::string text);

  Options options_;
  const std::vector<std::string> given_;
  Links links_;
  std::uint64_t last_link_ = 0;
  std::vector<LinkChange> link_changes_;
  std::optional<wire::MemberMap> map_;
  std::vector<AgentCore*> owners_;       ///< by place in the map; one alone: one
  std::set<std::string> complained_of_;  ///< coordinators with another map, told of once
  std::int64_t heard_us_;                ///< when a session was last seen online, or all given endpoints were tried
  AgentStatus gone_;                     ///< what the sessions that ended have counted

  std::uint64_t last_sequence_ = 0;
  std::uint64_t last_ticket_ = 0;
  // A wait that is in neither is held by the only owner, and its handle is its sequence.
  std::unordered_map<std::uint64_t, Place> places_;           ///< by handle
  std::unordered_map<std::uint64_t, std::uint64_t> renamed_;  ///< sequence → handle, of waits that were moved
  std::vector<Upcall> notes_;
};

}  // namespace gordian::agent
