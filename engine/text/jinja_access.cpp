#include "engine/text/jinja_access.h"

#include <fmt/format.h>

#include <array>

#include "engine/base/text_util.h"
#include "engine/text/jinja_ast.h"
#include "engine/text/jinja_methods.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_text.h"

namespace assay::jinja {
namespace {

Value no_attribute(const Value& object, std::string_view name) {
  return Value::undefined(fmt::format("{} has no attribute '{}'", describe(object), name));
}

Result<Value> no_item(Runtime& runtime, const Value& object, const Value& key) {
  if (key.is(Kind::string)) return no_attribute(object, key.as_string());
  std::string text;
  const Status printed = append_repr(runtime, key, text);
  return Value::undefined(fmt::format("{} has no element {}", describe(object), printed.ok() ? text : "of that key"));
}

Value withheld(const Value& object, std::string_view name) {
  return Value::undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)));
}

// Names that every object of Python has, and templates may not use.
bool is_dunder(std::string_view name) { return name.size() > 4 && starts_with(name, "__") && ends_with(name, "__"); }

Result<std::optional<Value>> loop_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  Loop& loop = object.as_loop();
  const auto integer = [](int64_t value) { return std::optional<Value>(Value::integer(value)); };
  if (name == "index") return integer(loop.index0 + 1);
  if (name == "index0") return integer(loop.index0);
  if (name == "first") return std::optional(Value::boolean(loop.index0 == 0));
  if (name == "depth") return integer(loop.depth0 + 1);
  if (name == "depth0") return integer(loop.depth0);
  if (name == "previtem") return std::optional(loop.previous_item());
  if (name == "last") {
    ASSAY_ASSIGN(const bool is_last, loop.is_last(runtime));
    return std::optional(Value::boolean(is_last));
  }
  if (name == "nextitem") {
    ASSAY_ASSIGN(Value next, loop.next_item(runtime));
    return std::optional(std::move(next));
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    ASSAY_ASSIGN(const int64_t length, loop.length(runtime));
    if (name == "length") return integer(length);
    return integer(length - loop.index0 - (name == "revindex0" ? 1 : 0));
  }
  return std::optional<Value>();
}

Result<std::optional<Value>> macro_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  const MacroNode& macro = *object.as_macro().node;
  if (name == "name") return std::optional(macro.name.empty() ? Value::none() : Value::string(macro.name));
  if (name == "catch_kwargs") return std::optional(Value::boolean(macro.uses_kwargs));
  if (name == "catch_varargs") return std::optional(Value::boolean(macro.uses_varargs));
  if (name == "caller") return std::optional(Value::boolean(macro.uses_caller));
  if (name == "arguments") {
    Values names;
    for (const std::string& parameter : macro.parameters) names.push_back(Value::string(parameter));
    ASSAY_ASSIGN(Value arguments, Value::tuple(runtime, std::move(names)));
    return std::optional(std::move(arguments));
  }
  return std::optional<Value>();
}

std::optional<Value> name_space_attribute(const Value& object, std::string_view name) {
  for (const auto& [key, value] : object.as_name_space().attributes) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::optional<Value> plain_attribute(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::tuple:
      if (object.is_group() && name == "grouper") return object.as_items()[0];
      if (object.is_group() && name == "list") return object.as_items()[1];
      return std::nullopt;
    case Kind::range:
      if (name == "start") return Value::integer(object.as_range().start);
      if (name == "stop") return Value::integer(object.as_range().stop);
      if (name == "step") return Value::integer(object.as_range().step);
      return std::nullopt;
    case Kind::joiner:
      if (name == "sep") return Value::string(object.as_joiner().separator);
      if (name == "used") return Value::boolean(object.as_joiner().used);
      return std::nullopt;
    case Kind::cycler:
      if (name == "current") return object.as_cycler().items[object.as_cycler().index];
      if (name == "pos") return Value::integer(static_cast<int64_t>(object.as_cycler().index));
      return std::nullopt;
    case Kind::boolean:
    case Kind::integer:
      if (name == "real" || name == "numerator") return Value::integer(object.as_integer());
      if (name == "imag") return Value::integer(0);
      if (name == "denominator") return Value::integer(1);
      return std::nullopt;
    case Kind::real:
      if (name == "real") return object;
      if (name == "imag") return Value::real(0);
      return std::nullopt;
    default: return std::nullopt;
  }
}

// What Python's getattr() finds, as far as the sandbox lets it through.
Result<std::optional<Value>> python_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (object.is(Kind::name_space)) return name_space_attribute(object, name);
  if (is_dunder(name)) return std::optional(withheld(object, name));
  if (const Method* method = find_method(object.kind(), name)) {
    if (method->mutates) return std::optional(withheld(object, name));
    return std::optional(Value::method(std::string(name), method->body, object));
  }
  if (object.is(Kind::loop)) return loop_attribute(runtime, object, name);
  if (object.is(Kind::macro)) return macro_attribute(runtime, object, name);
  return plain_attribute(object, name);
}

