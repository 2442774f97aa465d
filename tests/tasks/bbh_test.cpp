#include <doctest/doctest.h>

#include "engine/base/hash.h"
#include "evals/prompt/prompt.h"
#include "tests/support/recorded.h"
#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

constexpr const char* kTask = "bbh_cot_fewshot_boolean_expressions";

std::string judged(const std::string& target, const std::string& text) {
  Sample sample;
  sample.question.target = target;
  Response response;
  response.completions.push_back({.text = text});
  const Score score = testing::task_named(kTask).judge(sample, response);
  REQUIRE(score.metrics.size() == 1);
  return score.extracted[0].text + (score.metrics[0].value == 1 ? " right" : " wrong");
}

TEST_CASE("the 27 subtasks bring a description and three worked examples each") {
  const TaskGroup* group = testing::all_tasks().find_group("bbh");
  REQUIRE(group != nullptr);
  CHECK(testing::all_tasks().leaves(*group).size() == 27);
  for (const std::string& name : testing::all_tasks().leaves(*group)) {
    const Task& task = testing::task_named(name);
    CAPTURE(name);
    CHECK(task.info().description.ends_with("\n\n"));
    REQUIRE(task.inline_shots().size() == 3);
    for (const Json& shot : task.inline_shots()) {
      const Result<Question> question = task.ask(shot);
      REQUIRE(question.ok());
      CHECK(question->target.find("the answer is ") != std::string::npos);
    }
  }
}

// Writes every message it is given, as make_bbh_prompts.py's template does.
Result<std::string> show(const std::vector<ChatMessage>& messages, const RenderOptions&) {
  std::string text;
  for (const ChatMessage& m : messages) text += "<" + m.role + ">" + m.content + "</" + m.role + ">\n";
  return text + "<assistant>";
}

TEST_CASE("every subtask's prompt is lm-eval's, plain and in a chat") {
  const Json recorded = testing::recorded_json("lm_eval/bbh_prompts.json");
  REQUIRE(recorded.size() == 27);
  for (const auto& [name, prompts] : recorded.as_object()) {
    const Task& task = testing::task_named(name);
    std::vector<Question> shots;
    for (const Json& shot : task.inline_shots()) shots.push_back(*task.ask(shot));
    std::vector<const Question*> pointers;
    for (const Question& shot : shots) pointers.push_back(&shot);
    const Question question = testing::question_of(name, R"({"input":"What now?","target":"Right"})");
    for (const auto& [mode, sha256] : prompts.as_object()) {
      CAPTURE(name);
      CAPTURE(mode);
      PromptSettings settings;
      settings.apply_chat_template = mode != "plain";
      settings.fewshot_as_multiturn = mode == "multi";
      const Result<PromptTexts> texts = build_prompt(task.info(), question, pointers, settings, show);
      REQUIRE(texts.ok());
      CHECK(sha256_hex(texts->contexts[0]) == sha256.as_string());
    }
  }
}

TEST_CASE("a question ends in the call to think and a shot's answer follows at once") {
  const Question question = testing::question_of(kTask, R"({"input":"not True is","target":"False"})");
  CHECK(question.text == "Q: not True is\nA: Let's think step by step.\n");
  CHECK(question.target == "False");
  CHECK(testing::task_named(kTask).info().target_delimiter.empty());
}

TEST_CASE("the answer is what follows the phrase, up to the last character of its line") {
  CHECK(judged("False", "So the answer is False.") == "False right");
  CHECK(judged("False", "So the answer is False") == "Fals wrong");
  CHECK(judged("(A)", "the answer is (A). Or the answer is (B).") == "(A). Or the answer is (B) wrong");
  CHECK(judged("24", "It is 24.") == "[invalid] wrong");
}

TEST_CASE("a row without an answer is refused") {
  CHECK(testing::refusal(kTask, R"({"input":"q"})").find("\"target\" is missing") != std::string::npos);
  CHECK(testing::refusal(kTask, R"({"input":"q","target":""})").find("target") != std::string::npos);
}

}  // namespace
}  // namespace assay
