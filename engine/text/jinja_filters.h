#pragma once

#include <string_view>

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

namespace assay::jinja {

using FilterBody = Result<Value> (*)(Runtime& runtime, const Value& input, const Arguments& arguments);

struct Filter {
  std::string_view name;
  FilterBody body;  // null: Jinja has it, Assay does not
};

// nullptr for names that Jinja does not know either.
const Filter* find_filter(std::string_view name);
// Errors: unsupported for a filter without a body or no filter at all; else what the filter says.
Result<Value> apply_filter(Runtime& runtime, const Filter* filter, std::string_view name, const Value& input,
                           const Arguments& arguments);

}  // namespace assay::jinja
