#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/text_util.h"
#include "evals/scoring/code_check.h"

namespace assay::testing {

// Stands in for the sandbox: a verdict is a function of the program's text, which
// its guard holds as hexadecimal digits.
class ScriptedPrograms final : public ProgramRunner {
 public:
  std::function<Verdict(const std::string&)> verdict = [](const std::string& program) {
    return program.find(to_hex("right")) != std::string::npos ? Verdict::pass : Verdict::fail;
  };
  std::atomic<int> graded{0};

  Result<std::string> output_of(const std::string&) override { return std::string("0 0\n"); }
  Result<std::vector<ReferenceAnswer>> answers(const std::string&, const std::string&, const std::vector<Call>& calls,
                                               const GradeLimits&) override {
    return std::vector<ReferenceAnswer>(calls.size());
  }
  GradeResult grade(const GradeRequest& request) override {
    ++graded;
    GradeResult result;
    result.verdict = verdict(request.program);
    if (result.verdict != Verdict::pass) result.detail = "scripted";
    return result;
  }
  int num_workers() const override { return 2; }
  const std::string& isolation() const override { return isolation_; }
  Json provenance() const override { return Json::object().set("isolation", isolation_).set("sha256", "abc"); }

 private:
  std::string isolation_ = "scripted";
};

}  // namespace assay::testing
