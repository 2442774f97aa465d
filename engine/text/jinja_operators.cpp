#include "engine/text/jinja_operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "engine/text/jinja_format.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_text.h"

namespace assay::jinja {
namespace {

std::string_view symbol_of(BinaryOp op) {
  switch (op) {
    case BinaryOp::add: return "+";
    case BinaryOp::subtract: return "-";
    case BinaryOp::multiply: return "*";
    case BinaryOp::divide: return "/";
    case BinaryOp::floor_divide: return "//";
    case BinaryOp::modulo: return "%";
    case BinaryOp::power: return "**";
  }
  return "?";
}

Status not_operable(BinaryOp op, const Value& a, const Value& b) {
  if (a.is(Kind::undefined)) return bad_data(a.undefined_reason());
  if (b.is(Kind::undefined)) return bad_data(b.undefined_reason());
  return bad_data(
      fmt::format("unsupported operand types for {}: '{}' and '{}'", symbol_of(op), type_name(a), type_name(b)));
}

Status too_large() { return bad_data("an integer result does not fit 64 bits"); }
Status zero_division() { return bad_data("division by zero"); }

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0); }

int64_t floor_modulo(int64_t a, int64_t b) {
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Result<Value> integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return bad_data("0.0 cannot be raised to a negative power");
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return too_large();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return too_large();
  }
  return Value::integer(result);
}

Result<Value> integer_binary(BinaryOp op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case BinaryOp::add:
      return __builtin_add_overflow(a, b, &result) ? Result<Value>(too_large()) : Value::integer(result);
    case BinaryOp::subtract:
      return __builtin_sub_overflow(a, b, &result) ? Result<Value>(too_large()) : Value::integer(result);
    case BinaryOp::multiply:
      return __builtin_mul_overflow(a, b, &result) ? Result<Value>(too_large()) : Value::integer(result);
    case BinaryOp::power: return integer_power(a, b);
    default: break;
  }
  if (b == 0) return zero_division();
  if (op == BinaryOp::divide)
    return Value::real(static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
  if (op == BinaryOp::modulo) return Value::integer(floor_modulo(a, b));
  if (b == -1) return integer_binary(BinaryOp::subtract, 0, a);
  return Value::integer(floor_divide(a, b));
}

// The remainder with the divisor's sign, and the quotient that goes with it.
struct Divided {
  double quotient, rest;
};

Divided floor_divide(double a, double b) {
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) {
    rest += b;
    quotient -= 1;
  } else if (rest == 0) {
    rest = std::copysign(0.0, b);
  }
  if (quotient == 0) return {std::copysign(0.0, a / b), rest};
  const double whole = std::floor(quotient);
  return {quotient - whole > 0.5 ? whole + 1 : whole, rest};
}

Result<Value> real_power(double base, double exponent) {
  if (base == 0 && exponent < 0) return bad_data("0.0 cannot be raised to a negative power");
  if (base < 0 && std::isfinite(base) && std::isfinite(exponent) && std::trunc(exponent) != exponent) {
    return unsupported("a negative number to a broken power is complex, which is not supported");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
    return bad_data("the result of ** is too large");
  return Value::real(result);
}

Result<Value> real_binary(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::add: return Value::real(a + b);
    case BinaryOp::subtract: return Value::real(a - b);
    case BinaryOp::multiply: return Value::real(a * b);
    case BinaryOp::power: return real_power(a, b);
    default: break;
  }
  if (b == 0) return zero_division();
  if (op == BinaryOp::divide) return Value::real(a / b);
  const Divided divided = floor_divide(a, b);
  return Value::real(op == BinaryOp::modulo ? divided.rest : divided.quotient);
}

Result<Value> add_strings(Runtime& runtime, const Value& a, const Value& b) {
  const bool is_markup = a.is_markup() || b.is_markup();
  const auto part = [&](const Value& text) {
    return is_markup && !text.is_markup() ? escape_html(text.as_string()) : text.as_string();
  };
  ASSAY_TRY(runtime.admit(a.as_string().size() + b.as_string().size()));
  return Value::string(part(a) + part(b), is_markup);
}

Result<Value> add_sequences(Runtime& runtime, const Value& a, const Value& b) {
  ASSAY_TRY(runtime.charge(static_cast<int64_t>(a.as_items().size() + b.as_items().size())));
  Values items = a.as_items();
  items.insert(items.end(), b.as_items().begin(), b.as_items().end());
  return a.is(Kind::list) ? Value::list(runtime, std::move(items)) : Value::tuple(runtime, std::move(items));
}

