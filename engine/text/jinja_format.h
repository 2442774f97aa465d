#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

namespace assay::jinja {

// Python's "template % argument": a tuple gives several arguments, a dict named ones.
// Errors: bad_data where Python raises; unsupported for conversions that need integers beyond 64 bits.
Result<std::string> percent_format(Runtime& runtime, const Value& format, const Value& argument);

// Python's "template".format(...), attributes and items looked up as templates look them up.
Result<std::string> brace_format(Runtime& runtime, const Value& format, const Arguments& arguments);

// datetime.strftime() with English names, of a moment in UTC. Directives nobody knows are copied.
// Errors: bad_data for a moment outside the years 1 to 9999 and for text over the limit.
Result<std::string> format_time(Runtime& runtime, std::string_view format, int64_t utc_us);

}  // namespace assay::jinja
