// MBPP: a description and three assertions, for which a function is to be written; judged by the assertions.
//   Paper     Austin et al. Program Synthesis with Large Language Models. 2021. arXiv:2108.07732
//   Data      Hub google-research-datasets/mbpp, full: test 500 rows (task_id 11 to 510), prompt 10
//   License   CC-BY-4.0
//   Version   1.0; prompts and programs as in lm-eval 0.4.13 (tasks/mbpp). Its three shots are problems 2, 3 and 4
// Based on: EleutherAI/lm-evaluation-harness

#include <algorithm>

#include "engine/base/text_util.h"
#include "tasks/families.h"

namespace assay {
namespace {

struct Split {
  std::string_view layout;
  int64_t first, last;  // task_id
};
constexpr Split kSplits[] = {
    {"google-test", 11, 510}, {"google-prompt", 2, 4}, {"google-validation", 511, 600}, {"google-train", 601, 974}};

TaskInfo mbpp_info(const std::string& name) {
  TaskInfo info;
  info.name = info.alias = name;
  info.version = "1.0";
  info.dataset = "mbpp";
  info.dataset_path = "google-research-datasets/mbpp";
  info.dataset_name = info.subset = "full";
  info.test_split = "test";
  info.fewshot_split = "prompt";
  info.kind = RequestKind::generate_until;
  info.sampler = FewShotSampler::first_n;
  info.num_fewshot = 3;
  info.target_delimiter = "";
  info.generation.until = {"[DONE]"};
  info.metrics = {{.name = "pass_at_1"}};
  info.primary_metric = "pass_at_1,none";
  return info;
}

TaskInfo instruct_info() {
  TaskInfo info = mbpp_info("mbpp_instruct");
  info.generation.until.clear();
  info.generation.max_gen_toks = 256;
  info.filters = {{.name = "extract_code", .steps = {}}};
  info.primary_metric = "pass_at_1,extract_code";
  return info;
}

// The function that an assertion calls first: "assert name(...".
std::string called_by(std::string_view assertion) {
  const size_t begin = assertion.find("assert ");
  if (begin == std::string_view::npos) return "";
  std::string_view rest = py_lstrip(assertion.substr(begin + 7));
  const size_t end = rest.find('(');
  rest = rest.substr(0, end);
  const bool is_name =
      std::all_of(rest.begin(), rest.end(), [](char c) { return c == '_' || isalnum(static_cast<unsigned char>(c)); });
  return is_name ? std::string(rest) : "";
}

// The function that the assertions are about. Some set it in another call, or in brackets, so that the reference's
// definitions have the last word.
std::string entry_point_of(const std::string& code, const std::vector<std::string>& tests) {
  for (const std::string& test : tests) {
    const std::string name = called_by(test);
    if (!name.empty() && code.find("def " + name) != std::string::npos) return name;
  }
  std::string last;
  for (size_t at = code.find("def "); at != std::string::npos; at = code.find("def ", at + 4)) {
    const std::string name = code.substr(at + 4, code.find('(', at) - at - 4);
    for (const std::string& test : tests) {
      if (test.find(name + "(") != std::string::npos) last = name;
    }
  }
  return last;
}

class Mbpp final : public Task {
 public:
  Mbpp(TaskInfo info, bool instruct) : Task(std::move(info)), instruct_(instruct) {}

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    const auto* split = std::find_if(std::begin(kSplits), std::end(kSplits),
                                     [&](const Split& candidate) { return candidate.layout == layout; });
    if (split == std::end(kSplits)) return Task::to_document(row, layout);
    ASSAY_ASSIGN(Json document, select_columns(row, {"task_id", "text", "code", "test_list", "test_setup_code",
                                                     "challenge_test_list"}));
    ASSAY_ASSIGN(const int64_t id, JsonField(document, info().name).get_int("task_id"));
    if (layout == "google-prompt") document.set("is_fewshot", true);
    // One file may hold all splits: prepare() drops the rows of others.
    if (id < split->first || id > split->last) return document.set("dropped", true);
    ASSAY_TRY(ask(document));
    return document;
  }

  Status prepare(std::vector<Json>& documents, SplitRole) const override {
    const auto dropped = [](const Json& document) { return document.find("dropped") != nullptr; };
    documents.erase(std::remove_if(documents.begin(), documents.end(), dropped), documents.end());
    return ok_status();
  }

  Result<Question> ask(const Json& document) const override {
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string text, fields.get_string("text"));
    ASSAY_ASSIGN(const std::string code, fields.get_string("code"));
    ASSAY_ASSIGN(const std::vector<std::string> tests, tests_of(fields));
    const bool shot = document.find("is_fewshot") != nullptr;
    const std::string listed = tests[0] + "\n" + tests[1] + "\n" + tests[2];
    Question question;
    if (instruct_) {
      question.text = "You are an expert Python programmer, and here is your task:\n" + text +
                      "\nYour code should pass these tests:\n" + listed;
      question.answer_prefix = "\n```python\n";
      question.target = shot ? code + "\n```" : listed;
    } else {
      question.text = "You are an expert Python programmer, and here is your task: " + text +
                      " Your code should pass these tests:\n\n" + listed + "\n[BEGIN]\n";
      question.target = shot ? code + "\n[DONE]" : listed;
    }
    return question;
  }

  bool wants_programs() const override { return true; }

  Result<CodeProblem> code_problem(const Json& document, const AskContext&) const override {
    const JsonField fields(document, info().name);
    CodeProblem problem;
    ASSAY_ASSIGN(const int64_t id, fields.get_int("task_id"));
    ASSAY_ASSIGN(const std::string code, fields.get_string("code"));
    ASSAY_ASSIGN(const std::vector<std::string> tests, tests_of(fields));
    problem.task_id = "Mbpp/" + std::to_string(id);
    problem.entry_point = entry_point_of(code, tests);
    problem.form = instruct_ ? ProgramForm::first_block : ProgramForm::continued;
    problem.test_code = tests[0] + "\n" + tests[1] + "\n" + tests[2];
    return problem;
  }

 private:
  Result<std::vector<std::string>> tests_of(const JsonField& fields) const {
    ASSAY_ASSIGN(const JsonField list, fields.get("test_list"));
    ASSAY_ASSIGN(const std::vector<JsonField> items, list.items());
    if (items.size() < 3) return list.error("three assertions");
    std::vector<std::string> tests;
    for (const JsonField& item : items) {
      ASSAY_ASSIGN(std::string text, item.as_string());
      tests.push_back(std::move(text));
    }
    return tests;
  }

  bool instruct_;
};

}  // namespace

void add_mbpp(Registry& registry) {
  registry.add(std::make_unique<Mbpp>(mbpp_info("mbpp"), false));
  registry.add(std::make_unique<Mbpp>(instruct_info(), true));
}

}  // namespace assay
