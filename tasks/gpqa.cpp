// GPQA: graduate-level questions that a search engine does not answer, four choices each, in a shuffled order.
//   Paper     Rein et al. GPQA: A Graduate-Level Google-Proof Q&A Benchmark. COLM 2024. arXiv:2311.12022
//   Data      Hub Idavidrein/gpqa (gated): gpqa_main 448, gpqa_diamond 198 rows, split train only
//   License   CC-BY-4.0; its authors ask that no question be shown in plain text, so no message here quotes one
//   Version   2.2, prompts and scores as in lm-eval 0.4.13 (tasks/gpqa); card-2025-04: 2.0
// Based on: EleutherAI/lm-evaluation-harness (tasks.md 3.8 and section 5)

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/base/text_util.h"
#include "evals/prompt/few_shot.h"
#include "tasks/brackets.h"
#include "tasks/families.h"

namespace assay {
namespace {

constexpr std::array<std::string_view, 4> kAnswerColumns = {"Incorrect Answer 1", "Incorrect Answer 2",
                                                            "Incorrect Answer 3", "Correct Answer"};
constexpr std::string_view kThink = "\nLet's think step by step: ";

// What tells the four ways of asking apart.
struct Variant {
  std::string_view name;  // "cot_n_shot"
  bool with_shots = false, thinks = false;
  bool keeps_choices = false;  // as one more column
};
constexpr std::array<Variant, 4> kVariants = {{{"zeroshot", false, false, false},
                                               {"n_shot", true, false, false},
                                               {"cot_zeroshot", false, true, true},
                                               {"cot_n_shot", true, true, true}}};

std::vector<Filter> thinking_filters() {
  Filter strict{.name = "strict-match"}, flexible{.name = "flexible-extract"};
  strict.steps = {{.kind = FilterStep::Kind::regex, .pattern = "(?<=The answer is )(.*)(?=.)"},
                  {.kind = FilterStep::Kind::take_first}};
  flexible.steps = {{.kind = FilterStep::Kind::multi_choice_regex,
                     .pattern = R"((\([A-Z]\)))",
                     .group_select = -1,
                     .ignore_case = true,
                     .ignore_punctuation = true},
                    {.kind = FilterStep::Kind::take_first}};
  return {std::move(strict), std::move(flexible)};
}

TaskInfo gpqa_info(const std::string& subset, const Variant& variant, Profile profile) {
  TaskInfo info;
  info.name = info.alias = fmt::format("{}_{}", subset, variant.name);
  info.version = profile == Profile::main ? "2.2" : "2.0";
  info.dataset = "gpqa";
  info.dataset_path = "Idavidrein/gpqa";
  info.dataset_name = info.subset = subset;
  info.training_split = info.validation_split = "train";
  info.fixed_num_fewshot = !variant.with_shots;
  if (variant.with_shots) {
    info.description =
        "Here are some example questions from experts. Answer the final question yourself, following the format of the "
        "previous questions exactly.\n";
  }
  if (!variant.thinks) {
    info.kind = RequestKind::multiple_choice;
    info.metrics = {{.name = "acc"}, {.name = "acc_norm"}};
    info.primary_metric = "acc_norm,none";
    return info;
  }
  info.kind = RequestKind::generate_until;
  info.generation.until = {"</s>"};
  info.filters = thinking_filters();
  info.exact_match = {.ignore_case = true, .ignore_punctuation = true};
  info.metrics = {{.name = "exact_match"}};
  info.primary_metric = "exact_match,flexible-extract";
  return info;
}

// What pandas makes of a CSV column, and so what the Hub's rows hold: booleans and integers where every row has one,
// reals where every row has a number or nothing, else text; nothing is null.
enum class ColumnType : uint8_t { boolean, integer, real, text };

bool fits(const std::string& value, ColumnType type) {
  switch (type) {
    case ColumnType::boolean: return value == "True" || value == "False";
    case ColumnType::integer: return parse_int(value).has_value();
    case ColumnType::real: return value.empty() || parse_double(value).has_value();
    case ColumnType::text: return true;
  }
  return true;
}

Json typed(const std::string& value, ColumnType type) {
  if (type == ColumnType::boolean) return Json(value == "True");
  if (value.empty()) return Json();
  if (type == ColumnType::integer) return Json(*parse_int(value));
  return type == ColumnType::real ? Json(*parse_double(value)) : Json(value);
}

ColumnType type_of(const std::vector<Json>& rows, size_t column) {
  for (const ColumnType type : {ColumnType::boolean, ColumnType::integer, ColumnType::real}) {
    const bool all = std::all_of(rows.begin(), rows.end(), [&](const Json& row) {
      return fits(row.as_object()[column].second.as_string(), type);
    });
    if (all) return type;
  }
  return ColumnType::text;
}

class Gpqa final : public Task {
 public:
  Gpqa(TaskInfo info, const Variant& variant, Profile profile)
      : Task(std::move(info)), variant_(variant), profile_(profile) {}

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (layout != "csv") return Task::to_document(row, layout);
    ASSAY_TRY(select_columns(
        row, {"Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"}));
    return row;
  }

