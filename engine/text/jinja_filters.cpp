#include "engine/text/jinja_filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <unordered_set>

#include "engine/base/text_util.h"
#include "engine/text/jinja_access.h"
#include "engine/text/jinja_arguments.h"
#include "engine/text/jinja_filter_iterators.h"
#include "engine/text/jinja_format.h"
#include "engine/text/jinja_iterators.h"
#include "engine/text/jinja_json.h"
#include "engine/text/jinja_operators.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_tests.h"
#include "engine/text/jinja_text.h"

namespace assay::jinja {
namespace {

// The text a filter works on: a string itself, anything else as str() prints it.
Result<Value> soft_string(Runtime& runtime, const Value& value) {
  if (value.is(Kind::string)) return value;
  ASSAY_ASSIGN(std::string text, to_str(runtime, value));
  return Value::string(std::move(text));
}

// Text
// -----------------------------------------------------------------------------------------------------------------
template <std::string (*convert)(std::string_view)>
Result<Value> convert_text(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("a text filter", arguments, {}));
  ASSAY_ASSIGN(const Value text, soft_string(runtime, input));
  ASSAY_TRY(runtime.admit(text.as_string().size()));
  std::string converted = convert(text.as_string());
  ASSAY_TRY(runtime.admit(converted.size()));
  return Value::string(std::move(converted), text.is_markup());
}

Result<Value> trim(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("trim", arguments, {{"chars", Value::none()}}));
  ASSAY_ASSIGN(const Value text, soft_string(runtime, input));
  ASSAY_TRY(runtime.admit(text.as_string().size()));
  if (given[0].is(Kind::none)) return Value::string(std::string(py_strip(text.as_string())), text.is_markup());
  ASSAY_ASSIGN(const std::string characters, want_string("trim", given[0]));
  return Value::string(std::string(strip_characters(text.as_string(), characters, true, true)), text.is_markup());
}

Result<Value> replace(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("replace", arguments, {{"old"}, {"new"}, {"count", Value::none()}}));
  ASSAY_ASSIGN(std::string text, to_str(runtime, input));
  ASSAY_ASSIGN(const std::string from, to_str(runtime, given[0]));
  ASSAY_ASSIGN(const std::string to, to_str(runtime, given[1]));
  int64_t count = -1;
  if (!given[2].is(Kind::none)) {
    ASSAY_ASSIGN(count, want_integer("replace", given[2]));
  }
  return replace_in(runtime, Value::string(std::move(text)), from, to, count);
}

Result<Value> indent(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(
      const Values given,
      bind("indent", arguments,
           {{"width", Value::integer(4)}, {"first", Value::boolean(false)}, {"blank", Value::boolean(false)}}));
  ASSAY_ASSIGN(const std::string text, want_string("indent", input));
  std::string indention;
  if (given[0].is(Kind::string)) {
    indention = given[0].as_string();
  } else {
    ASSAY_ASSIGN(const int64_t width, want_integer("indent", given[0]));
    ASSAY_TRY(admit_repeated(runtime, std::max<int64_t>(width, 0), 1));
    indention.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  if (input.is_markup() && !given[0].is_markup())
    indention = given[0].is(Kind::string) ? escape_html(indention) : indention;
  const std::vector<std::string> lines = split_lines(text + "\n", false);
  ASSAY_TRY(admit_repeated(runtime, static_cast<int64_t>(lines.size()), indention.size() + 1));
  ASSAY_TRY(runtime.admit(text.size()));
  const bool indents_blank = is_true(given[2]);
  std::string out = is_true(given[1]) ? indention : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (indents_blank || !lines[i].empty())) out += indention;
    out += lines[i];
  }
  return Value::string(std::move(out), input.is_markup());
}

