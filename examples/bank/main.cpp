// A bank on two nodes. Transfers between their accounts cross, and neither node sees the deadlock: Gordian does.
//
// Start `gordiand`, then `bank` (GORDIAN_COORDINATOR names another coordinator than the local one). Both nodes are in this process;
// in a real engine the calls of a Branch would be messages, and the two commits a two-phase commit. node.cpp is what to read.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <random>
#include <stdexcept>
#include <thread>

#include "bank/node.hpp"

namespace {

using bank::Node;
using bank::Result;

constexpr long first_balance = 1000;
constexpr int tellers = 8, transfers_each = 50;
const std::vector<std::string> accounts{"ada", "bob", "cleo", "dan"};

struct Bank {
  Node north, south;
  std::atomic<unsigned> transfers{0}, committed{0}, aborted{0};
};

struct Transfer {
  std::string from, to;
  long amount;
  bool northwards;
};

/// Changes the balance and does what else a transaction does while it holds its locks.
Result<void> add(bank::Branch& branch, const std::string& account, long amount) {
  const auto balance = branch.read(account);
  if (!balance) return tl::unexpected(balance.error());
  branch.write(account, *balance + amount);
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return {};
}

/// One attempt: one global transaction with a branch at each node.
Result<void> attempt(Bank& bank, const Transfer& transfer, const gordian::TxnId& id, const gordian::TxnInfo& info) {
  bank::Branch source(transfer.northwards ? bank.south : bank.north, id, info);
  bank::Branch target(transfer.northwards ? bank.north : bank.south, id, info);
  return add(source, transfer.from, -transfer.amount)
      .and_then([&] { return add(target, transfer.to, transfer.amount); })
      .map([&] {
        source.commit();
        target.commit();
      });
}

/// Until it succeeds. Each attempt is a new transaction; all have the first one's start, so it grows older than the others and wins
/// some day.
void insist(Bank& bank, const Transfer& transfer) {
  const auto number = ++bank.transfers;
  gordian::TxnInfo info{.start = number, .label = "transfer"};
  for (unsigned attempts = 0;; ++info.restarts) {
    const gordian::TxnId id("transfer-" + std::to_string(number) + "." + std::to_string(attempts++));
    const auto done = attempt(bank, transfer, id, info);
    if (done) break;
    if (done.error().code != gordian::LockError::Code::deadlock) throw std::runtime_error(done.error().message);
    ++bank.aborted;
  }
  ++bank.committed;
}

void work(Bank& bank, unsigned seed) {
  std::mt19937 random(seed);
  const auto any = [&] { return accounts[random() % accounts.size()]; };
  for (int i = 0; i < transfers_each; ++i)
    insist(bank,
           {.from = any(), .to = any(), .amount = static_cast<long>(random() % 100), .northwards = random() % 2 == 0});
}

}  // namespace

int main() {
  try {
    const char* named = std::getenv("GORDIAN_COORDINATOR");
    const std::string coordinator = named != nullptr ? named : "tcp://127.0.0.1:7410";
    Bank bank{{"north", coordinator, accounts, first_balance}, {"south", coordinator, accounts, first_balance}};
    const long before = bank.north.total() + bank.south.total();

    std::vector<std::future<void>> working;
    for (unsigned teller = 0; teller < tellers; ++teller)
      working.push_back(std::async(std::launch::async, work, std::ref(bank), teller));
    for (auto& teller : working) teller.get();

    const long after = bank.north.total() + bank.south.total();
    std::printf(
        "%u transfers committed; %u attempts were deadlock victims and run again; total %ld before, %ld after\n",
        bank.committed.load(), bank.aborted.load(), before, after);
    return before == after ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bank: %s\n", error.what());
    return 2;
  }
}
