#include "engine/formats/tensor.h"

#include <cmath>
#include <limits>

#include "tests/engine/formats/format_files.h"

namespace assay {
namespace {

using testing::check_refused;

// The value of an f16 by its definition, in double.
double f16_by_definition(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

// Checks rounding at and beside the midpoint of every two neighboring positive numbers of a 16-bit format.
template <class ToFloat, class FromFloat>
void check_rounding(uint16_t infinity, ToFloat to_float, FromFloat from_float) {
  for (uint16_t low = 0; low + 1 < infinity; ++low) {
    const auto high = static_cast<uint16_t>(low + 1);
    const auto middle = static_cast<float>((double{to_float(low)} + double{to_float(high)}) / 2);
    const uint16_t even = low % 2 == 0 ? low : high;
    REQUIRE(from_float(middle) == even);
    REQUIRE(from_float(-middle) == (even | 0x8000));
    REQUIRE(from_float(std::nextafter(middle, 0.0f)) == low);
    REQUIRE(from_float(std::nextafter(middle, std::numeric_limits<float>::infinity())) == high);
  }
}

TEST_CASE("every f16 has the value of its definition and comes back unchanged") {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const double expected = f16_by_definition(half);
    const float value = f16_to_float(half);
    if (std::isnan(expected)) {
      REQUIRE(std::isnan(value));
      REQUIRE(std::isnan(f16_to_float(float_to_f16(value))));
      continue;
    }
    REQUIRE(double{value} == expected);
    REQUIRE(std::signbit(value) == (half >= 0x8000));
    REQUIRE(float_to_f16(value) == half);
  }
}

TEST_CASE("every bf16 comes back unchanged and NaN stays NaN") {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = bf16_to_float(half);
    if (std::isnan(value)) {
      REQUIRE(std::isnan(bf16_to_float(float_to_bf16(value))));
    } else {
      REQUIRE(float_to_bf16(value) == half);
    }
  }
  const auto smallest_nan = std::bit_cast<float>(0x7f800001u);  // its set bit is cut off: it must not become infinity
  CHECK(std::isnan(bf16_to_float(float_to_bf16(smallest_nan))));
  CHECK(std::isnan(f16_to_float(float_to_f16(smallest_nan))));
}

TEST_CASE("floats round to the nearest f16 and bf16, ties to even") {
  check_rounding(0x7c00, f16_to_float, float_to_f16);
  check_rounding(0x7f80, bf16_to_float, float_to_bf16);
}

TEST_CASE("values beyond the largest 16-bit number become infinity") {
  CHECK(float_to_f16(65519.996f) == 0x7bff);
  CHECK(float_to_f16(65520.0f) == 0x7c00);
  CHECK(float_to_f16(-1e30f) == 0xfc00);
  CHECK(float_to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(float_to_f16(std::numeric_limits<float>::infinity()) == 0x7c00);
}

TEST_CASE("a shape's elements are counted, and a count that does not fit is refused") {
  CHECK(*num_elements({}) == 1);
  CHECK(*num_elements({3, 5}) == 15);
  CHECK(*num_elements({int64_t{1} << 40, 0, 7}) == 0);
  check_refused(num_elements({4, -1}), Code::bad_data, "[4, -1]");
  check_refused(num_elements({int64_t{1} << 32, int64_t{1} << 31}), Code::bad_data, "63 bits");
  check_refused(num_elements({0, int64_t{1} << 32, int64_t{1} << 31}), Code::bad_data, "63 bits");
}

TEST_CASE("dtype names are those of safetensors, and an unknown one is unsupported by name") {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::f64, DType::i64, DType::i32, DType::i16,
                            DType::i8, DType::u8, DType::boolean}) {
    CHECK(*parse_dtype(dtype_name(dtype)) == dtype);
  }
  CHECK(dtype_name(DType::bf16) == "BF16");
  CHECK(dtype_bytes(DType::f64) == 8);
  CHECK(dtype_bytes(DType::boolean) == 1);
  check_refused(parse_dtype("F8_E4M3"), Code::unsupported, "\"F8_E4M3\"");
}

TEST_CASE("to_floats reads all real dtypes from bytes at any address and refuses integers") {
  const std::string bytes =
      testing::Bytes().add(uint8_t{0}).add(1.5f).add(uint16_t{0x3e00}).add(uint16_t{0x3fc0}).str();
  const auto at = [&bytes](size_t offset, size_t size) {
    return std::as_bytes(std::span(bytes)).subspan(offset, size);
  };
  CHECK(*to_floats({"x", DType::f32, {1}, at(1, 4)}) == std::vector<float>{1.5f});
  CHECK(*to_floats({"x", DType::f16, {1}, at(5, 2)}) == std::vector<float>{1.5f});
  CHECK(*to_floats({"x", DType::bf16, {1}, at(7, 2)}) == std::vector<float>{1.5f});
  check_refused(to_floats({"x", DType::i32, {1}, at(1, 4)}), Code::unsupported, "\"x\": dtype I32");
}

TEST_CASE("a very long name is shortened in messages") {
  CHECK(quoted_name("model.norm") == "\"model.norm\"");
  CHECK(quoted_name(std::string(1'000'000, 'x')).size() < 200);
}

}  // namespace
}  // namespace assay
