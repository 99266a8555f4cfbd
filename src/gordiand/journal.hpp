// Takes the coordinator's events off its thread: stores incidents and sites in the history, records, logs.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/coordinator.hpp"
#include "gordiand/recorder.hpp"
#include "store/history.hpp"

namespace spdlog {
class logger;
}

namespace gordian::gordiand {

/// Thread-safe. Owns the files and one thread that works on them, so that no disk ever delays an order.
class Journal {
 public:
  Journal(std::optional<store::History> history, std::optional<Recorder> recorder, std::shared_ptr<spdlog::logger> log);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  /// Works off what was taken, and ends the thread.
  ~Journal();

  /// Returns at once. Beyond `events_max` waiting events the event is dropped; the log says so.
  void take(coordinator::Event event);

  /// From the history, newest first; empty without one. Waits for a write in progress.
  [[nodiscard]] store::Result<std::vector<coordinator::Incident>> incidents(std::size_t limit, const std::string& id);

  static constexpr std::size_t events_max = 1'000'000;

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  void work_off(const coordinator::Event& event);
  void store_incidents();
  void incident_changed(const coordinator::Incident& incident);
  void site_changed(const coordinator::SiteChanged& change);
  void stop_recording(const char* why);
  void check(const store::Result<void>& result);

  const std::shared_ptr<spdlog::logger> log_;
  std::mutex history_mutex_;
  std::optional<store::History> history_;                  // guarded by history_mutex_
  std::optional<Recorder> recorder_;                       // only for the thread
  std::map<std::string, coordinator::Incident> unstored_;  // only for the thread: by id, as they are now
  Clock::time_point store_at_;  // only for the thread: when they are written, if there are any

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<coordinator::Event> events_;  // guarded by mutex_
  std::size_t dropped_ = 0;                // guarded by mutex_
  bool stopping_ = false;                  // guarded by mutex_
  std::thread thread_;
};

}  // namespace gordian::gordiand
