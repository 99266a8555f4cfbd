#include "node/journal.hpp"

#include <spdlog/spdlog.h>

#include <chrono>

namespace gordian::node {

using namespace std::chrono_literals;

Journal::Journal(store::LockState state, std::shared_ptr<spdlog::logger> log, std::function<void()> committed_more)
    : log_(std::move(log)),
      committed_more_(std::move(committed_more)),
      state_(std::move(state)),
      thread_([this] { run(); }) {}

Journal::~Journal() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Journal::take(std::vector<lease::Record> records) {
  {
    const std::lock_guard lock(mutex_);
    taken_ += records.size();
    if (records_.empty()) {
      records_ = std::move(records);
    } else {
      std::move(records.begin(), records.end(), std::back_inserter(records_));
    }
  }
  wake_.notify_one();
}

void Journal::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !records_.empty(); });
    if (records_.empty()) return;
    const auto batch = std::exchange(records_, {});
    lock.unlock();
    for (;;) {
      store::Result<void> written;
      {
        const std::lock_guard state_lock(state_mutex_);
        written = state_.write(batch);
      }
      if (written) break;
      log_->error("{}; nobody is answered until it works", written.error().message);
      lock.lock();
      if (wake_.wait_for(lock, 1s, [this] { return stopping_; })) return;
      lock.unlock();
    }
    committed_.fetch_add(batch.size(), std::memory_order_release);
    committed_more_();
    lock.lock();
    written_.notify_all();
  }
}

bool Journal::flush(std::chrono::milliseconds longest) {
  std::unique_lock lock(mutex_);
  return written_.wait_for(lock, longest, [this, all = taken_] { return committed() >= all; });
}

void Journal::stop(bool clean) {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  const std::lock_guard lock(state_mutex_);
  if (const auto stopped = state_.stopped(clean); !stopped) log_->error("{}", stopped.error().message);
}

store::Result<std::vector<lease::AuditRecord>> Journal::audit(std::size_t limit) {
  const std::lock_guard lock(state_mutex_);
  return state_.audit(limit);
}

}  // namespace gordian::node
