#include "evals/scoring/code_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "engine/base/text_util.h"
#include "evals/scoring/code_answers.h"
#include "evals/scoring/code_block.h"
#include "evals/scoring/code_guard.h"
#include "evals/scoring/code_inputs.h"
#include "evals/scoring/pass_at_k.h"
#include "evals/scoring/sanitize.h"

namespace assay {
namespace {

constexpr int64_t kProgramMemoryBytes = int64_t{4} << 30;
constexpr size_t kAnswerBytes = size_t{16} << 20;
constexpr double kReferenceSeconds = 120;
constexpr std::string_view kTooLarge = "answer too large";  // the grader's word for an answer beyond kAnswerBytes
constexpr double kLongestSeconds = 60;                      // of one program, whatever its calls may take each

// One set of a problem's inputs with what is expected of them.
struct TestSet {
  std::shared_ptr<const std::vector<Call>> calls;
  AnswerCheckFactory check;
  double total_s = 0;
  int64_t left_out = 0;  // inputs that the reference cannot answer within the limits
};

GradeLimits program_limits(const CodeRules& rules, double total_s) {
  GradeLimits limits;
  limits.sandbox.memory_bytes = kProgramMemoryBytes;
  limits.sandbox.cpu_s = total_s;
  limits.sandbox.wall_s = total_s * rules.wall_factor + 1;
  limits.load_s = total_s;
  limits.wall_factor = rules.wall_factor;
  limits.max_answer_bytes = kAnswerBytes;
  return limits;
}

std::string_view up_to(std::string_view text, std::string_view mark) { return text.substr(0, text.find(mark)); }

// The body of the first fenced block, a fence taken for granted before the text: ```WORD? newline? BODY newline? ```.
std::string first_block(std::string_view text) {
  const auto is_word = [](char c) { return c == '_' || isalnum(static_cast<unsigned char>(c)); };
  size_t word = 0;
  while (word < text.size() && is_word(text[word])) ++word;
  std::string_view body = text;
  // The regular expression takes the word greedily, and gives it back where no closing fence would follow: never.
  body.remove_prefix(word);
  if (!body.empty() && body.front() == '\n') body.remove_prefix(1);
  const size_t fence = body.find("```");
  if (fence == std::string_view::npos) return "";
  body = body.substr(0, fence);
  if (!body.empty() && body.back() == '\n') body.remove_suffix(1);
  return std::string(body);
}

}  // namespace

struct PreparedProblem {
  CodeProblem problem;
  TestSet base, plus;  // with a reference
};

namespace {

// The reference's answers, nullopt for a call that it could not finish within the limits. One such call ends the
// program, so then each is asked in a program of its own.
Result<std::vector<std::optional<ReferenceAnswer>>> ask_reference(ProgramRunner& runner, const CodeProblem& problem,
                                                                  const std::vector<Call>& calls,
                                                                  const GradeLimits& limits) {
  std::vector<std::optional<ReferenceAnswer>> answers;
  auto all = runner.answers(problem.reference, problem.entry_point, calls, limits);
  if (all.ok()) {
    if (all->size() != calls.size()) return internal_error(problem.task_id + ": answers are missing");
    for (ReferenceAnswer& answer : *all) answers.emplace_back(std::move(answer));
    return answers;
  }
  bool any = false;
  for (const Call& call : calls) {
    auto one = runner.answers(problem.reference, problem.entry_point, {call}, limits);
    if (!one.ok() && one.status().code() != Code::bad_data) return one.status();
    any |= one.ok();
    answers.push_back(one.ok() && one->size() == 1 ? std::optional(std::move(one->front())) : std::nullopt);
  }
  if (!any) return all.status();
  return answers;
}

// The reference's answers to `json`'s inputs as a test set. Inputs that the reference cannot answer within the limits
// are left out.
Result<TestSet> make_tests(ProgramRunner& runner, const CodeRules& rules, const CodeProblem& problem,
                           const std::string& json) {
  ASSAY_ASSIGN(Inputs parsed, parse_inputs(json, problem.task_id, problem.mbpp_inputs));
  std::vector<Call> asked;
  for (const Value::Items& arguments : parsed) asked.push_back({arguments, kReferenceSeconds});
  const GradeLimits limits = program_limits(rules, kReferenceSeconds);
  auto answers = ask_reference(runner, problem, asked, limits);
  if (!answers.ok()) return answers.status().with_context(problem.task_id + ": the reference solution");

  auto inputs = std::make_shared<Inputs>();
  auto calls = std::make_shared<std::vector<Call>>();
  const AnswerRules how{problem.entry_point, problem.mbpp_inputs, problem.atol, rules.lose_find_zero};
  auto expected = std::make_shared<std::vector<Value>>();
  TestSet tests;
  for (size_t i = 0; i < answers->size(); ++i) {
    if (!(*answers)[i] || (*answers)[i]->exception == kTooLarge) continue;
    const ReferenceAnswer& answer = *(*answers)[i];
    if (answer.raised)
      return bad_data(fmt::format("{}: the reference solution raised {} for input {}", problem.task_id,
                                  excerpt(answer.exception), i));
    expected->push_back(expected_of(how, answer.value));
    inputs->push_back(std::move(parsed[i]));
    const double limit_s = std::max(rules.min_limit_s, rules.limit_factor * answer.wall_s);
    calls->push_back({inputs->back(), limit_s});
    tests.total_s += limit_s;
  }
  tests.left_out = static_cast<int64_t>(answers->size() - calls->size());
  tests.total_s = std::min(kLongestSeconds, tests.total_s) + 1;
  tests.check = evalplus_check(how, inputs, std::move(expected));
  tests.calls = std::move(calls);
  return tests;
}

GradeResult run_tests(ProgramRunner& runner, const CodeRules& rules, const CodeProblem& problem, const TestSet& tests,
                      const std::string& program) {
  GradeRequest request;
  request.program = guarded_program(program);
  request.entry_point = problem.entry_point;
  request.calls = tests.calls;
  request.check = tests.check;
  request.limits = program_limits(rules, tests.total_s);
  return runner.grade(request);
}

GradeResult run_test_code(ProgramRunner& runner, const CodeRules& rules, const CodeProblem& problem,
                          const std::string& program) {
  GradeRequest request;
  request.program = guarded_program(program);
  request.entry_point = problem.entry_point;
  request.test_code = problem.test_code;
  request.support_code = problem.support_code;
  request.limits = program_limits(rules, rules.test_limit_s);
  return runner.grade(request);
}

std::string reason(std::string_view set, const GradeResult& result) {
  if (result.verdict == Verdict::pass) return "";
  return fmt::format("{}: {}{}{}", set, verdict_name(result.verdict), result.detail.empty() ? "" : ": ", result.detail);
}

}  // namespace

CodeRules code_rules(Profile profile) {
  CodeRules rules;
  if (profile != Profile::card_2025_04) return rules;
  rules.min_limit_s = 1;
  rules.wall_factor = 1;
  rules.lose_find_zero = true;
  rules.fall_back = false;
  return rules;
}

Result<std::shared_ptr<const PreparedProblem>> CodeChecker::prepare(const CodeProblem& problem) const {
  auto prepared = std::make_shared<PreparedProblem>();
  prepared->problem = problem;
  if (!problem.reference.empty()) {
    ASSAY_ASSIGN(prepared->base, make_tests(runner_, rules_, problem, problem.base_inputs));
    ASSAY_ASSIGN(prepared->plus, make_tests(runner_, rules_, problem, problem.plus_inputs));
  }
  return std::shared_ptr<const PreparedProblem>(std::move(prepared));
}

Result<std::string> CodeChecker::program_of(const CodeProblem& problem, std::string_view completion) const {
  switch (problem.form) {
    case ProgramForm::continued: return problem.code_prefix + std::string(completion);
    case ProgramForm::until_fence: return problem.code_prefix + std::string(up_to(completion, "```"));
    case ProgramForm::first_block: return first_block(completion);
    case ProgramForm::sanitized: break;
  }
  const auto find_block = [this](std::string_view text) -> Result<std::string> {
    if (text.find('\n') == std::string_view::npos) return std::string(text);
    ASSAY_ASSIGN(const std::string printed, runner_.output_of(program_that_finds_block(text)));
    return block_from_output(text, printed);
  };
  const std::string text = problem.code_prefix + replace_all(completion, "\t", "    ");
  return sanitize_program(text, problem.entry_point, find_block, rules_.fall_back);
}

ProgramVerdict CodeChecker::check_program(const PreparedProblem& prepared, std::string program) const {
  const CodeProblem& problem = prepared.problem;
  ProgramVerdict verdict;
  verdict.program = std::move(program);
  if (problem.reference.empty()) {
    const GradeResult result = run_test_code(runner_, rules_, problem, verdict.program);
    verdict.base = verdict.plus = result.verdict;
    verdict.detail = reason("tests", result);
    return verdict;
  }
  const GradeResult base = run_tests(runner_, rules_, problem, prepared.base, verdict.program);
  const GradeResult plus = run_tests(runner_, rules_, problem, prepared.plus, verdict.program);
  verdict.base = base.verdict;
  verdict.plus = plus.verdict;
  verdict.detail = base.verdict == Verdict::pass ? reason("plus", plus) : reason("base", base);
  const int64_t left_out = prepared.base.left_out + prepared.plus.left_out;
  if (left_out > 0)
    verdict.detail += fmt::format("{}{} inputs left out: the reference needs more than the limits for them",
                                  verdict.detail.empty() ? "" : "; ", left_out);
  return verdict;
}

Result<ProgramVerdict> CodeChecker::check(const PreparedProblem& prepared, std::string_view completion) const {
  ASSAY_ASSIGN(std::string program, program_of(prepared.problem, completion));
  return check_program(prepared, std::move(program));
}

namespace {

// k of "pass@k"; 1 for lm-eval's other spelling, "pass_at_1".
int64_t metric_k(std::string_view name) {
  const size_t at = name.find_last_not_of("0123456789");
  return at == std::string_view::npos ? 1 : parse_int(name.substr(at + 1)).value_or(1);
}

}  // namespace

Score score_programs(const TaskInfo& task, const CodeProblem& problem, const std::vector<ProgramVerdict>& verdicts,
                     const std::string& isolation) {
  Score score;
  const auto n = static_cast<int64_t>(verdicts.size());
  int64_t base = 0, plus = 0;
  Json list = Json::array();
  for (const ProgramVerdict& verdict : verdicts) {
    if (verdict.base == Verdict::infra || verdict.plus == Verdict::infra) {
      score.outcome = Outcome::failed;
      score.reason = "grading: " + verdict.detail;
      return score;
    }
    base += verdict.base == Verdict::pass;
    plus += verdict.base == Verdict::pass && verdict.plus == Verdict::pass;
    Json entry = Json::object().set("base", verdict_name(verdict.base));
    if (!problem.reference.empty()) entry.set("plus", verdict_name(verdict.plus));
    if (!verdict.detail.empty()) entry.set("detail", excerpt(verdict.detail, 300));
    list.push_back(std::move(entry));
  }
  const std::string filter = task.primary_metric.substr(task.primary_metric.find(',') + 1);
  for (const MetricInfo& metric : task.metrics) {
    const int64_t k = metric_k(metric.name);
    if (k > n) continue;
    if (problem.reference.empty()) {
      score.metrics.push_back({metric.name, filter, pass_at_k(n, base, k)});
    } else {
      score.metrics.push_back({metric.name, "base", pass_at_k(n, base, k)});
      score.metrics.push_back({metric.name, "plus", pass_at_k(n, plus, k)});
    }
  }
  for (size_t i = 0; i < verdicts.size(); ++i)
    score.extracted.push_back({i == 0 ? filter : fmt::format("{}/{}", filter, i), verdicts[i].program});
  score.extracted.push_back({"verdicts", list.dump()});
  score.extracted.push_back({"isolation", isolation});
  return score;
}

}  // namespace assay
