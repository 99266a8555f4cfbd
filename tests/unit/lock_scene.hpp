// A lock table with named transactions and a log of what it told them, for tests that read as scenarios.
#pragma once

#include <doctest/doctest.h>

#include <gordian/lock_table.hpp>
#include <map>
#include <string>
#include <vector>

namespace gordian::test {

using Told = std::vector<std::string>;

class Scene : public LockEvents {
 public:
  explicit Scene(LockTableOptions options = {}) : table(with(std::move(options), this)) {}

  /// The transaction of that name; begun when it is first named. Its start is its number: "T2" is younger than "T1".
  LockTxn& txn(const std::string& name, std::optional<Strategy> strategy = std::nullopt) {
    const auto found = txns_.find(name);
    if (found != txns_.end()) return found->second;
    return txns_
        .emplace(name, table.begin({.id = TxnId(name), .start = std::stoull(name.substr(1)), .strategy = strategy}))
        .first->second;
  }

  /// "granted", "waits", or the error's name.
  std::string lock(const std::string& name, std::string_view key, Mode mode, const LockOptions& options = {}) {
    return outcome(name, txn(name).lock(key, mode, options));
  }
  std::string try_lock(const std::string& name, std::string_view key, Mode mode) {
    return lock(name, key, mode, {.wait = false});
  }
  template <class Answer>
  std::string outcome(const std::string& name, const Answer& answer) {
    if (!answer) {
      last_error = answer.error();
      return std::string(gordian::name(answer.error().code));
    }
    if (answer->waiting) ticket[name] = answer->ticket;
    return answer->waiting ? "waits" : "granted";
  }
  void end(const std::string& name) { txns_.erase(name); }

  /// What was told since the last call: "T2 granted", "T2 timeout", "T2 aborted: deadlock".
  Told told() {
    CHECK(table.check_invariants() == "");
    return std::exchange(log_, {});
  }

  void granted(const Party& party, Ticket, std::uint64_t, std::span<const GrantedItem> items) override {
    fences[party.txn.str()] = items.back().fence;
    places[party.txn.str()].clear();
    for (const auto& item : items) places[party.txn.str()].push_back(item.item);
    log_.push_back(party.txn.str() + " granted");
  }
  void failed(const Party& party, Ticket, std::uint64_t, const LockError& error) override {
    last_error = error;
    log_.push_back(party.txn.str() + " " + std::string(gordian::name(error.code)));
  }
  void aborted(const Party& party, const LockError& error) override {
    log_.push_back(party.txn.str() + " aborted: " + std::string(gordian::name(error.code)));
  }

  /// "T1:S T2:S | T3:X", holders and then the queue.
  std::string state(std::string_view key) const {
    const auto view = table.resource(key);
    if (!view) return "free";
    std::string text;
    for (const auto& holder : view->holders)
      text += holder.txn.str() + ":" + std::string(table.modes().name(holder.mode)) + " ";
    text += "|";
    for (const auto& waiter : view->waiters)
      text += " " + waiter.txn.str() + ":" + std::string(table.modes().name(waiter.mode));
    return text;
  }

 private:
  static LockTableOptions with(LockTableOptions options, LockEvents* events) {
    options.events = events;
    return options;
  }
  Told log_;

 public:
  LockTable table;
  std::map<std::string, Ticket> ticket;
  std::map<std::string, Fence> fences;
  std::map<std::string, std::vector<std::size_t>> places;
  LockError last_error{};

 private:
  std::map<std::string, LockTxn> txns_;  // gone before the table
};

}  // namespace gordian::test
