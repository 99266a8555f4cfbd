#include "experiments/chase.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <unordered_map>

#include "detect/detector.hpp"

namespace gordian::experiments {
namespace {

std::uint64_t number(auto handle) { return static_cast<std::uint64_t>(handle); }

/// Sites are numbers here.
std::uint32_t number_of(const SiteId& site) {
  std::uint32_t number = 0;
  const auto text = site.view();
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

constexpr std::int64_t far_away = std::numeric_limits<std::int64_t>::max();

}  // namespace

/// One site's agent: what its table tells becomes reports of waits with their blockers by name.
class Chase::Agent : public WaitObserver, private agent::ReportSink {
 public:
  Agent(Chase& chase, std::uint32_t site) : chase_(chase), site_(site), reporter_(modes::standard(), *this) {}

  /// Sends what has changed since the last time.
  void settle() {
    for (const auto sequence : std::exchange(changed_, {})) {
      const auto wait = waits_.find(sequence);
      if (wait == waits_.end() || !std::exchange(wait->second.changed, false)) continue;
      Report report{{site_, sequence}, wait->second.waiter, {}, {}};
      for (const auto group : wait->second.groups)
        for (const auto& member : groups_.at(number(group)).members)
          if (member.txn != report.waiter) {
            report.blockers.push_back({member.txn, groups_.at(number(group)).kind});
            report.since.push_back(member.step);
          }
      send(std::move(report));
    }
  }
  /// Whether the edge stands, and has since it was reported.
  [[nodiscard]] bool stands(const wire::GlobalEdge& edge) const {
    const auto waits = reporter_.find(WaitHandle{edge.sequence});
    if (waits.empty()) return false;
    const auto blockers = chase_.model_.table(site_).blockers(waits.front().resource, waits.front().number);
    return std::ranges::any_of(blockers,
                               [&](const BlockerView& b) { return b.txn == edge.blocker && b.since <= edge.since; });
  }
  bool obey(const Order& order) {
    const auto waits = reporter_.find(WaitHandle{order.edge.sequence});
    if (waits.empty()) return false;
    const auto& wait = waits.front();
    auto& table = chase_.model_.table(site_);
    return order.reorder ? table.advance(wait.resource, wait.number, order.edge.blocker)
                         : table.abort(order.edge.waiter, "cycle", wait.number);
  }

  void wait_begun(const WaitBegun& wait) override { step_ = wait.step, reporter_.wait_begun(wait); }
  void wait_ended(WaitNumber wait, const std::string& resource, std::uint64_t step) override {
    step_ = step, reporter_.wait_ended(wait, resource, step);
  }
  void holder_joined(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    step_ = step, reporter_.holder_joined(resource, group, txn, step);
  }
  void holder_left(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    step_ = step, reporter_.holder_left(resource, group, txn, step);
  }
  void front_changed(const std::string& resource, Mode mode, std::optional<WaitNumber> front,
                     std::uint64_t step) override {
    step_ = step, reporter_.front_changed(resource, mode, front, step);
  }
  void resource_calm(const std::string& resource, std::uint64_t step) override {
    step_ = step, reporter_.resource_calm(resource, step);
  }

 private:
  struct Known {
    TxnId waiter;
    std::vector<GroupHandle> groups;
    bool changed = true;
  };
  struct GroupMember {
    TxnId txn;
    std::uint64_t step;
  };
  struct Group {
    Kind kind;
    std::vector<GroupMember> members;
    std::vector<std::uint64_t> waits;
  };

  void send(Report report) {
    const auto owner = wire::owner(chase_.map_, report.waiter);
    chase_.send(site_, owner, std::move(report));
  }
  void change(const Group& group) {
    for (const auto sequence : group.waits) {
      waits_.at(sequence).changed = true;
      changed_.push_back(sequence);
    }
  }

  std::optional<WaitHandle> begin_wait(Wait wait) override {
    const auto sequence = ++last_wait_;
    for (const auto group : wait.groups) groups_.at(number(group)).waits.push_back(sequence);
    waits_.emplace(sequence, Known{std::move(wait.waiter), std::move(wait.groups)});
    changed_.push_back(sequence);
    return WaitHandle{sequence};
  }
  void end_wait(WaitHandle handle) override {
    const auto wait = waits_.find(number(handle));
    for (const auto group : wait->second.groups) std::erase(groups_.at(number(group)).waits, wait->first);
    send({{site_, wait->first}, wait->second.waiter, {}, {}, true});
    waits_.erase(wait);
  }
  // Models make no calls for some of several resources.
  [[nodiscard]] std::chrono::microseconds clock() const override { return std::chrono::microseconds(0); }
  bool set_blockers(WaitHandle, const std::vector<Blocker>&, std::uint32_t) override { return false; }
  std::optional<GroupHandle> begin_group(std::string, std::string, Kind kind) override {
    groups_.emplace(++last_group_, Group{kind, {}, {}});
    return GroupHandle{last_group_};
  }
  void join_group(GroupHandle handle, const TxnId& txn) override {
    auto& group = groups_.at(number(handle));
    group.members.push_back({txn, step_});
    change(group);
  }
  void leave_group(GroupHandle handle, const TxnId& txn) override {
    auto& group = groups_.at(number(handle));
    std::erase_if(group.members, [&](const GroupMember& m) { return m.txn == txn; });
    change(group);
  }
  void end_group(GroupHandle group) override { groups_.erase(number(group)); }
  void named(const TxnId&) override {}

