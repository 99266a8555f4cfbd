#include "sim/world.hpp"

#include <algorithm>

namespace gordian::sim {
namespace {

// Streams of random numbers, so that a run without one kind of faults stays as like itself as it can.
enum Stream : std::uint64_t { shape = 1, network = 2, faults = 3, several = 4, latches = 5, process = 100 };

constexpr Micros active_us = 8'000'000;  ///< with faults
constexpr Micros drain_us = 60'000'000;  ///< at most, without
constexpr Micros watch_us = 100'000;

Faults chosen(const Options& options) {
  auto faults = options.faults.empty() ? presets()[options.seed % presets().size()] : preset(options.faults).value();
  for (const auto& kind : options.without) (void)leave_out(faults, kind);
  return faults;
}

}  // namespace

World::World(const Options& options, Log::Sink sink)
    : options_(options),
      random_(options.seed, Stream::shape),
      faults_(chosen(options)),
      initial_(faults_),
      log_(clock_, std::move(sink)),
      fault_random_(options.seed, Stream::faults) {
  build(options);
}

void World::build(const Options& options) {
  const auto sites = static_cast<std::size_t>(random_.between(2, 5));
  auto clients = static_cast<std::size_t>(random_.between(4, 12));
  if (options.clients != 0) clients = std::min(clients, options.clients);
  first_site_ = options.coordinators;
  first_client_ = first_site_ + sites;
  nodes_ = first_client_ + clients;

  network_ = std::make_unique<Network>(
      clock_, faults_, Random(options.seed, Stream::network), nodes_, first_client_,
      [this](NodeId from, NodeId to, const std::string& bytes, bool twin) { deliver(from, to, bytes, twin); });
  std::vector<std::string> names;
  for (std::size_t i = 0; i < options.coordinators; ++i) names.push_back("coordinator" + std::to_string(i));
  for (std::size_t i = 0; i < sites; ++i) names.emplace_back(1, static_cast<char>('a' + i));
  for (std::size_t i = 0; i < clients; ++i) names.push_back("k" + std::to_string(i));
  std::vector<NodeId> coordinators;
  for (std::size_t i = 0; i < options.coordinators; ++i) coordinators.push_back(i);
  observer_ = std::make_unique<Observer>(clock_, faults_, log_, coordinators, names);
  around_ = std::make_unique<Surroundings>(Surroundings{clock_, *network_, *observer_, log_, faults_});
  around_->coordinators = coordinators;
  around_->coordinator_names.assign(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(first_site_));
  for (std::size_t i = 0; i < sites; ++i) around_->sites.emplace(SiteId(names[first_site_ + i]), first_site_ + i);

  around_->post = [this](NodeId to, std::function<void(Process&)> what) { post(to, std::move(what)); };
  // A share of the sites are engines; the clients of a world that locks in order use none: waiting for some of several has no order.
  workload_.ordered = random_.chance(150'000);
  const auto engines = workload_.ordered ? 0 : static_cast<std::size_t>(random_.between(0, 2));
  for (const auto& [site, node] : around_->sites) {
    const bool engine = node >= first_client_ - engines;
    if (engine) around_->engines.emplace(site, node);
    const auto resources = random_.between(engine ? 2 : 1, 3);
    std::vector<std::string> all;
    for (std::int64_t r = 0; r < resources; ++r) all.push_back("r" + std::to_string(r));
    if (!engine) {
      for (const auto& resource : all) workload_.places.push_back({site, resource});
      continue;
    }
    // One lock of each engine at most, so that all blockers of a quorum are different transactions.
    workload_.places.push_back({site, all[random_.below(all.size())]});
    const auto need = static_cast<std::uint32_t>(random_.between(1, resources - 1));
    workload_.places.push_back({site, "quorum", all, need});
    workload_.engine_resources[site] = all;
  }
  // In one world of three, some of several resources of a lock agent are locked by one call.
  Random several(options.seed, Stream::several);
  if (!workload_.ordered && several.below(3) == 0) {
    for (const auto& [site, node] : around_->sites) {
      std::vector<std::string> all;
      for (const auto& place : workload_.places)
        if (place.site == site && !around_->engines.contains(site)) all.push_back(place.resource);
      if (all.size() < 2) continue;
      const auto need = static_cast<std::uint32_t>(several.between(1, static_cast<std::int64_t>(all.size()) - 1));
      workload_.places.push_back({site, "several", std::move(all), need});
    }
  }
  workload_.latches = Random(options.seed, Stream::latches).below(2) == 0;
  workload_.locks_max = static_cast<std::uint32_t>(random_.between(2, 4));
  workload_.shared_ppm = random_.chance(500'000) ? 0 : 300'000;

  slots_.resize(nodes_);
  const auto stream = [&](NodeId node) { return Random(options.seed, Stream::process + node); };
  for (NodeId node = 0; node < nodes_; ++node) {
    std::unique_ptr<Process> process;
    if (node < first_site_) {
      auto made = std::make_unique<CoordinatorProcess>(*around_, node, names[node], stream(node));
      coordinators_.push_back(made.get());
      process = std::move(made);
    } else if (node < first_client_) {
      const bool engine = node >= first_client_ - engines;
      if (engine) {
        auto made = std::make_unique<EngineSite>(*around_, node, names[node], random_.below(2) == 0,
                                                 [this](const EngineRequest& request, const std::string& incident) {
                                                   post(request.client, [life = request.life, incident](Process& at) {
                                                     dynamic_cast<Client&>(at).engine_answered(life, incident);
                                                   });
                                                 });
        engines_.push_back(made.get());
        slots_[node].process = std::move(made);
        continue;
      }
      auto made = std::make_unique<LockSite>(*around_, node, names[node], random_.below(2) == 0, stream(node));
      sites_.push_back(made.get());
      process = std::move(made);
    } else {
      auto made = std::make_unique<Client>(*around_, node, names[node], workload_, stream(node));
      clients_.push_back(made.get());
      process = std::move(made);
    }
    slots_[node].process = std::move(process);
  }
  observer_->ask_clients([this] {
    std::vector<Observer::Held> all;
    for (const auto* client : clients_)
      if (auto held = client->surely_held()) all.push_back(std::move(*held));
    return all;
  });
}

// --- Steps ---

void World::deliver(NodeId from, NodeId to, const std::string& bytes, bool twin) {
  Slot& slot = slots_[to];
  if (!slot.up) return;
  if (slot.paused) {
    slot.inbox.emplace_back([this, from, to, bytes] { deliver(from, to, bytes, false); });
    return;
  }
  if (!slots_[from].up) return;
  log_.happened(to, bytes);
  const auto before = twin ? slot.process->fingerprint() : 0;
  slot.process->receive(from, bytes);
  if (twin && before != slot.process->fingerprint())
    observer_->violated(4, "a message that came twice was done twice at " + slot.process->name());
  let_work(to);
}

void World::post(NodeId to, std::function<void(Process&)> what) {
  constexpr Micros delay_us = 1'000;  // the same for all, so that they keep their order
  clock_.at(clock_.now() + delay_us, [this, to, life = slots_[to].life, what = std::move(what)] {
    Slot& slot = slots_[to];
    if (!slot.up || slot.life != life) return;
    if (slot.paused) {
      slot.inbox.emplace_back([this, to, what] {
        what(*slots_[to].process);
        let_work(to);
      });
      return;
    }
    log_.happened(to, "is called");
    what(*slot.process);
    let_work(to);
  });
}

void World::let_work(NodeId node) {
  Slot& slot = slots_[node];
  slot.process->work();
  const Micros due = std::max(slot.process->next_due(), clock_.now() + 1);
  if (due == slot.wake_at) return;
  slot.wake_at = due;
  const auto plan = ++slot.wake_planned;
  if (due == never) return;
  clock_.at(due, [this, node, plan] {
    if (slots_[node].wake_planned == plan) wake(node);
  });
}

void World::wake(NodeId node) {
  Slot& slot = slots_[node];
  slot.wake_at = never;
  if (!slot.up || slot.paused) return;
  log_.happened(node, "wakes");
  let_work(node);
}

void World::watch() {
  observer_->check_misses();
  clock_.at(clock_.now() + watch_us, [this] { watch(); });
}

// --- The run ---

Result World::run() {
  for (NodeId node = 0; node < nodes_; ++node) {
    slots_[node].process->start();
    let_work(node);
  }
  plan_faults();
  clock_.at(clock_.now() + watch_us, [this] { watch(); });
  clock_.at(clock_.now() + active_us, [this] { calm_down(); });
  const auto last = clock_.now() + active_us + drain_us;
  while (!observer_->violation() && (options_.steps == 0 || clock_.steps() < options_.steps)) {
    if (calm_ && at_rest()) break;
    if (!clock_.run_one() || clock_.now() > last) {
      check_end();
      break;
    }
  }
  if (calm_ && at_rest()) check_end();
  return result();
}

bool World::at_rest() const {
  return std::all_of(clients_.begin(), clients_.end(), [](const Client* client) { return client->at_rest(); }) &&
         std::all_of(engines_.begin(), engines_.end(), [](const EngineSite* engine) { return engine->at_rest(); }) &&
         std::all_of(sites_.begin(), sites_.end(), [](const LockSite* site) { return site->at_rest(); });
}

void World::check_end() {
  for (const auto* client : clients_)
    if (!client->at_rest())
      observer_->violated(5, client->name() + " has not come to an end after all faults had stopped");
  for (const auto* site : sites_)
    if (!site->at_rest()) observer_->violated(5, "something is still locked at " + site->name());
  if (!observer_->truth().deadlocked().empty()) observer_->violated(5, "somebody is deadlocked at rest");
  const auto all = result();
  if (all.attempts.begun != all.attempts.ended() + all.attempts.running)
    observer_->violated(6, std::to_string(all.attempts.begun) + " attempts were begun, and " +
                               std::to_string(all.attempts.ended()) + " ended");
  const auto& f = initial_;
  if (all.attempts.refused > 0 && f.loss_ppm + f.break_every_us + f.partition_every_us + f.crash_site_every_us +
                                          f.crash_client_every_us + f.pause_every_us + f.reorder_ppm ==
                                      0)
    observer_->violated(6, std::to_string(all.attempts.refused) + " attempts were refused, though no message was lost");
  if (all.attempts.deadlock > all.tally.aborts + all.tally.releases)
    observer_->violated(6, std::to_string(all.attempts.deadlock) + " attempts ended by a deadlock, but only " +
                               std::to_string(all.tally.aborts) + " orders were carried out");
  // Every change of a wait is told once, and again with each snapshot; a confirmation and an order cost four messages a site.
  const auto seconds = static_cast<std::uint64_t>((clock_.now() - log_.start_us()) / 1'000'000) + 1;
  // Coordinators that share the graph have as much to say to each other.
  const auto members = coordinators_.size();
  const auto bound = 4 * observer_->truth().changes() + 10 * (sites_.size() + engines_.size()) *
                                                            (seconds + all.candidates) * members *
                                                            (members > 1 ? 2 : 1);
  if (all.messages > bound)
    observer_->violated(6, std::to_string(all.messages) + " messages between sites and coordinators, at most " +
                               std::to_string(bound) + " were expected");
  // One for each edge and initiation (Chandy, Misra, Haas); coordinators may know edges that have just ended.
  const auto chasing_bound = 2 * all.initiations * observer_->truth().edges_max();
  if (all.chasing > chasing_bound)
    observer_->violated(6, std::to_string(all.chasing) + " probes and suspects, at most " +
                               std::to_string(chasing_bound) + " were expected of " + std::to_string(all.initiations) +
                               " initiations");
}

Result World::result() const {
  Result result{
      .faults = faults_.name, .violation = observer_->violation(), .steps = clock_.steps(), .hash = log_.hash()};
  result.virtual_us = clock_.now() - log_.start_us();
  result.tally = observer_->tally();
  result.deadlocks = observer_->truth().deadlocks();
  result.injected = injected_;
  result.injected.network = network_->counters();
  for (const auto* client : clients_) result.attempts += client->attempts();
  for (const auto* site : sites_) result.messages += site->messages();
  for (const auto* engine : engines_) result.messages += engine->messages();
  for (const auto* coordinator : coordinators_) {
    const auto counters = coordinator->counters();
    result.messages += counters.messages;
    result.chasing += counters.chasing;
    result.initiations += counters.initiations;
    result.candidates += counters.candidates;
  }
  return result;
}

}  // namespace gordian::sim
