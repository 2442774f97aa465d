// HumanEval: a function's signature and description, to be completed; judged by the problem's own test code.
//   Paper     Chen et al. Evaluating Large Language Models Trained on Code. 2021. arXiv:2107.03374
//   Data      Hub openai/openai_humaneval: 164 rows
//   License   MIT
//   Version   1.0 (humaneval_instruct 4.0); prompts and programs as in lm-eval 0.4.13 (tasks/humaneval)
// Based on: EleutherAI/lm-evaluation-harness

#include "tasks/families.h"

namespace assay {
namespace {

TaskInfo humaneval_info(const std::string& name, const std::string& version) {
  TaskInfo info;
  info.name = info.alias = name;
  info.version = version;
  info.dataset = "humaneval";
  info.dataset_path = "openai/openai_humaneval";
  info.test_split = "test";
  info.kind = RequestKind::generate_until;
  info.generation.until = {"\nclass", "\ndef", "\n#", "\nif", "\nprint"};
  info.generation.max_gen_toks = 1024;
  info.filters = {{.name = "create_test", .steps = {}}};
  info.metrics = {{.name = "pass@1"}};
  info.primary_metric = "pass@1,create_test";
  return info;
}

// humaneval_64: many samples a problem.
TaskInfo sampled(TaskInfo info) {
  info.generation.repeats = 64;
  info.generation.do_sample = true;
  info.generation.temperature = 0.2f;
  info.generation.top_p = 0.95f;
  info.metrics = {
      {.name = "pass@2"}, {.name = "pass@8"}, {.name = "pass@16"}, {.name = "pass@32"}, {.name = "pass@64"}};
  info.primary_metric = "pass@2,create_test";
  return info;
}

class HumanEval final : public Task {
 public:
  HumanEval(TaskInfo info, bool instruct) : Task(std::move(info)), instruct_(instruct) {}

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (layout != "hub") return Task::to_document(row, layout);
    ASSAY_ASSIGN(Json document,
                 select_columns(row, {"task_id", "prompt", "canonical_solution", "test", "entry_point"}));
    ASSAY_TRY(ask(document));
    return document;
  }

  Result<Question> ask(const Json& document) const override {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string prompt, fields.get_string("prompt"));
    ASSAY_ASSIGN(const CodeProblem problem, code_problem(document, {}));
    Question question;
    question.target = problem.test_code;
    question.text = prompt;
    if (!instruct_) return question;
    question.text = "Write a solution to the following problem and make sure that it passes the tests:\n```python\n" +
                    prompt + "\n```\n";
    question.answer_prefix = "Here is the completed function:\n```python\n" + prompt + "\n";
    return question;
  }

  bool wants_programs() const override { return true; }

  Result<CodeProblem> code_problem(const Json& document, const AskContext&) const override {
    const JsonField fields(document, info().name);
    CodeProblem problem;
    ASSAY_ASSIGN(problem.task_id, fields.get_string("task_id"));
    ASSAY_ASSIGN(problem.entry_point, fields.get_string("entry_point"));
    ASSAY_ASSIGN(problem.code_prefix, fields.get_string("prompt"));
    ASSAY_ASSIGN(const std::string test, fields.get_string("test"));
    problem.test_code = test + "\ncheck(" + problem.entry_point + ")";
    problem.form = instruct_ ? ProgramForm::until_fence : ProgramForm::continued;
    // Some tests call functions that the prompt defines before the one to complete.
    problem.support_code = problem.code_prefix.substr(0, problem.code_prefix.find("def " + problem.entry_point + "("));
    return problem;
  }

 private:
  bool instruct_;
};

}  // namespace

void add_humaneval(Registry& registry) {
  registry.add(std::make_unique<HumanEval>(humaneval_info("humaneval", "1.0"), false));
  registry.add(std::make_unique<HumanEval>(sampled(humaneval_info("humaneval_64", "1.0")), false));
  registry.add(std::make_unique<HumanEval>(humaneval_info("humaneval_instruct", "4.0"), true));
  registry.add(std::make_unique<HumanEval>(sampled(humaneval_info("humaneval_64_instruct", "3.0")), true));
}

}  // namespace assay
