#include "engine/text/jinja_methods.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "engine/base/text_util.h"
#include "engine/text/jinja_arguments.h"
#include "engine/text/jinja_format.h"
#include "engine/text/jinja_globals.h"
#include "engine/text/jinja_iterators.h"
#include "engine/text/jinja_operators.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_text.h"

namespace assay::jinja {
namespace {

constexpr size_t kMaxExpansion = 3;  // no case mapping triples the bytes of a character more than this

// str: what each method shares
// ----------------------------------------------------------------------------------------- The result has the markup
// of its object, and costs its bytes.
Result<Value> text_result(Runtime& runtime, const Value& self, std::string text) {
  ASSAY_TRY(runtime.admit(text.size()));
  return Value::string(std::move(text), self.is_markup());
}

// Text that goes into markup is escaped first.
std::string into(const Value& self, const Value& text) {
  return self.is_markup() && !text.is_markup() ? escape_html(text.as_string()) : text.as_string();
}

template <std::string (*convert)(std::string_view)>
Result<Value> str_convert(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_TRY(bind_positional("str method", arguments, {}));
  ASSAY_TRY(runtime.admit(self.as_string().size() * kMaxExpansion));
  return text_result(runtime, self, convert(self.as_string()));
}

template <CharacterClass wanted>
Result<Value> str_is(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_TRY(bind_positional("str method", arguments, {}));
  ASSAY_TRY(runtime.admit(self.as_string().size()));
  return Value::boolean(is_all(wanted, self.as_string()));
}

template <bool (*predicate)(std::string_view)>
Result<Value> str_check(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_TRY(bind_positional("str method", arguments, {}));
  ASSAY_TRY(runtime.admit(self.as_string().size()));
  return Value::boolean(predicate(self.as_string()));
}

template <bool left, bool right>
Result<Value> str_strip(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind_positional("strip", arguments, {{"chars", Value::none()}}));
  std::string_view text = self.as_string();
  if (!given[0].is(Kind::none)) {
    ASSAY_ASSIGN(const std::string characters, want_string("strip", given[0]));
    ASSAY_TRY(runtime.charge(static_cast<int64_t>(characters.size())));
    text = strip_characters(text, characters, left, right);
  } else {
    if (left) text = py_lstrip(text);
    if (right) text = py_rstrip(text);
  }
  return text_result(runtime, self, std::string(text));
}

Result<Value> list_of_texts(Runtime& runtime, const Value& self, std::vector<std::string> texts) {
  ASSAY_TRY(runtime.charge(static_cast<int64_t>(texts.size())));
  ASSAY_TRY(runtime.admit(self.as_string().size()));
  Values items;
  items.reserve(texts.size());
  for (std::string& text : texts) items.push_back(Value::string(std::move(text), self.is_markup()));
  return Value::list(runtime, std::move(items));
}

template <bool from_right>
Result<Value> str_split(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind("split", arguments, {{"sep", Value::none()}, {"maxsplit", Value::integer(-1)}}));
  ASSAY_ASSIGN(int64_t max_splits, want_integer("split", given[1]));
  if (max_splits < 0) max_splits = kNoLimit;
  if (given[0].is(Kind::none))
    return list_of_texts(runtime, self, split_at_space(self.as_string(), max_splits, from_right));
  ASSAY_ASSIGN(const std::string separator, want_string("split", given[0]));
  if (separator.empty()) return bad_data("empty separator");
  return list_of_texts(runtime, self, split_at(self.as_string(), separator, max_splits, from_right));
}

Result<Value> str_splitlines(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("splitlines", arguments, {{"keepends", Value::boolean(false)}}));
  ASSAY_ASSIGN(const int64_t keep_ends, want_integer("splitlines", given[0]));
  return list_of_texts(runtime, self, split_lines(self.as_string(), keep_ends != 0));
}

