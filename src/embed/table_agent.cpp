// The table's agent: the pure reporter under a mutex, between a lock table and an embedded agent.
//
// Order of locks: the reporter's mutex, then the agent's. Neither is held while the table is called, which calls back here.
#include <gordian/table_agent.hpp>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "agent/table_reporter.hpp"

namespace gordian {

class TableAgent::Impl final : private WaitObserver, private agent::ReportSink {
 public:
  explicit Impl(TableAgentOptions options)
      : modes_(options.table.modes), describe_(std::move(options.describe)), reporter_(modes_, *this), table_([&] {
          options.table.observer = this;
          return std::move(options.table);
        }()) {}

  tl::expected<void, AgentError> start(AgentOptions options,
                                       std::function<void(AgentCallbacks::Level, std::string_view)> on_log) {
    AgentCallbacks callbacks;
    callbacks.on_abort = [this](const AbortOrder& order, const AbortAnswer& answer) { carry_out(order, answer); };
    callbacks.on_reorder = [this](const ReorderOrder& order, const AbortAnswer& answer) { carry_out(order, answer); };
    callbacks.on_confirm = [this](const std::vector<WaitHandle>& waits, const ConfirmAnswer& answer) {
      look_again(waits, answer);
    };
    callbacks.on_log = std::move(on_log);
    auto agent = Agent::start(std::move(options), std::move(callbacks));
    if (!agent) return tl::unexpected(agent.error());
    const std::lock_guard lock(mutex_);
    agent_.emplace(std::move(*agent));
    return {};
  }

  LockTable& table() { return table_; }
  void forget(const TxnId& txn) {
    const std::lock_guard lock(mutex_);  // after a `named` that is under way
    agent_->forget(txn);
  }
  AgentStatus status() const { return agent_->status(); }
  std::uint64_t left_out() const {
    const std::lock_guard lock(mutex_);
    return reporter_.left_out();
  }

 private:
  // --- What the coordinator wants: on the agent's callback thread ---

  using TableWait = agent::TableReporter::TableWait;

  std::vector<TableWait> find(WaitHandle wait) const {
    const std::lock_guard lock(mutex_);
    return reporter_.find(wait);
  }
  /// The end of a wait may be on its way here still, in the hands of another thread: only the table knows what stands now. Of a
  /// call for some of several every request must wait, as it was told.
  bool stand(const std::vector<TableWait>& waits) const {
    return !waits.empty() && std::all_of(waits.begin(), waits.end(), [&](const TableWait& wait) {
      return table_.waits(wait.resource, wait.number);
    });
  }

  void carry_out(const AbortOrder& order, const AbortAnswer& answer) {
    const auto waits = find(order.wait);
    const bool done =
        order.role == AbortOrder::Role::waiting
            ? stand(waits) && table_.abort(order.victim, order.incident, waits.front().number)
            : std::any_of(waits.begin(), waits.end(), [&](const TableWait& wait) { return abort_holder(order, wait); });
    done ? answer.done() : answer.stale();
  }

  void carry_out(const ReorderOrder& order, const AbortAnswer& answer) {
    const auto waits = find(order.wait);
    waits.size() == 1 && table_.advance(waits.front().resource, waits.front().number, order.ahead_of) ? answer.done()
                                                                                                      : answer.stale();
  }

  bool abort_holder(const AbortOrder& order, const TableWait& wait) {
    for (const BlockerView& blocker : table_.blockers(wait.resource, wait.number)) {
      if (blocker.txn != order.victim) continue;
      return blocker.kind == Kind::hard
                 ? table_.abort_holder(order.victim, order.incident, wait.resource, blocker.since)
                 : table_.abort(order.victim, order.incident);
    }
    return false;
  }

  void look_again(const std::vector<WaitHandle>& waits, const ConfirmAnswer& answer) {
    for (const WaitHandle handle : waits) {
      if (const auto known = find(handle); known.empty() || stand(known)) continue;
      const std::lock_guard lock(mutex_);
      if (!reporter_.find(handle).empty()) reporter_.withdraw(handle);
    }
    answer.ready();
  }

