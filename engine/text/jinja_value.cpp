#include "engine/text/jinja_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "engine/text/jinja_ast.h"
#include "engine/text/jinja_iterators.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_text.h"

namespace assay::jinja {
namespace {

int depth_of(const Values& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

Status check_container(Runtime& runtime, size_t num_items, int depth) {
  if (depth > runtime.limits().max_depth) return runtime.too_deep();
  return runtime.admit(num_items * sizeof(Value));
}

Status unhashable(const Value& value) { return bad_data(fmt::format("unhashable type: '{}'", type_name(value))); }

// Whether a real is a whole number that int64 holds.
bool is_whole(double value) { return std::trunc(value) == value && value >= -0x1p63 && value < 0x1p63; }

enum class Order : uint8_t { less, equal, greater, unordered };

template <class T>
Order order_of(T a, T b) {
  if (a < b) return Order::less;
  if (a > b) return Order::greater;
  return a == b ? Order::equal : Order::unordered;
}

// Exact, also where a double cannot hold the integer.
Order order_of_mixed(int64_t a, double b) {
  if (std::isnan(b)) return Order::unordered;
  if (b >= 0x1p63) return Order::less;
  if (b < -0x1p63) return Order::greater;
  const double whole = std::floor(b);
  const Order order = order_of(a, static_cast<int64_t>(whole));
  return order == Order::equal && b > whole ? Order::less : order;
}

Order reversed(Order order) {
  if (order == Order::less) return Order::greater;
  if (order == Order::greater) return Order::less;
  return order;
}

Order order_of_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return order_of(a.as_integer(), b.as_integer());
  if (a.is_integral()) return order_of_mixed(a.as_integer(), b.as_real());
  if (b.is_integral()) return reversed(order_of_mixed(b.as_integer(), a.as_real()));
  return order_of(a.as_real(), b.as_real());
}

Result<bool> equal_items(Runtime& runtime, const Values& a, const Values& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSAY_ASSIGN(const bool same, equal(runtime, a[i], b[i]));
    if (!same) return false;
  }
  return true;
}

Result<bool> equal_dicts(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a.items()) {
    ASSAY_ASSIGN(const Value* other, b.find(runtime, key));
    if (other == nullptr) return false;
    ASSAY_ASSIGN(const bool same, equal(runtime, value, *other));
    if (!same) return false;
  }
  return true;
}

bool equal_ranges(const Range& a, const Range& b) {
  if (a.length != b.length) return false;
  return a.length == 0 || (a.start == b.start && (a.length == 1 || a.step == b.step));
}

std::string_view op_text(CompareOp op) {
  switch (op) {
    case CompareOp::less: return "<";
    case CompareOp::less_equal: return "<=";
    case CompareOp::greater: return ">";
    default: return ">=";
  }
}

Status not_orderable(CompareOp op, const Value& a, const Value& b) {
  if (a.is(Kind::undefined)) return bad_data(a.undefined_reason());
  if (b.is(Kind::undefined)) return bad_data(b.undefined_reason());
  return bad_data(fmt::format("'{}' is not supported between '{}' and '{}'", op_text(op), type_name(a), type_name(b)));
}

bool holds(CompareOp op, Order order) {
  switch (op) {
    case CompareOp::less: return order == Order::less;
    case CompareOp::less_equal: return order == Order::less || order == Order::equal;
    case CompareOp::greater: return order == Order::greater;
    default: return order == Order::greater || order == Order::equal;
  }
}

Result<bool> ordered(Runtime& runtime, CompareOp op, const Value& a, const Value& b);

// Lists and tuples compare by their first difference.
Result<bool> ordered_items(Runtime& runtime, CompareOp op, const Values& a, const Values& b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    ASSAY_ASSIGN(const bool same, equal(runtime, a[i], b[i]));
    if (!same) return ordered(runtime, op, a[i], b[i]);
  }
  return holds(op, order_of(a.size(), b.size()));
}

Result<bool> ordered(Runtime& runtime, CompareOp op, const Value& a, const Value& b) {
  if (!runtime.spend()) return runtime.out_of_steps();
  if (a.is_number() && b.is_number()) return holds(op, order_of_numbers(a, b));
  if (a.is(Kind::string) && b.is(Kind::string)) {
    ASSAY_TRY(runtime.admit(std::min(a.as_string().size(), b.as_string().size())));
    return holds(op, order_of(a.as_string().compare(b.as_string()), 0));
  }
  if (a.is_sequence() && a.kind() == b.kind()) return ordered_items(runtime, op, a.as_items(), b.as_items());
  return not_orderable(op, a, b);
}

