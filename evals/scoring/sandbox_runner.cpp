#include <fmt/format.h>

#include "evals/sandbox/grader.h"
#include "evals/sandbox/sandbox.h"
#include "evals/scoring/code_check.h"

namespace assay {
namespace {

constexpr double kHelperSeconds = 120;

class SandboxRunner final : public ProgramRunner {
 public:
  explicit SandboxRunner(std::unique_ptr<Sandbox> sandbox) : sandbox_(std::move(sandbox)), grader_(*sandbox_) {}

  Result<std::string> output_of(const std::string& program) override {
    ProgramRequest request{.program = program};
    request.limits.cpu_s = request.limits.wall_s = kHelperSeconds;
    const ProgramResult result = sandbox_->run(request);
    if (result.verdict == Verdict::pass) return result.out;
    return unavailable(
        fmt::format("a helper program in the sandbox ended with {}: {}", verdict_name(result.verdict), result.detail));
  }
  Result<std::vector<ReferenceAnswer>> answers(const std::string& program, const std::string& entry_point,
                                               const std::vector<Call>& calls, const GradeLimits& limits) override {
    return grader_.answers(program, entry_point, calls, limits);
  }
  GradeResult grade(const GradeRequest& request) override { return grader_.grade(request); }
  int num_workers() const override { return sandbox_->num_workers(); }
  const std::string& isolation() const override { return sandbox_->isolation(); }
  Json provenance() const override {
    const InterpreterInfo& interpreter = sandbox_->interpreter();
    return Json::object()
        .set("isolation", isolation())
        .set("interpreter", interpreter.path)
        .set("version", interpreter.version)
        .set("sha256", interpreter.sha256)
        .set("library_sha256", interpreter.library_sha256);
  }

 private:
  std::unique_ptr<Sandbox> sandbox_;
  Grader grader_;
};

}  // namespace

Result<std::unique_ptr<ProgramRunner>> open_program_runner(const SandboxOptions& options) {
  ASSAY_ASSIGN(auto sandbox, Sandbox::open(options));
  return std::unique_ptr<ProgramRunner>(std::make_unique<SandboxRunner>(std::move(sandbox)));
}

}  // namespace assay
