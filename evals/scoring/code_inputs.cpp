#include "evals/scoring/code_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "engine/base/text_util.h"

namespace assay {
namespace {

using Change = std::function<Value(const Value&)>;
using Items = Value::Items;

Items mapped(const Items& items, const Change& change) {
  Items out;
  out.reserve(items.size());
  for (const Value& item : items) out.push_back(change(item));
  return out;
}

// tuple(value) of a list; anything else stays as it is.
Value to_tuple(const Value& value) { return value.kind() == Value::Kind::list ? Value::tuple(value.items()) : value; }

Value to_list_of_tuples(const Value& value) {
  return value.is_sequence() ? Value::list(mapped(value.items(), to_tuple)) : value;
}

Value to_tuple_of_tuples(const Value& value) {
  return value.is_sequence() ? Value::tuple(mapped(value.items(), to_tuple)) : value;
}

Value all_to_tuples(const Value& value) {
  return value.is_sequence() ? Value::tuple(mapped(value.items(), all_to_tuples)) : value;
}

// Lists that are not empty become sets, all else an empty dict.
Value to_sets(const Value& value) {
  if (!value.is_sequence()) return value;
  return Value::list(mapped(value.items(), [](const Value& item) {
    const bool filled = item.kind() == Value::Kind::list && !item.items().empty();
    return filled ? Value::set(item.items()) : Value::dict({});
  }));
}

Value to_dict_of_tuples(const Value& value) {
  if (value.kind() != Value::Kind::dict) return value;
  std::vector<Value::Member> members;
  for (const Value::Member& member : value.members()) members.emplace_back(member.first, to_tuple(member.second));
  return Value::dict(std::move(members));
}

// Where the imaginary part of "1.5-2e-3j" begins; 0 where there is no real part.
size_t imaginary_begin(std::string_view text) {
  for (size_t i = text.size(); i-- > 1;) {
    if ((text[i] == '+' || text[i] == '-') && text[i - 1] != 'e' && text[i - 1] != 'E') return i;
  }
  return 0;
}

// complex(value), of a number or of Python's text for one.
Value to_complex(const Value& value) {
  if (value.is_number()) return Value::complex({value.as_real(), 0});
  if (value.kind() != Value::Kind::text) return value;
  std::string_view text = py_strip(value.as_text());
  if (text.size() > 1 && text.front() == '(' && text.back() == ')') text = text.substr(1, text.size() - 2);
  if (text.empty() || (text.back() != 'j' && text.back() != 'J')) {
    const auto real = parse_double(text);
    return real ? Value::complex({*real, 0}) : value;
  }
  text.remove_suffix(1);
  const size_t begin = imaginary_begin(text);
  std::string imaginary(text.substr(begin));
  if (imaginary.empty() || imaginary == "+" || imaginary == "-") imaginary += "1";
  const auto real = begin == 0 ? std::optional<double>(0) : parse_double(text.substr(0, begin));
  const auto imag = parse_double(imaginary);
  return real && imag ? Value::complex({*real, *imag}) : value;
}

Value to_real(const Value& value) {
  if (value.is_number()) return Value::real(value.as_real());
  const auto number = value.kind() == Value::Kind::text ? parse_double(py_strip(value.as_text())) : std::nullopt;
  return number ? Value::real(*number) : value;
}

// What to do with which argument. `each`: with all of them; else one change an argument, further arguments stay.
struct Rule {
  std::vector<int> problems;
  Change each;
  std::vector<Change> by_position;
};

const std::vector<Rule>& rules() {
  static const Change same = [](const Value& value) { return value; };
  static const std::vector<Rule> all = {
      {{2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809},
       to_tuple,
       {}},
      {{63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780}, to_list_of_tuples, {}},
      {{259, 278, 401, 445}, to_tuple_of_tuples, {}},
      {{580, 615, 791}, all_to_tuples, {}},
      {{75, 413, 444, 753}, nullptr, {to_list_of_tuples}},
      {{106, 750}, nullptr, {same, to_tuple}},
      {{250, 307, 405, 446, 617, 720, 763, 808}, nullptr, {to_tuple}},
      {{115}, nullptr, {to_sets}},
      {{124}, nullptr, {to_real, to_complex}},
      {{252}, nullptr, {to_complex}},
      {{722}, nullptr, {to_dict_of_tuples}},
  };
  return all;
}

const Rule* rule_of(std::string_view task_id) {
  const size_t slash = task_id.rfind('/');
  const auto number = parse_int(slash == std::string_view::npos ? task_id : task_id.substr(slash + 1));
  for (const Rule& rule : rules()) {
    if (number && std::find(rule.problems.begin(), rule.problems.end(), *number) != rule.problems.end()) return &rule;
  }
  return nullptr;
}

void apply(const Rule& rule, Items& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (rule.each) {
      arguments[i] = rule.each(arguments[i]);
    } else if (i < rule.by_position.size()) {
      arguments[i] = rule.by_position[i](arguments[i]);
    }
  }
}

}  // namespace

Result<std::vector<Value::Items>> parse_inputs(std::string_view json, std::string_view task_id, bool mbpp) {
  Result<Value> parsed = value_from_json(json);
  if (!parsed.ok()) return parsed.status().with_context(fmt::format("{}: inputs", task_id));
  // Mbpp/793 has an empty dict in place of an empty list.
  if (parsed->kind() == Value::Kind::dict && parsed->members().empty()) return std::vector<Value::Items>{};
  const auto wrong = [&] { return bad_data(fmt::format("{}: inputs: expected a list of argument lists", task_id)); };
  if (parsed->kind() != Value::Kind::list) return wrong();
  const Rule* rule = mbpp ? rule_of(task_id) : nullptr;
  std::vector<Items> inputs;
  for (const Value& entry : parsed->items()) {
    if (entry.kind() != Value::Kind::list) return wrong();
    inputs.push_back(entry.items());
    if (rule) apply(*rule, inputs.back());
  }
  return inputs;
}

}  // namespace assay