Result<Value> center(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("center", arguments, {{"width", Value::integer(80)}}));
  ASSAY_ASSIGN(const Value text, soft_string(runtime, input));
  ASSAY_ASSIGN(const int64_t width, want_integer("center", given[0]));
  ASSAY_TRY(admit_repeated(runtime, std::max<int64_t>(width, 0), 1));
  ASSAY_TRY(runtime.admit(text.as_string().size()));
  return Value::string(pad_text(text.as_string(), width, " ", Align::center), text.is_markup());
}

Result<Value> truncate(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("truncate", arguments,
                                        {{"length", Value::integer(255)},
                                         {"killwords", Value::boolean(false)},
                                         {"end", Value::string("...")},
                                         {"leeway", Value::none()}}));
  ASSAY_ASSIGN(const std::string text, want_string("truncate", input));
  ASSAY_ASSIGN(const int64_t length, want_integer("truncate", given[0]));
  ASSAY_ASSIGN(const std::string end, want_string("truncate", given[2]));
  int64_t leeway = 5;
  if (!given[3].is(Kind::none)) {
    ASSAY_ASSIGN(leeway, want_integer("truncate", given[3]));
  }
  const auto end_length = static_cast<int64_t>(count_code_points(end));
  if (length < end_length || leeway < 0)
    return bad_data(fmt::format("'truncate' needs a length of at least {} and no negative leeway", end_length));
  ASSAY_TRY(runtime.admit(text.size() + end.size()));
  const auto num_characters = static_cast<int64_t>(count_code_points(text));
  if (num_characters - leeway <= length) return input;
  std::string kept = slice_text(text, plan_slice(std::nullopt, length - end_length, 1, num_characters));
  if (!is_true(given[1])) kept = split_at(kept, " ", 1, true)[0];
  return Value::string(kept + end, input.is_markup());
}

Result<Value> wordcount(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("wordcount", arguments, {}));
  ASSAY_ASSIGN(const std::string text, to_str(runtime, input));
  return Value::integer(static_cast<int64_t>(count_words(text)));
}

Result<Value> format(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    return bad_data("'format' takes positional or named arguments, not both");
  }
  ASSAY_ASSIGN(const Value text, soft_string(runtime, input));
  Value argument;
  if (arguments.named.empty()) {
    ASSAY_ASSIGN(argument, Value::tuple(runtime, arguments.positional));
  } else {
    Dict named;
    for (const auto& [name, value] : arguments.named) ASSAY_TRY(named.set(runtime, name, value));
    ASSAY_ASSIGN(argument, Value::dict(runtime, std::move(named)));
  }
  ASSAY_ASSIGN(std::string formatted, percent_format(runtime, text, argument));
  return Value::string(std::move(formatted), text.is_markup());
}

Result<Value> string(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("string", arguments, {}));
  return soft_string(runtime, input);
}

Result<Value> safe(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("safe", arguments, {}));
  ASSAY_ASSIGN(std::string text, to_str(runtime, input));
  return Value::string(std::move(text), true);
}

template <bool even_markup>
Result<Value> escape(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("escape", arguments, {}));
  if (input.is_markup() && !even_markup) return input;
  ASSAY_ASSIGN(const std::string text, to_str(runtime, input));
  std::string escaped = escape_html(text);
  ASSAY_TRY(runtime.admit(escaped.size()));
  return Value::string(std::move(escaped), true);
}

Result<Value> urlencode(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("urlencode", arguments, {}));
  if (input.is(Kind::string) || !is_iterable(input)) {
    ASSAY_ASSIGN(const std::string text, to_str(runtime, input));
    return Value::string(quote_url(text, false));
  }
  const Value pairs = input.is(Kind::dict) ? Value::view(ViewKind::items, input) : input;
  ASSAY_ASSIGN(const Values items, collect(runtime, pairs));
  std::string out;
  for (const Value& item : items) {
    ASSAY_ASSIGN(const Values pair, collect(runtime, item));
    if (pair.size() != 2) return bad_data("'urlencode' takes pairs");
    ASSAY_ASSIGN(const std::string key, to_str(runtime, pair[0]));
    ASSAY_ASSIGN(const std::string value, to_str(runtime, pair[1]));
    if (!out.empty()) out += '&';
    out += quote_url(key, true) + "=" + quote_url(value, true);
    ASSAY_TRY(runtime.admit(out.size()));
  }
  return Value::string(std::move(out));
}

