#include "experiments/live_run.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "experiments/pace.hpp"

namespace gordian::experiments {
namespace {

using namespace std::chrono_literals;

constexpr auto longest_sleep = 100ms;  // how long a stop may go unnoticed

bool has_detection(Strategy strategy) {
  return strategy == Strategy::detection || strategy == Strategy::periodic || strategy == Strategy::detection_timeout ||
         strategy == Strategy::edge_chasing;
}
bool limits_waits(Strategy strategy) {
  return strategy == Strategy::timeout || strategy == Strategy::detection_timeout;
}

/// As agents name it.
std::string agents_strategy(Strategy strategy) {
  switch (strategy) {
    case Strategy::no_wait:
    case Strategy::wait_die:
    case Strategy::wound_wait:
    case Strategy::ordered: return std::string(name(strategy));
    default: return "detect";
  }
}

double unix_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::system_clock::now().time_since_epoch()).count();
}

LockClient start_client(const Services& services) {
  auto client = LockClient::start({.agents = services.addresses(), .label = "experiment"});
  if (!client) throw std::runtime_error(client.error().message);
  return *std::move(client);
}

}  // namespace

void LiveRun::Box::put(News news) {
  {
    const std::lock_guard lock(mutex_);
    news_.push_back(std::move(news));
  }
  filled_.notify_one();
}

std::vector<LiveRun::News> LiveRun::Box::take(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  filled_.wait_until(lock, until, [&] { return !news_.empty(); });
  return std::exchange(news_, {});
}

ServicesOptions LiveRun::services_for(const Settings& settings, const std::string& programs) {
  ServicesOptions options;
  options.programs = programs;
  options.agents = settings.sites;
  options.coordinators = settings.strategy == Strategy::edge_chasing ? settings.sites
                         : has_detection(settings.strategy)          ? 1
                                                                     : 0;
  options.transport = options.coordinators > 1 ? "ipc" : "tcp";
  const double age_ms = settings.strategy == Strategy::periodic ? settings.period * settings.unit_ms / 2 : 0;
  options.agent_flags = {"--strategy", agents_strategy(settings.strategy), "--publish-after",
                         std::to_string(std::llround(age_ms * 1000)) + "us"};
  options.coordinator_flags = {"--policy", settings.policy};
  return options;
}

LiveRun::LiveRun(const Settings& settings, const Workload& workload, std::uint64_t seed, const std::string& programs,
                 const std::atomic<bool>& stop)
    : settings_(settings),
      workload_(workload),
      stop_(stop),
      asks_(seed, 1),
      times_(seed, 2),
      folder_("live"),
      services_(folder_, services_for(settings, programs)),
      client_(start_client(services_)) {}

/// Clients end before the thread that tells them news, and that before the services.
LiveRun::~LiveRun() {
  clients_.clear();
  client_.reset();
}

Result LiveRun::run() {
  const auto start = Clock::now();
  spent_ = start;
  if (settings_.arrival_rate > 0) {
    timers_.push({start + duration(times_.exponential(1 / settings_.arrival_rate)), 0, 0, Alarm::arrival});
  } else {
    const auto terminals = std::max(settings_.terminals, settings_.mpl);
    for (std::uint64_t i = 0; i < terminals; ++i)
      after(settings_.think_time > 0 ? times_.exponential(settings_.think_time) : 0, *add_client(), Alarm::submit);
  }
  const auto begin = start + duration(settings_.warmup);
  run_until(begin, 0);
  const auto deadlocks = services_.counter("incidents"), sent = messages();
  result_ = Result{};
  run_until(begin + duration(settings_.duration), settings_.commits);
  result_.time = units(std::max(spent_, begin) - begin);
  result_.deadlocks = services_.counter("incidents") - deadlocks;
  result_.messages = messages() - sent;
  return result_;
}

std::uint64_t LiveRun::messages() const {
  return services_.counter("deltas") + services_.counter("snapshots") + services_.counter("peer_messages_sent");
}

LiveRun::Client* LiveRun::add_client() {
  if (clients_.size() == clients_max) return nullptr;
  auto session = client_->open();
  if (!session) throw std::runtime_error(session.error().message);
  auto& client = clients_.emplace_back();
  client.number = static_cast<std::uint32_t>(clients_.size() - 1);
  client.session = std::make_unique<LockSession>(*std::move(session));
  return &client;
}

void LiveRun::run_until(Clock::time_point end, std::uint64_t commits) {
  while (Clock::now() < end && (commits == 0 || result_.commits < commits)) {
    if (stop_) throw std::runtime_error("stopped");
    auto until = std::min(end, Clock::now() + longest_sleep);
    if (!timers_.empty()) until = std::min(until, timers_.top().at);
    const auto all_news = box_.take(until);
    const auto now = Clock::now();  // of this round: who is late does not keep the others waiting
    spend(std::min(now, end));
    for (const auto& news : all_news) handle(news);
    while (!timers_.empty() && timers_.top().at <= now) {
      const auto timer = timers_.top();
      timers_.pop();
      handle(timer);
    }
  }
  spend(std::min(Clock::now(), end));
}

void LiveRun::handle(const Timer& timer) {
  if (timer.alarm == Alarm::arrival) return arrive();
  auto& client = clients_[timer.client];
  if (client.life != timer.life) return;
  switch (timer.alarm) {
    case Alarm::step: return step_done(client);
    case Alarm::served:
      if (client.state == State::writing) return commit(client);
      ++client.next;
      return begin_step(client);
    case Alarm::restart:
      if (settings_.restart_other) draw_program(settings_, workload_, asks_, client.program);
      return enter(client);
    case Alarm::submit: return submit(client);
    case Alarm::lease_over: return abort(client, Cause::lease);
    case Alarm::arrival: return;
  }
}