  // --- What the table says: on any thread ---

  void wait_begun(const WaitBegun& wait) override {
    const std::lock_guard lock(mutex_);
    reporter_.wait_begun(wait);
  }
  void wait_ended(WaitNumber wait, const std::string& resource, std::uint64_t step) override {
    const std::lock_guard lock(mutex_);
    reporter_.wait_ended(wait, resource, step);
  }
  void holder_joined(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    const std::lock_guard lock(mutex_);
    reporter_.holder_joined(resource, group, txn, step);
  }
  void holder_left(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    const std::lock_guard lock(mutex_);
    reporter_.holder_left(resource, group, txn, step);
  }
  void front_changed(const std::string& resource, Mode mode, std::optional<WaitNumber> front,
                     std::uint64_t step) override {
    const std::lock_guard lock(mutex_);
    reporter_.front_changed(resource, mode, front, step);
  }
  void resource_calm(const std::string& resource, std::uint64_t step) override {
    const std::lock_guard lock(mutex_);
    reporter_.resource_calm(resource, step);
  }

  // --- What the reporter makes of it: with the mutex held. What is over a limit, the agent counts ---

  std::optional<WaitHandle> begin_wait(Wait wait) override {
    const auto handle = agent_->begin_wait(std::move(wait));
    return handle ? std::optional(*handle) : std::nullopt;
  }
  [[nodiscard]] std::chrono::microseconds clock() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch());
  }
  bool set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers, std::uint32_t need) override {
    return agent_->set_blockers(wait, blockers, need).has_value();
  }
  void end_wait(WaitHandle wait) override { agent_->end_wait(wait); }
  std::optional<GroupHandle> begin_group(std::string resource, std::string mode, Kind kind) override {
    const auto group = agent_->begin_group(std::move(resource), std::move(mode), kind);
    return group ? std::optional(*group) : std::nullopt;
  }
  void join_group(GroupHandle group, const TxnId& txn) override { agent_->join_group(group, txn); }
  void leave_group(GroupHandle group, const TxnId& txn) override { agent_->leave_group(group, txn); }
  void end_group(GroupHandle group) override { agent_->end_group(group); }
  void named(const TxnId& txn) override {
    if (!describe_) return;
    if (auto info = describe_(txn)) (void)agent_->describe(txn, *std::move(info));
  }

  const ModeMatrix modes_;
  const std::function<std::optional<TxnInfo>(const TxnId&)> describe_;
  mutable std::mutex mutex_;
  agent::TableReporter reporter_;  // guarded by mutex_
  LockTable table_;
  std::optional<Agent> agent_;  // last: its threads, which use all of the above, end first
};

tl::expected<TableAgent, AgentError> TableAgent::start(TableAgentOptions options) {
  if (options.table.observer != nullptr)
    return tl::unexpected(
        AgentError{AgentError::Code::invalid_option,
                   "TableAgentOptions::table has an observer: leave it empty, the agent is the observer"});
  auto agent = std::move(options.agent);
  auto on_log = std::move(options.on_log);
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto started = impl->start(std::move(agent), std::move(on_log)); !started) return tl::unexpected(started.error());
  return TableAgent(std::move(impl));
}

TableAgent::TableAgent(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
TableAgent::TableAgent(TableAgent&&) noexcept = default;
TableAgent& TableAgent::operator=(TableAgent&&) noexcept = default;
TableAgent::~TableAgent() = default;

LockTable& TableAgent::table() { return impl_->table(); }
const LockTable& TableAgent::table() const { return impl_->table(); }
void TableAgent::forget(const TxnId& txn) { impl_->forget(txn); }
AgentStatus TableAgent::status() const { return impl_->status(); }
std::uint64_t TableAgent::left_out() const { return impl_->left_out(); }

}  // namespace gordian
