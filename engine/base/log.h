#pragma once

#include <string_view>

namespace assay {

enum class LogLevel { quiet, normal, verbose };

// What log_* lets through; `normal` at start. Set once by the command line, before threads start.
void set_log_level(LogLevel level);
LogLevel log_level();

// One line on stderr (spdlog), never on stdout: stdout is data. Thread-safe. Control characters of `message` are
// written as \xNN, so that model text cannot drive a terminal.
void log_info(std::string_view message);     // shown unless quiet
void log_warning(std::string_view message);  // always shown
void log_detail(std::string_view message);   // shown when verbose

}  // namespace assay
