#include <doctest/doctest.h>

#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

TEST_CASE("the last word is measured, with its space, after what stands before it") {
  const Question question = testing::question_of("lambada_openai", R"({"text":"He gave her\nthe  ring"})");
  CHECK(question.text == "He gave her\nthe ");
  CHECK(question.target == " ring");
  CHECK(testing::document_of("lambada_openai", R"({"context":"a b","continuation":"c"})", "context-continuation")
            .dump() == R"({"text":"a b c"})");
}

TEST_CASE("a passage counts as right when its word is what the model would say") {
  Sample sample;
  const Task& task = testing::task_named("lambada_openai");
  const Score score = task.judge(sample, {.loglikelihoods = {{.sum = -2.5, .is_greedy = true}}, .completions = {}});
  REQUIRE(score.metrics.size() == 2);
  CHECK(score.metrics[0].name == "perplexity");
  CHECK(score.metrics[0].value == -2.5);
  CHECK(score.metrics[1].value == 1);
  CHECK(task.judge(sample, {}).outcome == Outcome::failed);
}

TEST_CASE("a passage of one word and a continuation of two are refused") {
  CHECK(testing::refusal("lambada_openai", R"({"text":"alone"})").find("several words") != std::string::npos);
  CHECK(testing::refusal("lambada_openai", R"({"context":"a","continuation":"b c"})", "context-continuation")
            .find("one word") != std::string::npos);
}

}  // namespace
}  // namespace assay
