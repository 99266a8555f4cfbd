// How an engine takes part: report waits as they begin and end, abort when told to.
//
// Start `gordiand`, then this program twice: `embed_agent a T2 T1` and `embed_agent b T1 T2`. Each stands for an engine with one
// transaction that waits for a lock of the other: a deadlock that neither can see. One of them prints that it is the victim.
#include <gordian/agent.hpp>

#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: embed_agent SITE WAITER BLOCKER\n");
    return 2;
  }
  const char* coordinator = std::getenv("GORDIAN_COORDINATOR");
  std::promise<std::string> ended;

  gordian::AgentCallbacks callbacks;
  callbacks.on_abort = [&](const gordian::AbortOrder& order, const gordian::AbortAnswer& answer) {
    // Here the engine rolls back order.victim, which wakes whoever waits for its locks.
    const bool waits_here = order.role == gordian::AbortOrder::Role::waiting;
    ended.set_value(waits_here ? order.victim.str() + " is the victim: " + order.reason
                               : order.victim.str() + " gave way: its lock here is free");
    answer.done();
  };
  auto agent = gordian::Agent::start({.coordinator = coordinator != nullptr ? coordinator : "tcp://127.0.0.1:7410",
                                      .site = gordian::SiteId(argv[1]),
                                      .engine = "example",
                                      .label = "embed_agent",
                                      .limits = {}},
                                     callbacks);
  if (!agent) {
    std::fprintf(stderr, "%s\n", agent.error().message.c_str());
    return 2;
  }

  // A transaction has to wait. Should it get its lock after all: agent->end_wait(*wait).
  const auto wait = agent->begin_wait({gordian::TxnId(argv[2]), {{gordian::TxnId(argv[3])}}, "account 1", "X"});
  if (!wait) {
    std::fprintf(stderr, "%s\n", wait.error().message.c_str());
    return 2;
  }
  std::printf("%s\n", ended.get_future().get().c_str());
  return 0;
}
