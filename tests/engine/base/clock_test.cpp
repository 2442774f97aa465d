#include "engine/base/clock.h"

#include <doctest/doctest.h>

#include "tests/support/fake_clock.h"

namespace assay {
namespace {

TEST_CASE("a time is written as UTC with microseconds") {
  CHECK(format_utc(0) == "1970-01-01T00:00:00.000000Z");
  CHECK(format_utc(1'795'423'441'123'456) == "2026-11-23T08:44:01.123456Z");
  CHECK(format_utc(951'782'400'000'000) == "2000-02-29T00:00:00.000000Z");
  CHECK(format_utc(-1) == "1969-12-31T23:59:59.999999Z");
}

TEST_CASE("a written time reads back to the same microsecond") {
  for (const int64_t us : {int64_t{0}, int64_t{1'795'423'441'123'456}, int64_t{4'102'444'799'999'999}}) {
    CHECK(parse_utc(format_utc(us)) == us);
  }
}

TEST_CASE("the fraction of a second may be shorter or missing") {
  CHECK(parse_utc("1970-01-01T00:00:01Z") == 1'000'000);
  CHECK(parse_utc("1970-01-01T00:00:01.5Z") == 1'500'000);
  CHECK(parse_utc("1970-01-01T00:00:01.000001Z") == 1'000'001);
}

TEST_CASE("what is no time gives -1") {
  for (const char* text :
       {"", "2026", "2026-11-23", "2026-11-23T08:44:01", "2026-11-23 08:44:01Z", "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00:00Zx",
        "-026-01-01T00:00:00Z", "2026-01-01T00:00:0aZ"}) {
    CAPTURE(text);
    CHECK(parse_utc(text) == -1);
  }
}

TEST_CASE("no prefix of a time is a time") {
  const std::string text = "2026-11-23T08:44:01.123456Z";
  for (size_t length = 0; length < text.size(); ++length) CHECK(parse_utc(text.substr(0, length)) == -1);
}

TEST_CASE("the real clock goes on and the fake one only when told") {
  const int64_t before = real_clock().monotonic_us();
  CHECK(real_clock().monotonic_us() >= before);
  CHECK(real_clock().utc_us() > 1'700'000'000'000'000);
  testing::FakeClock fake;
  CHECK(format_utc(fake.utc_us()) == "2026-01-01T00:00:00.000000Z");
  fake.advance_us(1'500'000);
  CHECK(format_utc(fake.utc_us()) == "2026-01-01T00:00:01.500000Z");
  CHECK(fake.monotonic_us() == 1'500'000);
}

}  // namespace
}  // namespace assay
