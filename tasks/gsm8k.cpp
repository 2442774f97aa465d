// GSM8K: grade-school word problems, answered by generation.
//   Paper     Cobbe et al. Training Verifiers to Solve Math Word Problems. 2021. arXiv:2110.14168
//   Data      Hub openai/gsm8k, main: train 7473, test 1319 rows
//   License   MIT
//   Version   gsm8k, gsm8k_cot, gsm8k_cot_zeroshot 3.0, gsm8k_cot_llama 4.0; prompts and scores as in lm-eval 0.4.13
//             (tasks/gsm8k); the worked examples of the cot tasks are Wei et al. 2022, arXiv:2201.11903
// Based on: EleutherAI/lm-evaluation-harness (tasks.md 3.3)

#include <fmt/format.h>

#include "engine/base/text_util.h"
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

constexpr const char* kAnyNumber = R"((-?[$0-9.,]{2,})|(-?[0-9]+))";

// What all four tasks share; `strict` is the pattern of strict-match.
TaskInfo common_info(const std::string& name, const std::string& version, Filter strict) {
  TaskInfo info;
  info.name = info.alias = name;
  info.version = version;
  info.dataset = "gsm8k";
  info.dataset_path = "openai/gsm8k";
  info.dataset_name = info.subset = "main";
  info.test_split = "test";
  info.kind = RequestKind::generate_until;
  info.filters = {std::move(strict), regex_filter("flexible-extract", kAnyNumber, -1)};
  info.exact_match.ignore_case = true;
  info.exact_match.regexes_to_ignore = {",", R"(\$)", "(?s).*#### ", R"(\.$)"};
  info.metrics = {{.name = "exact_match"}};
  info.primary_metric = "exact_match,strict-match";
  return info;
}

TaskInfo gsm8k_info() {
  TaskInfo info = common_info("gsm8k", "3.0", regex_filter("strict-match", R"(#### (\-?[0-9\.\,]+))", 0));
  info.training_split = info.fewshot_split = "train";
  info.num_fewshot = 5;
  info.generation.until = {"Question:", "</s>", "<|im_end|>"};
  return info;
}

TaskInfo zeroshot_info() {
  TaskInfo info =
      common_info("gsm8k_cot_zeroshot", "3.0", regex_filter("strict-match", R"(The answer is (\-?[0-9\.\,]+).)", 0));
  info.training_split = info.fewshot_split = "train";
  info.fixed_num_fewshot = true;
  info.generation.until = {"Q:", "</s>", "<|im_end|>"};
  return info;
}

TaskInfo cot_info() {
  TaskInfo info = common_info("gsm8k_cot", "3.0", regex_filter("strict-match", R"(The answer is (\-?[0-9\.\,]+).)", 0));
  info.sampler = FewShotSampler::first_n;
  info.num_fewshot = 8;
  info.generation.until = {"Q:", "</s>", "<|im_end|>"};
  return info;
}

TaskInfo llama_info() {
  TaskInfo info = common_info("gsm8k_cot_llama", "4.0",
                              regex_filter("strict-match", fmt::format("The final answer is ({})", kAnyNumber), -1));
  info.sampler = FewShotSampler::first_n;
  info.num_fewshot = 8;
  info.target_delimiter = "";
  info.generation.until = {"<|eot_id|>", "<|start_header_id|>user<|end_header_id|>", "Q:", "</s>", "<|im_end|>"};
  return info;
}

// The eight examples of the chain-of-thought paper: question, thoughts, answer.
struct Example {
  const char *question, *thoughts, *answer;
};
constexpr Example kExamples[] = {
    {"There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are done, there "
     "will be 21 trees. How many trees did the grove workers plant today?",
     "There are 15 trees originally. Then there were 21 trees after some more were planted. So there must have been 21 "
     "- 15 = 6.",
     "6"},
    {"If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?",
     "There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5.", "5"},
    {"Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in total?",
     "Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. After eating 35, they "
     "had 74 - 35 = 39.",
     "39"},
    {"Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How many lollipops did Jason "
     "give to Denny?",
     "Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave Denny 20 - 12 = 8.", "8"},
    {"Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many toys does he have now?",
     "Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 more toys. 5 + 4 = 9.",
     "9"},
    {"There were nine computers in the server room. Five more computers were installed each day, from monday to "
     "thursday. How many computers are now in the server room?",
     "There were originally 9 computers. For each of 4 days, 5 more computers were added. So 5 * 4 = 20 computers were "
     "added. 9 + 20 is 29.",
     "29"},
    {"Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 more. How many golf balls "
     "did he have at the end of wednesday?",
     "Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. After losing 2 more, he had "
     "35 - 2 = 33 golf balls.",
     "33"},
    {"Olivia has $23. She bought five bagels for $3 each. How much money does she have left?",
     "Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So she has 23 - 15 dollars left. "
     "23 - 15 is 8.",
     "8"}};

class Gsm8k : public Task {
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
    question.text = asked(text);
    question.target = std::move(answer);
    return question;
  }

 protected:
  virtual std::string asked(const std::string& problem) const { return "Question: " + problem + "\nAnswer:"; }
};

class Gsm8kZeroShot final : public Gsm8k {
 public:
  using Gsm8k::Gsm8k;

 protected:
  std::string asked(const std::string& problem) const override {
    return "Q: " + problem + "\nA: Let's think step by step.";
  }
};

// Asks for thoughts by the paper's examples; the reference is the bare number.
class Gsm8kThinking : public Gsm8k {
 public:
  using Gsm8k::Gsm8k;

  Result<Question> ask(const Json& document) const override {
    ASSAY_ASSIGN(Question question, Gsm8k::ask(document));
    const size_t mark = question.target.rfind("####");
    question.target = std::string(py_strip(std::string_view(question.target).substr(mark + 4)));
    return question;
  }

  Result<Question> ask_shot(const Json& document) const override {
    if (!document.find("target")) return ask(document);
    const JsonField fields(document, info().name);
    ASSAY_ASSIGN(const std::string problem, fields.get_string("question"));
    Question question;
    question.text = asked(problem);
    ASSAY_ASSIGN(question.target, fields.get_string("target"));
    return question;
  }

  std::vector<Json> inline_shots() const override {
    std::vector<Json> shots;
    for (const Example& example : kExamples)
      shots.push_back(Json::object().set("question", example.question).set("target", answered(example)));
    return shots;
  }

 protected:
  std::string asked(const std::string& problem) const override { return "Q: " + problem + "\nA:"; }
  virtual std::string answered(const Example& example) const {
    return fmt::format("{} The answer is {}.", example.thoughts, example.answer);
  }
};

class Gsm8kLlama final : public Gsm8kThinking {
 public:
  using Gsm8kThinking::Gsm8kThinking;

 protected:
  std::string asked(const std::string& problem) const override {
    return fmt::format(
        "Given the following problem, reason and give a final answer to the problem.\nProblem: {}\nYour response "
        "should "
        "end with \"The final answer is [answer]\" where [answer] is the response to the problem.\n",
        problem);
  }
  std::string answered(const Example& example) const override {
    return fmt::format("{} The final answer is {}", example.thoughts, example.answer);
  }
};

}  // namespace

void add_gsm8k(Registry& registry) {
  registry.add(std::make_unique<Gsm8k>(gsm8k_info()));
  registry.add(std::make_unique<Gsm8kZeroShot>(zeroshot_info()));
  registry.add(std::make_unique<Gsm8kThinking>(cot_info()));
  registry.add(std::make_unique<Gsm8kLlama>(llama_info()));
}

}  // namespace assay