Status append_items(Runtime& runtime, const Values& items, std::string& out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    ASSAY_TRY(append_repr(runtime, items[i], out));
  }
  return ok_status();
}

Status append_dict(Runtime& runtime, const Dict& dict, std::string& out) {
  out += '{';
  for (size_t i = 0; i < dict.size(); ++i) {
    if (i > 0) out += ", ";
    ASSAY_TRY(append_repr(runtime, dict.items()[i].first, out));
    out += ": ";
    ASSAY_TRY(append_repr(runtime, dict.items()[i].second, out));
  }
  out += '}';
  return ok_status();
}

Status append_view(Runtime& runtime, const View& view, std::string& out) {
  static constexpr std::string_view kNames[] = {"dict_keys([", "dict_values([", "dict_items(["};
  out += kNames[static_cast<size_t>(view.kind)];
  bool is_first = true;
  for (const auto& [key, value] : view.dict.as_dict().items()) {
    if (!is_first) out += ", ";
    is_first = false;
    if (view.kind == ViewKind::items) out += '(';
    if (view.kind != ViewKind::values) ASSAY_TRY(append_repr(runtime, key, out));
    if (view.kind == ViewKind::items) out += ", ";
    if (view.kind != ViewKind::keys) ASSAY_TRY(append_repr(runtime, value, out));
    if (view.kind == ViewKind::items) out += ')';
  }
  out += "])";
  return ok_status();
}

Status append_name_space(Runtime& runtime, const Namespace& name_space, std::string& out) {
  out += "<Namespace {";
  for (size_t i = 0; i < name_space.attributes.size(); ++i) {
    if (i > 0) out += ", ";
    out += repr_text(name_space.attributes[i].first) + ": ";
    ASSAY_TRY(append_repr(runtime, name_space.attributes[i].second, out));
  }
  out += "}>";
  return ok_status();
}

Status append_loop(Runtime& runtime, Loop& loop, std::string& out) {
  ASSAY_ASSIGN(const int64_t length, loop.length(runtime));
  out += fmt::format("<LoopContext {}/{}>", loop.index0 + 1, length);
  return ok_status();
}

void append_range(const Range& range, std::string& out) {
  out += fmt::format("range({}, {}", range.start, range.stop);
  out += range.step == 1 ? ")" : fmt::format(", {})", range.step);
}

Status append_repr_of_kind(Runtime& runtime, const Value& value, std::string& out) {
  switch (value.kind()) {
    case Kind::undefined: out += "Undefined"; return ok_status();
    case Kind::none: out += "None"; return ok_status();
    case Kind::boolean: out += value.as_boolean() ? "True" : "False"; return ok_status();
    case Kind::integer: out += std::to_string(value.as_integer()); return ok_status();
    case Kind::real: out += py_float_repr(value.as_real()); return ok_status();
    case Kind::string:
      out += value.is_markup() ? "Markup(" + repr_text(value.as_string()) + ")" : repr_text(value.as_string());
      return ok_status();
    case Kind::list:
      out += '[';
      ASSAY_TRY(append_items(runtime, value.as_items(), out));
      out += ']';
      return ok_status();
    case Kind::tuple:
      out += '(';
      ASSAY_TRY(append_items(runtime, value.as_items(), out));
      out += value.as_items().size() == 1 ? ",)" : ")";
      return ok_status();
    case Kind::dict: return append_dict(runtime, value.as_dict(), out);
    case Kind::range: append_range(value.as_range(), out); return ok_status();
    case Kind::view: return append_view(runtime, value.as_view(), out);
    case Kind::name_space: return append_name_space(runtime, value.as_name_space(), out);
    case Kind::macro:
      out += "<Macro " + (value.as_macro().node->name.empty() ? "anonymous" : repr_text(value.as_macro().node->name)) +
             ">";
      return ok_status();
    case Kind::loop: return append_loop(runtime, value.as_loop(), out);
    default: break;
  }
  return bad_data(fmt::format("a '{}' has no text of its own; turn it into a list or call it first", type_name(value)));
}

