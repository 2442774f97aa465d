// IFEval: 541 prompts with instructions whose following a program can check (25 kinds).
//   Paper     Zhou et al. Instruction-Following Evaluation for Large Language Models. 2023. arXiv:2311.07911
//   Data      Hub google/IFEval: train 541 rows (the only split)
//   License   Apache-2.0
//   Version   4.0; prompts and checks as in lm-eval 0.4.13 (tasks/ifeval) with NLTK's punkt_tab and langdetect 1.0.9
// Based on: EleutherAI/lm-evaluation-harness; google-research/instruction_following_eval

#include <algorithm>

#include "engine/base/text_util.h"
#include "tasks/families.h"
#include "tasks/ifeval/instructions.h"

namespace assay {
namespace {

TaskInfo ifeval_info() {
  TaskInfo info;
  info.name = info.alias = "ifeval";
  info.version = "4.0";
  info.dataset = "ifeval";
  info.dataset_path = "google/IFEval";
  info.test_split = "train";
  info.kind = RequestKind::generate_until;
  info.fixed_num_fewshot = true;
  info.generation.max_gen_toks = 1280;
  info.metrics = {{.name = "prompt_level_strict_acc"},
                  {.name = "inst_level_strict_acc", .aggregation = "weighted_mean"},
                  {.name = "prompt_level_loose_acc"},
                  {.name = "inst_level_loose_acc", .aggregation = "weighted_mean"}};
  info.primary_metric = "prompt_level_strict_acc,none";
  info.id_column = "key";
  return info;
}

// The checks of a document, in its order.
Result<std::vector<ifeval::Check>> checks_of(const Json& document, const std::string& task) {
  const JsonField fields(document, task);
  ASSAY_ASSIGN(const JsonField id_list, fields.get("instruction_id_list"));
  ASSAY_ASSIGN(const auto ids, id_list.items());
  ASSAY_ASSIGN(const JsonField argument_list, fields.get("kwargs"));
  ASSAY_ASSIGN(const auto arguments, argument_list.items());
  if (ids.empty()) return id_list.error("at least one instruction");
  if (ids.size() != arguments.size()) return argument_list.error("one object of arguments an instruction");
  std::vector<ifeval::Check> checks;
  for (size_t i = 0; i < ids.size(); ++i) {
    ASSAY_ASSIGN(const std::string id, ids[i].as_string());
    ASSAY_ASSIGN(ifeval::Check check, ifeval::make_check(id, arguments[i]));
    checks.push_back(std::move(check));
  }
  return checks;
}

bool follows(const ifeval::Check& check, const std::string& response) {
  return !py_strip(response).empty() && check(response);
}

std::string lines_between(const std::vector<std::string>& lines, size_t begin, size_t end) {
  std::vector<std::string> kept;
  for (size_t i = begin; i < end; ++i) kept.push_back(lines[i]);
  return std::string(py_strip(join(kept, "\n")));
}

// The response, then without its first line, its last, both, each also without asterisks: an instruction counts as
// followed loosely when one of them follows it.
std::vector<std::string> loosened(const std::string& response) {
  const std::vector<std::string> lines = split(response, "\n");
  const size_t n = lines.size();
  std::vector<std::string> texts = {response, lines_between(lines, 1, n), lines_between(lines, 0, n - 1),
                                    lines_between(lines, 1, std::max<size_t>(n - 1, 1))};
  for (size_t i = 0; i < 4; ++i) texts.push_back(replace_all(texts[i], "*", ""));
  return texts;
}

class IfEval final : public Task {
 public:
  using Task::Task;

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (layout != "hub") return Task::to_document(row, layout);
    ASSAY_ASSIGN(Json document, select_columns(row, {"key", "prompt", "instruction_id_list", "kwargs"}));
    ASSAY_TRY(ask(document));
    return document;
  }

  Result<Question> ask(const Json& document) const override {
    ASSAY_TRY(checks_of(document, info().name));
    Question question;
    ASSAY_ASSIGN(question.text, JsonField(document, info().name).get_string("prompt"));
    question.target = "0";  // lm-eval's doc_to_target; nothing is compared with it
    return question;
  }

  Score judge(const Sample& sample, const Response& response) const override {
    if (response.completions.empty()) return {.outcome = Outcome::failed, .reason = "no completion came back"};
    const auto checks = checks_of(sample.document, info().name);
    if (!checks.ok()) return {.outcome = Outcome::failed, .reason = checks.status().message()};
    const std::string text = replace_invalid_utf8(response.completions[0].text);
    const std::vector<std::string> loose_texts = loosened(text);
    std::string strict, loose;  // a 1 or 0 an instruction
    for (const ifeval::Check& check : *checks) {
      const auto follows_this = [&](const std::string& variant) { return follows(check, variant); };
      strict += follows_this(text) ? '1' : '0';
      loose += strict.back() == '1' || std::any_of(loose_texts.begin(), loose_texts.end(), follows_this) ? '1' : '0';
    }
    Score score;
    add_metrics(score, "strict", strict);
    add_metrics(score, "loose", loose);
    score.extracted = {{"none", text}};
    return score;
  }

 private:
  static void add_metrics(Score& score, const std::string& manner, const std::string& verdicts) {
    const auto followed = static_cast<double>(std::count(verdicts.begin(), verdicts.end(), '1'));
    const auto count = static_cast<double>(verdicts.size());
    score.metrics.push_back({"prompt_level_" + manner + "_acc", "none", followed == count ? 1.0 : 0.0});
    score.metrics.push_back({"inst_level_" + manner + "_acc", "none", followed / count, count});
  }
};

}  // namespace

void add_ifeval(Registry& registry) { registry.add(std::make_unique<IfEval>(ifeval_info())); }

}  // namespace assay
