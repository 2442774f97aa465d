#include <doctest/doctest.h>

#include <set>

#include "engine/base/text_util.h"
#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

// Made-up rows in the layout of the authors' CSV.
Json row_of(const std::string& number, const std::string& minutes = "2.5") {
  return Json::object()
      .set("Question", "What is " + number + "?")
      .set("Correct Answer", " right" + number + " ")
      .set("Incorrect Answer 1", "one" + number)
      .set("Incorrect Answer 2", "two [c]  " + number)
      .set("Incorrect Answer 3", "three" + number)
      .set("Minutes", minutes)
      .set("Count", number)
      .set("First", number == "1" ? "True" : "False")
      .set("Never", "");
}

std::vector<Json> prepared(const Task& task, int64_t rows, SplitRole role = SplitRole::evaluated) {
  std::vector<Json> documents;
  for (int64_t i = 0; i < rows; ++i)
    documents.push_back(*task.to_document(row_of(std::to_string(i), i == 1 ? "" : "2.5"), "csv"));
  const Status status = task.prepare(documents, role);
  REQUIRE_MESSAGE(status.ok(), status.message());
  return documents;
}

// Original positions, 3 the right one, in the order shown.
std::string order_of(const Json& document) {
  std::string order;
  for (int i = 1; i <= 4; ++i) {
    const std::string shown = document.find("choice" + std::to_string(i))->as_string();
    order += starts_with(shown, "one")     ? '0'
             : starts_with(shown, "two")   ? '1'
             : starts_with(shown, "three") ? '2'
                                           : '3';
  }
  return order;
}

TEST_CASE("choices are shuffled as Python's random stream seeded with 0 does") {
  const std::vector<Json> documents = prepared(testing::task_named("gpqa_main_cot_n_shot"), 10);
  const char* const kOrders[] = {"2013", "0132", "0213", "1032", "2031", "3120"};
  for (size_t i = 0; i < 6; ++i) CHECK(order_of(documents[i]) == kOrders[i]);
  std::string answers;
  for (const Json& document : documents) answers += document.find("answer")->as_string()[1];
  CHECK(answers == "DCDCCACADB");
}

TEST_CASE("n_shot goes on with one stream seeded with 42: shots see its first pass, questions its third") {
  const Task& task = testing::task_named("gpqa_main_n_shot");
  CHECK(order_of(prepared(task, 448, SplitRole::shots)[0]) == "2130");
  const std::vector<Json> evaluated = prepared(task, 448);
  CHECK(order_of(evaluated[0]) == "0123");
  CHECK(order_of(evaluated[2]) == "3210");
}

TEST_CASE("columns have the types that pandas gives them") {
  const Json document = prepared(testing::task_named("gpqa_main_cot_zeroshot"), 3)[1];
  CHECK(document.find("Minutes")->is_null());
  CHECK(document.find("Count")->is_int());
  CHECK(document.find("First")->as_bool());
  CHECK(document.find("Never")->is_null());
  CHECK(prepared(testing::task_named("gpqa_main_zeroshot"), 3)[0].find("Minutes")->is_real());
  CHECK(document.find("choices")->size() == 4);
  CHECK(prepared(testing::task_named("gpqa_main_zeroshot"), 1)[0].find("choices") == nullptr);
}

TEST_CASE("the four ways of asking") {
  const auto text = [](const char* name) {
    const Task& task = testing::task_named(name);
    return task.ask(prepared(task, 1)[0])->text;
  };
  const std::string choices = "\nChoices:\n(A) three0\n(B) one0\n(C) two [c] 0\n(D) right0";
  CHECK(text("gpqa_main_zeroshot") == "What is the correct answer to this question:What is 0?" + choices + "\nAnswer:");
  CHECK(text("gpqa_diamond_cot_zeroshot") ==
        "What is the correct answer to this question:What is 0?" + choices + "\nLet's think step by step: ");
  CHECK(text("gpqa_diamond_cot_n_shot") == "Question: What is 0?" + choices + "\nLet's think step by step: ");
  CHECK(starts_with(text("gpqa_main_n_shot"), "Question: What is 0?\nChoices:\n(A) "));
  CHECK(testing::task_named("gpqa_main_zeroshot").info().fixed_num_fewshot);
  CHECK_FALSE(testing::task_named("gpqa_main_n_shot").info().fixed_num_fewshot);
}

TEST_CASE("in April 2025 what stood in brackets was deleted from the choices") {
  Registry card;
  add_all_tasks(card, Profile::card_2025_04);
  const Task& task = *card.find_task("gpqa_main_cot_n_shot");
  CHECK(task.info().version == "2.0");
  CHECK(prepared(task, 1)[0].find("choice3")->as_string() == "two  0");
}

TEST_CASE("answers are extracted from thoughts as lm-eval does") {
  const Task& task = testing::task_named("gpqa_main_cot_n_shot");
  Sample sample;
  sample.document = prepared(task, 1)[0];
  sample.question = *task.ask(sample.document);
  const auto judged = [&](const char* said) {
    const Score score = task.judge(sample, {.loglikelihoods = {}, .completions = {{.text = said}}});
    return score.extracted.at(0).text + " " + score.extracted.at(1).text +
           (score.metrics.at(1).value == 1 ? " right" : "");
  };
  CHECK(judged("First (A), no: (D)") == "[invalid] (D) right");
  CHECK(judged("The answer is (D).") == "(D) (D) right");
  CHECK(judged("It must be RIGHT0, surely") == "[invalid] (D) right");
  CHECK(judged("letter: B") == "[invalid] (B)");
  CHECK(judged("no idea") == "[invalid] [invalid]");
}

TEST_CASE("no message quotes a row") {
  const Task& task = testing::task_named("gpqa_main_zeroshot");
  Json row = row_of("7");
  row.set("Incorrect Answer 2", Json());
  std::vector<Json> documents = {row_of("secret")};
  REQUIRE(task.prepare(documents, SplitRole::evaluated).ok());
  documents[0].set("choice2", 5);
  const std::string message = task.ask(documents[0]).status().message();
  CHECK(message == "gpqa_main_zeroshot: column \"choice2\": expected text");
  Json incomplete = Json::object().set("Question", "secret");
  CHECK(task.to_document(incomplete, "csv").status().message().find("secret") == std::string::npos);
}

}  // namespace
}  // namespace assay
