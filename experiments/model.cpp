// Clients come, start, end and go; what happens next, and what of it is counted. The steps of one transaction are in
// transaction.cpp.
#include "experiments/model.hpp"

#include <algorithm>
#include <charconv>

#include "experiments/pace.hpp"

namespace gordian::experiments {
namespace {

gordian::Strategy table_strategy(const Settings& settings, bool client_keeps_time) {
  switch (settings.strategy) {
    case Strategy::timeout: return client_keeps_time ? gordian::Strategy::detect : gordian::Strategy::timeout;
    case Strategy::no_wait: return gordian::Strategy::no_wait;
    case Strategy::wait_die: return gordian::Strategy::wait_die;
    case Strategy::wound_wait: return gordian::Strategy::wound_wait;
    case Strategy::ordered: return gordian::Strategy::ordered;
    default: return gordian::Strategy::detect;
  }
}

}  // namespace

Model::Model(const Settings& settings, std::shared_ptr<const Workload> workload, std::uint64_t seed)
    : settings_(settings), workload_(std::move(workload)), asks_(seed, 1), times_(seed, 2), faults_(seed, 3) {
  const auto policy = detect::parse_policy(settings_.policy).value_or(detect::Policy::youngest);
  DetectionHost& self = *this;
  const bool at_once = settings_.strategy == Strategy::detection || settings_.strategy == Strategy::detection_timeout;
  if (at_once || settings_.strategy == Strategy::periodic)
    watch_ = std::make_unique<Watch>(self, settings_.sites, policy, at_once);
  if (settings_.strategy == Strategy::edge_chasing)
    chase_ = std::make_unique<Chase>(self, settings_.sites, policy,
                                     Chase::Options{settings_.probe_filter, ticks(settings_.probe_again)});
  open_tables();
  pools_.emplace_back(settings_.cpus);
  for (std::uint64_t i = 0; i < settings_.disks; ++i) pools_.emplace_back(1);
  open_clients();
  if (settings_.strategy == Strategy::periodic) events_.at(ticks(settings_.period), Event::Kind::pass);
}

Model::~Model() = default;

void Model::open_tables() {
  for (std::size_t site = 0; site < settings_.sites; ++site) {
    LockTableOptions options;
    options.strategy = table_strategy(settings_, client_keeps_time());
    options.lock_timeout = ticks(1e6);  // each wait has its deadline
    options.shards = 2;                 // one thread
    options.events = this;
    options.observer = watch_ ? watch_->observer(site) : chase_ ? chase_->observer(site) : nullptr;
    tables_.push_back(std::make_unique<LockTable>(std::move(options)));
  }
}

void Model::open_clients() {
  if (settings_.arrival_rate > 0) {
    events_.at(ticks(times_.exponential(1 / settings_.arrival_rate)), Event::Kind::arrival);
    return;
  }
  const auto terminals = std::max(settings_.terminals, settings_.mpl);
  for (std::uint64_t i = 0; i < terminals; ++i) {
    const auto& client = add_client();
    const double thinks = settings_.think_time > 0 ? times_.exponential(settings_.think_time) : 0;
    events_.at(ticks(thinks), Event::Kind::submit, client.number, client.life);
  }
}

Model::Client& Model::add_client() {
  auto& client = clients_.emplace_back(static_cast<std::uint32_t>(clients_.size()));
  for (const auto& table : tables_) client.handles.push_back(table->begin({.id = client.id}));
  client.begun.resize(tables_.size());
  return client;
}

Result Model::run() {
  run_until(ticks(settings_.warmup), 0);
  result_ = {};
  const auto begin = events_.now();
  run_until(begin + ticks(settings_.duration), settings_.commits);
  result_.time = static_cast<double>(events_.now() - begin) / ticks_per_unit;
  return result_;
}

/// Up to that time, or to so many commits if that is not 0.
void Model::run_until(Ticks end, std::uint64_t commits) {
  while (!events_.empty() && events_.next_at() <= end) {
    handle(events_.next());
    if (commits > 0 && result_.commits >= commits) return;
  }
  events_.skip_to(end);
  spend(end);
}

void Model::run_requests(std::uint64_t requests) {
  const auto enough = result_.requests + requests;
  while (!events_.empty() && result_.requests < enough) handle(events_.next());
}

/// What the time since the last event was spent with.
void Model::spend(Ticks until) {
  const auto units = static_cast<double>(until - spent_) / ticks_per_unit;
  spent_ = until;
  result_.active_time += units * static_cast<double>(running_ - blocked_);
  result_.blocked_time += units * static_cast<double>(blocked_);
  if (settings_.cpus > 0) result_.cpu_busy += units * static_cast<double>(pools_.front().busy());
  for (std::size_t disk = 1; disk < pools_.size(); ++disk)
    result_.disk_busy += units * static_cast<double>(pools_[disk].busy());
}

void Model::handle(const Event& event) {
  using Kind = Event::Kind;
  spend(event.at);
  switch (event.kind) {
    case Kind::arrival: arrive(); break;
    case Kind::served: served(event); break;
    case Kind::pass:
      watch_->pass();
      events_.at(event.at + ticks(settings_.period), Kind::pass);
      break;
    case Kind::message: chase_->deliver(event.detail); break;
    case Kind::tick: chase_->tick(); break;
    default: {
      auto& client = clients_[event.client];
      if (client.life == event.life) handle_own(event, client);
    }
  }
  settle();
}

/// An event of the client's present life.
void Model::handle_own(const Event& event, Client& client) {
  using Kind = Event::Kind;
  const bool needs_client = event.kind == Kind::step || event.kind == Kind::answer;
  if (needs_client && client.paused_until > event.at) {
    events_.at(client.paused_until, event.kind, event.client, event.life, event.detail);
    return;
  }
  switch (event.kind) {
    case Kind::submit: submit(client); break;
    case Kind::restart:
      if (settings_.restart_other) draw_program(settings_, *workload_, asks_, client.program);
      enter(client);
      break;
    case Kind::step: step_done(client); break;
    case Kind::request: request(client); break;
    case Kind::answer: answered(client); break;
    case Kind::deadline: deadline(client, event); break;
    case Kind::pause: pause(client); break;
    case Kind::lease_over: lose_lease(client); break;
    default: break;
  }
}

void Model::arrive() {
  events_.at(events_.now() + ticks(times_.exponential(1 / settings_.arrival_rate)), Event::Kind::arrival);
  if (idle_.empty() && clients_.size() >= clients_max) {
    ++result_.turned_away;
    return;
  }
  Client* client = idle_.empty() ? &add_client() : idle_.back();
  if (!idle_.empty()) idle_.pop_back();
  submit(*client);
}

void Model::submit(Client& client) {
  client.start = ++starts_;
  client.submitted = events_.now();
  client.restarts = 0;
  client.paused_until = 0;
  draw_program(settings_, *workload_, asks_, client.program);
  enter(client);
}

void Model::enter(Client& client) {
  if (running_ < settings_.mpl) return begin(client);
  if (ready_head_ > 1024 && ready_head_ * 2 > ready_.size()) {
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(ready_head_));
    ready_head_ = 0;
  }
  ready_.push_back(&client);
}

