#include "evals/run/findings.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "evals/prompt/lint.h"
#include "tests/support/scripted_client.h"
#include "tests/support/temp_folder.h"
#include "tests/support/toy_tasks.h"

using namespace assay;
using namespace assay::testing;

namespace {

StoredTask task_named(const std::string& name, const std::string& group = "", const std::string& metric = "acc,none") {
  StoredTask task;
  task.name = name;
  task.group = group;
  task.dataset = "set";
  task.info = Json::object();
  task.primary_metric = metric;
  task.planned = task.rows = 200;
  return task;
}

// A run whose items a test makes up.
struct MadeUp {
  TempFolder folder;
  std::unique_ptr<Store> store = Store::open(folder / "a.db").value();
  StoredRun run;
  explicit MadeUp(std::vector<StoredTask> tasks) {
    run.settings = run.machine = Json::object();
    run.tasks = std::move(tasks);
    run = store->run(store->create_run(run).value()).value();
  }
  void add(size_t task, const std::vector<StoredItem>& items) {
    REQUIRE(store->add_items(run.id, run.tasks[task].id, items).ok());
  }
  std::vector<StoredFinding> findings() { return findings_of(*store, run).value(); }
};

const StoredFinding* find(const std::vector<StoredFinding>& findings, const std::string& code) {
  const auto found =
      std::find_if(findings.begin(), findings.end(), [&](const StoredFinding& f) { return f.code == code; });
  return found == findings.end() ? nullptr : &*found;
}

StoredItem choice_item(int64_t doc_id, size_t chosen, bool right, size_t choices = 4) {
  StoredItem item;
  item.doc_id = doc_id;
  item.document = Json::object().set("q", doc_id);
  for (size_t i = 0; i < choices; ++i) {
    Loglikelihood answer;
    answer.sum = i == chosen ? -1 : -2 - static_cast<double>(i);
    item.response.loglikelihoods.push_back(answer);
  }
  item.score.metrics = {{"acc", "none", right ? 1.0 : 0.0}};
  return item;
}

StoredItem text_item(int64_t doc_id, const std::string& text, FinishReason finish, const std::string& stop,
                     const std::string& answer) {
  StoredItem item;
  item.doc_id = doc_id;
  item.document = Json::object().set("q", doc_id);
  Completion completion;
  completion.text = text;
  completion.tokens = {1};
  completion.finish = finish;
  completion.stop_match = stop;
  item.response.completions = {completion};
  item.score.extracted = {{"strict-match", answer}};
  item.score.outcome = answer == "[invalid]" ? Outcome::no_answer : Outcome::scored;
  item.score.metrics = {{"exact_match", "strict-match", 0.0}};
  return item;
}

}  // namespace

TEST_CASE("a score that guessing gives is found, a better one and a small sample are not") {
  for (const auto& [count, right_of_four, expected] : {std::tuple{200, 1, true}, {200, 2, false}, {60, 1, false}}) {
    MadeUp made({task_named("a")});
    std::vector<StoredItem> items;
    for (int64_t i = 0; i < count; ++i)
      items.push_back(choice_item(i, static_cast<size_t>(i % 4), i % 4 < right_of_four));
    made.add(0, items);
    const auto findings = made.findings();
    CHECK((find(findings, "chance_level") != nullptr) == expected);
    CHECK(find(findings, "one_answer") == nullptr);
  }
}

TEST_CASE("chance is one in as many as there are choices, question by question") {
  MadeUp made({task_named("a")});
  std::vector<StoredItem> items;
  for (int64_t i = 0; i < 200; ++i) items.push_back(choice_item(i, static_cast<size_t>(i % 2), i % 2 == 0, 2));
  made.add(0, items);
  const auto findings = made.findings();
  REQUIRE(find(findings, "chance_level"));
  CHECK(find(findings, "chance_level")->text.find("50.0 % is what guessing gives (50.0 %") != std::string::npos);
}

TEST_CASE("tasks of a group are judged together, a task alone by itself") {
  MadeUp made({task_named("g_one", "g"), task_named("g_two", "g"), task_named("alone")});
  for (size_t t = 0; t < 3; ++t) {
    std::vector<StoredItem> items;
    for (int64_t i = 0; i < 60; ++i) items.push_back(choice_item(i, 2, i % 4 == 0));
    made.add(t, items);
  }
  const auto findings = made.findings();
  const StoredFinding* chance = find(findings, "chance_level");
  REQUIRE(chance);
  CHECK(chance->scope == "set");
  CHECK(chance->affected == 120);
  const StoredFinding* one = find(findings, "one_answer");
  REQUIRE(one);
  CHECK(one->text.find("100.0 % of the answers are choice 3") == 0);
  CHECK(std::count_if(findings.begin(), findings.end(), [](const auto& f) { return f.scope == "alone"; }) == 1);
}