Result<Value> tojson(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("tojson", arguments,
                                        {{"ensure_ascii", Value::boolean(false)},
                                         {"indent", Value::none()},
                                         {"separators", Value::none()},
                                         {"sort_keys", Value::boolean(false)}}));
  DumpOptions options;
  options.ensure_ascii = is_true(given[0]);
  options.sort_keys = is_true(given[3]);
  if (given[1].is(Kind::string)) {
    options.indent = given[1].as_string();
  } else if (!given[1].is(Kind::none)) {
    ASSAY_ASSIGN(const int64_t width, want_integer("tojson", given[1]));
    ASSAY_TRY(admit_repeated(runtime, std::max<int64_t>(width, 0), 1));
    options.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  if (options.indent) options.item_separator = ",";
  if (!given[2].is(Kind::none)) {
    ASSAY_ASSIGN(const Values separators, collect(runtime, given[2]));
    if (separators.size() != 2) return bad_data("'tojson' takes two separators");
    ASSAY_ASSIGN(options.item_separator, want_string("tojson", separators[0]));
    ASSAY_ASSIGN(options.key_separator, want_string("tojson", separators[1]));
  }
  ASSAY_ASSIGN(std::string text, dump_json(runtime, input, options));
  return Value::string(std::move(text));
}

// Numbers
// -------------------------------------------------------------------------------------------------------------- int()
// of a real; nothing for NaN.
Result<std::optional<int64_t>> truncated(double value) {
  if (std::isnan(value)) return std::optional<int64_t>();
  if (std::isinf(value)) return bad_data("an infinite number cannot become an integer");
  if (!(std::fabs(value) < 0x1p63)) return bad_data("an integer result does not fit 64 bits");
  return std::optional(static_cast<int64_t>(value));
}

Result<Value> string_to_int(const std::string& text, const Value& fallback, int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return bad_data("a base is 0, or from 2 to 36");
  bool overflow = false;
  const std::optional<int64_t> whole = parse_python_int(text, static_cast<int>(base), overflow);
  if (whole && overflow) return bad_data("an integer result does not fit 64 bits");
  if (whole) return Value::integer(*whole);
  const std::optional<double> real = parse_python_float(text);
  if (!real || !std::isfinite(*real)) return fallback;
  ASSAY_ASSIGN(const std::optional<int64_t> value, truncated(*real));
  return value ? Value::integer(*value) : fallback;
}

Result<Value> to_int(Runtime&, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind("int", arguments, {{"default", Value::integer(0)}, {"base", Value::integer(10)}}));
  if (input.is(Kind::undefined)) return bad_data(input.undefined_reason());
  if (input.is_integral()) return Value::integer(input.as_integer());
  if (input.is(Kind::real)) {
    ASSAY_ASSIGN(const std::optional<int64_t> value, truncated(input.as_real()));
    return value ? Value::integer(*value) : given[0];
  }
  if (!input.is(Kind::string)) return given[0];
  ASSAY_ASSIGN(const int64_t base, want_integer("int", given[1]));
  return string_to_int(input.as_string(), given[0], base);
}

Result<Value> to_float(Runtime&, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("float", arguments, {{"default", Value::real(0)}}));
  if (input.is(Kind::undefined)) return bad_data(input.undefined_reason());
  if (input.is_number()) return Value::real(input.as_real());
  const std::optional<double> value = input.is(Kind::string) ? parse_python_float(input.as_string()) : std::nullopt;
  return value ? Value::real(*value) : given[0];
}

