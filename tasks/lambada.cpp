// LAMBADA, as OpenAI processed it: the last word of a passage that only its wider context gives away.
//   Paper     Paperno et al. The LAMBADA dataset: Word prediction requiring a broad discourse context. ACL 2016.
//             arXiv:1606.06031
//   Data      Hub EleutherAI/lambada_openai, default: test 5153 rows
//   License   MIT
//   Version   1.0; prompts and scores as in lm-eval 0.4.13 (tasks/lambada)
// Based on: EleutherAI/lm-evaluation-harness

#include "tasks/families.h"

namespace assay {
namespace {

TaskInfo lambada_info() {
  TaskInfo info;
  info.name = info.alias = "lambada_openai";
  info.version = "1.0";
  info.dataset = "lambada_openai";
  info.dataset_path = "EleutherAI/lambada_openai";
  info.dataset_name = "default";
  info.test_split = "test";
  info.kind = RequestKind::loglikelihood;
  info.metrics = {{.name = "perplexity", .higher_is_better = false, .aggregation = "perplexity"}, {.name = "acc"}};
  info.primary_metric = "acc,none";
  return info;
}

class Lambada final : public Task {
 public:
  using Task::Task;

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (layout == "context-continuation") return joined(row);
    if (layout != "hub") return Task::to_document(row, layout);
    ASSAY_ASSIGN(Json document, select_columns(row, {"text"}));
    ASSAY_TRY(ask(document));
    return document;
  }

  Result<Question> ask(const Json& document) const override {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string text, fields.get_string("text"));
    const size_t space = text.rfind(' ');
    if (space == std::string::npos) return fields.get("text")->error("a passage of several words");
    Question question;
    question.text = text.substr(0, space);
    question.target = text.substr(space);
    return question;
  }

 private:
  // A copy that keeps the passage and its last word apart.
  Result<Json> joined(const Json& row) const {
    const JsonField fields(row, info().name);
    ASSAY_ASSIGN(const std::string context, fields.get_string("context"));
    ASSAY_ASSIGN(const std::string word, fields.get_string("continuation"));
    if (word.empty() || word.find(' ') != std::string::npos) return fields.get("continuation")->error("one word");
    return Json::object().set("text", context + " " + word);
  }
};

}  // namespace

void add_lambada(Registry& registry) {
  registry.add(std::make_unique<Lambada>(lambada_info()));
  registry.add(TaskGroup{.name = "lambada", .alias = "lambada", .children = {"lambada_openai"}, .is_tag = true});
}

}  // namespace assay
