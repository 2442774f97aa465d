#pragma once

#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "evals/sandbox/value.h"

namespace assay {

// The argument lists of a problem's tests. `json` is a list of lists. For MBPP+ problems ("Mbpp/124") the tuples, sets
// and complex numbers that JSON cannot hold come back, by evalplus' table (tasks.md 4.1). Errors: bad_data.
Result<std::vector<Value::Items>> parse_inputs(std::string_view json, std::string_view task_id, bool mbpp);

}  // namespace assay
