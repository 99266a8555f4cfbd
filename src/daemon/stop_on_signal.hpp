// A clean stop: while it lives, SIGTERM and SIGINT stop a service.
#pragma once

#include <csignal>

namespace gordian::daemon {

/// One at a time. `Service::stop()` must be safe in a signal handler.
template <class Service>
class StopOnSignal {
 public:
  explicit StopOnSignal(Service& service) {
    service_ = &service;
    set([](int) { service_->stop(); });
  }
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;
  ~StopOnSignal() {
    set(SIG_IGN);  // the program is ending already
    service_ = nullptr;
  }

 private:
  static void set(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    for (const int signal : {SIGTERM, SIGINT}) sigaction(signal, &action, nullptr);
  }
  inline static Service* service_ = nullptr;
};

}  // namespace gordian::daemon