TEST_CASE("choices that all score alike are counted") {
  MadeUp made({task_named("a")});
  StoredItem item = choice_item(0, 0, true);
  for (Loglikelihood& answer : item.response.loglikelihoods) answer.sum = -3;
  made.add(0, {item, choice_item(1, 2, false)});
  REQUIRE(find(made.findings(), "equal_choices"));
  CHECK(find(made.findings(), "equal_choices")->affected == 1);
}

TEST_CASE("one answer again and again is a finding, a note kept with every score is none") {
  MadeUp made({task_named("a", "", "exact_match,strict-match")});
  std::vector<StoredItem> items;
  for (int64_t i = 0; i < 100; ++i) {
    items.push_back(text_item(i, "t", FinishReason::stop_token, "</s>", "42"));
    items.back().score.extracted.push_back({"isolation", "warm, every layer"});
  }
  made.add(0, items);
  const auto findings = made.findings();
  REQUIRE(find(findings, "one_answer"));
  CHECK(find(findings, "one_answer")->text == "100.0 % of the answers that filter strict-match found are the same");
  CHECK(std::count_if(findings.begin(), findings.end(), [](const auto& f) { return f.code == "one_answer"; }) == 1);
}

TEST_CASE("how generations ended and what was not extracted adds up") {
  MadeUp made({task_named("a", "", "exact_match,strict-match")});
  std::vector<StoredItem> items;
  for (int64_t i = 0; i < 10; ++i) items.push_back(text_item(i, "t", FinishReason::length, "", "[invalid]"));
  for (int64_t i = 10; i < 16; ++i)
    items.push_back(text_item(i, "t", FinishReason::stop_string, "Question:", std::to_string(i)));
  for (int64_t i = 16; i < 19; ++i)
    items.push_back(text_item(i, "t", FinishReason::stop_string, "\n\n", std::to_string(i)));
  items.push_back(text_item(19, " ", FinishReason::stop_token, "</s>", "7"));
  made.add(0, items);
  const auto findings = made.findings();
  REQUIRE(find(findings, "cut_by_length"));
  CHECK(find(findings, "cut_by_length")->text.find("50.0 %") == 0);
  CHECK(find(findings, "cut_by_length")->severity == StoredFinding::Severity::warning);
  CHECK(find(findings, "not_extracted")->affected == 10);
  CHECK(find(findings, "empty_answer")->affected == 1);
  CHECK(find(findings, "ended")->affected == 1);
  int64_t stopped = 0;
  for (const StoredFinding& finding : findings) stopped += finding.code == "stopped_by" ? finding.affected : 0;
  CHECK(stopped == 9);
}

TEST_CASE("bits stored with the items become findings, two BOS serious") {
  MadeUp made({task_named("a")});
  StoredItem first = choice_item(0, 0, true), second = choice_item(1, 1, false);
  first.lint = kTwoBos | kTruncated;
  second.lint = kTruncated | kBoundaryMerge | kSpecialInText;
  made.add(0, {first, second});
  const auto findings = made.findings();
  CHECK(find(findings, "two_bos")->severity == StoredFinding::Severity::serious);
  CHECK(find(findings, "truncated_context")->affected == 2);
  CHECK(find(findings, "boundary_merge")->affected == 1);
  CHECK(find(findings, "special_in_text")->affected == 1);
}

TEST_CASE("two BOS and special tokens in a question are seen before the run") {
  ToyChoiceTask task("toy");
  std::vector<PlannedTask> tasks = {plan_toy(task, 8)};
  RunSettings settings;
  ScriptedClient client;
  CHECK(check_prompts(client, tasks, settings)->empty());
  client.mutable_info().bos_token = 't';  // every prompt begins with "toy"
  tasks[0].documents[7].set("question", "tt [INST]");
  client.mutable_info().special_texts = {"[INST]"};
  const auto findings = check_prompts(client, tasks, settings).value();
  REQUIRE(find(findings, "two_bos"));
  CHECK(find(findings, "two_bos")->affected == 1);
  CHECK(find(findings, "special_in_text")->affected == 1);
}
