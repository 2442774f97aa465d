#pragma once

#include <string_view>

#include "engine/base/status.h"
#include "engine/text/jinja_ast.h"

namespace assay::jinja {

// Source to tree, names resolved. `max_depth` bounds the nesting of expressions and of statements.
// Errors: bad_data or unsupported, "line N: reason".
Result<Template> parse_template(std::string_view source, int max_depth);

}  // namespace assay::jinja
