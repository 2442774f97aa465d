#include "engine/text/jinja_filter_iterators.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "engine/base/text_util.h"
#include "engine/text/jinja_access.h"
#include "engine/text/jinja_arguments.h"
#include "engine/text/jinja_filters.h"
#include "engine/text/jinja_iterators.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_tests.h"

namespace assay::jinja {
namespace {

using MaybeValue = std::optional<Value>;

int depth_with(const Value& input, const Arguments& arguments) {
  int depth = input.depth();
  for (const Value& value : arguments.positional) depth = std::max(depth, value.depth());
  for (const auto& [name, value] : arguments.named) depth = std::max(depth, value.depth());
  return depth + 1;
}

// Walks its input only once it is asked: like a generator, it does nothing, and fails at nothing, before that.
class FilterIterator : public Iterator {
 public:
  FilterIterator(const Value& input, const Arguments& arguments)
      : Iterator(depth_with(input, arguments)), input_(input) {}

 protected:
  Result<MaybeValue> next_input(Runtime& runtime) {
    if (!source_) {
      ASSAY_ASSIGN(source_, iterate(runtime, input_));
    }
    if (!runtime.spend()) return runtime.out_of_steps();
    return source_->next(runtime);
  }
  const Value& input() const { return input_; }

 private:
  Value input_;
  std::shared_ptr<Iterator> source_;
};

const Value* find_named(const Arguments& arguments, std::string_view name) {
  for (const auto& [key, value] : arguments.named) {
    if (key == name) return &value;
  }
  return nullptr;
}

// The first positional argument names a filter or a test; the rest is for that.
Arguments rest_of(const Arguments& arguments, size_t num_taken) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + static_cast<ptrdiff_t>(num_taken));
  return rest;
}

class AttributeMap final : public FilterIterator {
 public:
  AttributeMap(const Value& input, const Arguments& arguments, AttributePath path, Value fallback)
      : FilterIterator(input, arguments), path_(std::move(path)), fallback_(std::move(fallback)) {}

  Result<MaybeValue> next(Runtime& runtime) override {
    if (!is_true(input())) return MaybeValue();
    ASSAY_ASSIGN(MaybeValue item, next_input(runtime));
    if (!item) return item;
    ASSAY_ASSIGN(Value value, path_.get(runtime, std::move(*item), fallback_));
    return MaybeValue(std::move(value));
  }

 private:
  AttributePath path_;
  Value fallback_;
};

class FilterMap final : public FilterIterator {
 public:
  FilterMap(const Value& input, const Arguments& arguments, std::string name)
      : FilterIterator(input, arguments),
        name_(std::move(name)),
        arguments_(rest_of(arguments, 1)),
        filter_(find_filter(name_)) {}

  Result<MaybeValue> next(Runtime& runtime) override {
    if (!is_true(input())) return MaybeValue();
    ASSAY_ASSIGN(const MaybeValue item, next_input(runtime));
    if (!item) return item;
    ASSAY_ASSIGN(Value value, apply_filter(runtime, filter_, name_, *item, arguments_));
    return MaybeValue(std::move(value));
  }

 private:
  std::string name_;
  Arguments arguments_;
  const Filter* filter_;
};

// Items, or their attributes, that pass a test, or that fail it.
class Selection final : public FilterIterator {
 public:
  struct Rule {
    bool wanted = true;
    AttributePath path;
    std::optional<std::string> test;  // absent: truth
  };
  Selection(const Value& input, const Arguments& arguments, Rule rule, size_t num_taken)
      : FilterIterator(input, arguments),
        rule_(std::move(rule)),
        arguments_(rest_of(arguments, num_taken)),
        test_(rule_.test ? find_test(*rule_.test) : nullptr) {}

  Result<MaybeValue> next(Runtime& runtime) override {
    if (!is_true(input())) return MaybeValue();
    for (;;) {
      ASSAY_ASSIGN(MaybeValue item, next_input(runtime));
      if (!item) return item;
      ASSAY_ASSIGN(const Value value, rule_.path.get(runtime, *item));
      bool passes = is_true(value);
      if (rule_.test) {
        ASSAY_ASSIGN(passes, apply_test(runtime, test_, *rule_.test, value, arguments_));
      }
      if (passes == rule_.wanted) return item;
    }
  }

