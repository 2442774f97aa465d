#include <doctest/doctest.h>

#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

using testing::question_of;
using testing::refusal;

constexpr const char* kRow =
    R"({"question": " Which? \n", "A": "one ", "B": "2", "C": "three", "D": "", "answer": "C"})";

TEST_CASE("a CSV row becomes the Hub's columns, the letter an index") {
  const Json document = testing::document_of("mmlu_us_foreign_policy", kRow, "csv");
  CHECK(document.dump() ==
        R"({"question":" Which? \n","subject":"us_foreign_policy","choices":["one ","2","three",""],"answer":2})");
}

TEST_CASE("only the question is stripped; choices are letters") {
  const Question question = question_of("mmlu_anatomy", kRow, "csv");
  CHECK(question.text == "Which?\nA. one \nB. 2\nC. three\nD. \nAnswer:");
  CHECK(question.choices == std::vector<std::string>{"A", "B", "C", "D"});
  CHECK(question.gold == 2);
  CHECK(question.target == "C");
}

TEST_CASE("the description names the subject with spaces") {
  CHECK(testing::task_named("mmlu_high_school_us_history").info().description ==
        "The following are multiple choice questions (with answers) about high school us history.\n\n");
}

TEST_CASE("a wrong letter, a wrong index, a missing column and a missing choice are refused, naming the field") {
  for (const char* letter : {"E", "", "AB", "a"}) {
    const std::string row = std::string(R"({"question":"q","A":"","B":"","C":"","D":"","answer":")") + letter + "\"}";
    CHECK(refusal("mmlu_anatomy", row, "csv").find("answer: expected A, B, C or D") != std::string::npos);
  }
  CHECK(refusal("mmlu_anatomy", R"({"question":"q","A":"","B":"","C":"","answer":"A"})", "csv").find("D") !=
        std::string::npos);
  CHECK(refusal("mmlu_anatomy", R"({"question":"q","subject":"s","choices":["a","b","c","d"],"answer":4})")
            .find("answer") != std::string::npos);
  CHECK(refusal("mmlu_anatomy", R"({"question":"q","subject":"s","choices":["a","b","c"],"answer":0})")
            .find("4 choices") != std::string::npos);
  CHECK(refusal("mmlu_anatomy", R"({"question":"q","choices":["a","b","c","d"],"answer":0})")
            .find("\"subject\" is missing") != std::string::npos);
}

}  // namespace
}  // namespace assay