Result<Value> absolute(Runtime&, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("abs", arguments, {}));
  if (input.is(Kind::real)) return Value::real(std::fabs(input.as_real()));
  if (!input.is_integral()) return bad_data(fmt::format("'abs' needs a number, found '{}'", type_name(input)));
  return apply_sign(input.as_integer() < 0, input);
}

Result<Value> round(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind("round", arguments, {{"precision", Value::integer(0)}, {"method", Value::string("common")}}));
  ASSAY_ASSIGN(const std::string method, want_string("round", given[1]));
  if (method != "common" && method != "ceil" && method != "floor")
    return bad_data("a rounding method is common, ceil or floor");
  ASSAY_ASSIGN(const int64_t precision, want_integer("round", given[0]));
  if (method == "common") return round_number(input, precision);
  ASSAY_ASSIGN(const Value unit, apply_binary(runtime, BinaryOp::power, Value::integer(10), given[0]));
  ASSAY_ASSIGN(Value scaled, apply_binary(runtime, BinaryOp::multiply, input, unit));
  if (!scaled.is_number()) return bad_data(fmt::format("'round' needs a number, found '{}'", type_name(input)));
  if (scaled.is(Kind::real)) {
    const double whole = method == "ceil" ? std::ceil(scaled.as_real()) : std::floor(scaled.as_real());
    ASSAY_ASSIGN(const std::optional<int64_t> value, truncated(whole));
    if (!value) return bad_data("NaN cannot be rounded to an integer");
    scaled = Value::integer(*value);
  }
  return apply_binary(runtime, BinaryOp::divide, scaled, unit);
}

Result<Value> filesizeformat(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("filesizeformat", arguments, {{"binary", Value::boolean(false)}}));
  ASSAY_ASSIGN(const Value size, to_float(runtime, input, {{Value::none()}, {}}));
  if (!size.is(Kind::real))
    return bad_data(fmt::format("'filesizeformat' needs a number, found '{}'", type_name(input)));
  const bool binary = is_true(given[0]);
  const double base = binary ? 1024 : 1000;
  const double bytes = size.as_real();
  if (bytes == 1) return Value::string("1 Byte");
  if (bytes < base) return Value::string(fmt::format("{} Bytes", static_cast<int64_t>(std::max(bytes, -0x1p62))));
  if (!std::isfinite(bytes)) return bad_data("'filesizeformat' needs a finite number");
  static constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base * base;
  size_t place = 0;
  for (; bytes >= unit && place + 1 < kPrefixes.size(); ++place) unit *= base;
  const char prefix = binary && place == 0 ? 'K' : kPrefixes[place];
  return Value::string(fmt::format("{:.1f} {}{}B", base * bytes / unit, prefix, binary ? "i" : ""));
}

// Sequences
// ------------------------------------------------------------------------------------------------------------
Result<Value> length(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("length", arguments, {}));
  if (input.is(Kind::string)) ASSAY_TRY(runtime.admit(input.as_string().size()));
  if (input.is(Kind::loop)) {
    ASSAY_ASSIGN(const int64_t total, input.as_loop().length(runtime));
    return Value::integer(total);
  }
  const std::optional<int64_t> total = length_of(input);
  if (!total) return bad_data(fmt::format("object of type '{}' has no len()", type_name(input)));
  return Value::integer(*total);
}

Result<Value> first(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("first", arguments, {}));
  ASSAY_ASSIGN(const std::shared_ptr<Iterator> items, iterate(runtime, input));
  ASSAY_ASSIGN(std::optional<Value> item, items->next(runtime));
  return item ? std::move(*item) : Value::undefined("No first item, sequence was empty.");
}

Result<Value> last(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("last", arguments, {}));
  ASSAY_ASSIGN(const std::shared_ptr<Iterator> items, iterate_reversed(runtime, input));
  ASSAY_ASSIGN(std::optional<Value> item, items->next(runtime));
  return item ? std::move(*item) : Value::undefined("No last item, sequence was empty.");
}