  Chase& chase_;
  const std::uint32_t site_;
  agent::TableReporter reporter_;
  std::unordered_map<std::uint64_t, Known> waits_;
  std::unordered_map<std::uint64_t, Group> groups_;
  std::vector<std::uint64_t> changed_;
  std::uint64_t last_wait_ = 0;
  std::uint64_t last_group_ = 0;
  std::uint64_t step_ = 0;  ///< of the event that is being told
};

/// One site's coordinator: the waits of the transactions that it owns, and the suspects that it leads.
struct Chase::Coordinator : private detect::WaitNames {
  Coordinator(const wire::MemberMap& map, std::size_t self, const detect::EdgeChaser::Options& options)
      : detector(graph), chaser(graph, *this, map, self, options) {}

  struct Case {
    std::vector<wire::GlobalEdge> cycle;
    std::size_t unanswered;
    bool stands = true;
  };
  graph::WaitForGraph graph;
  std::map<graph::WaitRef, std::vector<std::pair<TxnId, std::uint64_t>>> since;  ///< of each blocker
  detect::Detector detector;
  detect::EdgeChaser chaser;
  std::map<std::uint64_t, Case> cases;
  std::uint64_t last_case = 0;
  std::int64_t next_pass = 0;

  void name(graph::WaitRef wait, wire::GlobalEdge& edge) const override {
    edge.site = SiteId(std::to_string(wait.site));
    edge.sequence = wait.sequence;
    if (const auto at = since.find(wait); at != since.end())
      for (const auto& [blocker, step] : at->second)
        if (blocker == edge.blocker) edge.since = step;
  }
  [[nodiscard]] std::optional<graph::WaitRef> find(const wire::GlobalEdge& edge) const override {
    const graph::WaitRef ref{number_of(edge.site), edge.sequence};
    return graph.find_wait(ref) ? std::optional(ref) : std::nullopt;
  }
  /// A cycle of its own transactions only.
  [[nodiscard]] std::vector<wire::GlobalEdge> own_cycle(graph::WaitRef ref) {
    const auto wait = graph.find_wait(ref);
    const auto candidate = wait ? detector.search(*wait) : std::nullopt;
    std::vector<wire::GlobalEdge> cycle;
    if (!candidate) return cycle;
    for (const auto& e : detect::shortest_cycle(candidate->edges, graph.txn(graph.waiter(*wait)))) {
      wire::GlobalEdge edge{e.waiter, e.blocker, SiteId("-"), 0, 0, 0};
      edge.kind = e.kind;
      name({e.site, e.sequence}, edge);
      cycle.push_back(std::move(edge));
    }
    return cycle;
  }
};

Chase::Chase(DetectionHost& model, std::size_t sites, detect::Policy policy, Options options)
    : model_(model),
      policy_(policy),
      last_arrival_(sites * sites, 0),
      pass_every_(10 * options.again),
      wake_at_(far_away) {
  for (std::size_t i = 0; i < sites; ++i) map_.members.push_back({"c" + std::to_string(i), {}});
  const detect::EdgeChaser::Options chaser{
      .filter = options.filter, .again_first_us = options.again, .again_last_us = 10 * options.again};
  for (std::size_t i = 0; i < sites; ++i) {
    agents_.push_back(std::make_unique<Agent>(*this, static_cast<std::uint32_t>(i)));
    coordinators_.push_back(std::make_unique<Coordinator>(map_, i, chaser));
  }
}
Chase::~Chase() = default;

WaitObserver* Chase::observer(std::size_t site) { return agents_[site].get(); }

void Chase::settle() {
  for (const auto& agent : agents_) agent->settle();
}

void Chase::send(std::size_t from, std::size_t to, Body body) {
  if (from != to) ++model_.counts().messages;
  auto& last = last_arrival_[from * agents_.size() + to];
  last = std::max(last, model_.now() + (from == to ? 0 : model_.travel()));
  Message message{static_cast<std::uint32_t>(to), std::move(body)};
  std::uint32_t place = 0;
  if (free_.empty()) {
    place = static_cast<std::uint32_t>(messages_.size());
    messages_.push_back(std::move(message));
  } else {
    place = free_.back();
    free_.pop_back();
    messages_[place] = std::move(message);
  }
  model_.post(last, place);
}

void Chase::deliver(std::uint32_t place) {
  Message message = std::move(messages_[place]);
  free_.push_back(place);
  std::visit([&](auto& body) { take(message.to, body); }, message.body);
}

void Chase::tick() {
  if (model_.now() < wake_at_) return;  // another one was due earlier, and has seen to it
  wake_at_ = far_away;
  for (std::size_t site = 0; site < coordinators_.size(); ++site) {
    coordinators_[site]->chaser.tick(model_.now());
    send_outgoing(site);
    look_again(site);
  }
}

/// Cycles of one owner's transactions only: no probe leaves for them, so none comes back. One that stood through a case whose order
/// came to nothing is found here, as by a coordinator's full pass.
void Chase::look_again(std::size_t site) {
  auto& own = *coordinators_[site];
  if (model_.now() < own.next_pass) return;
  own.next_pass = model_.now() + pass_every_;
  for (const auto& [wait, blockers] : own.since)
    if (auto cycle = own.own_cycle(wait); !cycle.empty()) suspect(site, std::move(cycle));
}

void Chase::take(std::size_t site, Report& report) {
  auto& own = *coordinators_[site];
  if (report.over) {
    own.graph.end_wait(report.wait);
    own.since.erase(report.wait);
    return;
  }
  if (!own.graph.begin_wait(report.wait, report.waiter, report.blockers)) return;
  auto& since = own.since[report.wait];
  since.clear();
  for (std::size_t i = 0; i < report.blockers.size(); ++i)
    since.emplace_back(std::move(report.blockers[i].txn), report.since[i]);
  if (auto cycle = own.own_cycle(report.wait); !cycle.empty()) suspect(site, std::move(cycle));
  own.chaser.begin(report.wait, model_.now());
  send_outgoing(site);
}

void Chase::take(std::size_t site, const wire::Probe& probe) {
  coordinators_[site]->chaser.receive(probe);
  send_outgoing(site);
}

void Chase::take(std::size_t site, const wire::Suspect& told) { suspect(site, told.cycle); }

void Chase::send_outgoing(std::size_t site) {
  auto& chaser = coordinators_[site]->chaser;
  for (auto& out : chaser.take_outgoing()) {
    if (auto* probe = std::get_if<wire::Probe>(&out.message)) send(site, out.member, std::move(*probe));
    if (auto* suspect = std::get_if<wire::Suspect>(&out.message)) send(site, out.member, std::move(*suspect));
  }
  const auto due = chaser.next_tick_us();
  if (due < wake_at_) model_.wake(wake_at_ = due);
}

/// Asks every site whether its part stands, unless it is being asked already.
void Chase::suspect(std::size_t leader, std::vector<wire::GlobalEdge> cycle) {
  auto& own = *coordinators_[leader];
  std::ranges::sort(cycle, {}, &wire::GlobalEdge::waiter);  // found by several of its members, it is one cycle
  if (std::ranges::any_of(own.cases, [&](const auto& open) { return open.second.cycle == cycle; })) return;
  std::map<std::uint32_t, std::vector<wire::GlobalEdge>> by_site;
  for (const auto& edge : cycle) by_site[number_of(edge.site)].push_back(edge);
  const auto case_number = ++own.last_case;
  own.cases.emplace(case_number, Coordinator::Case{std::move(cycle), by_site.size()});
  for (auto& [site, edges] : by_site)
    send(leader, site, Question{case_number, static_cast<std::uint32_t>(leader), std::move(edges)});
}

void Chase::take(std::size_t site, const Question& question) {
  const bool stands =
      std::ranges::all_of(question.edges, [&](const wire::GlobalEdge& edge) { return agents_[site]->stands(edge); });
  send(site, question.leader, Answer{question.case_number, stands});
}

void Chase::take(std::size_t site, const Answer& answer) {
  auto& cases = coordinators_[site]->cases;
  const auto at = cases.find(answer.case_number);
  at->second.stands = at->second.stands && answer.stands;
  if (--at->second.unanswered > 0) return;
  const auto done = std::move(at->second);
  cases.erase(at);
  if (done.stands) {
    resolve(site, done.cycle);
  } else {
    ++model_.counts().phantoms;
  }
}

void Chase::resolve(std::size_t leader, const std::vector<wire::GlobalEdge>& cycle) {
  std::vector<detect::CandidateEdge> edges;
  for (const auto& e : cycle)
    edges.push_back(
        {.waiter = e.waiter, .blocker = e.blocker, .site = number_of(e.site), .sequence = e.sequence, .kind = e.kind});
  const auto chosen = detect::choose_victims(
      edges, [this](const TxnId& txn) { return model_.describe(txn); }, policy_);
  const auto order = [&](auto is_it, bool reorder) {
    for (const auto& edge : cycle)
      if (is_it(edge)) send(leader, number_of(edge.site), Order{edge, reorder, cycle.size()});
  };
  for (const auto& soft : chosen.reorder)
    order([&](const auto& e) { return e.waiter == soft.waiter && e.blocker == soft.blocker; }, true);
  for (const auto& victim : chosen.victims) order([&](const auto& e) { return e.waiter == victim; }, false);
}

void Chase::take(std::size_t site, const Order& order) {
  if (!agents_[site]->obey(order)) return;
  auto& counts = model_.counts();
  ++counts.deadlocks;
  if (order.reorder) {
    ++counts.reorders;
  } else {
    ++counts.cycles[std::min(order.cycle_length, Result::cycle_lengths)];
  }
}

}  // namespace gordian::experiments
