#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace assay {

// The seam to time. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t utc_us() = 0;        // microseconds since 1970-01-01 UTC
  virtual int64_t monotonic_us() = 0;  // never steps back; its zero means nothing
};

Clock& real_clock();

// "2026-11-23T08:44:01.123456Z" and back; nullopt-like -1 when the text is no such time.
std::string format_utc(int64_t utc_us);
int64_t parse_utc(std::string_view text);

}  // namespace assay
