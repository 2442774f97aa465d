#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/request.h"
#include "evals/task/task.h"

namespace assay {

// exact_match after the normalizations that the task asks for, on both sides (tasks.md 2.14).
Result<bool> exact_match(std::string_view prediction, std::string_view reference, const ExactMatch& options);

// Index of the largest value, the lowest among equals.
int arg_max(const std::vector<double>& values);

// acc, acc_norm and (where asked) acc_bytes of a multiple-choice question: sums of log-probabilities, and those divided
// by the choice's code points or bytes.
Score judge_multiple_choice(const TaskInfo& task, const Question& question,
                            const std::vector<Loglikelihood>& loglikelihoods);

// Filters and exact_match over a generated text; no_answer when no filter found anything.
Score judge_generation(const TaskInfo& task, const Question& question, std::string_view text);

}  // namespace assay
