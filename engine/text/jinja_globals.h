#pragma once

#include <string_view>

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

namespace assay::jinja {

// range, namespace, dict, joiner, cycler, raise_exception, strftime_now. Missing when there is no such name.
Value find_global(std::string_view name);

// dict(...): from a mapping or pairs, and from names.
Result<Value> make_dict(Runtime& runtime, const Arguments& arguments);
// dict.fromkeys(keys, value).
Result<Value> dict_from_keys(Runtime& runtime, const Arguments& arguments);

}  // namespace assay::jinja
