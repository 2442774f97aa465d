#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "evals/sandbox/grader.h"
#include "evals/sandbox/sandbox.h"
#include "evals/task/code_problem.h"
#include "evals/task/task.h"

namespace assay {

// The seam to where programs run: the sandbox, or a script in a test. Thread-safe.
class ProgramRunner {
 public:
  virtual ~ProgramRunner() = default;
  // What a program of ours prints; it may read hostile text, never run it.
  virtual Result<std::string> output_of(const std::string& program) = 0;
  virtual Result<std::vector<ReferenceAnswer>> answers(const std::string& program, const std::string& entry_point,
                                                       const std::vector<Call>& calls, const GradeLimits& limits) = 0;
  virtual GradeResult grade(const GradeRequest& request) = 0;
  virtual int num_workers() const = 0;
  virtual const std::string& isolation() const = 0;
  virtual Json provenance() const = 0;  // interpreter, isolation: a run's record
};

// Opens the sandbox. Errors: unavailable naming the layer that is missing and what to do.
Result<std::unique_ptr<ProgramRunner>> open_program_runner(const SandboxOptions& options);

// Where protocols differ: main follows evalplus as it is today, card_2025_04 the fork behind the reference card.
struct CodeRules {
  double min_limit_s = 4;       // a call may take this long,
  double limit_factor = 4;      // or this many times the reference's time
  double test_limit_s = 3;      // a program with test code, all together
  double wall_factor = 3;       // wall time allowed for each second of CPU time
  bool lose_find_zero = false;  // HumanEval/32 can never pass
  bool fall_back = true;        // the sanitizer answers with the whole block where it finds no definition
};
CodeRules code_rules(Profile profile);

// What became of one completion.
struct ProgramVerdict {
  std::string program;                                   // as it was run
  Verdict base = Verdict::infra, plus = Verdict::infra;  // plus: only with a reference
  std::string detail;                                    // the first reason against it
};

// A problem's tests, made once for all its completions.
struct PreparedProblem;

// Turns completions into programs and programs into verdicts. Thread-safe; a call blocks until its programs ended.
class CodeChecker {
 public:
  CodeChecker(ProgramRunner& runner, CodeRules rules) : runner_(runner), rules_(rules) {}

  // The expected outputs, from the reference solution. Errors: bad_data where it does not run or inputs do not parse.
  Result<std::shared_ptr<const PreparedProblem>> prepare(const CodeProblem& problem) const;
  Result<ProgramVerdict> check(const PreparedProblem& prepared, std::string_view completion) const;
  // The completion's program. Errors: unavailable where the interpreter could not be asked.
  Result<std::string> program_of(const CodeProblem& problem, std::string_view completion) const;
  // The same verdict for a program that is complete already.
  ProgramVerdict check_program(const PreparedProblem& prepared, std::string program) const;

  ProgramRunner& runner() const { return runner_; }

 private:
  ProgramRunner& runner_;
  CodeRules rules_;
};

// The score of a sample from its completions' verdicts: pass@k under the task's metric names, k up to their number;
// under "base" and "plus" where the problem has both (plus counts programs that pass both). The programs, verdicts and
// the isolation they were reached under are kept beside it. A verdict `infra` makes the sample failed.
Score score_programs(const TaskInfo& task, const CodeProblem& problem, const std::vector<ProgramVerdict>& verdicts,
                     const std::string& isolation);

}  // namespace assay