template <bool from_right>
Result<Value> str_partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind_positional("partition", arguments, {{"sep"}}));
  ASSAY_ASSIGN(const std::string separator, want_string("partition", given[0]));
  if (separator.empty()) return bad_data("empty separator");
  ASSAY_TRY(runtime.admit(self.as_string().size()));
  const std::string& text = self.as_string();
  const size_t place = from_right ? text.rfind(separator) : text.find(separator);
  const auto piece = [&](std::string part) { return Value::string(std::move(part), self.is_markup()); };
  if (place == std::string::npos) {
    if (from_right) return Value::tuple(runtime, {piece(""), piece(""), piece(text)});
    return Value::tuple(runtime, {piece(text), piece(""), piece("")});
  }
  return Value::tuple(runtime,
                      {piece(text.substr(0, place)), piece(separator), piece(text.substr(place + separator.size()))});
}

// A part of the text by optional bounds of code points.
struct Window {
  int64_t start = 0, stop = 0;
};

Result<Window> window_of(std::string_view callee, const Value& start, const Value& stop) {
  Window window{0, kNoLimit};
  if (!start.is(Kind::none)) {
    ASSAY_ASSIGN(window.start, want_integer(callee, start));
  }
  if (!stop.is(Kind::none)) {
    ASSAY_ASSIGN(window.stop, want_integer(callee, stop));
  }
  return window;
}

template <bool at_end>
Result<Value> str_has_affix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  constexpr std::string_view kName = at_end ? "endswith" : "startswith";
  ASSAY_ASSIGN(const Values given,
               bind_positional(kName, arguments, {{"affix"}, {"start", Value::none()}, {"end", Value::none()}}));
  ASSAY_ASSIGN(const Window window, window_of(kName, given[1], given[2]));
  ASSAY_TRY(runtime.admit(self.as_string().size()));
  const auto length = static_cast<int64_t>(count_code_points(self.as_string()));
  const SlicePlan plan = plan_slice(window.start, window.stop, 1, length);
  const std::string text = slice_text(self.as_string(), plan);
  if (window.start > length) return Value::boolean(false);
  const Values affixes = given[0].is(Kind::tuple) ? given[0].as_items() : Values{given[0]};
  for (const Value& candidate : affixes) {
    ASSAY_ASSIGN(const std::string affix, want_string(kName, candidate));
    ASSAY_TRY(runtime.charge());
    if (at_end ? ends_with(text, affix) : starts_with(text, affix)) return Value::boolean(true);
  }
  return Value::boolean(false);
}

template <bool from_right, bool must_exist>
Result<Value> str_find(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind_positional("find", arguments, {{"sub"}, {"start", Value::none()}, {"end", Value::none()}}));
  ASSAY_ASSIGN(const std::string part, want_string("find", given[0]));
  ASSAY_ASSIGN(const Window window, window_of("find", given[1], given[2]));
  ASSAY_TRY(runtime.admit(self.as_string().size()));
  const int64_t place = find_text(self.as_string(), part, window.start, window.stop, from_right);
  if (place < 0 && must_exist) return bad_data("substring not found");
  return Value::integer(place);
}

Result<Value> str_count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind_positional("count", arguments, {{"sub"}, {"start", Value::none()}, {"end", Value::none()}}));
  ASSAY_ASSIGN(const std::string part, want_string("count", given[0]));
  ASSAY_ASSIGN(const Window window, window_of("count", given[1], given[2]));
  ASSAY_TRY(runtime.admit(self.as_string().size()));
  const auto length = static_cast<int64_t>(count_code_points(self.as_string()));
  if (window.start > length) return Value::integer(0);
  const std::string text = slice_text(self.as_string(), plan_slice(window.start, window.stop, 1, length));
  return Value::integer(static_cast<int64_t>(count_parts(text, part)));
}

Result<Value> str_replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind_positional("replace", arguments, {{"old"}, {"new"}, {"count", Value::integer(-1)}}));
  ASSAY_ASSIGN(const std::string from, want_string("replace", given[0]));
  ASSAY_TRY(want_string("replace", given[1]));
  ASSAY_ASSIGN(const int64_t count, want_integer("replace", given[2]));
  return replace_in(runtime, self, from, into(self, given[1]), count);
}

