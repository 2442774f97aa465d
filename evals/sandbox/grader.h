#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "evals/sandbox/sandbox.h"
#include "evals/sandbox/value.h"
#include "evals/sandbox/verdict.h"

namespace assay {

// One call of the candidate's function.
struct Call {
  Value::Items arguments;  // positional; the candidate gets its own copy
  double limit_s = 1;      // for this call: CPU time; wall time may be GradeLimits::wall_factor times as long
};

// Whether the answer to call `index` is right. Runs in this process, beside no candidate code. Calls are asked in
// order, each once; a rule may keep state over one program's calls (copy the closure's state in begin()).
using AnswerCheck = std::function<bool(size_t index, const Value& answer)>;
// Makes the AnswerCheck of one program, so that state never passes from one candidate to the next.
using AnswerCheckFactory = std::function<AnswerCheck()>;

// python_equal(answer, expected[i]); with atol > 0 also type-equal values within numpy's allclose(rtol, atol).
AnswerCheckFactory expect_values(std::shared_ptr<const std::vector<Value>> expected, double atol = 0,
                                 double rtol = 1e-7);

struct GradeLimits {
  SandboxLimits sandbox;   // sandbox.cpu_s and wall_s bound the whole program, all calls together
  double load_s = 5;       // CPU time for executing the program text before the first call
  double wall_factor = 3;  // wall time allowed per second of CPU time allowed
  size_t max_answer_bytes = size_t{1} << 20;
  bool keep_output = false;  // false: what the program prints is thrown away uncounted
};

// A candidate and how to judge it: by `calls` and `check` (no test code runs anywhere), or by `test_code`.
struct GradeRequest {
  std::string program;      // the candidate's source, complete
  std::string entry_point;  // the function to call

  std::shared_ptr<const std::vector<Call>> calls;
  AnswerCheckFactory check;

  // Python with assertions, executed in a second sandbox that holds no candidate code. There entry_point, "candidate"
  // and every other name that neither the test code nor support_code defines are stand-ins that call into the
  // candidate's process and return plain copies. Ends without an exception: pass; AssertionError: fail.
  std::string test_code;
  std::string support_code;  // runs before test_code: the prompt's own helper functions

  GradeLimits limits;
};

struct GradeResult {
  Verdict verdict = Verdict::infra;
  std::string detail;          // one line: "call 3 of 7: ValueError: ...", "call 0 of 7: wrong answer [1, 2]"
  int64_t calls_answered = 0;  // right answers before the verdict
  int64_t failed_call = -1;    // index of the call that decided, -1 where none did
  bool rerun_alone = false;    // a timeout was seen and the program was run once more with nothing beside it
  double wall_s = 0, cpu_s = 0;
  double slowest_call_s = 0;
  std::string out, err;  // with keep_output
};

// What calling a trusted reference gave.
struct ReferenceAnswer {
  bool raised = false;
  Value value;
  std::string exception;  // "ValueError: ..." where it raised
  double wall_s = 0;
};

// Grades candidates on a sandbox. The candidate's process holds no tests, answers or verdict; who judges holds no
// candidate code; between them pass plain typed values. Thread-safe.
class Grader {
 public:
  explicit Grader(Sandbox& sandbox);
  ~Grader();

  // Blocks. Timeouts are rerun once alone; infra is retried twice.
  GradeResult grade(const GradeRequest& request);

  // On the sandbox's workers; done(i, result) as each ends, from one thread at a time.
  void grade_all(std::span<const GradeRequest> requests, const std::function<void(size_t, const GradeResult&)>& done);

  // Every answer of `entry_point`, for expected outputs from reference solutions; goes on after exceptions. Runs in the
  // sandbox like any program. Errors: bad_data where it does not load, times out or crashes; internal for infra.
  Result<std::vector<ReferenceAnswer>> answers(const std::string& program, const std::string& entry_point,
                                               std::span<const Call> calls, const GradeLimits& limits = {});

  // Background grading, so that verdicts arrive while the engine decodes: done runs on a worker thread.
  void submit(GradeRequest request, std::function<void(const GradeResult&)> done);
  void wait();  // until everything submitted is done

  Sandbox& sandbox() { return sandbox_; }

 private:
  struct Background;
  Sandbox& sandbox_;
  std::unique_ptr<Background> background_;
};

}  // namespace assay
