// MMLU: 57 subjects of school, university and professional knowledge, four choices each.
//   Paper     Hendrycks et al. Measuring Massive Multitask Language Understanding. ICLR 2021. arXiv:2009.03300
//   Data      Hub cais/mmlu, a configuration a subject: dev 285, validation 1531, test 14042 rows
//   License   MIT
//   Version   tasks 1.0, groups 2; prompts and scores as in lm-eval 0.4.13 (tasks/mmlu/default)
// Based on: EleutherAI/lm-evaluation-harness (tasks.md 3.1)

#include <fmt/format.h>

#include "engine/base/text_util.h"
#include "tasks/families.h"

namespace assay {
namespace {

struct Field {
  std::string_view name, alias;
  std::vector<std::string> subjects;
};

const std::vector<Field>& fields() {
  static const std::vector<Field> kFields = {
      {"mmlu_stem",
       "stem",
       {"abstract_algebra", "anatomy", "astronomy", "college_biology", "college_chemistry", "college_computer_science",
        "college_mathematics", "college_physics", "computer_security", "conceptual_physics", "electrical_engineering",
        "elementary_mathematics", "high_school_biology", "high_school_chemistry", "high_school_computer_science",
        "high_school_mathematics", "high_school_physics", "high_school_statistics", "machine_learning"}},
      {"mmlu_other",
       "other",
       {"business_ethics", "clinical_knowledge", "college_medicine", "global_facts", "human_aging", "management",
        "marketing", "medical_genetics", "miscellaneous", "nutrition", "professional_accounting",
        "professional_medicine", "virology"}},
      {"mmlu_social_sciences",
       "social sciences",
       {"econometrics", "high_school_geography", "high_school_government_and_politics", "high_school_macroeconomics",
        "high_school_microeconomics", "high_school_psychology", "human_sexuality", "professional_psychology",
        "public_relations", "security_studies", "sociology", "us_foreign_policy"}},
      {"mmlu_humanities",
       "humanities",
       {"formal_logic", "high_school_european_history", "high_school_us_history", "high_school_world_history",
        "international_law", "jurisprudence", "logical_fallacies", "moral_disputes", "moral_scenarios", "philosophy",
        "prehistory", "professional_law", "world_religions"}},
  };
  return kFields;
}

TaskInfo subject_info(const std::string& subject, std::string_view group) {
  TaskInfo info;
  info.name = "mmlu_" + subject;
  info.alias = subject;
  info.group = group;
  info.version = "1.0";
  info.dataset = "mmlu";
  info.dataset_path = "cais/mmlu";
  info.dataset_name = info.subset = subject;
  info.test_split = "test";
  info.fewshot_split = "dev";
  info.description = fmt::format("The following are multiple choice questions (with answers) about {}.\n\n",
                                 replace_all(subject, "_", " "));
  info.kind = RequestKind::multiple_choice;
  info.sampler = FewShotSampler::first_n;
  info.metrics = {{.name = "acc"}};
  info.primary_metric = "acc,none";
  return info;
}

constexpr size_t kNumChoices = 4;
constexpr std::string_view kLetters[kNumChoices] = {"A", "B", "C", "D"};

class Mmlu final : public Task {
 public:
  using Task::Task;

  // The original CSV has a column a choice and the answer's letter.
  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    Result<Json> document = layout == "csv"   ? from_csv(row)
                            : layout == "hub" ? select_columns(row, {"question", "subject", "choices", "answer"})
                                              : Task::to_document(row, layout);
    if (document.ok()) ASSAY_TRY(ask(*document));
    return document;
  }

  Result<Question> ask(const Json& document) const override {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string text, fields.get_string("question"));
    ASSAY_ASSIGN(const JsonField list, fields.get("choices"));
    ASSAY_ASSIGN(const std::vector<JsonField> choices, list.items());
    if (choices.size() != kNumChoices) return list.error("4 choices");
    ASSAY_ASSIGN(const int64_t answer, fields.get_int("answer", 0, kNumChoices - 1));
    Question question;
    question.text = py_strip(text);
    for (size_t i = 0; i < kNumChoices; ++i) {
      ASSAY_ASSIGN(const std::string choice, choices[i].as_string());
      question.text += fmt::format("\n{}. {}", kLetters[i], choice);
    }
    question.text += "\nAnswer:";
    question.choices = {"A", "B", "C", "D"};
    question.gold = static_cast<int>(answer);
    question.target = kLetters[answer];
    return question;
  }

 private:
  Result<Json> from_csv(const Json& row) const {
    const JsonField fields(row, info().name);
    ASSAY_ASSIGN(const std::string question, fields.get_string("question"));
    Json choices = Json::array();
    for (std::string_view letter : kLetters) {
      ASSAY_ASSIGN(std::string choice, fields.get_string(letter));
      choices.push_back(std::move(choice));
    }
    ASSAY_ASSIGN(const std::string answer, fields.get_string("answer"));
    const size_t index = answer.size() == 1 ? std::string_view("ABCD").find(answer) : std::string_view::npos;
    if (index == std::string_view::npos) return fields.get("answer")->error("A, B, C or D");
    Json document = Json::object();
    document.set("question", question).set("subject", info().subset).set("choices", std::move(choices));
    document.set("answer", static_cast<int64_t>(index));
    return document;
  }
};

}  // namespace

void add_mmlu(Registry& registry) {
  TaskGroup mmlu = {.name = "mmlu", .alias = "mmlu", .version = "2", .metric = "acc,none"};
  for (const Field& field : fields()) {
    TaskGroup group = {
        .name = std::string(field.name), .alias = std::string(field.alias), .version = "2", .metric = "acc,none"};
    for (const std::string& subject : field.subjects) {
      group.children.push_back("mmlu_" + subject);
      registry.add(std::make_unique<Mmlu>(subject_info(subject, field.name)));
    }
    mmlu.children.push_back(group.name);
    registry.add(std::move(group));
  }
  registry.add(std::move(mmlu));
}

}  // namespace assay