Result<Value> str_affix_removed(Runtime& runtime, const Value& self, const Arguments& arguments, bool at_end) {
  ASSAY_ASSIGN(const Values given, bind_positional(at_end ? "removesuffix" : "removeprefix", arguments, {{"affix"}}));
  ASSAY_ASSIGN(const std::string affix, want_string("removeprefix", given[0]));
  const std::string& text = self.as_string();
  if (!(at_end ? ends_with(text, affix) : starts_with(text, affix))) return text_result(runtime, self, text);
  return text_result(runtime, self, at_end ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size()));
}

Result<Value> str_removeprefix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return str_affix_removed(runtime, self, arguments, false);
}
Result<Value> str_removesuffix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return str_affix_removed(runtime, self, arguments, true);
}

template <Align align>
Result<Value> str_pad(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind_positional("center", arguments, {{"width"}, {"fillchar", Value::string(" ")}}));
  ASSAY_ASSIGN(const int64_t width, want_integer("center", given[0]));
  ASSAY_TRY(want_string("center", given[1]));
  const std::string fill = into(self, given[1]);
  if (count_code_points(fill) != 1) return bad_data("The fill character must be exactly one character long");
  ASSAY_TRY(admit_repeated(runtime, std::max<int64_t>(width, 0), fill.size()));
  return text_result(runtime, self, pad_text(self.as_string(), width, fill, align));
}

Result<Value> str_zfill(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind_positional("zfill", arguments, {{"width"}}));
  ASSAY_ASSIGN(const int64_t width, want_integer("zfill", given[0]));
  ASSAY_TRY(admit_repeated(runtime, std::max<int64_t>(width, 0), 1));
  return text_result(runtime, self, zero_fill(self.as_string(), width));
}

Result<Value> str_expandtabs(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("expandtabs", arguments, {{"tabsize", Value::integer(8)}}));
  ASSAY_ASSIGN(const int64_t tab_size, want_integer("expandtabs", given[0]));
  const auto num_tabs = static_cast<int64_t>(count_parts(self.as_string(), "\t"));
  ASSAY_TRY(admit_repeated(runtime, std::max<int64_t>(tab_size, 1), static_cast<size_t>(num_tabs)));
  return text_result(runtime, self, expand_tabs(self.as_string(), tab_size));
}

Result<Value> str_join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind_positional("join", arguments, {{"iterable"}}));
  ASSAY_ASSIGN(const Values items, collect(runtime, given[0]));
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += self.as_string();
    if (self.is_markup() && !items[i].is(Kind::string)) {
      ASSAY_TRY(append_str(runtime, items[i], out));
    } else if (!items[i].is(Kind::string)) {
      return bad_data(fmt::format("'join' needs strings, item {} is '{}'", i, type_name(items[i])));
    } else {
      out += into(self, items[i]);
    }
    if (out.size() > runtime.limits().max_value_bytes) break;
  }
  return text_result(runtime, self, std::move(out));
}

Result<Value> str_format(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(std::string text, brace_format(runtime, self, arguments));
  return text_result(runtime, self, std::move(text));
}

Result<Value> str_format_map(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind_positional("format_map", arguments, {{"mapping"}}));
  if (!given[0].is(Kind::dict)) return bad_data("'format_map' needs a dict");
  Arguments named;
  for (const auto& [key, value] : given[0].as_dict().items()) {
    if (key.is(Kind::string)) named.named.emplace_back(key.as_string(), value);
  }
  return str_format(runtime, self, named);
}

Result<Value> not_supported(Runtime&, const Value& self, const Arguments&) {
  return unsupported(fmt::format("this method of '{}' is not supported in chat templates", type_name(self)));
}

// list, tuple
// ----------------------------------------------------------------------------------------------------------
Result<Value> sequence_count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind_positional("count", arguments, {{"value"}}));
  int64_t count = 0;
  for (const Value& item : self.as_items()) {
    ASSAY_ASSIGN(const bool same, equal(runtime, item, given[0]));
    count += same ? 1 : 0;
  }
  return Value::integer(count);
}