Result<Value> list(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("list", arguments, {}));
  ASSAY_ASSIGN(Values items, collect(runtime, input));
  return Value::list(runtime, std::move(items));
}

Result<Value> reverse(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("reverse", arguments, {}));
  if (input.is(Kind::string)) {
    ASSAY_TRY(runtime.admit(input.as_string().size()));
    return Value::string(reverse_text(input.as_string()), input.is_markup());
  }
  if (is_reversible(input)) {
    ASSAY_ASSIGN(std::shared_ptr<Iterator> items, iterate_reversed(runtime, input));
    return make_iterator(runtime, std::move(items));
  }
  ASSAY_ASSIGN(Values items, collect(runtime, input));
  std::reverse(items.begin(), items.end());
  return Value::list(runtime, std::move(items));
}

Result<Value> join(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("join", arguments, {{"d", Value::string("")}, {"attribute", Value::none()}}));
  ASSAY_ASSIGN(const AttributePath path, AttributePath::make(given[1]));
  ASSAY_ASSIGN(const std::string separator, to_str(runtime, given[0]));
  ASSAY_ASSIGN(const std::shared_ptr<Iterator> items, iterate(runtime, input));
  std::string out;
  for (bool is_first = true;; is_first = false) {
    ASSAY_ASSIGN(std::optional<Value> item, items->next(runtime));
    if (!item) break;
    ASSAY_ASSIGN(const Value value, path.get(runtime, std::move(*item)));
    if (!is_first) out += separator;
    ASSAY_TRY(append_str(runtime, value, out));
    if (out.size() > runtime.limits().max_value_bytes) break;
  }
  ASSAY_TRY(runtime.admit(out.size()));
  return Value::string(std::move(out));
}

// What a value is ordered or told apart by: strings in lower case unless case matters.
Result<Value> sort_key(Runtime& runtime, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is(Kind::string)) return value;
  ASSAY_TRY(runtime.admit(value.as_string().size()));
  return Value::string(py_lower(value.as_string()));
}

// Sorts by keys, stably also in reverse, and hands back the items. Errors: bad_data for keys without an order.
struct Keyed {
  Value key, item;
};

Status sort_keyed(Runtime& runtime, std::vector<Keyed>& items, bool reverse) {
  Status status;
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    if (!status.ok()) return false;
    const Result<bool> before = reverse ? less(runtime, b.key, a.key) : less(runtime, a.key, b.key);
    if (!before.ok()) status = before.status();
    return before.ok() && *before;
  });
  return status;
}

Result<Value> list_of_keyed(Runtime& runtime, std::vector<Keyed> keyed) {
  Values items;
  items.reserve(keyed.size());
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return Value::list(runtime, std::move(items));
}

// "a,b.c" sorts by a, then by b.c.
Result<std::vector<AttributePath>> sort_paths(const Value& attribute) {
  std::vector<AttributePath> paths;
  if (attribute.is(Kind::string)) {
    for (const std::string& part : split(attribute.as_string(), ",")) paths.push_back(AttributePath::of_text(part));
    return paths;
  }
  ASSAY_ASSIGN(AttributePath path, AttributePath::make(attribute));
  paths.push_back(std::move(path));
  return paths;
}

Result<Value> sort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("sort", arguments,
                                        {{"reverse", Value::boolean(false)},
                                         {"case_sensitive", Value::boolean(false)},
                                         {"attribute", Value::none()}}));
  ASSAY_ASSIGN(const std::vector<AttributePath> paths, sort_paths(given[2]));
  ASSAY_ASSIGN(Values items, collect(runtime, input));
  std::vector<Keyed> keyed;
  for (Value& item : items) {
    Values parts;
    for (const AttributePath& path : paths) {
      ASSAY_ASSIGN(const Value part, path.get(runtime, item));
      ASSAY_ASSIGN(Value key, sort_key(runtime, part, is_true(given[1])));
      parts.push_back(std::move(key));
    }
    ASSAY_ASSIGN(Value key, Value::list(runtime, std::move(parts)));
    keyed.push_back({std::move(key), std::move(item)});
  }
  ASSAY_TRY(sort_keyed(runtime, keyed, is_true(given[0])));
  return list_of_keyed(runtime, std::move(keyed));
}

