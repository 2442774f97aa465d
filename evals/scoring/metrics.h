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

// acc (whether the target is what the model would say greedily) and perplexity (its sum of log-probabilities, averaged
// over the samples later) of a text after a context.
Score judge_loglikelihood(const TaskInfo& task, const std::vector<Loglikelihood>& loglikelihoods);

// The perplexities of a whole text from the sums of its windows: each metric's value is the text's sum of
// log-probabilities, its weight the number of words or bytes that the sum is spread over.
Score judge_rolling(const TaskInfo& task, const std::vector<Loglikelihood>& windows, int64_t words, int64_t bytes);

// The pieces between runs of whitespace, empty ones at the ends included: len(re.split(r"\s+", text)).
int64_t count_words(std::string_view text);

// Filters and exact_match over a generated text; no_answer when no filter found anything.
Score judge_generation(const TaskInfo& task, const Question& question, std::string_view text);

}  // namespace assay