  Status prepare(std::vector<Json>& documents, SplitRole role) const override {
    if (documents.empty()) return ok_status();
    for (size_t column = 0; column < documents[0].size(); ++column) {
      const ColumnType type = type_of(documents, column);
      for (Json& document : documents) {
        Json& value = document.as_object()[column].second;
        value = typed(value.as_string(), type);
      }
    }
    PythonRandom random = stream(role, documents.size());
    for (Json& document : documents) ASSAY_TRY(add_choices(document, random));
    return ok_status();
  }

  Result<Question> ask(const Json& document) const override {
    Question question;
    ASSAY_ASSIGN(const std::string text, column(document, "Question"));
    ASSAY_ASSIGN(question.target, column(document, "answer"));
    question.text = variant_.with_shots ? "Question: " : "What is the correct answer to this question:";
    question.text += text + "\nChoices:";
    for (int i = 0; i < 4; ++i) {
      ASSAY_ASSIGN(std::string choice, column(document, fmt::format("choice{}", i + 1)));
      question.text += fmt::format("\n({}) {}", static_cast<char>('A' + i), choice);
      question.choices.push_back(std::move(choice));
    }
    question.text += variant_.thinks ? kThink : "\nAnswer:";
    if (question.target.size() != 3)
      return bad_data(info().name + ": column \"answer\": expected (A), (B), (C) or (D)");
    question.gold = question.target[1] - 'A';
    if (!variant_.thinks) question.choices = {"(A)", "(B)", "(C)", "(D)"};
    return question;
  }

 private:
  // lm-eval shuffles with Python's global stream, seeded with 0, and the data set's cache makes that happen once. Its
  // n_shot tasks have a stream of their own, seeded with 42, that goes on from one pass over the rows to the next: the
  // shots see the first pass, the questions the third.
  PythonRandom stream(SplitRole role, size_t rows) const {
    if (variant_.name != "n_shot") return PythonRandom(0);
    PythonRandom random(42);
    std::vector<int> four = {0, 1, 2, 3};
    for (size_t i = 0; role == SplitRole::evaluated && i < 2 * rows; ++i) random.shuffle(four);
    return random;
  }

  // A text column, named in errors without its value.
  Result<std::string> column(const Json& document, std::string_view name) const {
    const Json* value = document.find(name);
    if (!value || !value->is_string())
      return bad_data(fmt::format("{}: column \"{}\": expected text", info().name, name));
    return value->as_string();
  }

  std::string cleaned(const Json& value) const {
    if (!value.is_string()) return " ";
    std::string text = replace_all(py_strip(value.as_string()), " [title]", ". ");
    // Until version 2.2 lm-eval took formulas in brackets for WikiHow's marks.
    if (profile_ == Profile::card_2025_04) text = without_brackets(text);
    return replace_all(text, "  ", " ");
  }

  Status add_choices(Json& document, PythonRandom& random) const {
    std::vector<std::string> choices;
    for (const std::string_view name : kAnswerColumns) choices.push_back(cleaned(*document.find(name)));
    const std::string right = choices.back();
    random.shuffle(choices);
    const auto index = std::find(choices.begin(), choices.end(), right) - choices.begin();
    Json list = Json::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      document.set(fmt::format("choice{}", i + 1), choices[i]);
      list.push_back(choices[i]);
    }
    if (variant_.keeps_choices) document.set("choices", std::move(list));
    document.set("answer", fmt::format("({})", static_cast<char>('A' + index)));
    return ok_status();
  }

  const Variant& variant_;
  Profile profile_;
};

}  // namespace

void add_gpqa(Registry& registry, Profile profile) {
  TaskGroup tag = {.name = "gpqa", .alias = "gpqa", .is_tag = true};
  for (const char* subset : {"gpqa_main", "gpqa_diamond"}) {
    for (const Variant& variant : kVariants) {
      TaskInfo info = gpqa_info(subset, variant, profile);
      tag.children.push_back(info.name);
      registry.add(std::make_unique<Gpqa>(std::move(info), variant, profile));
    }
  }
  registry.add(std::move(tag));
}

}  // namespace assay
