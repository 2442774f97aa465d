#pragma once

#include <string>

#include "engine/base/status.h"
#include "engine/text/jinja_ast.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_value.h"

namespace assay::jinja {

// Renders a parsed template. `variables` are the template's own; a name that is neither among them nor a global is undefined.
// Errors: bad_data or unsupported, "line N: reason"; what raise_exception() was given is the reason.
Result<std::string> render_template(const Template& parsed, const Dict& variables, Runtime& runtime);

}  // namespace assay::jinja