void LiveRun::handle(const News& news) {
  auto& client = clients_[news.client];
  if (client.life != news.life) return;
  if (news.error && news.error->code == LockError::Code::unreachable)
    throw std::runtime_error("a service does not answer: " + news.error->message);
  if (news.error) return abort(client, cause_of(news.error->code));
  locked(client);
}

void LiveRun::arrive() {
  timers_.push({Clock::now() + duration(times_.exponential(1 / settings_.arrival_rate)), 0, 0, Alarm::arrival});
  Client* client = nullptr;
  if (idle_.empty()) {
    client = add_client();
  } else {
    client = idle_.back();
    idle_.pop_back();
  }
  if (client == nullptr) {
    ++result_.turned_away;
    return;
  }
  submit(*client);
}

void LiveRun::submit(Client& client) {
  client.start = unix_us();
  client.submitted = Clock::now();
  client.restarts = 0;
  draw_program(settings_, workload_, asks_, client.program);
  enter(client);
}

void LiveRun::enter(Client& client) {
  if (running_ < settings_.mpl) return begin(client);
  ready_.push_back(&client);
}

void LiveRun::begin(Client& client) {
  ++running_;
  ++client.life;
  client.next = 0;
  client.steps = 0;
  auto txn =
      client.session->begin({.start = client.start,
                             .restarts = static_cast<double>(client.restarts),
                             .on_aborted = [this, number = client.number, life = client.life](const LockError& error) {
                               box_.put({number, life, error});
                             }});
  if (!txn) throw std::runtime_error(txn.error().message);
  client.txn = *std::move(txn);
  if (settings_.strategy == Strategy::lease) after(settings_.lease, client, Alarm::lease_over);
  begin_step(client);
}

void LiveRun::begin_step(Client& client) {
  client.state = State::stepping;
  const auto mean = settings_.step_time;
  after(settings_.step_shape == TimeShape::fixed ? mean : times_.exponential(mean), client, Alarm::step);
}

void LiveRun::step_done(Client& client) {
  ++client.steps;
  ++result_.steps;
  if (client.next < client.program.size()) return ask(client);
  const auto writes = std::ranges::count(client.program, modes::X, &Ask::mode);
  client.state = State::writing;
  if (settings_.disk_time <= 0 || writes == 0) return commit(client);
  after(settings_.disk_time * static_cast<double>(writes), client, Alarm::served);
}

void LiveRun::ask(Client& client) {
  const auto& wanted = client.program[client.next];
  AcquireOptions options;
  options.site = services_.addresses()[wanted.resource % services_.addresses().size()].site;
  if (limits_waits(settings_.strategy))
    options.wait = std::max(1us, std::chrono::duration_cast<std::chrono::microseconds>(
                                     duration(wait_limit(settings_, client.restarts, times_))));
  client.state = State::asking;
  ++asking_;
  ++result_.requests;
  client.txn->lock_async(
      ResourceName(wanted.resource).view(), wanted.mode, options,
      [this, number = client.number, life = client.life](const tl::expected<Grant, LockError>& grant) {
        box_.put({number, life, grant ? std::nullopt : std::optional(grant.error())});
      });
}

/// The same servers without a queue as in a model: time passes.
void LiveRun::locked(Client& client) {
  if (client.state != State::asking) return;
  --asking_;
  const bool raised =
      client.next > 0 && client.program[client.next - 1].resource == client.program[client.next].resource;
  const double time = (raised ? 0 : settings_.disk_time) + settings_.cpu_time;
  client.state = State::serving;
  if (time > 0) return after(time, client, Alarm::served);
  ++client.next;
  begin_step(client);
}

void LiveRun::commit(Client& client) {
  ++result_.commits;
  const double response = units(Clock::now() - client.submitted);
  result_.response.add(std::llround(response * 1e6));
  response_sum_ += response;
  ++responses_;
  leave(client);
  if (settings_.arrival_rate > 0) return idle_.push_back(&client);
  if (settings_.think_time > 0) return after(times_.exponential(settings_.think_time), client, Alarm::submit);
  submit(client);
}

void LiveRun::abort(Client& client, Cause cause) {
  ++result_.aborts[static_cast<std::size_t>(cause)];
  result_.wasted_steps += client.steps;
  leave(client);
  const double mean = responses_ > 0 ? response_sum_ / static_cast<double>(responses_) : 0;
  after(restart_delay(settings_, client.restarts, mean, times_), client, Alarm::restart);
  ++client.restarts;
}

void LiveRun::leave(Client& client) {
  if (client.state == State::asking) --asking_;
  client.state = State::outside;
  client.txn.reset();
  ++client.life;
  --running_;
  if (ready_.empty()) return;
  auto& next = *ready_.front();
  ready_.pop_front();
  begin(next);
}

void LiveRun::after(double time, const Client& client, Alarm alarm) {
  timers_.push({Clock::now() + duration(time), client.number, client.life, alarm});
}

void LiveRun::spend(Clock::time_point until) {
  const double time = units(until - std::min(spent_, until));
  result_.active_time += time * static_cast<double>(running_ - asking_);
  result_.blocked_time += time * static_cast<double>(asking_);
  spent_ = std::max(spent_, until);
}

LiveRun::Clock::duration LiveRun::duration(double time) const {
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double, std::milli>(time * settings_.unit_ms));
}

double LiveRun::units(Clock::duration time) const {
  return std::chrono::duration<double, std::milli>(time).count() / settings_.unit_ms;
}

}  // namespace gordian::experiments
