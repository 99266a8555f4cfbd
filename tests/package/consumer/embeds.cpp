// An engine outside the tree: two transactions collide in a lock table, and an agent reports who waits for whom.
//
// Prints what happens, one line each; test_package.py compares it.
#include <cstdio>
#include <gordian/agent.hpp>
#include <gordian/lock_table.hpp>

namespace {

struct Events final : gordian::LockEvents {
  void granted(const gordian::Party& party, gordian::Ticket, std::uint64_t,
               std::span<const gordian::GrantedItem>) override {
    std::printf("granted to %s\n", party.txn.str().c_str());
  }
  void failed(const gordian::Party& party, gordian::Ticket, std::uint64_t, const gordian::LockError& error) override {
    std::printf("failed for %s: %s\n", party.txn.str().c_str(), std::string(gordian::name(error.code)).c_str());
  }
  void aborted(const gordian::Party&, const gordian::LockError&) override {}
};

int collide() {
  Events events;
  gordian::LockTable table({.limits = {}, .events = &events});
  auto first = table.begin({.id = gordian::TxnId("T1")});
  auto second = table.begin({.id = gordian::TxnId("T2")});
  const auto held = first.lock("account/1", gordian::modes::X);
  const auto waits = second.lock("account/1", gordian::modes::S);
  if (!held || held->waiting || !waits || !waits->waiting) return 1;
  std::printf("T2 waits, one lock of %zu is held\n", table.resources().size());
  first.release_all();
  return second.held() == 1 ? 0 : 1;
}

int report() {
  gordian::AgentCallbacks callbacks;
  callbacks.on_abort = [](const gordian::AbortOrder&, const gordian::AbortAnswer& answer) { answer.stale(); };
  // Nobody listens there: an agent accepts reports all the same.
  auto agent = gordian::Agent::start(
      {.coordinator = "tcp://127.0.0.1:9", .site = gordian::SiteId("consumer"), .label = "", .limits = {}}, callbacks);
  if (!agent) return 1;
  const auto wait = agent->begin_wait({gordian::TxnId("T2"), {{gordian::TxnId("T1")}}, "account/1", "S"});
  if (!wait) return 1;
  std::printf("the agent knows %zu wait\n", agent->status().waits);
  // An exception thrown across the library's border keeps its type.
  try {
    gordian::SiteId("");
  } catch (const std::invalid_argument& error) {
    std::printf("%s\n", error.what());
  }
  return 0;
}

}  // namespace

int main() { return collide() + report(); }
