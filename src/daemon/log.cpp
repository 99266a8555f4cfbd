#include "daemon/log.hpp"

#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "text/text.hpp"

namespace gordian::daemon {
namespace {

// spdlog's own patterns do not escape the message: an id with a line break could forge a line.
class LineFormatter final : public spdlog::formatter {
 public:
  explicit LineFormatter(bool json) : json_(json) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    using std::chrono::microseconds;
    const auto since_1970 = std::chrono::duration_cast<microseconds>(message.time.time_since_epoch());
    const std::string time = text::utc(since_1970.count());
    const auto level_name = spdlog::level::to_string_view(message.level);
    const std::string_view level(level_name.data(), level_name.size());
    const std::string_view payload(message.payload.data(), message.payload.size());
    std::string formatted;
    if (json_) {
      const nlohmann::ordered_json object{{"time", time}, {"level", level}, {"message", text::utf8(payload)}};
      formatted = object.dump() + "\n";
    } else {
      formatted = time + " " + std::string(level) + ": " + text::visible(payload) + "\n";
    }
    line.append(formatted.data(), formatted.data() + formatted.size());
  }

  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>(json_);
  }

 private:
  bool json_;
};

}  // namespace

std::shared_ptr<spdlog::logger> make_log(const std::string& program, const std::string& level,
                                         const std::string& format) {
  auto log = std::make_shared<spdlog::logger>(program, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  log->set_formatter(std::make_unique<LineFormatter>(format == "json"));
  log->set_level(spdlog::level::from_str(level));
  log->flush_on(spdlog::level::debug);
  return log;
}

}  // namespace gordian::daemon
