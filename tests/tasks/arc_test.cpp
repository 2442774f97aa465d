#include <doctest/doctest.h>

#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

using testing::question_of;
using testing::refusal;

TEST_CASE("AI2's rows become the Hub's columns") {
  const Json document = testing::document_of(
      "arc_easy",
      R"({"id":"x1","question":{"stem":"Why?","choices":[{"text":"a","label":"A"},{"text":"b","label":"B"}]},"answerKey":"B"})",
      "ai2-jsonl");
  CHECK(document.dump() ==
        R"({"id":"x1","question":"Why?","choices":{"text":["a","b"],"label":["A","B"]},"answerKey":"B"})");
}

TEST_CASE("the answer is looked up among the labels, letters or digits") {
  const Question question = question_of(
      "arc_challenge",
      R"({"id":"x","question":"Why?","choices":{"text":["a","b","c"],"label":["1","2","3"]},"answerKey":"3"})");
  CHECK(question.text == "Question: Why?\nAnswer:");
  CHECK(question.choices == std::vector<std::string>{"a", "b", "c"});
  CHECK(question.gold == 2);
  CHECK(question.target == "c");
}

TEST_CASE("an answer that is no label, labels that are too few, and a missing column are refused") {
  CHECK(refusal("arc_easy", R"({"id":"x","question":"q","choices":{"text":["a"],"label":["A"]},"answerKey":"B"})")
            .find("answerKey: expected one of the choices' labels") != std::string::npos);
  CHECK(refusal("arc_easy", R"({"id":"x","question":"q","choices":{"text":["a","b"],"label":["A"]},"answerKey":"A"})")
            .find("as many labels") != std::string::npos);
  CHECK(refusal("arc_easy", R"({"id":"x","question":"q","choices":{"text":["a"]},"answerKey":"A"})").find("label") !=
        std::string::npos);
  CHECK(refusal("arc_easy", R"({"id":"x","question":{"stem":"q"},"answerKey":"A"})", "ai2-jsonl")
            .find("question.choices") != std::string::npos);
}

}  // namespace
}  // namespace assay
