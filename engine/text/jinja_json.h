#pragma once

#include <optional>
#include <string>

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

namespace assay::jinja {

// The options of Python's json.dumps that the `tojson` filter of chat templates takes.
struct DumpOptions {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // what one level is indented by; absent: everything on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// json.dumps(value): nothing is escaped for HTML. Errors: bad_data for values JSON has no form for, and for text over
// the limit.
Result<std::string> dump_json(Runtime& runtime, const Value& value, const DumpOptions& options);

}  // namespace assay::jinja
