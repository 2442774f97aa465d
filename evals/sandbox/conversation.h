#pragma once

#include <vector>

#include "evals/sandbox/grader.h"

namespace assay {

// One attempt at a request, without retries or reruns. `alone`: with no other run beside it.
GradeResult grade_by_calls(Sandbox& sandbox, const GradeRequest& request, bool alone);
GradeResult grade_by_tests(Sandbox& sandbox, const GradeRequest& request, bool alone);

// Calls everything, keeps every answer and judges none: pass once all calls were answered or raised.
GradeResult ask_all(Sandbox& sandbox, const GradeRequest& request, std::vector<ReferenceAnswer>& answers);

}  // namespace assay
