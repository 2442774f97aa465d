#include "engine/text/jinja_tests.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/text/jinja_filters.h"
#include "engine/text/jinja_iterators.h"
#include "engine/text/jinja_operators.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_text.h"

namespace assay::jinja {
namespace {

Result<Value> remainder(Runtime& runtime, const Value& value, const Value& divisor) {
  if (value.is(Kind::string)) return bad_data("a number is needed, found 'str'");
  return apply_binary(runtime, BinaryOp::modulo, value, divisor);
}

template <int64_t wanted>
Result<bool> has_parity(Runtime& runtime, const Value& value, const Values&) {
  ASSAY_ASSIGN(const Value rest, remainder(runtime, value, Value::integer(2)));
  return equal(runtime, rest, Value::integer(wanted));
}

Result<bool> is_divisible(Runtime& runtime, const Value& value, const Values& arguments) {
  ASSAY_ASSIGN(const Value rest, remainder(runtime, value, arguments[0]));
  return equal(runtime, rest, Value::integer(0));
}

template <CompareOp op>
Result<bool> compares(Runtime& runtime, const Value& value, const Values& arguments) {
  return compare(runtime, op, value, arguments[0]);
}

template <Kind kind>
Result<bool> is_kind(Runtime&, const Value& value, const Values&) {
  return value.is(kind);
}

template <bool wanted>
Result<bool> is_boolean_value(Runtime&, const Value& value, const Values&) {
  return value.is(Kind::boolean) && value.as_boolean() == wanted;
}

Result<bool> is_defined(Runtime&, const Value& value, const Values&) { return !value.is(Kind::undefined); }
Result<bool> is_number(Runtime&, const Value& value, const Values&) { return value.is_number(); }
Result<bool> is_iterable_value(Runtime&, const Value& value, const Values&) { return is_iterable(value); }
Result<bool> is_escaped(Runtime&, const Value& value, const Values&) { return value.is_markup(); }

// Has a length and items: dicts and undefined values too, as in Python.
Result<bool> is_sequence(Runtime&, const Value& value, const Values&) {
  return length_of(value).has_value() && !value.is(Kind::view);
}

Result<bool> is_callable(Runtime&, const Value& value, const Values&) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::macro:
    case Kind::function:
    case Kind::loop:
    case Kind::joiner: return true;
    default: return false;
  }
}

// `is`: one object. Strings and numbers have no identity of their own here, so equal ones of one type are one.
Result<bool> is_same(Runtime& runtime, const Value& value, const Values& arguments) {
  const Value& other = arguments[0];
  if (value.kind() != other.kind()) return false;
  switch (value.kind()) {
    case Kind::none:
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
    case Kind::string: return equal(runtime, value, other);
    default: return value.identity() == other.identity();
  }
}

template <bool (*predicate)(std::string_view)>
Result<bool> text_is(Runtime& runtime, const Value& value, const Values&) {
  ASSAY_ASSIGN(const std::string text, to_str(runtime, value));
  return predicate(text);
}

Result<bool> names_filter(Runtime&, const Value& value, const Values&) {
  return value.is(Kind::string) && find_filter(value.as_string()) != nullptr;
}
Result<bool> names_test(Runtime&, const Value& value, const Values&) {
  return value.is(Kind::string) && find_test(value.as_string()) != nullptr;
}

constexpr Test kTests[] = {
    {"!=", 1, compares<CompareOp::not_equal>},
    {"<", 1, compares<CompareOp::less>},
    {"<=", 1, compares<CompareOp::less_equal>},
    {"==", 1, compares<CompareOp::equal>},
    {">", 1, compares<CompareOp::greater>},
    {">=", 1, compares<CompareOp::greater_equal>},
    {"boolean", 0, is_kind<Kind::boolean>},
    {"callable", 0, is_callable},
    {"defined", 0, is_defined},
    {"divisibleby", 1, is_divisible},
    {"eq", 1, compares<CompareOp::equal>},
    {"equalto", 1, compares<CompareOp::equal>},
    {"escaped", 0, is_escaped},
    {"even", 0, has_parity<0>},
    {"false", 0, is_boolean_value<false>},
    {"filter", 0, names_filter},
    {"float", 0, is_kind<Kind::real>},
    {"ge", 1, compares<CompareOp::greater_equal>},
    {"greaterthan", 1, compares<CompareOp::greater>},
    {"gt", 1, compares<CompareOp::greater>},
    {"in", 1, compares<CompareOp::in>},
    {"integer", 0, is_kind<Kind::integer>},
    {"iterable", 0, is_iterable_value},
    {"le", 1, compares<CompareOp::less_equal>},
    {"lessthan", 1, compares<CompareOp::less>},
    {"lower", 0, text_is<is_lower_text>},
    {"lt", 1, compares<CompareOp::less>},
    {"mapping", 0, is_kind<Kind::dict>},
    {"ne", 1, compares<CompareOp::not_equal>},
    {"none", 0, is_kind<Kind::none>},
    {"number", 0, is_number},
    {"odd", 0, has_parity<1>},
    {"sameas", 1, is_same},
    {"sequence", 0, is_sequence},
    {"string", 0, is_kind<Kind::string>},
    {"test", 0, names_test},
    {"true", 0, is_boolean_value<true>},
    {"undefined", 0, is_kind<Kind::undefined>},
    {"upper", 0, text_is<is_upper_text>},
};

}  // namespace

const Test* find_test(std::string_view name) {
  const auto* test = std::find_if(std::begin(kTests), std::end(kTests), [&](const Test& t) { return t.name == name; });
  return test == std::end(kTests) ? nullptr : test;
}

Result<bool> apply_test(Runtime& runtime, const Test* test, std::string_view name, const Value& value,
                        const Arguments& arguments) {
  if (test == nullptr) return unsupported(fmt::format("unknown test '{}'", name));
  if (!arguments.named.empty()) return bad_data(fmt::format("the test '{}' takes no named arguments", name));
  if (arguments.positional.size() != test->num_arguments) {
    return bad_data(fmt::format("the test '{}' takes {} arguments, {} are given", name, test->num_arguments,
                                arguments.positional.size()));
  }
  return test->body(runtime, value, arguments.positional);
}

}  // namespace assay::jinja
