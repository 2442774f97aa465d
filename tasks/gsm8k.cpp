// GSM8K: grade-school word problems, answered by generation.
//   Paper     Cobbe et al. Training Verifiers to Solve Math Word Problems. 2021. arXiv:2110.14168
//   Data      Hub openai/gsm8k, main: train 7473, test 1319 rows
//   License   MIT
//   Version   3.0; prompts and scores as in lm-eval 0.4.13 (tasks/gsm8k)
// Based on: EleutherAI/lm-evaluation-harness (tasks.md 3.3)

#include "tasks/families.h"

namespace assay {
namespace {

Filter regex_filter(std::string name, std::string pattern, int group_select) {
  Filter filter{.name = std::move(name)};
  filter.steps.push_back(
      {.kind = FilterStep::Kind::regex, .pattern = std::move(pattern), .group_select = group_select});
  filter.steps.push_back({.kind = FilterStep::Kind::take_first});
  return filter;
}

TaskInfo gsm8k_info() {
  TaskInfo info;
  info.name = info.alias = "gsm8k";
  info.version = "3.0";
  info.dataset = "gsm8k";
  info.dataset_path = "openai/gsm8k";
  info.dataset_name = info.subset = "main";
  info.training_split = info.fewshot_split = "train";
  info.test_split = "test";
  info.kind = RequestKind::generate_until;
  info.num_fewshot = 5;
  info.generation.until = {"Question:", "</s>", "<|im_end|>"};
  info.filters = {regex_filter("strict-match", R"(#### (\-?[0-9\.\,]+))", 0),
                  regex_filter("flexible-extract", R"((-?[$0-9.,]{2,})|(-?[0-9]+))", -1)};
  info.exact_match.ignore_case = true;
  info.exact_match.regexes_to_ignore = {",", R"(\$)", "(?s).*#### ", R"(\.$)"};
  info.metrics = {{.name = "exact_match"}};
  info.primary_metric = "exact_match,strict-match";
  return info;
}

class Gsm8k final : public Task {
 public:
  using Task::Task;

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (layout != "hub") return Task::to_document(row, layout);
    ASSAY_ASSIGN(Json document, select_columns(row, {"question", "answer"}));
    ASSAY_TRY(ask(document));
    return document;
  }

  Result<Question> ask(const Json& document) const override {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string text, fields.get_string("question"));
    ASSAY_ASSIGN(std::string answer, fields.get_string("answer"));
    // Without the mark the reference would never equal anything that a model says.
    if (answer.find("#### ") == std::string::npos)
      return fields.get("answer")->error("a solution that ends in \"#### NUMBER\"");
    Question question;
    question.text = "Question: " + text + "\nAnswer:";
    question.target = std::move(answer);
    return question;
  }
};

}  // namespace

void add_gsm8k(Registry& registry) { registry.add(std::make_unique<Gsm8k>(gsm8k_info())); }

}  // namespace assay