Result<Value> json_array(Runtime& runtime, const Json& json, int depth);
Result<Value> json_object(Runtime& runtime, const Json& json, int depth);

Result<Value> value_from_json(Runtime& runtime, const Json& json, int depth) {
  if (depth > runtime.limits().max_depth) return runtime.too_deep();
  switch (json.kind()) {
    case Json::Kind::null: return Value::none();
    case Json::Kind::boolean: return Value::boolean(json.as_bool());
    case Json::Kind::integer: return Value::integer(json.as_int());
    case Json::Kind::real: return Value::real(json.as_real());
    case Json::Kind::string: ASSAY_TRY(runtime.admit(json.as_string().size())); return Value::string(json.as_string());
    case Json::Kind::array: return json_array(runtime, json, depth);
    case Json::Kind::object: return json_object(runtime, json, depth);
  }
  return internal_error("a JSON value of unknown kind");
}

Result<Value> json_array(Runtime& runtime, const Json& json, int depth) {
  Values items;
  items.reserve(json.size());
  for (const Json& element : json.as_array()) {
    ASSAY_ASSIGN(Value item, value_from_json(runtime, element, depth + 1));
    items.push_back(std::move(item));
  }
  return Value::list(runtime, std::move(items));
}

Result<Value> json_object(Runtime& runtime, const Json& json, int depth) {
  Dict dict;
  for (const auto& [key, element] : json.as_object()) {
    ASSAY_ASSIGN(Value item, value_from_json(runtime, element, depth + 1));
    ASSAY_TRY(dict.set(runtime, key, std::move(item)));
  }
  return Value::dict(runtime, std::move(dict));
}

constexpr size_t kMaxLinearItems = 8;  // dicts up to this size are searched from front to back

uint64_t hash_string(std::string_view text) { return hash64(text, 1); }

uint64_t hash_integer(int64_t value) {
  return hash64(std::string_view(reinterpret_cast<const char*>(&value), sizeof(value)), 2);
}

uint64_t hash_identity(const void* pointer) {
  return hash_integer(static_cast<int64_t>(std::bit_cast<uintptr_t>(pointer)));
}

uint64_t hash_real(double value) {
  if (is_whole(value)) return hash_integer(static_cast<int64_t>(value));
  return hash_integer(std::bit_cast<int64_t>(value));
}

}  // namespace

Value Value::undefined(std::string reason) {
  return {Kind::undefined, std::make_shared<std::string>(std::move(reason))};
}

Value Value::boolean(bool value) {
  Value result(Kind::boolean);
  result.integer_ = value ? 1 : 0;
  return result;
}

Value Value::integer(int64_t value) {
  Value result(Kind::integer);
  result.integer_ = value;
  return result;
}

Value Value::real(double value) {
  Value result(Kind::real);
  result.real_ = value;
  return result;
}

Value Value::string(std::string text, bool is_markup) {
  return {Kind::string, std::make_shared<Text>(Text{std::move(text), is_markup})};
}

Value Value::range(Range range) { return {Kind::range, std::make_shared<Range>(range)}; }
Value Value::view(ViewKind kind, const Value& dict) { return {Kind::view, std::make_shared<View>(View{kind, dict})}; }
Value Value::iterator(std::shared_ptr<Iterator> iterator) { return {Kind::iterator, std::move(iterator)}; }
Value Value::macro(Macro macro) { return {Kind::macro, std::make_shared<Macro>(macro)}; }
Value Value::loop(std::shared_ptr<Loop> loop) { return {Kind::loop, std::move(loop)}; }
Value Value::joiner(Joiner joiner) { return {Kind::joiner, std::make_shared<Joiner>(std::move(joiner))}; }

Value Value::name_space(Namespace* name_space) {
  return {Kind::name_space, std::shared_ptr<void>(std::shared_ptr<void>(), name_space)};
}

Value Value::function(std::string name, FunctionBody body) { return method(std::move(name), body, Value()); }

Value Value::method(std::string name, FunctionBody body, const Value& self) {
  return {Kind::function, std::make_shared<Function>(Function{std::move(name), body, self})};
}

Value Value::cycler(Values items) {
  const int depth = depth_of(items);
  return {Kind::cycler, std::make_shared<Cycler>(Cycler{std::move(items), 0, depth})};
}

