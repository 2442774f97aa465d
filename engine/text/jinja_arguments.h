#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

namespace assay::jinja {

// A parameter of a filter or function: required while its fallback is missing.
struct Parameter {
  std::string_view name;
  Value fallback = Value();
};

// Python's rules for a call: by position, by name, or the fallback. The result has a value for each parameter.
// Errors: bad_data naming the callee for too many, unknown, doubled and absent arguments.
Result<Values> bind(std::string_view callee, const Arguments& arguments, std::initializer_list<Parameter> parameters);
// The same for methods that take no names.
Result<Values> bind_positional(std::string_view callee, const Arguments& arguments,
                               std::initializer_list<Parameter> parameters);

// The value of an argument as what a callee needs. Errors: bad_data naming the callee and the type found.
Result<int64_t> want_integer(std::string_view callee, const Value& value);  // booleans are 0 and 1
Result<std::string> want_string(std::string_view callee, const Value& value);

}  // namespace assay::jinja
