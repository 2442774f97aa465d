// HellaSwag: which of four endings continues a description of everyday activity.
//   Paper     Zellers et al. HellaSwag: Can a Machine Really Finish Your Sentence? ACL 2019. arXiv:1905.07830
//   Data      Hub Rowan/hellaswag: train 39905, validation 10042 rows (evaluated: the test split has no labels)
//   License   MIT
//   Version   1.0; prompts and scores as in lm-eval 0.4.13 (tasks/hellaswag)
// Based on: EleutherAI/lm-evaluation-harness (tasks.md 3.4)

#include "engine/base/text_util.h"
#include "tasks/brackets.h"
#include "tasks/families.h"

namespace assay {
namespace {

TaskInfo hellaswag_info() {
  TaskInfo info;
  info.name = info.alias = "hellaswag";
  info.version = "1.0";
  info.dataset = "hellaswag";
  info.dataset_path = "Rowan/hellaswag";
  info.training_split = "train";
  info.validation_split = "validation";
  info.kind = RequestKind::multiple_choice;
  info.metrics = {{.name = "acc"}, {.name = "acc_norm"}};
  info.primary_metric = "acc_norm,none";
  return info;
}

// The WikiHow part of the data carries [header], [title], [step] marks.
std::string cleaned(std::string_view text) {
  const std::string titled = replace_all(py_strip(text), " [title]", ". ");
  return replace_all(without_brackets(titled), "  ", " ");
}

class HellaSwag final : public Task {
 public:
  using Task::Task;

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    Result<Json> document = layout == "normalised-text" ? from_normalised(row)
                            : layout == "hub"           ? from_hub(row)
                                                        : Task::to_document(row, layout);
    if (document.ok()) ASSAY_TRY(query_of(*document));
    return document;
  }

  // Adds the columns that lm-eval's process_docs adds: they are part of its document hash.
  Status prepare(std::vector<Json>& documents, SplitRole) const override {
    for (Json& document : documents) {
      ASSAY_ASSIGN(Query query, query_of(document));
      Json choices = Json::array();
      for (std::string& choice : query.choices) choices.push_back(std::move(choice));
      document.set("query", std::move(query.text)).set("choices", std::move(choices)).set("gold", query.gold);
    }
    return ok_status();
  }

  Result<Question> ask(const Json& document) const override {
    ASSAY_ASSIGN(Query query, query_of(document));
    Question question;
    question.text = std::move(query.text);
    question.choices = std::move(query.choices);
    question.gold = static_cast<int>(query.gold);
    question.target = question.choices[static_cast<size_t>(query.gold)];
    return question;
  }

 private:
  struct Query {
    std::string text;
    std::vector<std::string> choices;
    int64_t gold = 0;
  };

  Result<Query> query_of(const Json& document) const {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string activity, fields.get_string("activity_label"));
    ASSAY_ASSIGN(const std::string before, fields.get_string("ctx_a"));
    ASSAY_ASSIGN(const std::string opening, fields.get_string("ctx_b"));
    ASSAY_ASSIGN(const JsonField list, fields.get("endings"));
    ASSAY_ASSIGN(const std::vector<JsonField> endings, list.items());
    ASSAY_ASSIGN(const std::string label, fields.get_string("label"));
    Query query;
    query.text = cleaned(activity + ": " + before + " " + py_capitalize(opening));
    for (const JsonField& ending : endings) {
      ASSAY_ASSIGN(const std::string text, ending.as_string());
      query.choices.push_back(cleaned(text));
    }
    const std::optional<int64_t> gold = parse_int(label);
    if (!gold || *gold < 0 || *gold >= static_cast<int64_t>(endings.size()))
      return fields.get("label")->error("the index of an ending");
    query.gold = *gold;
    return query;
  }

  static Result<Json> from_hub(const Json& row) {
    return select_columns(row, {"ind", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "source_id", "split",
                                "split_type", "label"});
  }

  // The text collection that llama.cpp uses, cut into the Hub's columns; ind, source_id and split_type are not in it.
  Result<Json> from_normalised(const Json& row) const {
    ASSAY_ASSIGN(Json document,
                 select_columns(row, {"activity_label", "ctx_a", "ctx_b", "ctx", "endings", "split", "label"}));
    ASSAY_ASSIGN(const int64_t label, JsonField(document, info().name).get_int("label"));
    document.set("label", std::to_string(label));
    return document;
  }
};

}  // namespace

void add_hellaswag(Registry& registry) { registry.add(std::make_unique<HellaSwag>(hellaswag_info())); }

}  // namespace assay
