#include <doctest/doctest.h>

#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

using testing::question_of;
using testing::refusal;

TEST_CASE("options make contexts, and what follows the blank is measured") {
  const Question question =
      question_of("winogrande",
                  R"({"qID":"x","sentence":"Sam beat Kim, so _ won. ","option1":"Sam","option2":"Kim","answer":"1"})");
  CHECK(question.contexts == std::vector<std::string>{"Sam beat Kim, so Sam", "Sam beat Kim, so Kim"});
  CHECK(question.choices == std::vector<std::string>{"won."});
  CHECK(question.target == "won.");
  CHECK(question.gold == 0);
  CHECK(question.shot_text() == "Sam beat Kim, so Sam");
}

TEST_CASE("the source's qID is no column of the Hub's") {
  CHECK(testing::document_of("winogrande", R"({"qID":"x","sentence":"_","option1":"a","option2":"b","answer":"2"})")
            .dump() == R"({"sentence":"_","option1":"a","option2":"b","answer":"2"})");
}

TEST_CASE("a sentence without blank and a row without answer are refused") {
  CHECK(refusal("winogrande", R"({"sentence":"none","option1":"a","option2":"b","answer":"1"})")
            .find("a sentence with a blank") != std::string::npos);
  CHECK(refusal("winogrande", R"({"sentence":"_","option1":"a","option2":"b","answer":""})")
            .find("answer: expected \"1\" or \"2\"") != std::string::npos);
  CHECK(refusal("winogrande", R"({"sentence":"_","option1":"a","option2":"b"})").find("\"answer\" is missing") !=
        std::string::npos);
}

}  // namespace
}  // namespace assay
