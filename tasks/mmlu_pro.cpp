// MMLU-Pro: 14 categories, up to ten choices, answered after a chain of thought.
//   Paper     Wang et al. MMLU-Pro: A More Robust and Challenging Multi-Task Language Understanding Benchmark. NeurIPS
//             2024. arXiv:2406.01574
//   Data      Hub TIGER-Lab/MMLU-Pro: validation 70, test 12032 rows, a column naming the category
//   License   MIT
//   Version   tasks 3.1, group 2.0, prompts and scores as in lm-eval 0.4.13 (tasks/mmlu_pro); card-2025-04: 2.1
// Based on: EleutherAI/lm-evaluation-harness (tasks.md 3.7 and section 5)

#include <fmt/format.h>

#include "engine/base/text_util.h"
#include "tasks/families.h"

namespace assay {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJ";
constexpr std::string_view kCategories[] = {
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history",
    "law",     "math",     "other",     "philosophy",       "physics",   "psychology"};
constexpr std::string_view kThink = "Let's think step by step.";

TaskInfo category_info(const std::string& category, Profile profile) {
  const bool card = profile == Profile::card_2025_04;
  TaskInfo info;
  info.alias = replace_all(category, " ", "_");
  info.name = "mmlu_pro_" + info.alias;
  info.group = "mmlu_pro";
  info.version = card ? "2.1" : "3.1";
  info.dataset = "mmlu_pro";
  info.dataset_path = "TIGER-Lab/MMLU-Pro";
  info.test_split = "test";
  info.fewshot_split = "validation";
  info.description = fmt::format(
      "The following are multiple choice questions (with answers) about {}. Think step by step and then finish your "
      "answer with \"the answer is (X)\" where X is the correct letter choice.\n",
      category);
  info.kind = RequestKind::generate_until;
  info.sampler = FewShotSampler::first_n;
  info.num_fewshot = 5;
  info.generation.until =
      card ? std::vector<std::string>{"</s>", "Q:", "<|im_end|>"} : std::vector<std::string>{"Question:"};
  info.generation.max_gen_toks = 2048;
  Filter filter{.name = "custom-extract"};
  filter.steps.push_back({.kind = FilterStep::Kind::regex, .pattern = R"(answer is \(?([ABCDEFGHIJ])\)?)"});
  filter.steps.push_back({.kind = FilterStep::Kind::take_first});
  info.filters = {std::move(filter)};
  info.exact_match = {.ignore_case = true, .ignore_punctuation = true};
  info.metrics = {{.name = "exact_match"}};
  info.primary_metric = "exact_match,custom-extract";
  return info;
}

class MmluPro final : public Task {
 public:
  MmluPro(TaskInfo info, std::string category, Profile profile)
      : Task(std::move(info)), category_(std::move(category)), card_(profile == Profile::card_2025_04) {}

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (layout != "hub") return Task::to_document(row, layout);
    ASSAY_ASSIGN(Json document, select_columns(row, {"question_id", "question", "options", "answer", "answer_index",
                                                     "cot_content", "category", "src"}));
    ASSAY_TRY(ask(document));
    return document;
  }

  // One file holds all categories.
  Status prepare(std::vector<Json>& documents, SplitRole) const override {
    std::erase_if(documents, [&](const Json& document) { return document.find("category")->as_string() != category_; });
    if (documents.empty()) return bad_data(fmt::format("{}: no row of category \"{}\"", info().name, category_));
    return ok_status();
  }

  Result<Question> ask(const Json& document) const override {
    const JsonField fields(document, info().name);
    Question question;
    ASSAY_ASSIGN(question.text, block(fields));
    question.text += fmt::format("Answer: {}", kThink);
    ASSAY_ASSIGN(question.target, fields.get_string("answer"));
    if (question.target.size() != 1 || kLetters.find(question.target) == std::string_view::npos)
      return fields.get("answer")->error("a letter from A to J");
    ASSAY_TRY(fields.get_string("category"));
    return question;
  }

  // A worked example; in April 2025 the answer stood in the user's text, and nothing was left for the assistant.
  Result<Question> ask_shot(const Json& document) const override {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(Question question, ask(document));
    ASSAY_ASSIGN(const std::string thoughts, fields.get_string("cot_content"));
    if (!card_) {
      question.target = replace_all(thoughts, fmt::format("A: {} ", kThink), "");
      return question;
    }
    ASSAY_ASSIGN(question.text, block(fields));
    question.text += replace_all(thoughts, fmt::format("A: {}", kThink), fmt::format("Answer: {}", kThink)) + "\n\n";
    question.target.clear();
    return question;
  }

 private:
  Result<std::string> block(const JsonField& fields) const {
    ASSAY_ASSIGN(const std::string question, fields.get_string("question"));
    ASSAY_ASSIGN(const JsonField list, fields.get("options"));
    ASSAY_ASSIGN(const std::vector<JsonField> options, list.items());
    if (options.empty() || options.size() > kLetters.size()) return list.error("1 to 10 options");
    std::string text = fmt::format("Question:\n{}\nOptions:\n", question);
    for (size_t i = 0; i < options.size(); ++i) {
      ASSAY_ASSIGN(const std::string option, options[i].as_string());
      text += fmt::format("{}. {}\n", kLetters[i], card_ ? std::string_view(option) : py_strip(option));
    }
    return text;
  }

  std::string category_;
  bool card_;
};

}  // namespace

void add_mmlu_pro(Registry& registry, Profile profile) {
  TaskGroup group = {.name = "mmlu_pro", .alias = "mmlu_pro", .version = "2.0", .metric = "exact_match,custom-extract"};
  for (const std::string_view category : kCategories) {
    TaskInfo info = category_info(std::string(category), profile);
    group.children.push_back(info.name);
    registry.add(std::make_unique<MmluPro>(std::move(info), std::string(category), profile));
  }
  registry.add(std::move(group));
}

}  // namespace assay
