#pragma once

#include "engine/base/status.h"
#include "evals/sandbox/sandbox.h"

namespace assay {

// Eight probe programs must end exactly as they should. Errors: unavailable naming the probe, what it was to show and
// what it showed.
Status run_self_test(Sandbox& sandbox);

}  // namespace assay
