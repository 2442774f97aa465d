#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/text/jinja_ast.h"
#include "engine/text/jinja_value.h"

// Python's operators. Integers are 64 bits: a result beyond them is an error, never a wrapped one.
namespace assay::jinja {

Result<Value> apply_binary(Runtime& runtime, BinaryOp op, const Value& a, const Value& b);
Result<Value> apply_sign(bool negative, const Value& value);

// Charges for `count` copies of `bytes` bytes. Errors: bad_data when that is over the limit of one value.
Status admit_repeated(Runtime& runtime, int64_t count, size_t bytes);

// str.replace() of a string value; a negative count is all of them.
Result<Value> replace_in(Runtime& runtime, const Value& text, std::string_view from, std::string_view to,
                         int64_t count);

// round(value, digits).
Result<Value> round_number(const Value& value, int64_t digits);

}  // namespace assay::jinja
