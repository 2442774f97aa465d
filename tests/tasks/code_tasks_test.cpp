#include <doctest/doctest.h>

#include <map>

#include "engine/base/file.h"
#include "engine/base/text_util.h"
#include "evals/data/fetch.h"
#include "evals/prompt/prompt.h"
#include "tests/support/shared_folder.h"
#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

constexpr const char* kPlusRow =
    R"({"task_id":"HumanEval/9","prompt":"\ndef f(a):\n    \"\"\"Adds.\"\"\"\n","entry_point":"f",
        "canonical_solution":"    return a\n","base_input":"[[1]]","plus_input":"[[2]]","atol":0})";
constexpr const char* kHumanEvalRow =
    R"({"task_id":"HumanEval/9","prompt":"def h():\n    return 1\n\ndef f(a):\n    \"\"\"Adds.\"\"\"\n","entry_point":"f",
        "canonical_solution":"    return a\n","test":"def check(candidate):\n    assert candidate(1) == 1\n"})";
constexpr const char* kMbppRow =
    R"({"task_id":11,"text":"Write f.","code":"def g():\r\n  pass\r\ndef f(x):\r\n  return x","test_setup_code":"",
        "test_list":["assert f(1) == 1","assert f(2) == 2","assert f(3) == 3"],"challenge_test_list":[]})";

CodeProblem problem_of(const std::string& task, const char* row, const char* layout, const AskContext& context = {}) {
  auto problem = testing::task_named(task).code_problem(testing::document_of(task, row, layout), context);
  REQUIRE_MESSAGE(problem.ok(), problem.status().message());
  return std::move(problem).value();
}

TEST_CASE("evalplus asks for a completion directly, and in a chat for a script whose answer is begun") {
  const Task& task = testing::task_named("humaneval_plus");
  const Json document = testing::document_of("humaneval_plus", kPlusRow, "evalplus");
  const Question direct = task.ask_in(document, {}).value();
  CHECK(direct.text == "def f(a):\n    \"\"\"Adds.\"\"\"\n");
  CHECK(direct.answer_prefix.empty());
  const Question chat = task.ask_in(document, {.in_chat = true}).value();
  CHECK(starts_with(chat.text, "Please provide a self-contained Python script"));
  CHECK(ends_with(chat.text, ":\n```\ndef f(a):\n    \"\"\"Adds.\"\"\"\n```\n"));
  CHECK(ends_with(chat.answer_prefix, "corresponding tests:\n```python\n"));
  CHECK(problem_of("humaneval_plus", kPlusRow, "evalplus").code_prefix == direct.text);
  CHECK(problem_of("humaneval_plus", kPlusRow, "evalplus", {.in_chat = true}).code_prefix.empty());
}

TEST_CASE("the card's profile strips the direct prompt, draws 50 programs and keeps the prompt as it was before them") {
  const AskContext card{.profile = Profile::card_2025_04};
  const Task& task = testing::task_named("humaneval_plus");
  const Json document = testing::document_of("humaneval_plus", kPlusRow, "evalplus");
  CHECK(task.ask_in(document, card)->text == "def f(a):\n    \"\"\"Adds.\"\"\"");
  CHECK(task.code_problem(document, card)->code_prefix == "\ndef f(a):\n    \"\"\"Adds.\"\"\"\n");
  const GenerationSettings generation = task.generation_in(card);
  CHECK(generation.repeats == 50);
  CHECK(generation.temperature == doctest::Approx(0.2));
  CHECK(generation.top_p == doctest::Approx(0.95));
  CHECK(generation.max_gen_toks == 768);
  CHECK(task.generation_in({}).repeats == 1);
}

TEST_CASE("HumanEval's program is the prompt and its continuation; helpers before the function go to the tests") {
  const CodeProblem problem = problem_of("humaneval", kHumanEvalRow, "hub");
  CHECK(problem.form == ProgramForm::continued);
  CHECK(problem.support_code == "def h():\n    return 1\n\n");
  CHECK(ends_with(problem.test_code, "\ncheck(f)"));
  CHECK(problem_of("humaneval_instruct", kHumanEvalRow, "hub").form == ProgramForm::until_fence);
}

TEST_CASE("MBPP's three assertions are shown and judge; the file's other splits are dropped") {
  const CodeProblem problem = problem_of("mbpp", kMbppRow, "google-test");
  CHECK(problem.entry_point == "f");
  CHECK(problem.test_code == "assert f(1) == 1\nassert f(2) == 2\nassert f(3) == 3");
  const Question question = testing::question_of("mbpp", kMbppRow, "google-test");
  CHECK(question.text ==
        "You are an expert Python programmer, and here is your task: Write f. Your code should pass these tests:\n\n"
        "assert f(1) == 1\nassert f(2) == 2\nassert f(3) == 3\n[BEGIN]\n");
  const Task& task = testing::task_named("mbpp");
  std::vector<Json> documents = {task.to_document(testing::parsed(kMbppRow), "google-test").value(),
                                 task.to_document(testing::parsed(kMbppRow), "google-train").value()};
  REQUIRE(task.prepare(documents, SplitRole::evaluated).ok());
  CHECK(documents.size() == 1);
}

// evalplus' providers were run with tokenizers that record; "identity" renders "[role]content".
TEST_CASE("every recorded prompt and stop list of evalplus' vllm and hf providers is met") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  DataLocations locations;
  locations.mirror = *shared / "data";
  std::map<std::string, Json> documents;
  for (const char* name : {"humaneval_plus", "mbpp_plus"}) {
    const LoadedSplit split = load_split(locations, *find_manifest(name).value(), "", "test").value();
    for (const Json& row : split.rows) {
      const Json document = testing::task_named(name).to_document(row, split.layout).value();
      documents[document.find("task_id")->as_string()] = document;
    }
  }
  int checked = 0;
  const Rows records = read_table(*shared / "oracle/code/prompts.jsonl").value();
  for (const Json& record : records) {
    const auto text = [&](const char* key) { return record.find(key)->as_string(); };
    const std::string rendering = text("tokenizer_template");
    const Json* prompt = record.find("prompt");
    if (text("backend") == "openai" || !prompt || !prompt->is_string()) continue;
    CAPTURE(text("task_id"));
    CAPTURE(rendering);
    const bool chat = rendering != "none" && !record.find("force_base_prompt")->as_bool();
    const AskContext context{.in_chat = chat};
    const Task& task = testing::task_named(text("dataset") + "_plus");
    const Question question = task.ask_in(documents.at(text("task_id")), context).value();
    const std::string& ours = question.text;
    if (!chat) {
      CHECK(ours == prompt->as_string());
    } else {
      // Whatever the template sets between the turns, question and begun answer stand in it as they are.
      CHECK(prompt->as_string().find(py_strip(ours)) != std::string::npos);
      CHECK(ends_with(prompt->as_string(), question.answer_prefix));
      if (rendering == "identity")
        CHECK(prompt->as_string() == "[user]" + ours + "[assistant]" + question.answer_prefix);
    }
    const Json* stop = record.find("stop");
    if (stop && stop->is_array()) {
      std::vector<std::string> stops;
      for (const Json& one : stop->as_array()) stops.push_back(one.as_string());
      CHECK(task.generation_in(context).until == stops);
    }
    ++checked;
  }
  MESSAGE(checked << " prompts equal");
  CHECK(checked > 100);
}

}  // namespace
}  // namespace assay
