// The steps of one transaction of a model: service, lock requests, waits, answers, pauses, leases.
#include <algorithm>
#include <cmath>

#include "experiments/model.hpp"
#include "experiments/pace.hpp"

namespace gordian::experiments {

using Kind = Event::Kind;

void Model::begin_step(Client& client) {
  client.state = State::stepping;
  const auto mean = settings_.step_time;
  const auto time = settings_.step_shape == TimeShape::fixed ? mean : times_.exponential(mean);
  const auto from = std::max(events_.now(), client.paused_until);
  events_.at(from + ticks(time), Kind::step, client.number, client.life);
}

void Model::step_done(Client& client) {
  ++client.steps;
  ++result_.steps;
  if (client.next == client.program.size()) {
    client.writes_left = 0;
    if (settings_.disk_time > 0)
      client.writes_left = static_cast<std::uint32_t>(std::ranges::count(client.program, modes::X, &Ask::mode));
    return write_or_commit(client);
  }
  ++client.wait;
  if (settings_.requests_travel) return send_request(client);
  request(client);
}

/// Whether the client gives up by itself, rather than the table.
bool Model::client_keeps_time() const {
  return settings_.requests_travel &&
         (settings_.strategy == Strategy::timeout || settings_.strategy == Strategy::detection_timeout);
}

void Model::send_request(Client& client) {
  client.state = State::sending;
  const auto now = events_.now();
  events_.at(now + travel(), Kind::request, client.number, client.life);
  if (client_keeps_time()) events_.at(now + timeout(client), Kind::deadline, client.number, client.life, client.wait);
}

LockTxn& Model::handle_at(Client& client, std::size_t site) {
  auto& handle = client.handles[site];
  if (client.begun[site] != client.life) {
    client.begun[site] = client.life;
    handle.restart({.id = client.id, .start = client.start, .user = &client});
  }
  return handle;
}

void Model::request(Client& client) {
  const auto& ask = client.program[client.next];
  const auto site = ask.resource % tables_.size();
  const bool limited = settings_.strategy == Strategy::timeout || settings_.strategy == Strategy::detection_timeout;
  const auto deadline = limited && !client_keeps_time() ? events_.now() + timeout(client) : never;
  auto& handle = handle_at(client, site);
  client.state = State::asking;
  ++result_.requests;
  const auto answer =
      handle.lock(ResourceName(ask.resource).view(), ask.mode, {.now = events_.now(), .deadline = deadline});
  if (!answer) {
    const auto code = answer.error().code;
    if (code == LockError::Code::wounded) return;  // aborted() has told it
    aborts_.push_back({&client, client.life, cause_of(code)});
    return;
  }
  if (!answer->waiting) return locked(client);
  client.waited = true;
  ++result_.waits;
  if (client.state == State::granted) return locked(client);  // who was in the way was wounded
  if (client.state == State::asking) must_wait(client, deadline);
}

void Model::must_wait(Client& client, Ticks deadline) {
  client.state = State::waiting;
  client.wait_since = events_.now();
  ++blocked_;
  if (deadline != never) events_.at(deadline, Kind::deadline, client.number, client.life, client.wait);
}

void Model::locked(Client& client) {
  if (!settings_.requests_travel) return answered(client);
  client.state = State::answering;
  events_.at(events_.now() + travel(), Kind::answer, client.number, client.life);
}

/// The lock is its own, and it knows.
void Model::answered(Client& client) {
  ++client.wait;
  const auto& program = client.program;
  const bool raised = client.next > 0 && program[client.next - 1].resource == program[client.next].resource;
  if (settings_.disk_time > 0 && !raised) return serve(client, Stage::disk, settings_.disk_time);
  if (settings_.cpu_time > 0) return serve(client, Stage::cpu, settings_.cpu_time);
  next_lock(client);
}

void Model::serve(Client& client, Stage stage, double time) {
  client.state = State::serving;
  client.stage = stage;
  const Job job{client.number, client.life, ticks(time)};
  const auto servers = stage == Stage::cpu ? settings_.cpus : settings_.disks;
  if (servers == 0) {
    events_.at(events_.now() + job.time, Kind::served, job.client, job.life, unlimited);
    return;
  }
  const auto pool = static_cast<std::uint32_t>(stage == Stage::cpu ? 0 : 1 + times_.below(servers));
  if (pools_[pool].take(job)) events_.at(events_.now() + job.time, Kind::served, job.client, job.life, pool);
}

void Model::served(const Event& event) {
  if (event.detail != unlimited) {
    const auto next = pools_[event.detail].next([&](const Job& job) { return clients_[job.client].life == job.life; });
    if (next) events_.at(event.at + next->time, Kind::served, next->client, next->life, event.detail);
  }
  auto& client = clients_[event.client];
  if (client.life != event.life) return;
  if (client.paused_until > event.at) {
    events_.at(client.paused_until, Kind::served, event.client, event.life, unlimited);
    return;
  }
  stage_done(client);
}

void Model::stage_done(Client& client) {
  switch (client.stage) {
    case Stage::disk:
      if (settings_.cpu_time > 0) return serve(client, Stage::cpu, settings_.cpu_time);
      return next_lock(client);
    case Stage::cpu: return next_lock(client);
    case Stage::write: --client.writes_left; return write_or_commit(client);
  }
}

void Model::next_lock(Client& client) {
  ++client.next;
  begin_step(client);
}

void Model::write_or_commit(Client& client) {
  if (client.writes_left > 0) return serve(client, Stage::write, settings_.disk_time);
  commit(client);
}

void Model::deadline(Client& client, const Event& event) {
  if (client.wait != event.detail) return;
  if (client_keeps_time()) {
    aborts_.push_back({&client, client.life, Cause::timeout});
  } else if (client.state == State::waiting) {
    tables_[client.program[client.next].resource % tables_.size()]->expire(event.at);
  }
}

void Model::pause(Client& client) {
  const auto now = events_.now();
  const auto length = ticks(faults_.exponential(settings_.pause_length));
  client.paused_until = now + length;
  events_.at(client.paused_until + ticks(faults_.exponential(1 / settings_.pause_rate)), Kind::pause, client.number,
             client.life);
  if (settings_.lease <= 0 || settings_.strategy == Strategy::lease) return;
  // It renews its lease three times as often as needed: the last time was up to a third of it ago.
  const auto left = ticks(settings_.lease * (1 - faults_.uniform() / 3));
  if (length <= left) return;
  ++result_.paused_too_long;
  events_.at(now + left, Kind::lease_over, client.number, client.life);
}

void Model::lose_lease(Client& client) {
  for (std::size_t site = 0; site < tables_.size(); ++site)
    if (client.begun[site] == client.life) tables_[site]->lose_lease(client.id, "not renewed");
  aborts_.push_back({&client, client.life, Cause::lease});  // a table does not know by id whom nobody waits for
}

Ticks Model::timeout(const Client& client) {
  return std::max<Ticks>(1, ticks(wait_limit(settings_, client.restarts, times_)));
}

Ticks Model::travel() {
  return ticks(settings_.delay + (settings_.jitter > 0 ? faults_.exponential(settings_.jitter) : 0));
}

void Model::granted(const Party& party, Ticket, std::uint64_t, std::span<const GrantedItem>) {
  auto& client = *static_cast<Client*>(party.user);
  if (client.state == State::waiting) {
    --blocked_;
    locked(client);
  } else if (client.state == State::asking) {
    client.state = State::granted;
  }
}

void Model::failed(const Party& party, Ticket, std::uint64_t, const LockError& error) {
  auto& client = *static_cast<Client*>(party.user);
  if (error.code == LockError::Code::timeout || error.code == LockError::Code::refused)
    aborts_.push_back({&client, client.life, cause_of(error.code)});
}

void Model::aborted(const Party& party, const LockError& error) {
  auto& client = *static_cast<Client*>(party.user);
  aborts_.push_back({&client, client.life, cause_of(error.code)});
}

}  // namespace gordian::experiments
