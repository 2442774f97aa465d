// BIG-Bench Hard: 27 subtasks that needed reasoning, three worked examples each, then a generation.
//   Paper     Suzgun et al. Challenging BIG-Bench Tasks and Whether Chain-of-Thought Can Solve Them. 2022.
//   arXiv:2210.09261 Data      Hub SaylorTwift/bbh, a configuration a subtask: test, 6511 rows in all License   MIT
//   Version   tasks 4.0, group 3.0; prompts and scores as in lm-eval 0.4.13 (tasks/bbh/cot_fewshot)
// Based on: EleutherAI/lm-evaluation-harness

#include "engine/base/check.h"
#include "tasks/families.h"
#include "tasks/resources.h"

namespace assay {
namespace {

TaskInfo subtask_info(const std::string& subtask, const std::string& description) {
  TaskInfo info;
  info.name = "bbh_cot_fewshot_" + subtask;
  info.alias = subtask;
  info.group = "bbh";
  info.version = "4.0";
  info.dataset = "bbh";
  info.dataset_path = "SaylorTwift/bbh";
  info.dataset_name = info.subset = subtask;
  info.test_split = "test";
  info.description = description + "\n\n";
  info.kind = RequestKind::generate_until;
  info.sampler = FewShotSampler::first_n;
  info.num_fewshot = 3;
  info.target_delimiter = "";
  info.generation.until = {"</s>", "Q", "\n\n"};
  info.generation.max_gen_toks = 1024;
  info.filters = {{.name = "get-answer",
                   .steps = {{.kind = FilterStep::Kind::regex, .pattern = "(?<=the answer is )(.*)(?=.)"},
                             {.kind = FilterStep::Kind::take_first}}}};
  info.metrics = {{.name = "exact_match"}};
  info.primary_metric = "exact_match,get-answer";
  return info;
}

class BigBenchHard final : public Task {
 public:
  BigBenchHard(TaskInfo info, std::vector<Json> shots) : Task(std::move(info)), shots_(std::move(shots)) {}

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (layout != "hub") return Task::to_document(row, layout);
    ASSAY_ASSIGN(Json document, select_columns(row, {"input", "target"}));
    ASSAY_TRY(ask(document));
    return document;
  }

  Result<Question> ask(const Json& document) const override {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string input, fields.get_string("input"));
    Question question;
    question.text = "Q: " + input + "\nA: Let's think step by step.\n";
    ASSAY_ASSIGN(question.target, fields.get_string("target"));
    if (question.target.empty()) return fields.get("target")->error("an answer that is not empty");
    return question;
  }

  std::vector<Json> inline_shots() const override { return shots_; }

 private:
  std::vector<Json> shots_;
};

}  // namespace

void add_bbh(Registry& registry) {
  const Result<Json> resource = Json::parse(bbh_shots_json(), "bbh_shots.json");
  ASSAY_CHECK_EQ(resource.status().message(), std::string());
  TaskGroup group = {.name = "bbh", .alias = "bbh", .version = "3.0", .metric = "exact_match,get-answer"};
  TaskGroup same = {.name = "bbh_cot_fewshot", .alias = "bbh_cot_fewshot", .version = "3.0", .is_tag = true};
  for (const auto& [subtask, content] : resource->find("subtasks")->as_object()) {
    TaskInfo info = subtask_info(subtask, content.find("description")->as_string());
    group.children.push_back(info.name);
    registry.add(std::make_unique<BigBenchHard>(std::move(info), content.find("shots")->as_array()));
  }
  same.children = {group.name};
  registry.add(std::move(group));
  registry.add(std::move(same));
}

}  // namespace assay
