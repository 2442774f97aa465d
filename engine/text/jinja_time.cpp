// strftime for templates; declared in jinja_format.h.
#include <fmt/format.h>

#include <array>
#include <chrono>

#include "engine/base/text_util.h"
#include "engine/text/jinja_format.h"
#include "engine/text/jinja_runtime.h"

namespace assay::jinja {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};

// A moment taken apart, in UTC.
struct Moment {
  int year, month, day;  // month and day from 1
  int weekday;           // 0: Sunday
  int day_of_year;       // from 1
  int hour, minute, second, microsecond;
  int64_t epoch_s;
};

Moment take_apart(int64_t utc_us) {
  using namespace std::chrono;
  const sys_time<microseconds> time{microseconds(utc_us)};
  const auto day_start = floor<days>(time);
  const year_month_day date(day_start);
  const hh_mm_ss clock(time - day_start);
  const auto year_start = sys_days(date.year() / January / 1);
  return {static_cast<int>(date.year()),
          static_cast<int>(static_cast<unsigned>(date.month())),
          static_cast<int>(static_cast<unsigned>(date.day())),
          static_cast<int>(weekday(day_start).c_encoding()),
          static_cast<int>((day_start - year_start).count()) + 1,
          static_cast<int>(clock.hours().count()),
          static_cast<int>(clock.minutes().count()),
          static_cast<int>(clock.seconds().count()),
          static_cast<int>(clock.subseconds().count()),
          floor<seconds>(time).time_since_epoch().count()};
}

bool is_leap(int year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

struct IsoWeek {
  int year, week;
};

// ISO 8601: the week with the year's first Thursday is week 1.
IsoWeek iso_week(const Moment& moment) {
  const int monday_based = (moment.weekday + 6) % 7;
  int week = (moment.day_of_year - 1 - monday_based + 10) / 7;
  int year = moment.year;
  const auto weeks_in = [](int y) {
    const auto first =
        std::chrono::weekday(std::chrono::sys_days(std::chrono::year(y) / std::chrono::January / 1)).c_encoding();
    return first == 4 || (first == 3 && is_leap(y)) ? 53 : 52;
  };
  if (week < 1) {
    week = weeks_in(--year);
  } else if (week > weeks_in(year)) {
    week = 1;
    ++year;
  }
  return {year, week};
}

// A number with the padding of its directive, which a flag may replace.
struct Padding {
  char flag = 0;  // '-', '_', '0' or none
  std::string number(int64_t value, int width, char fill = '0') const {
    if (flag == '-') return std::to_string(value);
    if (flag == '_') fill = ' ';
    if (flag == '0') fill = '0';
    std::string text = std::to_string(value);
    if (text.size() < static_cast<size_t>(width)) text.insert(0, static_cast<size_t>(width) - text.size(), fill);
    return text;
  }
};

int hour_of_12(const Moment& moment) { return moment.hour % 12 == 0 ? 12 : moment.hour % 12; }

std::string format_moment(std::string_view format, const Moment& moment);

// The text of one directive, or nullopt when there is none of that letter.
std::optional<std::string> directive(char letter, const Moment& moment, const Padding& pad) {
  switch (letter) {
    case 'a': return std::string(kDays[static_cast<size_t>(moment.weekday)].substr(0, 3));
    case 'A': return std::string(kDays[static_cast<size_t>(moment.weekday)]);
    case 'b':
    case 'h': return std::string(kMonths[static_cast<size_t>(moment.month - 1)].substr(0, 3));
    case 'B': return std::string(kMonths[static_cast<size_t>(moment.month - 1)]);
    case 'c': return format_moment("%a %b %e %H:%M:%S %Y", moment);
    case 'C': return pad.number(moment.year / 100, 2);
    case 'd': return pad.number(moment.day, 2);
    case 'D':
    case 'x': return format_moment("%m/%d/%y", moment);
    case 'e': return pad.number(moment.day, 2, ' ');
    case 'f': return fmt::format("{:06}", moment.microsecond);
    case 'F': return format_moment("%Y-%m-%d", moment);
    case 'g': return pad.number(iso_week(moment).year % 100, 2);
    case 'G': return pad.number(iso_week(moment).year, 1);
    case 'H': return pad.number(moment.hour, 2);
    case 'I': return pad.number(hour_of_12(moment), 2);
    case 'j': return pad.number(moment.day_of_year, 3);
    case 'k': return pad.number(moment.hour, 2, ' ');
    case 'l': return pad.number(hour_of_12(moment), 2, ' ');
    case 'm': return pad.number(moment.month, 2);
    case 'M': return pad.number(moment.minute, 2);
    case 'n': return "\n";
    case 'p': return moment.hour < 12 ? "AM" : "PM";
    case 'P': return moment.hour < 12 ? "am" : "pm";
    case 'r': return format_moment("%I:%M:%S %p", moment);
    case 'R': return format_moment("%H:%M", moment);
    case 's': return std::to_string(moment.epoch_s);
    case 'S': return pad.number(moment.second, 2);
    case 't': return "\t";
    case 'T':
    case 'X': return format_moment("%H:%M:%S", moment);
    case 'u': return pad.number(moment.weekday == 0 ? 7 : moment.weekday, 1);
    case 'U': return pad.number((moment.day_of_year + 6 - moment.weekday) / 7, 2);
    case 'V': return pad.number(iso_week(moment).week, 2);
    case 'w': return pad.number(moment.weekday, 1);
    case 'W': return pad.number((moment.day_of_year + 6 - (moment.weekday + 6) % 7) / 7, 2);
    case 'y': return pad.number(moment.year % 100, 2);
    case 'Y': return pad.number(moment.year, 1);
    case 'z':
    case 'Z': return "";  // a time without a zone
    case '%': return "%";
    default: return std::nullopt;
  }
}

std::string format_moment(std::string_view format, const Moment& moment) {
  std::string out;
  for (size_t i = 0; i < format.size();) {
    const size_t begin = i;
    if (format[i++] != '%' || i == format.size()) {
      out += format[begin];
      continue;
    }
    Padding padding;
    char letter_case = 0;  // '^' upper, '#' swapped
    for (; i < format.size() && std::string_view("-_0^#").find(format[i]) != std::string_view::npos; ++i) {
      (format[i] == '^' || format[i] == '#' ? letter_case : padding.flag) = format[i];
    }
    if (i < format.size() && (format[i] == 'E' || format[i] == 'O')) ++i;
    const std::optional<std::string> text = i < format.size() ? directive(format[i], moment, padding) : std::nullopt;
    i = std::min(i + 1, format.size());
    if (!text) {
      out += format.substr(begin, i - begin);
    } else if (letter_case == '^' || (letter_case == '#' && format[i - 1] != 'p')) {
      out += py_upper(*text);
    } else {
      out += letter_case == '#' ? py_lower(*text) : *text;
    }
  }
  return out;
}

}  // namespace

Result<std::string> format_time(Runtime& runtime, std::string_view format, int64_t utc_us) {
  constexpr int64_t kYear1_us = -62'135'596'800'000'000, kYear10000_us = 253'402'300'800'000'000;
  if (utc_us < kYear1_us || utc_us >= kYear10000_us) return bad_data("the current time is outside the years 1 to 9999");
  // No directive prints more than 24 bytes of text for the 2 it takes.
  ASSAY_TRY(runtime.admit(format.size() * 12));
  return format_moment(format, take_apart(utc_us));
}

}  // namespace assay::jinja
