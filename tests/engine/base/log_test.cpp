#include "engine/base/log.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>

#include "engine/base/file.h"

namespace assay {
namespace {

// What `body` writes on stderr.
std::string captured(const std::function<void()>& body) {
  const Path path = std::filesystem::temp_directory_path() / ("assay-log-" + std::to_string(::getpid()));
  std::fflush(stderr);
  const int saved = ::dup(STDERR_FILENO);
  const int file = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  ::dup2(file, STDERR_FILENO);
  body();
  std::fflush(stderr);
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::close(file);
  const auto text = real_files().read(path);
  std::filesystem::remove(path);
  return text.value_or("unreadable");
}

void log_each() {
  log_info("info");
  log_warning("care");
  log_detail("detail");
}

TEST_CASE("at the normal level a line is the message alone") {
  CHECK(log_level() == LogLevel::normal);
  CHECK(captured(log_each) == "info\nwarning: care\n");
}

TEST_CASE("quiet leaves warnings only, verbose shows details with their time") {
  set_log_level(LogLevel::quiet);
  CHECK(log_level() == LogLevel::quiet);
  CHECK(captured(log_each) == "warning: care\n");
  set_log_level(LogLevel::verbose);
  CHECK(log_level() == LogLevel::verbose);
  const std::string text = captured(log_each);
  CHECK(text.find("Z detail\n") != std::string::npos);
  CHECK(text.starts_with("20"));
  set_log_level(LogLevel::normal);
  CHECK(log_level() == LogLevel::normal);
}

TEST_CASE("control characters and stray bytes cannot reach the terminal, other text can") {
  CHECK(captured([] { log_info("a\x1b[31mb\nc\r\x7f\xc2\x9b\x9b"); }) ==
        "a\\x1b[31mb\\x0ac\\x0d\\x7f\\xc2\\x9b\\x9b\n");
  CHECK(captured([] { log_info("naïve 東京 {} %s"); }) == "naïve 東京 {} %s\n");
}

}  // namespace
}  // namespace assay