Result<Value> Value::list(Runtime& runtime, Values items) {
  const int depth = depth_of(items);
  ASSAY_TRY(check_container(runtime, items.size(), depth));
  return Value(Kind::list, std::make_shared<Sequence>(Sequence{std::move(items), depth, false}));
}

Result<Value> Value::tuple(Runtime& runtime, Values items) {
  const int depth = depth_of(items);
  ASSAY_TRY(check_container(runtime, items.size(), depth));
  return Value(Kind::tuple, std::make_shared<Sequence>(Sequence{std::move(items), depth, false}));
}

Result<Value> Value::group(Runtime& runtime, Value grouper, Value items) {
  const int depth = std::max(grouper.depth(), items.depth()) + 1;
  ASSAY_TRY(check_container(runtime, 2, depth));
  return Value(Kind::tuple, std::make_shared<Sequence>(Sequence{{std::move(grouper), std::move(items)}, depth, true}));
}

Result<Value> Value::dict(Runtime& runtime, Dict dict) {
  ASSAY_TRY(check_container(runtime, 2 * dict.size(), dict.depth()));
  return Value(Kind::dict, std::make_shared<Dict>(std::move(dict)));
}

Result<Value> Value::from_json(Runtime& runtime, const Json& json) { return value_from_json(runtime, json, 0); }

const std::string& Value::undefined_reason() const {
  static const std::string kMissing = "an undefined value is used";
  return object_ ? *static_cast<const std::string*>(object_.get()) : kMissing;
}

int Value::depth() const {
  switch (kind_) {
    case Kind::list:
    case Kind::tuple: return get<Sequence>().depth;
    case Kind::dict: return get<Dict>().depth();
    case Kind::view: return get<View>().dict.depth();
    case Kind::iterator: return get<Iterator>().depth();
    case Kind::function: return get<Function>().self.depth();
    case Kind::cycler: return get<Cycler>().depth;
    default: return 0;
  }
}

const Value* Dict::find(std::string_view key) const {
  const auto is_key = [&](const Item& item) { return item.first.is(Kind::string) && item.first.as_string() == key; };
  if (index_.empty()) {
    const auto item = std::find_if(items_.begin(), items_.end(), is_key);
    return item == items_.end() ? nullptr : &item->second;
  }
  const auto [first, last] = index_.equal_range(hash_string(key));
  const auto place = std::find_if(first, last, [&](const auto& entry) { return is_key(items_[entry.second]); });
  return place == last ? nullptr : &items_[place->second].second;
}

Result<const Value*> Dict::find(Runtime& runtime, const Value& key) const {
  if (key.is(Kind::string)) return find(key.as_string());
  ASSAY_ASSIGN(const uint64_t key_hash, hash(runtime, key));
  if (index_.empty()) {
    for (const Item& item : items_) {
      ASSAY_ASSIGN(const bool same, equal(runtime, item.first, key));
      if (same) return &item.second;
    }
    return nullptr;
  }
  const auto [first, last] = index_.equal_range(key_hash);
  for (auto entry = first; entry != last; ++entry) {
    ASSAY_ASSIGN(const bool same, equal(runtime, items_[entry->second].first, key));
    if (same) return &items_[entry->second].second;
  }
  return nullptr;
}

Status Dict::set(Runtime& runtime, Value key, Value value) {
  ASSAY_ASSIGN(const Value* present, find(runtime, key));
  depth_ = std::max({depth_, key.depth() + 1, value.depth() + 1});
  if (present != nullptr) {
    *const_cast<Value*>(present) = std::move(value);
    return ok_status();
  }
  items_.emplace_back(std::move(key), std::move(value));
  if (items_.size() <= kMaxLinearItems) return ok_status();
  for (size_t i = index_.empty() ? 0 : items_.size() - 1; i < items_.size(); ++i) {
    ASSAY_ASSIGN(const uint64_t key_hash, hash(runtime, items_[i].first));
    index_.emplace(key_hash, static_cast<uint32_t>(i));
  }
  return ok_status();
}

Status Dict::set(Runtime& runtime, std::string_view key, Value value) {
  return set(runtime, Value::string(std::string(key)), std::move(value));
}

