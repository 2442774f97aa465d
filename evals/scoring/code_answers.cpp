#include "evals/scoring/code_answers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr double kFloatAtol = 1e-6;  // what a float answer is allowed where the problem names no tolerance
constexpr double kRtol = 1e-7;
constexpr size_t kLongestNumber = 10000;  // digits

constexpr std::array<std::string_view, 3> kNotNone = {"check_str", "text_match_three", "text_starta_endb"};
constexpr std::array<std::string_view, 8> kAsSets = {
    "similar_elements", "find_char_long",     "common_in_nested_lists", "extract_singly",
    "larg_nnum",        "intersection_array", "find_dissimilar",        "Diff"};

bool is_float(const Value& value) { return value.kind() == Value::Kind::real; }

// A float, or a list or tuple of nothing but floats.
bool is_floats(const Value& value) {
  if (is_float(value)) return true;
  if (!value.is_sequence() || value.items().empty()) return false;
  return std::all_of(value.items().begin(), value.items().end(), is_float);
}

bool is_hashable(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::list:
    case Value::Kind::dict:
    case Value::Kind::set: return false;
    case Value::Kind::tuple: return std::all_of(value.items().begin(), value.items().end(), is_hashable);
    default: return true;
  }
}

Value characters(const std::string& text) {
  Value::Items items;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    next_code_point(text, at);
    items.push_back(Value::text(text.substr(begin, at - begin)));
  }
  return Value::set(std::move(items));
}

// set(value), nullopt where Python would raise.
std::optional<Value> as_set(const Value& value) {
  switch (value.kind()) {
    case Value::Kind::list:
    case Value::Kind::tuple:
    case Value::Kind::set:
    case Value::Kind::frozenset: {
      const Value::Items& items = value.items();
      if (!std::all_of(items.begin(), items.end(), is_hashable)) return std::nullopt;
      return Value::set(items);
    }
    case Value::Kind::dict: {
      Value::Items keys;
      for (const Value::Member& member : value.members()) keys.push_back(member.first);
      return Value::set(std::move(keys));
    }
    case Value::Kind::text: return characters(value.as_text());
    case Value::Kind::bytes: {
      Value::Items items;
      for (const char byte : value.as_text()) items.push_back(Value::integer(static_cast<unsigned char>(byte)));
      return Value::set(std::move(items));
    }
    default: return std::nullopt;
  }
}

bool equal_as_sets(const Value& answer, const Value& expected) {
  const std::optional<Value> a = as_set(answer), b = as_set(expected);
  return a && b && python_equal(*a, *b);
}

// The surface of a square pyramid whose second argument is its height.
bool near_surface_area(const Value::Items& arguments, const Value& answer, double atol) {
  if (arguments.size() < 2 || !arguments[0].is_number() || !arguments[1].is_number()) return false;
  const double base = arguments[0].as_real(), height = arguments[1].as_real();
  const double slant = std::sqrt(base / 2 * (base / 2) + height * height);
  const double area = std::nearbyint(base * base + 4 * (base * slant) / 2);
  if (answer.kind() == Value::Kind::complex) return std::abs(answer.as_complex() - area) <= atol;
  return answer.is_number() && std::abs(answer.as_real() - area) <= atol;
}

// The sum of digit differences of two numbers padded with zeros to one length; nullopt where a sign stands in the way.
std::optional<int64_t> digit_distance(const Value& first, const Value& second) {
  if (first.kind() != Value::Kind::integer || second.kind() != Value::Kind::integer) return std::nullopt;
  std::string a = first.repr(kLongestNumber), b = second.repr(kLongestNumber);
  if (a[0] == '-' || b[0] == '-') return std::nullopt;
  const size_t length = std::max(a.size(), b.size());
  a.insert(0, length - a.size(), '0');
  b.insert(0, length - b.size(), '0');
  int64_t total = 0;
  for (size_t i = 0; i < length; ++i) total += std::abs(a[i] - b[i]);
  return total;
}

