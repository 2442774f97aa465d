#pragma once

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

// The filters that give their items one by one as they are asked for, as Jinja's generators do.
namespace assay::jinja {

Result<Value> map_filter(Runtime& runtime, const Value& input, const Arguments& arguments);
Result<Value> select_filter(Runtime& runtime, const Value& input, const Arguments& arguments);
Result<Value> reject_filter(Runtime& runtime, const Value& input, const Arguments& arguments);
Result<Value> selectattr_filter(Runtime& runtime, const Value& input, const Arguments& arguments);
Result<Value> rejectattr_filter(Runtime& runtime, const Value& input, const Arguments& arguments);
Result<Value> unique_filter(Runtime& runtime, const Value& input, const Arguments& arguments);
Result<Value> batch_filter(Runtime& runtime, const Value& input, const Arguments& arguments);
Result<Value> slice_filter(Runtime& runtime, const Value& input, const Arguments& arguments);
Result<Value> items_filter(Runtime& runtime, const Value& input, const Arguments& arguments);

}  // namespace assay::jinja
