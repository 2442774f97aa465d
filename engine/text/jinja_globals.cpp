#include "engine/text/jinja_globals.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/text_util.h"
#include "engine/text/jinja_arguments.h"
#include "engine/text/jinja_format.h"
#include "engine/text/jinja_iterators.h"
#include "engine/text/jinja_runtime.h"

namespace assay::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // as Jinja's sandbox has it

Result<Value> make_range(Runtime&, const Value&, const Arguments& arguments) {
  if (!arguments.named.empty()) return bad_data("'range' takes no keyword arguments");
  const size_t count = arguments.positional.size();
  if (count < 1 || count > 3) return bad_data(fmt::format("'range' takes 1 to 3 arguments, {} are given", count));
  int64_t given[3] = {0, 0, 1};
  for (size_t i = 0; i < count; ++i) {
    ASSAY_ASSIGN(given[count == 1 ? 1 : i], want_integer("range", arguments.positional[i]));
  }
  const auto [start, stop, step] = given;
  if (step == 0) return bad_data("'range' takes no step of zero");
  const bool is_empty = step > 0 ? start >= stop : start <= stop;
  if (is_empty) return Value::range({start, stop, step, 0});
  const uint64_t distance = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                     : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  const uint64_t length = (distance - 1) / stride + 1;
  if (length > kMaxRange) return bad_data(fmt::format("a range has at most {} items, this one {}", kMaxRange, length));
  return Value::range({start, stop, step, static_cast<int64_t>(length)});
}

Status add_pairs(Runtime& runtime, const Value& source, Dict& dict) {
  if (source.is(Kind::dict)) {
    for (const auto& [key, value] : source.as_dict().items()) ASSAY_TRY(dict.set(runtime, key, value));
    return ok_status();
  }
  ASSAY_ASSIGN(const Values pairs, collect(runtime, source));
  for (const Value& item : pairs) {
    ASSAY_ASSIGN(const Values pair, collect(runtime, item));
    if (pair.size() != 2) return bad_data(fmt::format("a dict is made of pairs, found {} items", pair.size()));
    ASSAY_TRY(dict.set(runtime, pair[0], pair[1]));
  }
  return ok_status();
}

Result<Value> make_dict_global(Runtime& runtime, const Value&, const Arguments& arguments) {
  return make_dict(runtime, arguments);
}

Result<Value> make_name_space(Runtime& runtime, const Value&, const Arguments& arguments) {
  ASSAY_ASSIGN(const Value dict, make_dict(runtime, arguments));
  constexpr int64_t kSteps = 8;  // namespaces live as long as the rendering
  ASSAY_TRY(runtime.charge(kSteps));
  Namespace* name_space = runtime.new_name_space();
  for (const auto& [key, value] : dict.as_dict().items()) {
    if (!key.is(Kind::string)) return bad_data("the attributes of a namespace are named by strings");
    if (starts_with(key.as_string(), "_"))
      return bad_data(fmt::format("a namespace has no attribute '{}' that begins with _", key.as_string()));
    name_space->attributes.emplace_back(key.as_string(), value);
  }
  return Value::name_space(name_space);
}

Result<Value> make_joiner(Runtime& runtime, const Value&, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("joiner", arguments, {{"sep", Value::string(", ")}}));
  ASSAY_ASSIGN(std::string separator, to_str(runtime, given[0]));
  return Value::joiner({std::move(separator), false});
}

Result<Value> make_cycler(Runtime& runtime, const Value&, const Arguments& arguments) {
  if (!arguments.named.empty()) return bad_data("'cycler' takes no keyword arguments");
  if (arguments.positional.empty()) return bad_data("'cycler' needs at least one item");
  const Value cycler = Value::cycler(arguments.positional);
  if (cycler.depth() > runtime.limits().max_depth) return runtime.too_deep();
  return cycler;
}

Result<Value> raise_exception(Runtime& runtime, const Value&, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("raise_exception", arguments, {{"message"}}));
  ASSAY_ASSIGN(std::string message, to_str(runtime, given[0]));
  return bad_data(std::move(message));
}

Result<Value> strftime_now(Runtime& runtime, const Value&, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("strftime_now", arguments, {{"format"}}));
  ASSAY_ASSIGN(const std::string format, want_string("strftime_now", given[0]));
  ASSAY_ASSIGN(std::string text, format_time(runtime, format, runtime.now_utc_us()));
  return Value::string(std::move(text));
}

// Random text would make prompts differ from run to run.
Result<Value> lipsum(Runtime&, const Value&, const Arguments&) {
  return unsupported("'lipsum' is not supported in chat templates");
}

struct Global {
  std::string_view name;
  FunctionBody body;
};

constexpr Global kGlobals[] = {{"cycler", make_cycler},        {"dict", make_dict_global},
                               {"joiner", make_joiner},        {"lipsum", lipsum},
                               {"namespace", make_name_space}, {"raise_exception", raise_exception},
                               {"range", make_range},          {"strftime_now", strftime_now}};

}  // namespace

Value find_global(std::string_view name) {
  const auto* global =
      std::find_if(std::begin(kGlobals), std::end(kGlobals), [&](const Global& g) { return g.name == name; });
  return global == std::end(kGlobals) ? Value() : Value::function(std::string(name), global->body);
}

Result<Value> make_dict(Runtime& runtime, const Arguments& arguments) {
  if (arguments.positional.size() > 1) return bad_data("'dict' takes at most one positional argument");
  Dict dict;
  if (!arguments.positional.empty()) ASSAY_TRY(add_pairs(runtime, arguments.positional[0], dict));
  for (const auto& [name, value] : arguments.named) ASSAY_TRY(dict.set(runtime, name, value));
  return Value::dict(runtime, std::move(dict));
}

Result<Value> dict_from_keys(Runtime& runtime, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind_positional("fromkeys", arguments, {{"iterable"}, {"value", Value::none()}}));
  ASSAY_ASSIGN(const Values keys, collect(runtime, given[0]));
  Dict dict;
  for (const Value& key : keys) ASSAY_TRY(dict.set(runtime, key, given[1]));
  return Value::dict(runtime, std::move(dict));
}

}  // namespace assay::jinja
