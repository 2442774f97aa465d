#include <doctest/doctest.h>

#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

constexpr const char* kRow = R"({"question":"How many?","answer":"6*3=<<6*3=18>>18\n#### 1,018"})";

// The two filters' answers and scores: "strict flexible strict_score flexible_score".
std::string judged(const std::string& text) {
  Sample sample;
  sample.question = testing::question_of("gsm8k", kRow);
  Response response;
  response.completions.push_back({.text = text});
  const Score score = testing::task_named("gsm8k").judge(sample, response);
  REQUIRE(score.extracted.size() == 2);
  REQUIRE(score.metrics.size() == 2);
  CHECK(score.metrics[0].filter == "strict-match");
  CHECK(score.metrics[1].filter == "flexible-extract");
  return score.extracted[0].text + " " + score.extracted[1].text + " " +
         std::to_string(static_cast<int>(score.metrics[0].value)) + " " +
         std::to_string(static_cast<int>(score.metrics[1].value));
}

TEST_CASE("the question is asked plainly and the whole solution is a shot's answer") {
  const Question question = testing::question_of("gsm8k", kRow);
  CHECK(question.text == "Question: How many?\nAnswer:");
  CHECK(question.target == "6*3=<<6*3=18>>18\n#### 1,018");
}

TEST_CASE("answers are extracted and compared as lm-eval does") {
  CHECK(judged("so\n#### 1018") == "1018 1018 1 1");
  CHECK(judged("so\n#### 1,018.") == "1,018. 1,018. 1 1");
  CHECK(judged("That makes $1,018") == "[invalid] $1,018 0 1");
  CHECK(judged("#### 5\nno, #### 1018") == "5 1018 0 1");
  CHECK(judged("#### 1018 and so on...") == "1018 ... 1 0");
  CHECK(judged("It is 1018.0") == "[invalid] 1018.0 0 0");
}

TEST_CASE("a generation in which neither filter finds a number has no answer") {
  Sample sample;
  sample.question = testing::question_of("gsm8k", kRow);
  Response response;
  response.completions.push_back({.text = "I do not know"});
  CHECK(testing::task_named("gsm8k").judge(sample, response).outcome == Outcome::no_answer);
  CHECK(testing::task_named("gsm8k").judge(sample, {}).outcome == Outcome::failed);
}

TEST_CASE("the cot tasks bring their eight examples and compare with the bare number") {
  const Task& task = testing::task_named("gsm8k_cot");
  const Question question = testing::question_of("gsm8k_cot", kRow);
  CHECK(question.text == "Q: How many?\nA:");
  CHECK(question.target == "1,018");
  const std::vector<Json> shots = task.inline_shots();
  REQUIRE(shots.size() == 8);
  CHECK(task.ask_shot(shots[1])->text ==
        "Q: If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?\nA:");
  CHECK(task.ask_shot(shots[1])->target ==
        "There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5. The answer is 5.");
  const Task& llama = testing::task_named("gsm8k_cot_llama");
  CHECK(llama.ask_shot(llama.inline_shots()[1])->target ==
        "There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5. The final answer is 5");
  CHECK(llama.info().target_delimiter.empty());
  CHECK(testing::question_of("gsm8k_cot_zeroshot", kRow).text == "Q: How many?\nA: Let's think step by step.");
}

TEST_CASE("the cot tasks' strict answer follows their own words") {
  const auto strict = [](const char* name, const char* said) {
    Sample sample;
    sample.question = testing::question_of(name, kRow);
    const Score score =
        testing::task_named(name).judge(sample, {.loglikelihoods = {}, .completions = {{.text = said}}});
    return score.extracted.at(0).text + (score.metrics.at(0).value == 1 ? " right" : " wrong");
  };
  CHECK(strict("gsm8k_cot", "The answer is 1018.") == "1018 right");
  CHECK(strict("gsm8k_cot", "The answer is $1018.") == "[invalid] wrong");
  CHECK(strict("gsm8k_cot", "The answer is 12. The answer is 1018.") == "12. wrong");
  CHECK(strict("gsm8k_cot_llama", "The final answer is 12. The final answer is $1,018") == "$1,018 right");
}

TEST_CASE("a solution without its mark is refused") {
  CHECK(
      testing::refusal("gsm8k", R"({"question":"q","answer":"18"})").find("answer: expected a solution that ends in") !=
      std::string::npos);
}

}  // namespace
}  // namespace assay
