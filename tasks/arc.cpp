// ARC: school science questions with three to five choices, an Easy and a Challenge set.
//   Paper     Clark et al. Think you have Solved Question Answering? Try ARC, the AI2 Reasoning Challenge. 2018.
//   arXiv:1803.05457 Data      Hub allenai/ai2_arc: ARC-Easy 2251, 570, 2376 and ARC-Challenge 1119, 299, 1172 rows of
//   train, validation, test License   CC-BY-SA-4.0 Version   1.0; prompts and scores as in lm-eval 0.4.13 (tasks/arc)
// Based on: EleutherAI/lm-evaluation-harness (tasks.md 3.2)

#include "tasks/families.h"

namespace assay {
namespace {

TaskInfo arc_info(const std::string& name, const std::string& configuration) {
  TaskInfo info;
  info.name = info.alias = name;
  info.version = "1.0";
  info.dataset = "arc";
  info.dataset_path = "allenai/ai2_arc";
  info.dataset_name = info.subset = configuration;
  info.training_split = "train";
  info.validation_split = "validation";
  info.test_split = "test";
  info.kind = RequestKind::multiple_choice;
  info.metrics = {{.name = "acc"}, {.name = "acc_norm"}};
  info.primary_metric = "acc_norm,none";
  info.id_column = "id";
  return info;
}

class Arc final : public Task {
 public:
  using Task::Task;

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    Result<Json> document = layout == "ai2-jsonl" ? from_ai2(row)
                            : layout == "hub"     ? select_columns(row, {"id", "question", "choices", "answerKey"})
                                                  : Task::to_document(row, layout);
    if (document.ok()) ASSAY_TRY(ask(*document));
    return document;
  }

  Result<Question> ask(const Json& document) const override {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string text, fields.get_string("question"));
    ASSAY_ASSIGN(const JsonField choices, fields.get("choices"));
    ASSAY_ASSIGN(const JsonField texts_field, choices.get("text"));
    ASSAY_ASSIGN(const std::vector<JsonField> texts, texts_field.items());
    ASSAY_ASSIGN(const JsonField labels_field, choices.get("label"));
    ASSAY_ASSIGN(const std::vector<JsonField> labels, labels_field.items());
    ASSAY_ASSIGN(const std::string key, fields.get_string("answerKey"));
    if (labels.size() != texts.size()) return labels_field.error("as many labels as choice texts");
    Question question;
    question.text = "Question: " + text + "\nAnswer:";
    for (size_t i = 0; i < texts.size(); ++i) {
      ASSAY_ASSIGN(std::string choice, texts[i].as_string());
      question.choices.push_back(std::move(choice));
      ASSAY_ASSIGN(const std::string label, labels[i].as_string());
      if (label == key && question.gold < 0) question.gold = static_cast<int>(i);
    }
    if (question.gold < 0) return fields.get("answerKey")->error("one of the choices' labels");
    question.target = question.choices[static_cast<size_t>(question.gold)];
    return question;
  }

 private:
  // AI2's own files: {id, question: {stem, choices: [{text, label}]}, answerKey}.
  Result<Json> from_ai2(const Json& row) const {
    const JsonField fields(row, info().name);
    ASSAY_ASSIGN(std::string id, fields.get_string("id"));
    ASSAY_ASSIGN(const JsonField question, fields.get("question"));
    ASSAY_ASSIGN(std::string stem, question.get_string("stem"));
    ASSAY_ASSIGN(const JsonField list, question.get("choices"));
    ASSAY_ASSIGN(const std::vector<JsonField> choices, list.items());
    ASSAY_ASSIGN(std::string key, fields.get_string("answerKey"));
    Json texts = Json::array(), labels = Json::array();
    for (const JsonField& choice : choices) {
      ASSAY_ASSIGN(std::string text, choice.get_string("text"));
      ASSAY_ASSIGN(std::string label, choice.get_string("label"));
      texts.push_back(std::move(text));
      labels.push_back(std::move(label));
    }
    Json document = Json::object();
    document.set("id", std::move(id)).set("question", std::move(stem));
    document.set("choices", Json::object().set("text", std::move(texts)).set("label", std::move(labels)));
    document.set("answerKey", std::move(key));
    return document;
  }
};

}  // namespace

void add_arc(Registry& registry) {
  registry.add(std::make_unique<Arc>(arc_info("arc_easy", "ARC-Easy")));
  registry.add(std::make_unique<Arc>(arc_info("arc_challenge", "ARC-Challenge")));
  registry.add(
      TaskGroup{.name = "ai2_arc", .alias = "ai2_arc", .children = {"arc_challenge", "arc_easy"}, .is_tag = true});
}

}  // namespace assay
