#include "bank/node.hpp"

#include <stdexcept>

namespace bank {

using gordian::LockError;
using gordian::TxnId;
using gordian::TxnInfo;

// --- The engine's side of the lock table ---

Node::Node(const std::string& site, const std::string& coordinator, const std::vector<std::string>& accounts,
           long balance) {
  for (const auto& account : accounts) accounts_[account] = balance;
  gordian::TableAgentOptions options{
      .agent = {.coordinator = coordinator, .site = gordian::SiteId(site), .engine = "bank"}};
  options.agent.publish_after = std::chrono::milliseconds(5);
  options.table.events = this;
  options.describe = [this](const TxnId& txn) { return describe(txn); };
  auto started = gordian::TableAgent::start(std::move(options));
  if (!started) throw std::runtime_error(started.error().message);
  locks_.emplace(std::move(*started));
}

std::optional<TxnInfo> Node::describe(const TxnId& txn) {
  const std::lock_guard lock(mutex_);
  const auto found = running_.find(txn);
  return found == running_.end() ? std::nullopt : std::optional(found->second);
}

void Node::granted(const gordian::Party& party, gordian::Ticket, std::uint64_t, std::span<const gordian::GrantedItem>) {
  static_cast<Branch*>(party.user)->wake({});
}
void Node::failed(const gordian::Party& party, gordian::Ticket, std::uint64_t, const LockError& error) {
  static_cast<Branch*>(party.user)->wake(tl::unexpected(error));
}

long Node::total() const {
  long sum = 0;
  for (const auto& [account, balance] : accounts_) sum += balance;
  return sum;
}

// --- Transactions ---

Branch::Branch(Node& node, TxnId id, TxnInfo info)
    : node_(node), id_(std::move(id)), txn_(node.locks_->table().begin({.id = id_, .user = this})) {
  const std::lock_guard lock(node_.mutex_);
  node_.running_.emplace(id_, std::move(info));
}

Branch::~Branch() {
  {
    const std::lock_guard lock(node_.mutex_);
    node_.running_.erase(id_);
  }
  txn_.release_all();
  node_.locks_->forget(id_);
}

void Branch::wake(Result<void> outcome) {
  const std::lock_guard lock(mutex_);
  outcome_ = std::move(outcome);
  woken_.notify_one();
}

/// A blocking call is a condition variable on top of the table's events.
Result<void> Branch::wait_for_turn() {
  std::unique_lock lock(mutex_);
  woken_.wait(lock, [&] { return outcome_.has_value(); });
  return *std::exchange(outcome_, std::nullopt);
}

Result<long> Branch::read(const std::string& account) {
  const auto answer = txn_.lock(account, gordian::modes::X);
  if (!answer) return tl::unexpected(answer.error());
  if (answer->waiting)
    if (const auto outcome = wait_for_turn(); !outcome) return tl::unexpected(outcome.error());
  const auto changed = changes_.find(account);
  return changed != changes_.end() ? changed->second : node_.accounts_.at(account);
}

void Branch::commit() {
  for (const auto& [account, balance] : changes_) node_.accounts_.at(account) = balance;
  changes_.clear();
  txn_.release_all();
}

}  // namespace bank
