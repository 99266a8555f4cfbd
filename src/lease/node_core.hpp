// All of a gordian-agent but its sockets, its journal and its log: the lock server, the reports of its waits to coordinators,
// and their orders carried out on its lock table.
//
// Pure: messages and the time go in; messages, records and notes come out. agents/node/ gives it sockets, sim/ a simulated
// network. Not thread-safe. Cost: that of LockServer and AgentRouter, and O(1) per report.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent_router.hpp"
#include "agent/table_reporter.hpp"
#include "lease/lock_server.hpp"

namespace gordian::lease {

class NodeCore : private agent::ReportSink {
 public:
  /// The server's observer and txn_ended are set here.
  NodeCore(agent::Options agent, std::vector<std::string> coordinators, ServerOptions server, ServerTime now);
  NodeCore(const NodeCore&) = delete;
  NodeCore& operator=(const NodeCore&) = delete;

  void receive(const PeerId& client, const wire::FromLockClient& message, ServerTime now);
  /// A message of a coordinator; orders are carried out at once.
  void receive(agent::LinkId link, const wire::ToAgent& message, ServerTime now);
  /// Does what is due.
  void tick(ServerTime now);
  /// Connections to coordinators that are to be opened and closed; before take_for_coordinators().
  [[nodiscard]] std::vector<agent::LinkChange> take_link_changes(ServerTime now);
  /// What the coordinators are to be told now.
  [[nodiscard]] std::vector<agent::LinkMessage> take_for_coordinators(ServerTime now);
  /// A message that was taken could not be sent.
  void send_failed(agent::LinkId link, ServerTime now) { agent_.send_failed(link, now.steady_us); }
  /// When tick() or take_for_coordinators() have something to do next; to be asked before every sleep.
  [[nodiscard]] std::int64_t next_due_us(ServerTime now);

  /// What there is to log since the last call.
  [[nodiscard]] std::vector<agent::Note> take_notes();

  /// Commands of people, messages to clients and records for the journal are the server's own.
  [[nodiscard]] LockServer& server() { return server_; }
  [[nodiscard]] const LockServer& server() const { return server_; }
  [[nodiscard]] const agent::AgentRouter& agent() const { return agent_; }
  [[nodiscard]] const agent::TableReporter& reporter() const { return reporter_; }

 private:
  std::optional<WaitHandle> begin_wait(Wait wait) override;
  [[nodiscard]] std::chrono::microseconds clock() const override { return std::chrono::microseconds(now_.steady_us); }
  bool set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers, std::uint32_t need) override;
  void end_wait(WaitHandle wait) override { agent_.end_wait(wait); }
  std::optional<GroupHandle> begin_group(std::string resource, std::string mode, Kind kind) override;
  void join_group(GroupHandle group, const TxnId& txn) override { agent_.join_group(group, txn); }
  void leave_group(GroupHandle group, const TxnId& txn) override { agent_.leave_group(group, txn); }
  void end_group(GroupHandle group) override { agent_.end_group(group); }
  void named(const TxnId& txn) override;

  void carry_out_orders();
  void carry_out(const agent::AbortCall& call);
  void carry_out(const agent::ReorderCall& call);
  void complain(const AgentError& error);

  ServerTime now_;
  ModeMatrix modes_;
  agent::AgentRouter agent_;
  agent::TableReporter reporter_;
  LockServer server_;
  std::vector<agent::Note> notes_;
  std::string last_complaint_;
};

}  // namespace gordian::lease
