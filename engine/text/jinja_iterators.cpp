#include "engine/text/jinja_iterators.h"

#include <fmt/format.h>

#include "engine/base/text_util.h"
#include "engine/text/jinja_runtime.h"

namespace assay::jinja {
namespace {

Result<Value> view_item(Runtime& runtime, ViewKind kind, const Dict::Item& item) {
  switch (kind) {
    case ViewKind::keys: return item.first;
    case ViewKind::values: return item.second;
    case ViewKind::items: return Value::tuple(runtime, {item.first, item.second});
  }
  return item.first;
}

// The item at a place of anything that has places but strings.
Result<Value> item_at(Runtime& runtime, const Value& value, size_t index) {
  switch (value.kind()) {
    case Kind::dict: return value.as_dict().items()[index].first;
    case Kind::view: return view_item(runtime, value.as_view().kind, value.as_view().dict.as_dict().items()[index]);
    case Kind::range: return Value::integer(value.as_range().at(static_cast<int64_t>(index)));
    default: return value.as_items()[index];
  }
}

class PlaceIterator final : public Iterator {
 public:
  PlaceIterator(const Value& source, size_t size, bool reverse)
      : Iterator(source.depth() + 1), source_(source), size_(size), reverse_(reverse) {}

  Result<std::optional<Value>> next(Runtime& runtime) override {
    if (index_ >= size_) return std::optional<Value>();
    if (!runtime.spend()) return runtime.out_of_steps();
    const size_t place = reverse_ ? size_ - 1 - index_ : index_;
    ++index_;
    ASSAY_ASSIGN(Value item, item_at(runtime, source_, place));
    return std::optional<Value>(std::move(item));
  }

 private:
  Value source_;
  size_t size_;
  size_t index_ = 0;
  bool reverse_;
};

class CharacterIterator final : public Iterator {
 public:
  explicit CharacterIterator(const Value& source) : Iterator(1), source_(source) {}

  Result<std::optional<Value>> next(Runtime& runtime) override {
    const std::string& text = source_.as_string();
    if (offset_ >= text.size()) return std::optional<Value>();
    if (!runtime.spend()) return runtime.out_of_steps();
    const size_t begin = offset_;
    next_code_point(text, offset_);
    return std::optional<Value>(Value::string(text.substr(begin, offset_ - begin), source_.is_markup()));
  }

 private:
  Value source_;
  size_t offset_ = 0;
};

}  // namespace

bool is_iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::range:
    case Kind::view:
    case Kind::loop:
    case Kind::iterator: return true;
    default: return false;
  }
}

Result<std::shared_ptr<Iterator>> iterate(Runtime&, const Value& value) {
  using Pointer = std::shared_ptr<Iterator>;
  if (value.is(Kind::iterator)) return value.as_iterator();
  if (value.is(Kind::string)) return Pointer(std::make_shared<CharacterIterator>(value));
  if (value.is(Kind::loop)) return unsupported("walking over a loop itself is not supported");
  if (!is_iterable(value)) return bad_data(fmt::format("'{}' object is not iterable", type_name(value)));
  return Pointer(std::make_shared<PlaceIterator>(value, static_cast<size_t>(length_of(value).value_or(0)), false));
}

bool is_reversible(const Value& value) {
  return is_iterable(value) && !value.is(Kind::iterator) && !value.is(Kind::loop);
}

Result<std::shared_ptr<Iterator>> iterate_reversed(Runtime& runtime, const Value& value) {
  if (!is_reversible(value)) return bad_data(fmt::format("'{}' object is not reversible", type_name(value)));
  Value source = value;
  if (value.is(Kind::string)) {
    ASSAY_ASSIGN(Values characters, collect(runtime, value));
    ASSAY_ASSIGN(source, Value::list(runtime, std::move(characters)));
  }
  const auto size = static_cast<size_t>(length_of(source).value_or(0));
  return std::shared_ptr<Iterator>(std::make_shared<PlaceIterator>(source, size, true));
}

Result<Values> collect_rest(Runtime& runtime, Iterator& iterator) {
  Values items;
  for (;;) {
    ASSAY_ASSIGN(std::optional<Value> item, iterator.next(runtime));
    if (!item) return items;
    items.push_back(std::move(*item));
    if (items.size() * sizeof(Value) > runtime.limits().max_value_bytes)
      return runtime.admit(items.size() * sizeof(Value));
  }
}

Result<Values> collect(Runtime& runtime, const Value& value) {
  ASSAY_ASSIGN(const std::shared_ptr<Iterator> items, iterate(runtime, value));
  return collect_rest(runtime, *items);
}

Result<Value> make_iterator(Runtime& runtime, std::shared_ptr<Iterator> iterator) {
  if (iterator->depth() > runtime.limits().max_depth) return runtime.too_deep();
  return Value::iterator(std::move(iterator));
}

}  // namespace assay::jinja