Result<Value> dictsort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("dictsort", arguments,
                                        {{"case_sensitive", Value::boolean(false)},
                                         {"by", Value::string("key")},
                                         {"reverse", Value::boolean(false)}}));
  if (input.is(Kind::undefined)) return bad_data(input.undefined_reason());
  if (!input.is(Kind::dict)) return bad_data(fmt::format("'dictsort' needs a dict, found '{}'", type_name(input)));
  ASSAY_ASSIGN(const std::string by, want_string("dictsort", given[1]));
  if (by != "key" && by != "value") return bad_data("a dict is sorted by \"key\" or \"value\"");
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : input.as_dict().items()) {
    ASSAY_ASSIGN(Value order, sort_key(runtime, by == "key" ? key : value, is_true(given[0])));
    ASSAY_ASSIGN(Value pair, Value::tuple(runtime, {key, value}));
    keyed.push_back({std::move(order), std::move(pair)});
  }
  ASSAY_TRY(sort_keyed(runtime, keyed, is_true(given[2])));
  return list_of_keyed(runtime, std::move(keyed));
}

Result<Value> groupby(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind("groupby", arguments,
                    {{"attribute"}, {"default", Value::none()}, {"case_sensitive", Value::boolean(false)}}));
  ASSAY_ASSIGN(const AttributePath path, AttributePath::make(given[0]));
  const Value fallback = given[1].is(Kind::none) ? Value() : given[1];
  ASSAY_ASSIGN(Values items, collect(runtime, input));
  std::vector<Keyed> keyed;
  for (Value& item : items) {
    ASSAY_ASSIGN(const Value attribute, path.get(runtime, item, fallback));
    ASSAY_ASSIGN(Value key, sort_key(runtime, attribute, is_true(given[2])));
    keyed.push_back({std::move(key), std::move(item)});
  }
  ASSAY_TRY(sort_keyed(runtime, keyed, false));
  Values groups;
  for (size_t begin = 0; begin < keyed.size();) {
    Values members;
    size_t end = begin;
    for (; end < keyed.size(); ++end) {
      ASSAY_ASSIGN(const bool same, equal(runtime, keyed[begin].key, keyed[end].key));
      if (!same) break;
      members.push_back(keyed[end].item);
    }
    ASSAY_ASSIGN(Value grouper, path.get(runtime, members[0], fallback));
    ASSAY_ASSIGN(Value group_list, Value::list(runtime, std::move(members)));
    ASSAY_ASSIGN(Value group, Value::group(runtime, std::move(grouper), std::move(group_list)));
    groups.push_back(std::move(group));
    begin = end;
  }
  return Value::list(runtime, std::move(groups));
}

template <bool wants_least>
Result<Value> extreme(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind("min", arguments, {{"case_sensitive", Value::boolean(false)}, {"attribute", Value::none()}}));
  ASSAY_ASSIGN(const AttributePath path, AttributePath::make(given[1]));
  ASSAY_ASSIGN(const Values items, collect(runtime, input));
  Value best, best_key;
  for (const Value& item : items) {
    ASSAY_ASSIGN(const Value attribute, path.get(runtime, item));
    ASSAY_ASSIGN(const Value key, sort_key(runtime, attribute, is_true(given[0])));
    bool is_better = best_key.is_missing();
    if (!is_better) {
      ASSAY_ASSIGN(is_better,
                   wants_least ? less(runtime, key, best_key) : compare(runtime, CompareOp::greater, key, best_key));
    }
    if (!is_better) continue;
    best = item;
    best_key = key;
  }
  return items.empty() ? Value::undefined("No aggregated item, sequence was empty.") : best;
}