Result<Value> sequence_index(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind_positional("index", arguments,
                               {{"value"}, {"start", Value::integer(0)}, {"stop", Value::integer(kNoLimit)}}));
  ASSAY_ASSIGN(const int64_t start, want_integer("index", given[1]));
  ASSAY_ASSIGN(const int64_t stop, want_integer("index", given[2]));
  const SlicePlan plan = plan_slice(start, stop, 1, static_cast<int64_t>(self.as_items().size()));
  for (int64_t i = plan.start; i < plan.start + plan.count; ++i) {
    ASSAY_ASSIGN(const bool same, equal(runtime, self.as_items()[static_cast<size_t>(i)], given[0]));
    if (same) return Value::integer(i);
  }
  return bad_data("the value is not in the list");
}

Result<Value> copy(Runtime&, const Value& self, const Arguments& arguments) {
  ASSAY_TRY(bind_positional("copy", arguments, {}));
  return self;
}

// dict
// -----------------------------------------------------------------------------------------------------------------
Result<Value> dict_get(Runtime& runtime, const Value& self, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind_positional("get", arguments, {{"key"}, {"default", Value::none()}}));
  ASSAY_ASSIGN(const Value* found, self.as_dict().find(runtime, given[0]));
  return found == nullptr ? given[1] : *found;
}

template <ViewKind kind>
Result<Value> dict_view(Runtime&, const Value& self, const Arguments& arguments) {
  ASSAY_TRY(bind_positional("keys", arguments, {}));
  return Value::view(kind, self);
}

Result<Value> dict_fromkeys(Runtime& runtime, const Value&, const Arguments& arguments) {
  return dict_from_keys(runtime, arguments);
}

// loop, cycler
// ---------------------------------------------------------------------------------------------------------
Result<Value> loop_cycle(Runtime&, const Value& self, const Arguments& arguments) {
  if (!arguments.named.empty()) return bad_data("'cycle' takes no keyword arguments");
  if (arguments.positional.empty()) return bad_data("no items for cycling given");
  const auto index0 = static_cast<size_t>(std::max<int64_t>(self.as_loop().index0, 0));
  return arguments.positional[index0 % arguments.positional.size()];
}

Result<Value> loop_changed(Runtime& runtime, const Value& self, const Arguments& arguments) {
  if (!arguments.named.empty()) return bad_data("'changed' takes no keyword arguments");
  ASSAY_ASSIGN(const bool changed, self.as_loop().changed(runtime, arguments.positional));
  return Value::boolean(changed);
}

Result<Value> cycler_next(Runtime&, const Value& self, const Arguments& arguments) {
  ASSAY_TRY(bind_positional("next", arguments, {}));
  Cycler& cycler = self.as_cycler();
  const Value current = cycler.items[cycler.index];
  cycler.index = (cycler.index + 1) % cycler.items.size();
  return current;
}

Result<Value> cycler_reset(Runtime&, const Value& self, const Arguments& arguments) {
  ASSAY_TRY(bind_positional("reset", arguments, {}));
  self.as_cycler().index = 0;
  return Value::none();
}