void Model::begin(Client& client) {
  ++running_;
  ++client.life;
  client.next = 0;
  client.steps = 0;
  client.waited = false;
  const auto now = events_.now();
  if (settings_.strategy == Strategy::lease)
    events_.at(now + ticks(settings_.lease), Event::Kind::lease_over, client.number, client.life);
  if (settings_.pause_rate > 0)
    events_.at(now + ticks(faults_.exponential(1 / settings_.pause_rate)), Event::Kind::pause, client.number,
               client.life);
  begin_step(client);
}

/// What it holds is free, its place is another one's.
void Model::leave(Client& client) {
  if (client.state == State::waiting) --blocked_;
  client.state = State::outside;
  result_.waited += client.waited ? 1 : 0;
  for (std::size_t site = 0; site < client.handles.size(); ++site)
    if (client.begun[site] == client.life) client.handles[site].release_all();
  ++client.life;
  --running_;
  if (ready_head_ < ready_.size()) begin(*ready_[ready_head_++]);
}

void Model::commit(Client& client) {
  ++result_.commits;
  const auto response = events_.now() - client.submitted;
  result_.response.add(response);
  response_sum_ += static_cast<double>(response);
  ++responses_;
  leave(client);
  if (settings_.arrival_rate > 0) {
    idle_.push_back(&client);
  } else if (settings_.think_time > 0) {
    events_.at(events_.now() + ticks(times_.exponential(settings_.think_time)), Event::Kind::submit, client.number,
               client.life);
  } else {
    submit(client);
  }
}

void Model::abort(Client& client, Cause cause) {
  ++result_.aborts[static_cast<std::size_t>(cause)];
  result_.wasted_steps += client.steps;
  leave(client);
  const auto from = std::max(events_.now(), client.paused_until);
  events_.at(from + restart_delay(client), Event::Kind::restart, client.number, client.life);
  ++client.restarts;
}

Ticks Model::restart_delay(const Client& client) {
  const double mean = responses_ > 0 ? response_sum_ / static_cast<double>(responses_) / ticks_per_unit : 0;
  return ticks(experiments::restart_delay(settings_, client.restarts, mean, times_));
}

/// After each event: detection has its say, and who was aborted leaves, until nothing is left to do.
void Model::settle() {
  if (watch_) watch_->settle();
  if (chase_) chase_->settle();
  for (std::size_t next = 0; next < aborts_.size(); ++next) {
    const auto [client, life, cause] = aborts_[next];
    if (client->life != life) continue;
    abort(*client, cause);
    if (watch_) watch_->settle();
    if (chase_) chase_->settle();
  }
  aborts_.clear();
}

TxnInfo Model::describe(const TxnId& txn) const {
  std::uint32_t number = 0;
  const auto text = txn.view();
  std::from_chars(text.data(), text.data() + text.size(), number);
  const auto& client = clients_[number - 1];
  return {.start = static_cast<double>(client.start),
          .locks = static_cast<double>(client.next),
          .work = static_cast<double>(client.steps),
          .restarts = static_cast<double>(client.restarts)};
}

double Model::waited(const TxnId& txn) const {
  std::uint32_t number = 0;
  const auto text = txn.view();
  std::from_chars(text.data(), text.data() + text.size(), number);
  return static_cast<double>(events_.now() - clients_[number - 1].wait_since) / ticks_per_unit;
}

tl::expected<Result, std::string> simulate(const Settings& settings, std::uint64_t seed) {
  auto workload = make_workload(settings);
  if (!workload) return tl::unexpected(workload.error());
  return Model(settings, *std::move(workload), seed).run();
}

}  // namespace gordian::experiments