// The item of a list, a tuple, a string or a range, or nothing when the index is out of it.
std::optional<Value> item_of_sequence(const Value& object, int64_t index) {
  const int64_t length = length_of(object).value_or(0);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  if (object.is(Kind::range)) return Value::integer(object.as_range().at(index));
  if (object.is_sequence()) return object.as_items()[static_cast<size_t>(index)];
  return Value::string(slice_text(object.as_string(), {index, 1, 1}), object.is_markup());
}

// What Python's object[key] finds; nothing where it raises TypeError or LookupError.
Result<std::optional<Value>> python_item(Runtime& runtime, const Value& object, const Value& key) {
  switch (object.kind()) {
    case Kind::string: ASSAY_TRY(runtime.admit(object.as_string().size())); [[fallthrough]];
    case Kind::list:
    case Kind::tuple:
    case Kind::range: return key.is_integral() ? item_of_sequence(object, key.as_integer()) : std::optional<Value>();
    case Kind::dict: {
      if (!hash(runtime, key).ok()) {
        ASSAY_TRY(runtime.charge());
        return std::optional<Value>();
      }
      ASSAY_ASSIGN(const Value* value, object.as_dict().find(runtime, key));
      return value == nullptr ? std::optional<Value>() : std::optional(*value);
    }
    default: return std::optional<Value>();
  }
}

Result<std::optional<int64_t>> slice_bound(const Value& bound) {
  if (bound.is(Kind::none)) return std::optional<int64_t>();
  if (bound.is_integral()) return std::optional(bound.as_integer());
  return bad_data(fmt::format("a slice takes integers or none, not '{}'", type_name(bound)));
}

Result<Value> slice_of_range(const Range& range, const SlicePlan& plan) {
  Range slice;
  if (__builtin_mul_overflow(range.step, plan.step, &slice.step)) return bad_data("a slice step is too large");
  if (plan.count > 0) slice.start = range.at(plan.start);
  if (plan.count == 0 || __builtin_mul_overflow(plan.count, slice.step, &slice.stop) ||
      __builtin_add_overflow(slice.start, slice.stop, &slice.stop)) {
    slice.stop = slice.start;
  }
  slice.length = plan.count;
  return Value::range(slice);
}

}  // namespace

Result<Value> get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (object.is(Kind::undefined)) return bad_data(object.undefined_reason());
  ASSAY_ASSIGN(std::optional<Value> found, python_attribute(runtime, object, name));
  if (!found && object.is(Kind::dict)) {
    if (const Value* item = object.as_dict().find(name)) found = *item;
  }
  return found ? std::move(*found) : no_attribute(object, name);
}

Result<Value> get_item(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is(Kind::undefined)) return bad_data(object.undefined_reason());
  ASSAY_ASSIGN(std::optional<Value> found, python_item(runtime, object, key));
  if (!found && key.is(Kind::string)) {
    ASSAY_ASSIGN(found, python_attribute(runtime, object, key.as_string()));
  }
  if (found) return std::move(*found);
  return no_item(runtime, object, key);
}

Result<Value> get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                        const Value& step) {
  if (object.is(Kind::undefined)) return bad_data(object.undefined_reason());
  const bool can_slice = object.is_sequence() || object.is(Kind::string) || object.is(Kind::range);
  if (!can_slice) return bad_data(fmt::format("'{}' object cannot be sliced", type_name(object)));
  ASSAY_ASSIGN(const std::optional<int64_t> first, slice_bound(start));
  ASSAY_ASSIGN(const std::optional<int64_t> last, slice_bound(stop));
  ASSAY_ASSIGN(const std::optional<int64_t> stride, slice_bound(step));
  if (stride == 0) return bad_data("slice step cannot be zero");
  const SlicePlan plan = plan_slice(first, last, stride.value_or(1), length_of(object).value_or(0));
  if (object.is(Kind::string)) {
    ASSAY_TRY(runtime.admit(object.as_string().size()));
    return Value::string(slice_text(object.as_string(), plan), object.is_markup());
  }
  if (object.is(Kind::range)) return slice_of_range(object.as_range(), plan);
  ASSAY_TRY(runtime.charge(plan.count));
  Values items;
  for (int64_t i = 0; i < plan.count; ++i)
    items.push_back(object.as_items()[static_cast<size_t>(plan.start + i * plan.step)]);
  return object.is(Kind::list) ? Value::list(runtime, std::move(items)) : Value::tuple(runtime, std::move(items));
}

AttributePath AttributePath::of_text(std::string_view path) {
  AttributePath result;
  for (std::string& part : split(path, ".")) {
    const std::optional<int64_t> index = is_all(CharacterClass::decimal, part) ? parse_int(part) : std::nullopt;
    result.parts_.push_back(index ? Value::integer(*index) : Value::string(std::move(part)));
  }
  return result;
}

Result<AttributePath> AttributePath::make(const Value& attribute) {
  if (attribute.is(Kind::string)) return of_text(attribute.as_string());
  AttributePath path;
  if (!attribute.is(Kind::none)) path.parts_.push_back(attribute);
  return path;
}

Result<Value> AttributePath::get(Runtime& runtime, Value object, const Value& fallback) const {
  for (const Value& part : parts_) {
    ASSAY_ASSIGN(object, get_item(runtime, object, part));
    if (object.is(Kind::undefined) && !fallback.is_missing()) object = fallback;
  }
  return object;
}

}  // namespace assay::jinja