Result<Value> repeat(Runtime& runtime, const Value& value, int64_t count) {
  count = std::max<int64_t>(count, 0);
  if (value.is(Kind::string)) {
    ASSAY_TRY(admit_repeated(runtime, count, value.as_string().size()));
    std::string text;
    for (int64_t i = 0; i < count && !value.as_string().empty(); ++i) text += value.as_string();
    return Value::string(std::move(text), value.is_markup());
  }
  const Values& once = value.as_items();
  ASSAY_TRY(admit_repeated(runtime, count, once.size() * sizeof(Value)));
  Values items;
  for (int64_t i = 0; i < count && !once.empty(); ++i) items.insert(items.end(), once.begin(), once.end());
  ASSAY_TRY(runtime.charge(static_cast<int64_t>(items.size())));
  return value.is(Kind::list) ? Value::list(runtime, std::move(items)) : Value::tuple(runtime, std::move(items));
}

bool is_repeatable(const Value& value) { return value.is(Kind::string) || value.is_sequence(); }

// A power of ten that a double holds exactly, or nearly.
double power_of_ten(int64_t exponent) { return std::pow(10.0, static_cast<double>(exponent)); }

Result<Value> round_integer(int64_t value, int64_t digits) {
  if (digits >= 0) return Value::integer(value);
  if (digits < -18) return Value::integer(0);
  int64_t unit = 1;
  for (int64_t i = digits; i < 0; ++i) unit *= 10;
  const int64_t rest = floor_modulo(value, unit);
  const int64_t down = value - rest;
  const bool up = rest > unit / 2 || (rest == unit / 2 && (down / unit) % 2 != 0);
  int64_t result = down;
  if (up && __builtin_add_overflow(down, unit, &result)) return too_large();
  return Value::integer(result);
}

// Half to even, on the exact value of the double.
double round_real(double value, int64_t digits) {
  if (!std::isfinite(value) || value == 0 || digits > 323) return value;
  if (digits >= 0) {
    char text[700];  // 309 digits, a point and 323 digits
    std::snprintf(text, sizeof(text), "%.*f", static_cast<int>(digits), value);
    return std::strtod(text, nullptr);
  }
  if (digits < -308) return std::copysign(0.0, value);
  const double unit = power_of_ten(-digits);
  const double down = std::floor(std::fabs(value) / unit);
  const double rest = std::fabs(value) - down * unit;
  const bool up = rest > unit / 2 || (rest == unit / 2 && std::fmod(down, 2) != 0);
  return std::copysign((down + (up ? 1 : 0)) * unit, value);
}

}  // namespace

Result<Value> apply_binary(Runtime& runtime, BinaryOp op, const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return integer_binary(op, a.as_integer(), b.as_integer());
  if (a.is_number() && b.is_number()) return real_binary(op, a.as_real(), b.as_real());
  if (op == BinaryOp::add && a.is(Kind::string) && b.is(Kind::string)) return add_strings(runtime, a, b);
  if (op == BinaryOp::add && a.is_sequence() && a.kind() == b.kind()) return add_sequences(runtime, a, b);
  if (op == BinaryOp::multiply && is_repeatable(a) && b.is_integral()) return repeat(runtime, a, b.as_integer());
  if (op == BinaryOp::multiply && a.is_integral() && is_repeatable(b)) return repeat(runtime, b, a.as_integer());
  if (op == BinaryOp::modulo && a.is(Kind::string)) {
    ASSAY_ASSIGN(std::string text, percent_format(runtime, a, b));
    return Value::string(std::move(text), a.is_markup());
  }
  return not_operable(op, a, b);
}

Result<Value> apply_sign(bool negative, const Value& value) {
  if (value.is(Kind::real)) return negative ? Value::real(-value.as_real()) : value;
  if (value.is_integral()) {
    return negative ? integer_binary(BinaryOp::subtract, 0, value.as_integer()) : Value::integer(value.as_integer());
  }
  if (value.is(Kind::undefined)) return bad_data(value.undefined_reason());
  return bad_data(fmt::format("bad operand type for unary {}: '{}'", negative ? '-' : '+', type_name(value)));
}

Status admit_repeated(Runtime& runtime, int64_t count, size_t bytes) {
  size_t total = 0;
  if (__builtin_mul_overflow(static_cast<size_t>(count), bytes, &total)) total = SIZE_MAX;
  return runtime.admit(total);
}

Result<Value> replace_in(Runtime& runtime, const Value& text, std::string_view from, std::string_view to,
                         int64_t count) {
  const std::string& source = text.as_string();
  ASSAY_TRY(runtime.admit(source.size()));
  size_t num_parts = count_parts(source, from);
  if (count >= 0) num_parts = std::min(num_parts, static_cast<size_t>(count));
  ASSAY_TRY(admit_repeated(runtime, static_cast<int64_t>(num_parts), to.size()));
  ASSAY_TRY(runtime.admit(source.size() - num_parts * from.size() + num_parts * to.size()));
  return Value::string(replace_parts(source, from, to, static_cast<int64_t>(num_parts)), text.is_markup());
}

Result<Value> round_number(const Value& value, int64_t digits) {
  if (value.is_integral()) return round_integer(value.as_integer(), digits);
  if (!value.is(Kind::real)) return bad_data(fmt::format("type {} cannot be rounded", type_name(value)));
  return Value::real(round_real(value.as_real(), digits));
}

}  // namespace assay::jinja
