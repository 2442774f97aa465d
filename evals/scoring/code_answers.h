#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evals/sandbox/grader.h"
#include "evals/sandbox/value.h"

namespace assay {

// How evalplus compares one problem's outputs (tasks.md 4.7).
struct AnswerRules {
  std::string entry_point;
  bool mbpp = false;  // MBPP's special oracles, else HumanEval's
  double atol = 0;
  bool lose_find_zero = false;  // evalplus 0.3 never counts a right find_zero, so that HumanEval/32 always fails
};

using Inputs = std::vector<Value::Items>;

// Whether only "an output that is not None" is expected of this function.
bool expects_any_output(const AnswerRules& rules);
// What is expected of an answer that the reference gave.
Value expected_of(const AnswerRules& rules, const Value& reference_answer);

// Judges one program's answers in order. The tolerance that a float answer switches on stays on for the later calls.
AnswerCheckFactory evalplus_check(AnswerRules rules, std::shared_ptr<const Inputs> inputs,
                                  std::shared_ptr<const std::vector<Value>> expected);

}  // namespace assay