 private:
  Rule rule_;
  Arguments arguments_;
  const Test* test_;
};

Result<Value> select(Runtime& runtime, const Value& input, const Arguments& arguments, bool wanted, bool by_attribute) {
  Selection::Rule rule;
  rule.wanted = wanted;
  size_t num_taken = 0;
  if (by_attribute) {
    if (arguments.positional.empty()) return bad_data("'selectattr' needs the name of an attribute");
    ASSAY_ASSIGN(rule.path, AttributePath::make(arguments.positional[num_taken++]));
  }
  if (arguments.positional.size() > num_taken) {
    ASSAY_ASSIGN(rule.test, want_string("select", arguments.positional[num_taken++]));
  }
  return make_iterator(runtime, std::make_shared<Selection>(input, arguments, std::move(rule), num_taken));
}

class Unique final : public FilterIterator {
 public:
  Unique(const Value& input, const Arguments& arguments, bool case_sensitive, AttributePath path)
      : FilterIterator(input, arguments), case_sensitive_(case_sensitive), path_(std::move(path)) {}

  Result<MaybeValue> next(Runtime& runtime) override {
    for (;;) {
      ASSAY_ASSIGN(MaybeValue item, next_input(runtime));
      if (!item) return item;
      ASSAY_ASSIGN(Value key, path_.get(runtime, *item));
      if (!case_sensitive_ && key.is(Kind::string)) {
        ASSAY_TRY(runtime.admit(key.as_string().size()));
        key = Value::string(py_lower(key.as_string()));
      }
      ASSAY_ASSIGN(const Value* seen, seen_.find(runtime, key));
      if (seen != nullptr) continue;
      ASSAY_TRY(seen_.set(runtime, std::move(key), Value::none()));
      return item;
    }
  }

 private:
  bool case_sensitive_;
  AttributePath path_;
  Dict seen_;
};

class Batch final : public FilterIterator {
 public:
  Batch(const Value& input, const Arguments& arguments, int64_t size, Value fill)
      : FilterIterator(input, arguments), size_(size), fill_(std::move(fill)) {}

  Result<MaybeValue> next(Runtime& runtime) override {
    while (!at_end_) {
      ASSAY_ASSIGN(MaybeValue item, next_input(runtime));
      if (!item) break;
      const bool is_full = static_cast<int64_t>(batch_.size()) == size_;
      Values full = is_full ? std::exchange(batch_, {}) : Values();
      batch_.push_back(std::move(*item));
      if (is_full) return listed(runtime, std::move(full));
    }
    at_end_ = true;
    if (batch_.empty()) return MaybeValue();
    return listed(runtime, filled(runtime));
  }

 private:
  static Result<MaybeValue> listed(Runtime& runtime, Values items) {
    ASSAY_ASSIGN(Value list, Value::list(runtime, std::move(items)));
    return MaybeValue(std::move(list));
  }

  Values filled(const Runtime& runtime) {
    Values last = std::exchange(batch_, {});
    const auto limit = static_cast<int64_t>(runtime.limits().max_value_bytes / sizeof(Value)) + 1;
    if (fill_.is(Kind::none) || static_cast<int64_t>(last.size()) >= size_) return last;
    last.resize(static_cast<size_t>(std::min(size_, limit)), fill_);
    return last;
  }

  int64_t size_;
  Value fill_;
  Values batch_;
  bool at_end_ = false;
};

// The whole input in `slices` lists of nearly one size.
class Slices final : public FilterIterator {
 public:
  Slices(const Value& input, const Arguments& arguments, int64_t slices, Value fill)
      : FilterIterator(input, arguments), slices_(slices), fill_(std::move(fill)) {}

