#pragma once

#include <optional>
#include <string_view>

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

// How templates reach into values: `a.b`, `a[b]` and `a[b:c]`. What is not there is undefined; what Jinja's immutable
// sandbox withholds (mutators, names with underscores) is undefined too, and calling it is an error.
namespace assay::jinja {

Result<Value> get_attribute(Runtime& runtime, const Value& object, std::string_view name);  // attribute, else item
Result<Value> get_item(Runtime& runtime, const Value& object, const Value& key);            // item, else attribute

// Absent bounds are none. Errors: bad_data for values that cannot be sliced, bounds that are no integers, a step of 0.
Result<Value> get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                        const Value& step);

// A path of attributes ("function.name", 0) as filters take it, followed item by item.
class AttributePath {
 public:
  // none: the value itself. A string is cut at its dots; parts of digits are indices.
  static Result<AttributePath> make(const Value& attribute);
  // `fallback`, when it is not missing, replaces what is undefined on the way.
  Result<Value> get(Runtime& runtime, Value object, const Value& fallback = Value()) const;
  static AttributePath of_text(std::string_view path);

 private:
  Values parts_;
};

}  // namespace assay::jinja