bool is_digit_distance(const Value::Items& arguments, const Value& answer) {
  const auto distance = arguments.size() == 2 ? digit_distance(arguments[0], arguments[1]) : std::optional<int64_t>();
  return distance && python_equal(answer, Value::integer(*distance));
}

// |polynomial(answer)| <= atol; coefficients from the constant term up. An overflow is an exception in Python.
bool is_root(const Value::Items& arguments, const Value& answer, double atol) {
  if (arguments.size() != 1 || !arguments[0].is_sequence() || !answer.is_number()) return false;
  const double x = answer.as_real();
  double sum = 0;
  int power = 0;
  for (const Value& coefficient : arguments[0].items()) {
    if (!coefficient.is_number()) return false;
    const double term = std::pow(x, power++);
    if (std::isinf(term) && std::isfinite(x)) return false;
    sum += coefficient.as_real() * term;
  }
  return std::abs(sum) <= atol;
}

template <size_t N>
bool is_one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool same_type(const Value& answer, const Value& expected) {
  return answer.kind() == expected.kind() && answer.is_subclass() == expected.is_subclass();
}

class Judge {
 public:
  Judge(AnswerRules rules, std::shared_ptr<const Inputs> inputs, std::shared_ptr<const std::vector<Value>> expected)
      : rules_(std::move(rules)), inputs_(std::move(inputs)), expected_(std::move(expected)), atol_(rules_.atol) {}

  bool operator()(size_t index, const Value& answer) {
    const Value& expected = (*expected_)[index];
    if (!rules_.mbpp && rules_.entry_point == "find_zero") {
      const bool last = index + 1 == expected_->size();
      return is_root((*inputs_)[index], answer, atol_) && !(rules_.lose_find_zero && last);
    }
    const bool matches = matches_exactly(index, answer, expected);
    if (atol_ == 0 && is_floats(expected)) atol_ = kFloatAtol;
    if (matches || atol_ == 0) return matches;
    if (!same_type(answer, expected)) return false;
    if (expected.is_sequence() && answer.items().size() != expected.items().size()) return false;
    return all_close(answer, expected, kRtol, atol_);
  }

 private:
  bool matches_exactly(size_t index, const Value& answer, const Value& expected) const {
    const bool equal = python_equal(answer, expected);
    if (!rules_.mbpp) return equal;
    const std::string& name = rules_.entry_point;
    const Value::Items& arguments = (*inputs_)[index];
    if (name == "are_equivalent") return true;
    if (name == "sum_div") return equal || python_equal(answer, Value::integer(0));
    if (name == "surface_Area") return equal || near_surface_area(arguments, answer, atol_);
    if (name == "digit_distance_nums") return equal || is_digit_distance(arguments, answer);
    if (is_one_of(kAsSets, name)) return equal_as_sets(answer, expected);
    if (is_one_of(kNotNone, name) && answer.kind() != Value::Kind::boolean)
      return python_equal(expected, Value::boolean(!answer.is_none()));
    return equal;
  }

  AnswerRules rules_;
  std::shared_ptr<const Inputs> inputs_;
  std::shared_ptr<const std::vector<Value>> expected_;
  double atol_;
};

}  // namespace

bool expects_any_output(const AnswerRules& rules) { return rules.mbpp && is_one_of(kNotNone, rules.entry_point); }

Value expected_of(const AnswerRules& rules, const Value& reference_answer) {
  return expects_any_output(rules) ? Value::boolean(!reference_answer.is_none()) : reference_answer;
}

AnswerCheckFactory evalplus_check(AnswerRules rules, std::shared_ptr<const Inputs> inputs,
                                  std::shared_ptr<const std::vector<Value>> expected) {
  return [rules = std::move(rules), inputs = std::move(inputs), expected = std::move(expected)]() -> AnswerCheck {
    auto judge = std::make_shared<Judge>(rules, inputs, expected);
    return [judge](size_t index, const Value& answer) { return (*judge)(index, answer); };
  };
}

}  // namespace assay
