#pragma once

#include <cstdint>
#include <string>

namespace assay {

// How a program is taken out of a completion.
enum class ProgramForm : uint8_t {
  sanitized,    // evalplus' sanitizer over code_prefix + completion
  continued,    // code_prefix + completion as it is
  until_fence,  // code_prefix + completion up to its first ```
  first_block,  // the first fenced block of the completion, a fence before it taken for granted
};

// What a program that answers a document has to do. Either a reference's outputs on listed inputs are expected, or test
// code is run.
struct CodeProblem {
  std::string task_id;      // "HumanEval/32"
  std::string entry_point;  // the function under test
  ProgramForm form = ProgramForm::continued;
  std::string code_prefix;  // set before the completion

  std::string reference;  // a right program, whose outputs are expected; "": test_code judges
  // Lists of argument lists as JSON text, which holds integers of any size.
  std::string base_inputs, plus_inputs;
  bool mbpp_inputs = false;  // JSON has no tuples, sets and complex numbers: some MBPP problems want them back
  double atol = 0;

  std::string test_code;     // Python that raises where the program is wrong
  std::string support_code;  // what test_code needs besides
};

}  // namespace assay
