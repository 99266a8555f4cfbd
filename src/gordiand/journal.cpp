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
  for (;;) {
    std::deque<coordinator::Event> events;
    std::size_t dropped = 0;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !events_.empty(); });
      if (events_.empty()) return;
      events.swap(events_);
      std::swap(dropped, dropped_);
    }
    for (const auto& event : events) work_off(event);
    if (dropped > 0) {
      log_->error("{} events were neither stored nor logged: the disk or the log is too slow", dropped);
      stop_recording("it has a gap");
    }
    if (recorder_ && !recorder_->flush()) stop_recording("the file cannot be written (is the disk full?)");
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
  const std::lock_guard lock(history_mutex_);
  if (history_) check(history_->put(incident));
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
