#include <doctest/doctest.h>

#include <cmath>

#include "engine/base/text_util.h"
#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

constexpr const char* kRow =
    R"({"question":"What is it?","mc1_targets":{"choices":["Yes.","No.","Perhaps."],"labels":[1,0,0]},)"
    R"("mc2_targets":{"choices":["Yes.","No.","Sure."],"labels":[1,0,1]}})";

double acc(const std::string& task, const std::vector<double>& sums) {
  Sample sample;
  sample.document = testing::document_of(task, kRow);
  sample.question = testing::question_of(task, kRow);
  Response response;
  for (const double sum : sums) response.loglikelihoods.push_back({.sum = sum});
  const Score score = testing::task_named(task).judge(sample, response);
  REQUIRE(score.metrics.size() == 1);
  CHECK(score.metrics[0].name == "acc");
  return score.metrics[0].value;
}

TEST_CASE("the question follows six answered ones in one text") {
  const Question question = testing::question_of("truthfulqa_mc1", kRow);
  CHECK(starts_with(question.text, "Q: What is human life expectancy in the United States?\nA: Human life"));
  CHECK(ends_with(question.text, "in Barcelona, Spain.\n\nQ: What is it?\nA:"));
  CHECK(question.choices == std::vector<std::string>{"Yes.", "No.", "Perhaps."});
  CHECK(testing::question_of("truthfulqa_mc2", kRow).choices[2] == "Sure.");
}

TEST_CASE("mc1 asks whether the first choice is likeliest, mc2 what share falls on the true ones") {
  CHECK(acc("truthfulqa_mc1", {-1, -2, -3}) == 1);
  CHECK(acc("truthfulqa_mc1", {-2, -1, -3}) == 0);
  const double expected = (std::exp(-1) + std::exp(-3)) / (std::exp(-1) + std::exp(-2) + std::exp(-3));
  CHECK(acc("truthfulqa_mc2", {-1, -2, -3}) == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("mc2 of texts too unlikely for a double is still a share") {
  const double expected = (1 + std::exp(-2)) / (1 + std::exp(-1) + std::exp(-2));
  CHECK(acc("truthfulqa_mc2", {-1000, -1001, -1002}) == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("the authors' own file maps choices to labels, in order") {
  const char* row = R"({"question":"q","mc1_targets":{"a":1,"b":0},"mc2_targets":{"c":1,"d":1,"e":0}})";
  CHECK(testing::document_of("truthfulqa_mc2", row, "answer-map").dump() ==
        R"({"question":"q","mc1_targets":{"choices":["a","b"],"labels":[1,0]},)"
        R"("mc2_targets":{"choices":["c","d","e"],"labels":[1,1,0]}})");
}

TEST_CASE("labels that do not fit the choices are refused") {
  const auto refused = [](const char* labels) {
    return testing::refusal("truthfulqa_mc1",
                            std::string(R"({"question":"q","mc1_targets":{"choices":["a","b"],"labels":)") + labels +
                                R"(},"mc2_targets":{}})");
  };
  CHECK(refused("[1]").find("one label a choice") != std::string::npos);
  CHECK(refused("[0,1]").find("1 as the first label") != std::string::npos);
  CHECK(refused("[1,2]").find("labels[1]") != std::string::npos);
}

TEST_CASE("free answers are compared with true and false ones, periods added and declining counted as true") {
  const char* row = R"({"Type":"t","Category":"c","Question":" What is it? ","Best Answer":"A cat",)"
                    R"("Correct Answers":"A cat; A small cat.;","Incorrect Answers":"A dog barks","Source":"s"})";
  const Json document = testing::document_of("truthfulqa_gen", row, "authors-csv");
  CHECK(document.find("question")->as_string() == "What is it?");
  CHECK(document.find("correct_answers")->dump() == R"(["A cat.","A small cat.","I have no comment."])");
  CHECK(document.find("incorrect_answers")->dump() == R"(["A dog barks."])");
  Sample sample;
  sample.document = document;
  sample.question = *testing::task_named("truthfulqa_gen").ask(document);
  CHECK(ends_with(sample.question.text, "\n\nQ: What is it?"));
  const Score score = testing::task_named("truthfulqa_gen")
                          .judge(sample, {.loglikelihoods = {}, .completions = {{.text = "A small cat ."}}});
  REQUIRE(score.metrics.size() == 12);
  CHECK(score.metrics[0].name == "bleu_max");
  CHECK(score.metrics[0].value == doctest::Approx(100));
  CHECK(score.metrics[1].name == "bleu_acc");
  CHECK(score.metrics[1].value == 1);
  CHECK(score.metrics[3].value == doctest::Approx(100));              // rouge1_max
  CHECK(score.metrics[5].value == doctest::Approx(100 - 100.0 / 3));  // one of three words is shared with the false one
  CHECK(score.metrics[11].name == "rougeL_diff");
}

}  // namespace
}  // namespace assay
