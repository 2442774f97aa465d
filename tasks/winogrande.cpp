// WinoGrande: which of two options fills the blank. Scored partially: the options differ in the context, and the text
// after the blank, the same for both, is measured.
//   Paper     Sakaguchi et al. WinoGrande: An Adversarial Winograd Schema Challenge at Scale. AAAI 2020.
//   arXiv:1907.10641 Data      Hub allenai/winogrande, winogrande_xl: train 40398, validation 1267 rows (evaluated: the
//   test split has no answers) License   CC-BY-2.0 Version   1.0; prompts and scores as in lm-eval 0.4.13
//   (tasks/winogrande)
// Based on: EleutherAI/lm-evaluation-harness (tasks.md 3.5)

#include "engine/base/text_util.h"
#include "tasks/families.h"

namespace assay {
namespace {

TaskInfo winogrande_info() {
  TaskInfo info;
  info.name = info.alias = "winogrande";
  info.version = "1.0";
  info.dataset = "winogrande";
  info.dataset_path = "allenai/winogrande";
  info.dataset_name = info.subset = "winogrande_xl";
  info.training_split = "train";
  info.validation_split = "validation";
  info.kind = RequestKind::multiple_choice;
  info.metrics = {{.name = "acc"}};
  info.primary_metric = "acc,none";
  return info;
}

class WinoGrande final : public Task {
 public:
  using Task::Task;

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (layout != "hub") return Task::to_document(row, layout);
    ASSAY_ASSIGN(Json document, select_columns(row, {"sentence", "option1", "option2", "answer"}));
    ASSAY_TRY(ask(document));
    return document;
  }

  Result<Question> ask(const Json& document) const override {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string sentence, fields.get_string("sentence"));
    ASSAY_ASSIGN(const std::string option1, fields.get_string("option1"));
    ASSAY_ASSIGN(const std::string option2, fields.get_string("option2"));
    ASSAY_ASSIGN(const std::string answer, fields.get_string("answer"));
    const size_t blank = sentence.find('_');
    if (blank == std::string::npos) return fields.get("sentence")->error("a sentence with a blank (_)");
    if (answer != "1" && answer != "2") return fields.get("answer")->error("\"1\" or \"2\"");
    const std::string before = sentence.substr(0, blank);
    Question question;
    question.contexts = {before + option1, before + option2};
    question.target = py_strip(std::string_view(sentence).substr(blank + 1));
    question.choices = {question.target};
    question.gold = answer == "1" ? 0 : 1;
    return question;
  }
};

}  // namespace

void add_winogrande(Registry& registry) { registry.add(std::make_unique<WinoGrande>(winogrande_info())); }

}  // namespace assay
