#include "engine/base/clock.h"

#include <fmt/format.h>

#include <chrono>
#include <cstddef>

namespace assay {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;

class RealClock : public Clock {
 public:
  int64_t utc_us() override {
    return duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  int64_t monotonic_us() override {
    return duration_cast<microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
};

// Reads a time's fields from left to right; one misstep makes the whole text no time.
class FieldReader {
 public:
  explicit FieldReader(std::string_view text) : text_(text) {}

  int digits(size_t count) {
    int value = 0;
    for (size_t i = 0; i < count; ++i) {
      if (text_.empty() || text_.front() < '0' || text_.front() > '9') return fail();
      value = value * 10 + (text_.front() - '0');
      text_.remove_prefix(1);
    }
    return value;
  }
  void expect(char c) {
    if (!accept(c)) fail();
  }
  bool accept(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  // One to six digits after the point, as microseconds.
  int fraction_us() {
    int value = digits(1);
    int scale = 100'000;
    value *= scale;
    while (scale > 1 && !text_.empty() && text_.front() != 'Z') value += digits(1) * (scale /= 10);
    return value;
  }
  bool finished() const { return ok_ && text_.empty(); }

 private:
  int fail() {
    ok_ = false;
    text_ = {};
    return 0;
  }
  std::string_view text_;
  bool ok_ = true;
};

}  // namespace

Clock& real_clock() {
  static RealClock clock;
  return clock;
}

std::string format_utc(int64_t utc_us) {
  namespace chrono = std::chrono;
  const chrono::sys_time<microseconds> time{microseconds(utc_us)};
  const auto day = chrono::floor<chrono::days>(time);
  const chrono::year_month_day date(day);
  const chrono::hh_mm_ss<microseconds> clock(time - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

int64_t parse_utc(std::string_view text) {
  namespace chrono = std::chrono;
  FieldReader reader(text);
  const int year = reader.digits(4);
  reader.expect('-');
  const int month = reader.digits(2);
  reader.expect('-');
  const int day = reader.digits(2);
  reader.expect('T');
  const int hours = reader.digits(2);
  reader.expect(':');
  const int minutes = reader.digits(2);
  reader.expect(':');
  const int seconds = reader.digits(2);
  const int fraction_us = reader.accept('.') ? reader.fraction_us() : 0;
  reader.expect('Z');
  const chrono::year_month_day date{chrono::year(year), chrono::month(static_cast<unsigned>(month)),
                                    chrono::day(static_cast<unsigned>(day))};
  if (!reader.finished() || !date.ok() || hours > 23 || minutes > 59 || seconds > 59) return -1;
  const auto time = chrono::sys_days(date) + chrono::hours(hours) + chrono::minutes(minutes) + chrono::seconds(seconds);
  return duration_cast<microseconds>(time.time_since_epoch()).count() + fraction_us;
}

}  // namespace assay