Status Loop::peek(Runtime& runtime) {
  if (after_ || !source_) return ok_status();
  ASSAY_ASSIGN(after_, source_->next(runtime));
  return ok_status();
}

Result<bool> Loop::advance(Runtime& runtime) {
  ASSAY_TRY(peek(runtime));
  if (!after_) return false;
  ++index0;
  before_ = std::exchange(current_, std::move(*after_));
  after_.reset();
  return true;
}

Result<int64_t> Loop::length(Runtime& runtime) {
  if (length_) return *length_;
  ASSAY_TRY(peek(runtime));
  Values rest;
  if (source_) {
    ASSAY_ASSIGN(rest, collect_rest(runtime, *source_));
  }
  length_ = index0 + 1 + (after_ ? 1 : 0) + static_cast<int64_t>(rest.size());
  ASSAY_ASSIGN(const Value list, Value::list(runtime, std::move(rest)));
  ASSAY_ASSIGN(source_, iterate(runtime, list));
  return *length_;
}

Result<bool> Loop::is_last(Runtime& runtime) {
  ASSAY_TRY(peek(runtime));
  return !after_.has_value();
}

Result<Value> Loop::next_item(Runtime& runtime) {
  ASSAY_TRY(peek(runtime));
  return after_ ? *after_ : Value::undefined("there is no next item");
}

Value Loop::previous_item() const { return index0 > 0 ? before_ : Value::undefined("there is no previous item"); }

Result<bool> Loop::changed(Runtime& runtime, const Values& values) {
  if (last_changed_) {
    ASSAY_ASSIGN(const bool same, equal_items(runtime, *last_changed_, values));
    if (same) return false;
  }
  if (!closed_) last_changed_ = values;
  return true;
}

void Loop::close() {
  closed_ = true;
  source_.reset();
  after_.reset();
  last_changed_.reset();
  before_ = current_ = Value::undefined("the loop is over");
  statement = nullptr;
  scope = nullptr;
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined: return "Undefined";
    case Kind::none: return "NoneType";
    case Kind::boolean: return "bool";
    case Kind::integer: return "int";
    case Kind::real: return "float";
    case Kind::string: return value.is_markup() ? "Markup" : "str";
    case Kind::list: return "list";
    case Kind::tuple: return "tuple";
    case Kind::dict: return "dict";
    case Kind::range: return "range";
    case Kind::view: return "dict view";
    case Kind::iterator: return "generator";
    case Kind::name_space: return "Namespace";
    case Kind::macro: return "Macro";
    case Kind::function: return "function";
    case Kind::loop: return "LoopContext";
    case Kind::joiner: return "Joiner";
    case Kind::cycler: return "Cycler";
  }
  return "unknown";
}

std::string describe(const Value& value) {
  return value.is(Kind::none) ? "None" : fmt::format("'{} object'", type_name(value));
}

bool is_true(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none: return false;
    case Kind::boolean:
    case Kind::integer: return value.as_integer() != 0;
    case Kind::real: return value.as_real() != 0;
    case Kind::string: return !value.as_string().empty();
    case Kind::list:
    case Kind::tuple: return !value.as_items().empty();
    case Kind::dict: return value.as_dict().size() > 0;
    case Kind::range: return value.as_range().length > 0;
    case Kind::view: return value.as_view().dict.as_dict().size() > 0;
    default: return true;
  }
}

Status append_repr(Runtime& runtime, const Value& value, std::string& out) {
  const Runtime::Nested nested(runtime);
  if (nested.too_deep()) return runtime.too_deep();
  const size_t before = out.size();
  if (!runtime.spend()) return runtime.out_of_steps();
  ASSAY_TRY(append_repr_of_kind(runtime, value, out));
  if (out.size() > runtime.limits().max_value_bytes) return runtime.admit(out.size());
  // Containers were charged by their items.
  return value.is(Kind::string) ? runtime.admit(out.size() - before) : ok_status();
}

Status append_str(Runtime& runtime, const Value& value, std::string& out) {
  if (value.is(Kind::undefined)) return ok_status();
  if (!value.is(Kind::string)) return append_repr(runtime, value, out);
  ASSAY_TRY(runtime.admit(value.as_string().size()));
  out += value.as_string();
  return ok_status();
}

Result<std::string> to_str(Runtime& runtime, const Value& value) {
  std::string out;
  ASSAY_TRY(append_str(runtime, value, out));
  return out;
}

