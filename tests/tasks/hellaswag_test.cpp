#include <doctest/doctest.h>

#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

using testing::question_of;
using testing::refusal;

constexpr const char* kWikiHow =
    R"({"ind": 4, "activity_label": "Home", "ctx_a": "[header] How to  fix [title] Go [sub\nstep] now.", "ctx_b": "then THE man",
  "ctx": "unused", "endings": [" [step] Do  it   twice.", "b", "c [x] d [y", "[]"], "source_id": "s", "split": "val", "split_type": "zeroshot", "label": "2"})";

TEST_CASE("marks are removed, double spaces halved in one pass, and ctx_b capitalized as Python does") {
  const Question question = question_of("hellaswag", kWikiHow);
  // A mark that holds a line end stays: Python's dot does not match one.
  CHECK(question.text == "Home: How to fix. Go [sub\nstep] now. Then the man");
  CHECK(question.choices == std::vector<std::string>{" Do it  twice.", "b", "c d [y", ""});
  CHECK(question.gold == 2);
  CHECK(question.target == "c d [y");
}

TEST_CASE("a prepared document ends in the columns that lm-eval adds") {
  const Json document = testing::document_of("hellaswag", kWikiHow);
  const Json::Object& columns = document.as_object();
  REQUIRE(columns.size() == 13);
  CHECK(columns[0].first == "ind");
  CHECK(columns[10].first == "query");
  CHECK(columns[11].first == "choices");
  CHECK(columns[12].first == "gold");
  CHECK(columns[12].second.as_int() == 2);
}

TEST_CASE("normalised rows lack three columns, and their label becomes text") {
  const Json document = testing::document_of(
      "hellaswag",
      R"({"row":0,"activity_label":"A","ctx_a":"b.","ctx_b":"","ctx":"b.","query":"A: b.","endings":["1","2","3","4"],"label":3,"split":"val"})",
      "normalised-text");
  CHECK(document.as_object().front().first == "activity_label");
  CHECK(document.find("label")->as_string() == "3");
  CHECK(document.find("row") == nullptr);
}

TEST_CASE("a label without an ending and a missing column are refused") {
  CHECK(refusal("hellaswag",
                R"({"activity_label":"A","ctx_a":"b","ctx_b":"","ctx":"b","endings":["1"],"label":1,"split":"val"})",
                "normalised-text")
            .find("the index of an ending") != std::string::npos);
  CHECK(refusal("hellaswag", R"({"ind":1,"activity_label":"A"})").find("\"ctx_a\" is missing") != std::string::npos);
}

}  // namespace
}  // namespace assay