  Result<MaybeValue> next(Runtime& runtime) override {
    if (!items_) {
      ASSAY_ASSIGN(items_, collect(runtime, input()));
      if (slices_ == 0) return bad_data("division by zero: 'slice' into no lists");
    }
    if (index_ >= slices_) return MaybeValue();
    if (!runtime.spend()) return runtime.out_of_steps();
    const auto total = static_cast<int64_t>(items_->size());
    const int64_t size = total / slices_, num_longer = total % slices_;
    const int64_t begin = index_ * size + std::min(index_, num_longer);
    const int64_t end = begin + size + (index_ < num_longer ? 1 : 0);
    Values slice(items_->begin() + begin, items_->begin() + end);
    if (!fill_.is(Kind::none) && index_ >= num_longer) slice.push_back(fill_);
    ++index_;
    ASSAY_ASSIGN(Value list, Value::list(runtime, std::move(slice)));
    return MaybeValue(std::move(list));
  }

 private:
  int64_t slices_;
  Value fill_;
  std::optional<Values> items_;
  int64_t index_ = 0;
};

// The pairs of a mapping; none of an undefined value.
class Pairs final : public FilterIterator {
 public:
  using FilterIterator::FilterIterator;

  Result<MaybeValue> next(Runtime& runtime) override {
    if (input().is(Kind::undefined)) return MaybeValue();
    if (!input().is(Kind::dict)) return bad_data("can only get item pairs from a mapping");
    if (index_ >= input().as_dict().size()) return MaybeValue();
    if (!runtime.spend()) return runtime.out_of_steps();
    const Dict::Item& item = input().as_dict().items()[index_++];
    ASSAY_ASSIGN(Value pair, Value::tuple(runtime, {item.first, item.second}));
    return MaybeValue(std::move(pair));
  }

 private:
  size_t index_ = 0;
};

}  // namespace

Result<Value> map_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Value* attribute = arguments.positional.empty() ? find_named(arguments, "attribute") : nullptr;
  if (attribute == nullptr) {
    if (arguments.positional.empty()) return bad_data("'map' needs the name of a filter, or an attribute");
    ASSAY_ASSIGN(std::string name, want_string("map", arguments.positional[0]));
    return make_iterator(runtime, std::make_shared<FilterMap>(input, arguments, std::move(name)));
  }
  for (const auto& [name, value] : arguments.named) {
    if (name != "attribute" && name != "default") return bad_data(fmt::format("'map' has no argument '{}'", name));
  }
  const Value* fallback = find_named(arguments, "default");
  ASSAY_ASSIGN(AttributePath path, AttributePath::make(*attribute));
  const bool has_fallback = fallback != nullptr && !fallback->is(Kind::none);
  return make_iterator(
      runtime, std::make_shared<AttributeMap>(input, arguments, std::move(path), has_fallback ? *fallback : Value()));
}

Result<Value> select_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  return select(runtime, input, arguments, true, false);
}
Result<Value> reject_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  return select(runtime, input, arguments, false, false);
}
Result<Value> selectattr_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  return select(runtime, input, arguments, true, true);
}
Result<Value> rejectattr_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  return select(runtime, input, arguments, false, true);
}

Result<Value> unique_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given,
               bind("unique", arguments, {{"case_sensitive", Value::boolean(false)}, {"attribute", Value::none()}}));
  ASSAY_ASSIGN(AttributePath path, AttributePath::make(given[1]));
  return make_iterator(runtime, std::make_shared<Unique>(input, arguments, is_true(given[0]), std::move(path)));
}

Result<Value> batch_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("batch", arguments, {{"linecount"}, {"fill_with", Value::none()}}));
  ASSAY_ASSIGN(const int64_t size, want_integer("batch", given[0]));
  return make_iterator(runtime, std::make_shared<Batch>(input, arguments, size, given[1]));
}

Result<Value> slice_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_ASSIGN(const Values given, bind("slice", arguments, {{"slices"}, {"fill_with", Value::none()}}));
  ASSAY_ASSIGN(const int64_t slices, want_integer("slice", given[0]));
  return make_iterator(runtime, std::make_shared<Slices>(input, arguments, slices, given[1]));
}

Result<Value> items_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  ASSAY_TRY(bind("items", arguments, {}));
  return make_iterator(runtime, std::make_shared<Pairs>(input, arguments));
}

}  // namespace assay::jinja
