#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"

namespace assay::ifeval {

// Whether a response, valid UTF-8 and not blank, follows one instruction. Thread-safe.
using Check = std::function<bool(const std::string& response)>;

// The check of an instruction such as "length_constraints:number_words" with its arguments (an object; null members
// count as absent). The rules are lm-eval's, which are the benchmark's own; where those would draw a missing or
// unusable argument at random, the argument is demanded here, and a letter that is none is counted as it is.
// Errors: bad_data naming the argument, or the unknown instruction.
Result<Check> make_check(const std::string& id, const JsonField& arguments);

std::vector<std::string> instruction_ids();  // all 25, sorted

}  // namespace assay::ifeval
