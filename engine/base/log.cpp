#include "engine/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>

#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr const char* kPlainPattern = "%v";
constexpr const char* kTimedPattern = "%Y-%m-%dT%H:%M:%S.%eZ %v";

std::shared_ptr<spdlog::logger> make_logger() {
  auto logger = std::make_shared<spdlog::logger>("assay", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern(kPlainPattern, spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::info);
  // A stderr that cannot be written to (a closed pipe) must not end a run.
  logger->set_error_handler([](const std::string&) {});
  return logger;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = make_logger();
  return *instance;
}

void write(spdlog::level::level_enum level, std::string_view prefix, std::string_view message) {
  if (!logger().should_log(level)) return;
  const std::string line = std::string(prefix) + escape_controls(message);
  logger().log(level, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace

void set_log_level(LogLevel level) {
  const bool verbose = level == LogLevel::verbose;
  logger().set_pattern(verbose ? kTimedPattern : kPlainPattern, spdlog::pattern_time_type::utc);
  if (verbose) return logger().set_level(spdlog::level::debug);
  logger().set_level(level == LogLevel::quiet ? spdlog::level::warn : spdlog::level::info);
}

LogLevel log_level() {
  if (logger().should_log(spdlog::level::debug)) return LogLevel::verbose;
  return logger().should_log(spdlog::level::info) ? LogLevel::normal : LogLevel::quiet;
}

void log_info(std::string_view message) { write(spdlog::level::info, "", message); }
void log_warning(std::string_view message) { write(spdlog::level::warn, "warning: ", message); }
void log_detail(std::string_view message) { write(spdlog::level::debug, "", message); }

}  // namespace assay
