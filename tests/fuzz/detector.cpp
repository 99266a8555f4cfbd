// The detector under any sequence of changes to a small graph, against the brute-force oracle. Nothing is deadlocked before a change,
// so the search after it has to find exactly what the oracle finds; or changes pile up, and a full pass does.
#include <array>

#include "detect/detector.hpp"
#include "oracle.hpp"
#include "target.hpp"

namespace {

using namespace gordian;
using fuzz::Choices;
using fuzz::require;

using Names = std::set<std::string>;

Names names(const std::vector<TxnId>& txns) {
  Names result;
  for (const auto& txn : txns) result.insert(txn.str());
  return result;
}

class World {
 public:
  explicit World(Choices choices) : choices_(choices) {
    continuous_ = choices_.once_in(2);
    models_ = choices_.below(4);
    policy_ = static_cast<detect::Policy>(choices_.below(7));
  }

  void run() {
    constexpr int changes_max = 50;
    for (int i = 0; choices_.left() && i < changes_max; ++i) {
      const auto found = change();
      require(graph_.check_invariants().empty(), graph_.check_invariants());
      const auto deadlocked = fuzz::Oracle(graph_).deadlocked();
      require(names(detector_.deadlocked()) == deadlocked, "reduction says the same as brute force");
      if (continuous_) {
        require(found.has_value() == !deadlocked.empty(), "a search finds a deadlock exactly if there is a new one");
        if (found) check_candidate(*found, deadlocked);
      }
      if (continuous_ ? found.has_value() : choices_.once_in(8)) resolve(deadlocked);
    }
    resolve(fuzz::Oracle(graph_).deadlocked());
  }

 private:
  static constexpr unsigned txns = 6;
  static constexpr unsigned sites = 2;

  // Mixed graphs only now and then: the others go another way through the detector.
  [[nodiscard]] bool some_of_several() const { return (models_ & 1U) != 0; }
  [[nodiscard]] bool dotted() const { return (models_ & 2U) != 0; }

  TxnId txn() { return TxnId(std::string(1, static_cast<char>('a' + choices_.below(txns)))); }
  graph::SiteSlot site() { return choices_.below(sites); }
  graph::GroupRef group() { return {site(), choices_.below(2)}; }

  std::optional<detect::Candidate> change() {
    switch (choices_.below(8)) {
      case 0: return join();
      case 1: graph_.leave(group(), txn()); return std::nullopt;
      case 2: graph_.remove_txn(txn()); return std::nullopt;
      case 3: graph_.end_wait({site(), choices_.below(8)}); return std::nullopt;
      case 4:
        if (choices_.once_in(4))
          graph_.remove_site(site());
        else
          graph_.end_group(group());
        return std::nullopt;
      default: return begin_wait();
    }
  }

  std::optional<detect::Candidate> join() {
    const auto ref = group();
    const auto vertex = graph_.begin_group(ref).value();
    const auto member = txn();
    require(graph_.join(ref, member).has_value(), "a member joins");
    return detector_.search(vertex, *graph_.find_txn(member));
  }

  std::optional<detect::Candidate> begin_wait() {
    std::vector<Blocker> blockers;
    std::vector<std::uint64_t> groups;
    auto need = graph::need_all;
    const auto waiter = txn();
    for (auto n = 1 + choices_.below(3); n > 0; --n) blockers.push_back({txn(), Kind::hard});
    if (dotted() && choices_.once_in(2)) {
      for (auto& blocker : blockers) blocker.kind = Kind::dotted;
    }
    switch (choices_.below(4)) {
      case 1: groups.push_back(choices_.below(2)); break;
      case 2: blockers.back().kind = Kind::soft; break;
      case 3:
        if (some_of_several()) need = 1 + choices_.below(2);
        break;
      default: break;
    }
    const auto ref = graph::WaitRef{site(), choices_.below(8)};
    const auto wait = graph_.begin_wait(ref, waiter, std::span<const Blocker>(blockers), groups, need).value();
    return detector_.search(wait);
  }

  static void check_candidate(const detect::Candidate& candidate, const Names& deadlocked) {
    const auto members = names(candidate.members());
    require(members.size() >= 2, "a deadlock has two members");
    require(std::ranges::includes(deadlocked, members), "only who is deadlocked is a member");
  }

  /// What a full pass finds, its victims and reorders: enough, and none too many.
  void resolve(const Names& deadlocked) {
    Names victims;
    std::set<fuzz::EdgeName> reorder;
    Names held_up;
    Names members;
    for (const auto& candidate : detector_.full_pass()) {
      check_candidate(candidate, deadlocked);
      for (const auto& member : candidate.members())
        require(members.insert(member.str()).second, "candidates share no member");
      held_up.merge(names(detector_.held_up_by(candidate)));
      const auto chosen = detect::choose_victims(candidate.edges, info, policy_);
      for (const auto& victim : chosen.victims) {
        require(std::ranges::binary_search(candidate.members(), victim), "a victim is a member");
        victims.insert(victim.str());
      }
      for (const auto& edge : chosen.reorder) {
        require(edge.kind == Kind::soft, "only a soft edge is given up");
        reorder.insert({edge.site, edge.sequence, edge.blocker.str()});
      }
    }
    require(held_up == deadlocked, "candidates hold up all who are deadlocked");
    require(fuzz::deadlocked_without(graph_, victims, reorder).empty(),
            "victims and reorders leave nothing deadlocked");
    none_is_superfluous(victims, reorder);
    for (const auto& victim : victims) graph_.remove_txn(TxnId(victim));
    for (const auto& [where, sequence, blocker] : reorder) graph_.end_wait({where, sequence});  // a jump ends it, too
    require(fuzz::Oracle(graph_).deadlocked().empty(), "nothing is deadlocked after that");
    require(detector_.full_pass().empty(), "nothing is found after that");
  }

  void none_is_superfluous(const Names& victims, const std::set<fuzz::EdgeName>& reorder) const {
    for (const auto& spared : victims) {
      auto others = victims;
      others.erase(spared);
      require(!fuzz::deadlocked_without(graph_, others, reorder).empty(), "no victim is superfluous: " + spared);
    }
    for (const auto& kept : reorder) {
      auto others = reorder;
      others.erase(kept);
      require(!fuzz::deadlocked_without(graph_, victims, others).empty(), "no reorder is superfluous");
    }
  }

  static TxnInfo info(const TxnId& txn) {
    TxnInfo known;
    known.start = static_cast<double>(txn.str().front());
    known.locks = static_cast<double>(txn.str().front() % 3);
    known.work = static_cast<double>(txn.str().front() % 4);
    return known;
  }

  Choices choices_;
  bool continuous_;
  unsigned models_;
  detect::Policy policy_;
  graph::WaitForGraph graph_;
  detect::Detector detector_{graph_};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World(Choices({data, size})).run();
  return 0;
}
