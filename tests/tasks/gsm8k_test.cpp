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

TEST_CASE("a solution without its mark is refused") {
  CHECK(
      testing::refusal("gsm8k", R"({"question":"q","answer":"18"})").find("answer: expected a solution that ends in") !=
      std::string::npos);
}

}  // namespace
}  // namespace assay