Result<Value> sum(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind("sum", arguments, {{"attribute", Value::none()}, {"start", Value::integer(0)}}));
  if (given[1].is(Kind::string)) return bad_data("'sum' does not add strings; use join");
  ASSAY_ASSIGN(const AttributePath path, AttributePath::make(given[0]));
  ASSAY_ASSIGN(const Values items, collect(runtime, input));
  Value total = given[1];
  for (const Value& item : items) {
    ASSAY_ASSIGN(const Value value, path.get(runtime, item));
    ASSAY_ASSIGN(total, apply_binary(runtime, BinaryOp::add, total, value));
  }
  return total;
}

Result<Value> defaulted(Runtime&, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind("default", arguments, {{"default_value", Value::string("")}, {"boolean", Value::boolean(false)}}));
  return input.is(Kind::undefined) || (is_true(given[1]) && !is_true(input)) ? given[0] : input;
}

Result<Value> attribute(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("attr", arguments, {{"name"}}));
  ASSAY_ASSIGN(const std::string name, want_string("attr", given[0]));
  ASSAY_ASSIGN(const Value value, get_attribute(runtime, input, name));
  // Only what is an attribute, never an item.
  if (input.is(Kind::dict) && !(value.is(Kind::function) && value.as_function().self.identity() == input.identity())) {
    return Value::undefined(fmt::format("{} has no attribute '{}'", describe(input), name));
  }
  return value;
}

constexpr Filter kFilters[] = {
    {"abs", absolute},
    {"attr", attribute},
    {"batch", batch_filter},
    {"capitalize", convert_text<py_capitalize>},
    {"center", center},
    {"count", length},
    {"d", defaulted},
    {"default", defaulted},
    {"dictsort", dictsort},
    {"e", escape<false>},
    {"escape", escape<false>},
    {"filesizeformat", filesizeformat},
    {"first", first},
    {"float", to_float},
    {"forceescape", escape<true>},
    {"format", format},
    {"groupby", groupby},
    {"indent", indent},
    {"int", to_int},
    {"items", items_filter},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", list},
    {"lower", convert_text<py_lower>},
    {"map", map_filter},
    {"max", extreme<false>},
    {"min", extreme<true>},
    {"pprint", nullptr},
    {"random", nullptr},
    {"reject", reject_filter},
    {"rejectattr", rejectattr_filter},
    {"replace", replace},
    {"reverse", reverse},
    {"round", round},
    {"safe", safe},
    {"select", select_filter},
    {"selectattr", selectattr_filter},
    {"slice", slice_filter},
    {"sort", sort},
    {"string", string},
    {"striptags", nullptr},
    {"sum", sum},
    {"title", convert_text<title_words>},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"unique", unique_filter},
    {"upper", convert_text<py_upper>},
    {"urlencode", urlencode},
    {"urlize", nullptr},
    {"wordcount", wordcount},
    {"wordwrap", nullptr},
    {"xmlattr", nullptr},
};

}  // namespace

const Filter* find_filter(std::string_view name) {
  const auto* filter =
      std::lower_bound(std::begin(kFilters), std::end(kFilters), name,
                       [](const Filter& candidate, std::string_view wanted) { return candidate.name < wanted; });
  return filter != std::end(kFilters) && filter->name == name ? filter : nullptr;
}

Result<Value> apply_filter(Runtime& runtime, const Filter* filter, std::string_view name, const Value& input,
                           const Arguments& arguments) {
  if (filter == nullptr) return unsupported(fmt::format("unknown filter '{}'", name));
  if (filter->body == nullptr)
    return unsupported(fmt::format("the filter '{}' is not supported in chat templates", name));
  return filter->body(runtime, input, arguments);
}

}  // namespace assay::jinja
