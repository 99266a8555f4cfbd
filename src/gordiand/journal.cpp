#include "gordiand/journal.hpp"

#include <spdlog/spdlog.h>

namespace gordian::gordiand {
namespace {

spdlog::level::level_enum level(coordinator::Note::Level level) {
  using Level = coordinator::Note::Level;
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// While its orders are on their way an incident changes several times within milliseconds, and the processors have more urgent
// things to do than to write it. It is written once it is settled, or this late.
constexpr std::chrono::milliseconds store_after{50};

/// Overloads for std::visit.
template <class... Functions>
struct Cases : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Cases(Functions...) -> Cases<Functions...>;

}  // namespace

Journal::Journal(std::optional<store::History> history, std::optional<Recorder> recorder,
                 std::shared_ptr<spdlog::logger> log)
    : log_(std::move(log)), history_(std::move(history)), recorder_(std::move(recorder)), thread_([this] { run(); }) {}

Journal::~Journal() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Journal::take(coordinator::Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (events_.size() >= events_max) {
      ++dropped_;
      return;
    }
    events_.push_back(std::move(event));
  }
  wake_.notify_one();
}

store::Result<std::vector<coordinator::Incident>> Journal::incidents(std::size_t limit, const std::string& id) {
  const std::lock_guard lock(history_mutex_);
  if (!history_) return {};
  return history_->list(limit, id.empty() ? std::nullopt : std::optional(id));
}

void Journal::run() {
  const auto due = [this] { return stopping_ || !events_.empty(); };
  for (;;) {
    std::deque<coordinator::Event> events;
    std::size_t dropped = 0;
    bool ending = false;
    {
      std::unique_lock lock(mutex_);
      if (unstored_.empty())
        wake_.wait(lock, due);
      else
        wake_.wait_until(lock, store_at_, due);
      ending = stopping_ && events_.empty();
      events.swap(events_);
      std::swap(dropped, dropped_);
    }
    for (const auto& event : events) work_off(event);
    if (!unstored_.empty() && (ending || Clock::now() >= store_at_)) store_incidents();
    if (dropped > 0) {
      log_->error("{} events were neither stored nor logged: the disk or the log is too slow", dropped);
      stop_recording("it has a gap");
    }
    if (recorder_ && !recorder_->flush()) stop_recording("the file cannot be written (is the disk full?)");
    if (ending) return;
  }
}

void Journal::work_off(const coordinator::Event& event) {
  const Cases cases{
      [this](const coordinator::IncidentChanged& change) { incident_changed(change.incident); },
      [this](const coordinator::SiteChanged& change) { site_changed(change); },
      [this](const coordinator::Note& note) { log_->log(level(note.level), "{}", note.text); },
      [this](const coordinator::Applied& change) {
        if (recorder_) recorder_->applied(change);
      },
  };
  std::visit(cases, event);
}

void Journal::incident_changed(const coordinator::Incident& incident) {
  log_->debug("incident {}: {}", incident.id, coordinator::name(incident.outcome));
  if (recorder_) recorder_->incident(incident);
  const bool settled = incident.outcome != coordinator::Incident::Outcome::resolving;
  if (settled || unstored_.empty()) store_at_ = Clock::now() + (settled ? Clock::duration(0) : store_after);
  unstored_.insert_or_assign(incident.id, incident);
}

void Journal::store_incidents() {
  const std::lock_guard lock(history_mutex_);
  for (const auto& [id, incident] : unstored_) {
    if (history_) check(history_->put(incident));
  }
  unstored_.clear();
}

void Journal::site_changed(const coordinator::SiteChanged& change) {
  using What = coordinator::SiteChanged::What;
  if (recorder_ && change.what != What::joined) recorder_->site_gone(change.site);
  // A lost site stays known: after a restart of the coordinator it is still missing.
  if (change.what == What::lost) return;
  log_->info("site {} {}", change.site.str(), change.what == What::joined ? "joined" : "left");
  const std::lock_guard lock(history_mutex_);
  if (history_) check(change.what == What::joined ? history_->remember(change.site) : history_->forget(change.site));
}

void Journal::stop_recording(const char* why) {
  if (recorder_) log_->error("recording stopped: {}", why);
  recorder_.reset();
}

void Journal::check(const store::Result<void>& result) {
  if (!result) log_->error("{}", result.error().message);
}

}  // namespace gordian::gordiand
