#pragma once

#include "engine/base/status.h"
#include "engine/text/jinja_ast.h"

namespace assay::jinja {

// Gives every variable of a parsed template its place, and looks up its filters and tests. Which scope a name belongs
// to is settled before rendering, as Jinja's compiler does it: a scope that assigns a name anywhere has that name as
// its own everywhere, beginning as the enclosing scope's value, or as missing. Errors: bad_data "line N: reason";
// unsupported for filters and tests there are none of, unless they stand in an `if`, where they are errors only when
// they are reached.
Status resolve_names(Template& parsed);

}  // namespace assay::jinja
