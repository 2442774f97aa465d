#include <doctest/doctest.h>

#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

constexpr const char* kRow =
    R"({"question_id":70,"question":"Which? ","options":[" one","two "],"answer":"B","answer_index":1,)"
    R"("cot_content":"A: Let's think step by step. It is two. The answer is (B).","category":"law","src":"x"})";

const Task& card_task() {
  static const Registry registry = [] {
    Registry tasks;
    add_all_tasks(tasks, Profile::card_2025_04);
    return tasks;
  }();
  return *registry.find_task("mmlu_pro_law");
}

std::string judged(const std::string& text) {
  Sample sample;
  sample.question = testing::question_of("mmlu_pro_law", kRow);
  Response response;
  response.completions.push_back({.text = text});
  const Score score = testing::task_named("mmlu_pro_law").judge(sample, response);
  return score.extracted.at(0).text + (score.metrics.at(0).value == 1 ? " right" : " wrong");
}

TEST_CASE("options are stripped and lettered, and the answer is thought about") {
  const Question question = testing::question_of("mmlu_pro_law", kRow);
  CHECK(question.text == "Question:\nWhich? \nOptions:\nA. one\nB. two\nAnswer: Let's think step by step.");
  CHECK(question.target == "B");
}

TEST_CASE("a worked example's thoughts are the assistant's") {
  const Question shot = *testing::task_named("mmlu_pro_law").ask_shot(testing::document_of("mmlu_pro_law", kRow));
  CHECK(shot.text == testing::question_of("mmlu_pro_law", kRow).text);
  CHECK(shot.target == "It is two. The answer is (B).");
}

TEST_CASE("in April 2025 options kept their spaces and a worked example stood in the user's text") {
  const Json document = testing::document_of("mmlu_pro_law", kRow);
  CHECK(card_task().info().version == "2.1");
  CHECK(card_task().info().generation.until == std::vector<std::string>{"</s>", "Q:", "<|im_end|>"});
  CHECK(card_task().ask(document)->text ==
        "Question:\nWhich? \nOptions:\nA.  one\nB. two \nAnswer: Let's think step by step.");
  const Question shot = *card_task().ask_shot(document);
  CHECK(shot.text ==
        "Question:\nWhich? \nOptions:\nA.  one\nB. two \nAnswer: Let's think step by step. It is two. "
        "The answer is (B).\n\n");
  CHECK(shot.target.empty());
}

TEST_CASE("the first \"answer is\" with a letter counts") {
  CHECK(judged("so the answer is (B). Or the answer is (A).") == "B right");
  CHECK(judged("The answer is B") == "B right");
  CHECK(judged("the answer is **B**") == "[invalid] wrong");
  CHECK(judged("Answer: B") == "[invalid] wrong");
}

TEST_CASE("a task keeps the rows of its category") {
  std::vector<Json> documents = {testing::parsed(kRow), testing::parsed(kRow)};
  documents[0].set("category", "math");
  documents[1].set("question_id", 71);
  REQUIRE(testing::task_named("mmlu_pro_law").prepare(documents, SplitRole::evaluated).ok());
  REQUIRE(documents.size() == 1);
  CHECK(documents[0].find("question_id")->as_int() == 71);
  std::vector<Json> none = {documents[0]};
  CHECK(testing::task_named("mmlu_pro_computer_science").prepare(none, SplitRole::shots).message() ==
        "mmlu_pro_computer_science: no row of category \"computer science\"");
}

TEST_CASE("an answer that is no letter and a row without options are refused") {
  std::string row = kRow;
  row.replace(row.find("\"B\""), 3, "\"K\"");
  CHECK(testing::refusal("mmlu_pro_law", row).find("a letter from A to J") != std::string::npos);
  row = kRow;
  row.replace(row.find("[\" one\",\"two \"]"), 15, "[]");
  CHECK(testing::refusal("mmlu_pro_law", row).find("1 to 10 options") != std::string::npos);
}

}  // namespace
}  // namespace assay