Result<bool> equal(Runtime& runtime, const Value& a, const Value& b) {
  if (!runtime.spend()) return runtime.out_of_steps();
  if (a.is_number() && b.is_number()) return order_of_numbers(a, b) == Order::equal;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none: return true;
    case Kind::string:
      if (a.as_string().size() != b.as_string().size()) return false;
      ASSAY_TRY(runtime.admit(a.as_string().size()));
      return a.as_string() == b.as_string();
    case Kind::list:
    case Kind::tuple:
      return a.identity() == b.identity() ? Result<bool>(true) : equal_items(runtime, a.as_items(), b.as_items());
    case Kind::dict:
      return a.identity() == b.identity() ? Result<bool>(true) : equal_dicts(runtime, a.as_dict(), b.as_dict());
    case Kind::range: return equal_ranges(a.as_range(), b.as_range());
    case Kind::view: return unsupported("comparing the views of dicts is not supported; compare lists of them");
    default: return a.identity() == b.identity();
  }
}

Result<bool> less(Runtime& runtime, const Value& a, const Value& b) { return ordered(runtime, CompareOp::less, a, b); }

Result<bool> compare(Runtime& runtime, CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::equal: return equal(runtime, a, b);
    case CompareOp::in: return contains(runtime, b, a);
    case CompareOp::not_equal: {
      ASSAY_ASSIGN(const bool same, equal(runtime, a, b));
      return !same;
    }
    case CompareOp::not_in: {
      ASSAY_ASSIGN(const bool found, contains(runtime, b, a));
      return !found;
    }
    default: return ordered(runtime, op, a, b);
  }
}

Result<bool> contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.is(Kind::string)) {
    if (!item.is(Kind::string)) {
      return bad_data(fmt::format("'in' a string needs a string on its left, found '{}'", type_name(item)));
    }
    ASSAY_TRY(runtime.admit(container.as_string().size()));
    return container.as_string().find(item.as_string()) != std::string::npos;
  }
  const bool is_keys = container.is(Kind::view) && container.as_view().kind == ViewKind::keys;
  if (container.is(Kind::dict) || is_keys) {
    const Value& dict = is_keys ? container.as_view().dict : container;
    ASSAY_ASSIGN(const Value* found, dict.as_dict().find(runtime, item));
    return found != nullptr;
  }
  if (container.is(Kind::loop)) return unsupported("'in' on a loop is not supported");
  ASSAY_ASSIGN(const std::shared_ptr<Iterator> items, iterate(runtime, container));
  for (;;) {
    ASSAY_ASSIGN(const std::optional<Value> next, items->next(runtime));
    if (!next) return false;
    ASSAY_ASSIGN(const bool same, equal(runtime, *next, item));
    if (same) return true;
  }
}

Result<uint64_t> hash(Runtime& runtime, const Value& value) {
  if (!runtime.spend()) return runtime.out_of_steps();
  switch (value.kind()) {
    case Kind::undefined: return uint64_t{3};
    case Kind::none: return uint64_t{4};
    case Kind::boolean:
    case Kind::integer: return hash_integer(value.as_integer());
    case Kind::real: return hash_real(value.as_real());
    case Kind::string: return hash_string(value.as_string());
    case Kind::tuple: {
      uint64_t combined = 5;
      for (const Value& item : value.as_items()) {
        ASSAY_ASSIGN(const uint64_t item_hash, hash(runtime, item));
        combined = hash_integer(static_cast<int64_t>(combined * 31 + item_hash));
      }
      return combined;
    }
    case Kind::list:
    case Kind::dict:
    case Kind::range:
    case Kind::view: return unhashable(value);
    default: return hash_identity(value.identity());
  }
}

std::optional<int64_t> length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined: return 0;
    case Kind::string: return static_cast<int64_t>(count_code_points(value.as_string()));
    case Kind::list:
    case Kind::tuple: return static_cast<int64_t>(value.as_items().size());
    case Kind::dict: return static_cast<int64_t>(value.as_dict().size());
    case Kind::range: return value.as_range().length;
    case Kind::view: return static_cast<int64_t>(value.as_view().dict.as_dict().size());
    default: return std::nullopt;
  }
}

}  // namespace assay::jinja
