#pragma once

#include <string>

#include "engine/base/status.h"
#include "engine/text/jinja_ast.h"
#include "engine/text/jinja_runtime.h"

namespace assay::jinja {

struct Rendering {
  Result<std::string> text;
  int error_line = 0;  // where it failed; 0 when it did not
};

// Walks a template with `variables` (a dict) at hand. Recursion is bounded by the runtime's depth limits.
Rendering evaluate(const Template& parsed, const Value& variables, Runtime& runtime);

}  // namespace assay::jinja
