#pragma once

#include <string_view>

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

namespace assay::jinja {

using TestBody = Result<bool> (*)(Runtime& runtime, const Value& value, const Values& arguments);

// What stands after `is`, and what select() and its kin take by name.
struct Test {
  std::string_view name;
  size_t num_arguments;  // after the value itself
  TestBody body;
};

// nullptr when there is no such test.
const Test* find_test(std::string_view name);
// Errors: unsupported when there is no test; bad_data for the wrong number of arguments, else what the test says.
Result<bool> apply_test(Runtime& runtime, const Test* test, std::string_view name, const Value& value,
                        const Arguments& arguments);

}  // namespace assay::jinja