constexpr Method kStringMethods[] = {
    {"capitalize", str_convert<py_capitalize>},
    {"casefold", str_convert<case_fold>},
    {"center", str_pad<Align::center>},
    {"count", str_count},
    {"encode", not_supported},
    {"endswith", str_has_affix<true>},
    {"expandtabs", str_expandtabs},
    {"find", str_find<false, false>},
    {"format", str_format},
    {"format_map", str_format_map},
    {"index", str_find<false, true>},
    {"isalnum", str_is<CharacterClass::alnum>},
    {"isalpha", str_is<CharacterClass::alpha>},
    {"isascii", str_is<CharacterClass::ascii>},
    {"isdecimal", str_is<CharacterClass::decimal>},
    {"isdigit", str_is<CharacterClass::digit>},
    {"isidentifier", str_check<is_identifier>},
    {"islower", str_check<is_lower_text>},
    {"isnumeric", str_is<CharacterClass::numeric>},
    {"isprintable", str_is<CharacterClass::printable>},
    {"isspace", str_is<CharacterClass::space>},
    {"istitle", str_check<is_title_text>},
    {"isupper", str_check<is_upper_text>},
    {"join", str_join},
    {"ljust", str_pad<Align::left>},
    {"lower", str_convert<py_lower>},
    {"lstrip", str_strip<true, false>},
    {"maketrans", not_supported},
    {"partition", str_partition<false>},
    {"removeprefix", str_removeprefix},
    {"removesuffix", str_removesuffix},
    {"replace", str_replace},
    {"rfind", str_find<true, false>},
    {"rindex", str_find<true, true>},
    {"rjust", str_pad<Align::right>},
    {"rpartition", str_partition<true>},
    {"rsplit", str_split<true>},
    {"rstrip", str_strip<false, true>},
    {"split", str_split<false>},
    {"splitlines", str_splitlines},
    {"startswith", str_has_affix<false>},
    {"strip", str_strip<true, true>},
    {"swapcase", str_convert<swap_case>},
    {"title", str_convert<py_title>},
    {"translate", not_supported},
    {"upper", str_convert<py_upper>},
    {"zfill", str_zfill},
};

constexpr Method kListMethods[] = {
    {"append", not_supported, true},  {"clear", not_supported, true},  {"copy", copy},
    {"count", sequence_count},        {"extend", not_supported, true}, {"index", sequence_index},
    {"insert", not_supported, true},  {"pop", not_supported, true},    {"remove", not_supported, true},
    {"reverse", not_supported, true}, {"sort", not_supported, true},
};

constexpr Method kTupleMethods[] = {{"count", sequence_count}, {"index", sequence_index}};

constexpr Method kDictMethods[] = {
    {"clear", not_supported, true},
    {"copy", copy},
    {"fromkeys", dict_fromkeys},
    {"get", dict_get},
    {"items", dict_view<ViewKind::items>},
    {"keys", dict_view<ViewKind::keys>},
    {"pop", not_supported, true},
    {"popitem", not_supported, true},
    {"setdefault", not_supported, true},
    {"update", not_supported, true},
    {"values", dict_view<ViewKind::values>},
};

constexpr Method kRangeMethods[] = {{"count", not_supported}, {"index", not_supported}};
constexpr Method kViewMethods[] = {{"isdisjoint", not_supported}, {"mapping", not_supported}};
constexpr Method kIntegerMethods[] = {{"as_integer_ratio", not_supported}, {"bit_count", not_supported},
                                      {"bit_length", not_supported},       {"conjugate", not_supported},
                                      {"from_bytes", not_supported},       {"to_bytes", not_supported}};
constexpr Method kRealMethods[] = {{"as_integer_ratio", not_supported},
                                   {"conjugate", not_supported},
                                   {"fromhex", not_supported},
                                   {"hex", not_supported},
                                   {"is_integer", not_supported}};
constexpr Method kLoopMethods[] = {{"changed", loop_changed}, {"cycle", loop_cycle}};
constexpr Method kCyclerMethods[] = {{"next", cycler_next}, {"reset", cycler_reset}};

std::span<const Method> methods_of(Kind kind) {
  switch (kind) {
    case Kind::string: return kStringMethods;
    case Kind::list: return kListMethods;
    case Kind::tuple: return kTupleMethods;
    case Kind::dict: return kDictMethods;
    case Kind::range: return kRangeMethods;
    case Kind::view: return kViewMethods;
    case Kind::boolean:
    case Kind::integer: return kIntegerMethods;
    case Kind::real: return kRealMethods;
    case Kind::loop: return kLoopMethods;
    case Kind::cycler: return kCyclerMethods;
    default: return {};
  }
}

}  // namespace

const Method* find_method(Kind kind, std::string_view name) {
  const std::span<const Method> methods = methods_of(kind);
  const auto method =
      std::lower_bound(methods.begin(), methods.end(), name,
                       [](const Method& candidate, std::string_view wanted) { return candidate.name < wanted; });
  return method != methods.end() && method->name == name ? &*method : nullptr;
}

}  // namespace assay::jinja
