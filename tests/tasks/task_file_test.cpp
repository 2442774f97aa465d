#include "tasks/task_file.h"

#include <doctest/doctest.h>

#include "engine/base/text_util.h"
#include "evals/run/runner.h"
#include "tests/support/jinja_templates.h"
#include "tests/support/scripted_client.h"
#include "tests/support/source_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

using testing::compile_jinja;

const std::string kExamples = testing::source_folder().string() + "/docs/examples";

constexpr const char* kChoice = R"({"task":"t","data":{"test":"rows.jsonl"},"output_type":"multiple_choice",
  "doc_to_text":"{{ q }}","doc_to_choice":["{{ a }}","{{ b }}"],"doc_to_target":"answer"})";

Result<TaskFile> parse(const std::string& text) { return parse_task_file(text, "/tasks/t.json", compile_jinja); }

// The example with one field replaced, or added, by `value` (JSON text); what is said against it.
std::string complaint(const std::string& field, const std::string& value) {
  Json json = testing::parsed(kChoice);
  json.set(field, testing::parsed(value));
  const Result<TaskFile> file = parse(json.dump());
  CHECK_FALSE(file.ok());
  return file.ok() ? "" : file.status().message();
}

#define CHECK_HAS(text, part) CHECK_MESSAGE((text).find(part) != std::string::npos, (text))

std::string row_complaint(const Task& task, const std::string& row) {
  const Result<Json> document = task.to_document(testing::parsed(row), "hub");
  return document.ok() ? "" : document.status().message();
}

TEST_CASE("a file's fields become the task's") {
  Result<TaskFile> file = parse(R"({"task":"g-1","alias":"G","group":"gg","version":"3","description":"d\n",
    "data":{"dev":{"path":"sub/x.csv","format":"csv","columns":["q","s"],"rows":7}},"test_split":"dev","fewshot_split":"dev",
    "output_type":"generate_until","doc_to_text":"{{ q }}\n","doc_to_target":"s","gen_prefix":"So","num_fewshot":3,"sampler":"first_n",
    "generation_kwargs":{"until":["\n"],"max_gen_toks":5},
    "filter_list":[{"name":"f","filter":[{"function":"regex","regex_pattern":"[0-9]+","group_select":-1}]}],
    "metric_list":[{"metric":"exact_match","ignore_case":true}]})");
  REQUIRE_MESSAGE(file.ok(), file.status().message());
  const TaskInfo& info = file->task->info();
  CHECK(info.name == "g-1");
  CHECK(info.eval_split() == "dev");
  CHECK(info.sampler == FewShotSampler::first_n);
  CHECK(info.generation.max_gen_toks == 5);
  CHECK(info.filters[0].steps[0].group_select == -1);
  CHECK(info.exact_match.ignore_case);
  CHECK(info.primary_metric == "exact_match,f");
  CHECK(info.definition_file == "/tasks/t.json");
  const ManifestSource& source = file->manifest.sources[0];
  CHECK(source.root == "/tasks");
  CHECK(source.files[0].path == "sub/x.csv");
  CHECK(source.files[0].rows == 7);
  const Question question = *file->task->ask(testing::parsed(R"({"q":"hm","s":12})"));
  CHECK(question.text == "hm\n");
  CHECK(question.target == "12");
  CHECK(question.answer_prefix == "So");
}

TEST_CASE("the right choice is an index, a text or a letter, in that order") {
  Result<TaskFile> file = parse(kChoice);
  REQUIRE(file.ok());
  const auto gold = [&](const std::string& answer) {
    return file->task->ask(testing::parsed(R"({"q":"?","a":"B","b":"1","answer":)" + answer + "}"))->gold;
  };
  CHECK(gold("1") == 1);
  CHECK(gold("\"1\"") == 1);
  CHECK(gold("\"0\"") == 0);
  CHECK(gold("\"B\"") == 0);
  CHECK(gold("\"A\"") == 0);
  CHECK_HAS(row_complaint(*file->task, R"({"q":"?","a":"x","b":"y","answer":"C"})"),
            "doc_to_target: expected an index from 0 to 1, a letter from A to B, or the text of a choice, found \"C\"");
  CHECK_HAS(row_complaint(*file->task, R"({"q":"?","a":"x","b":"y","answer":2})"), "found 2");
  CHECK_HAS(row_complaint(*file->task, R"({"q":"?","a":"x","answer":0})"), "doc_to_choice[1] line 1: 'b' is undefined");
  CHECK_HAS(row_complaint(*file->task, R"({"q":"?","a":"","b":"y","answer":0})"), "a choice is empty");
}

TEST_CASE("a column's name gives the column, a list of choices too") {
  Json json = testing::parsed(kChoice);
  json.set("doc_to_text", "q").set("doc_to_choice", "options");
  Result<TaskFile> file = parse(json.dump());
  REQUIRE(file.ok());
  const Question question = *file->task->ask(testing::parsed(R"({"q":"{{ x }}","options":["u",2,"w"],"answer":"w"})"));
  CHECK(question.text == "{{ x }}");
  CHECK(question.choices == std::vector<std::string>{"u", "2", "w"});
  CHECK(question.gold == 2);
  CHECK(file->task->ask(testing::parsed(R"({"q":"?","options":"[\"u\",\"v\"]","answer":1})"))->choices.size() == 2);
  CHECK_HAS(row_complaint(*file->task, R"({"q":"?","options":["u"],"answer":0})"), "at least two choices");
}

TEST_CASE("errors name the file and the field") {
  CHECK_HAS(complaint("doc_to_txt", "\"x\""),
            "/tasks/t.json: doc_to_txt: expected a known field (did you mean \"doc_to_text\"?)");
  CHECK_HAS(complaint("output_type", "\"essay\""),
            "output_type: expected one of multiple_choice, generate_until, found \"essay\"");
  CHECK_HAS(complaint("task", "\"a b\""), "task: expected letters");
  CHECK_HAS(complaint("task", "3"), "task: expected a string");
  CHECK_HAS(complaint("doc_to_text", "\"{{ q\""), "doc_to_text: expected a template");
  CHECK_HAS(complaint("doc_to_choice", "[\"a\",\"{% if %}\"]"), "doc_to_choice[1]: expected a template");
  CHECK_HAS(complaint("doc_to_choice", "[\"a\"]"), "at least two choices");
  CHECK_HAS(complaint("data", "{}"), "data: expected at least one split");
  CHECK_HAS(complaint("data", "{\"test\":\"../x.jsonl\"}"), "data.test: expected a path beside the task file");
  CHECK_HAS(complaint("data", "{\"test\":{\"path\":\"x\",\"sha256\":\"12\"}}"), "data.test.sha256: expected 64");
  CHECK_HAS(complaint("data", "{\"other\":\"x.jsonl\"}"), "a split \"test\" or \"validation\"");
  CHECK_HAS(complaint("fewshot_split", "\"train\""), "fewshot_split: expected a split that \"data\" holds");
  CHECK_HAS(complaint("metric_list", "[\"f1\"]"),
            "metric_list[0]: expected each of acc, acc_norm, acc_bytes once at most");
  CHECK_HAS(complaint("metric_list", "[{\"metric\":\"acc\",\"aggregation\":\"median\"}]"),
            "metric_list[0].aggregation");
  CHECK_HAS(complaint("primary_metric", "\"acc\""), "primary_metric: expected one of acc,none");
  CHECK_HAS(complaint("num_fewshot", "-1"), "num_fewshot: expected an integer from 0");
  CHECK_HAS(complaint("sampler", "\"best\""), "sampler: expected one of default, first_n");
  CHECK_HAS(complaint("generation_kwargs", "{}"), "generation_kwargs: expected nothing here");
  CHECK_HAS(
      complaint("filter_list", "[{\"name\":\"f\",\"filter\":[{\"function\":\"regex\",\"regex_pattern\":\"(\"}]}]"),
      "filter_list[0].filter[0].regex_pattern: expected a pattern");
  CHECK_HAS(complaint("filter_list", "[{\"name\":\"f\",\"filter\":[{\"function\":\"sort\"}]}]"), "filter[0].function");
  CHECK_HAS(complaint("samples", "[{\"q\":\"x\"}]"), "samples: doc_to_choice[0] line 1: 'a' is undefined");
}

// The examples of docs/task_files.md, in a registry of their own.
const Registry& examples() {
  static const Registry registry = [] {
    Registry tasks;
    add_all_tasks(tasks);
    const Status status = add_task_files(tasks, {kExamples + "/sums.json"}, {kExamples}, compile_jinja);
    REQUIRE_MESSAGE(status.ok(), status.message());
    return tasks;
  }();
  return registry;
}

TEST_CASE("the documented examples are added beside the built-in tasks, once, in their group") {
  REQUIRE(examples().find_task("capitals") != nullptr);
  REQUIRE(examples().find_task("sums") != nullptr);
  REQUIRE(examples().find_group("geography") != nullptr);
  CHECK(examples().find_group("geography")->metric == "acc,none");
  const DatasetManifest* manifest = *find_manifest(examples().find_task("capitals")->info().dataset);
  CHECK(available_splits({}, *manifest, "") == std::vector<std::string>{"test", "train"});
}

TEST_CASE("the documented file is the one in the examples") {
  const std::string manual = *real_files().read(testing::source_folder() / "docs" / "task_files.md");
  const std::string example = *real_files().read(Path(kExamples) / "capitals.json");
  CHECK(manual.find("```json\n" + example + "```\n") != std::string::npos);
}

struct Run {
  testing::TempFolder folder;
  testing::ScriptedClient client;
  RunSettings settings;
  std::vector<PlannedTask> tasks;
  std::unique_ptr<Store> store = Store::open(folder / "a.db").value();

  StoredRun execute(const Registry& registry) {
    Result<std::vector<PlannedTask>> planned = plan_run(registry, settings, {});
    REQUIRE_MESSAGE(planned.ok(), planned.status().message());
    tasks = std::move(*planned);
    Progress progress(real_clock(), false, false);
    const StoredRun run =
        store->run(*store->create_run(describe_run(client, tasks, settings, "assay run", real_clock()))).value();
    const Result<RunSummary> summary = execute_run(
        client, *store, run, tasks, settings, {}, progress, [] { return false; }, real_clock());
    REQUIRE_MESSAGE(summary.ok(), summary.status().message());
    CHECK(summary->finished);
    CHECK(summary->failed == 0);
    return run;
  }
};

TEST_CASE("the examples run from data to score") {
  Run run;
  run.settings.tasks = {"geography", "sums"};
  std::vector<std::string> prompts;
  run.client.generate = [&](const std::string& prompt) {
    prompts.push_back(prompt);
    return std::string(prompt.find("10 + 5") != std::string::npos ? "I think 15" : "The answer is 4, not 7");
  };
  const StoredRun stored = run.execute(examples());
  REQUIRE(stored.tasks.size() == 2);
  CHECK(stored.tasks[0].rows == 6);
  CHECK(stored.tasks[0].fewshot_split == "train");
  CHECK(run.store->scores(stored.id, stored.tasks[0].id, "acc_norm,none").value().values.size() == 6);
  const auto strict = run.store->scores(stored.id, stored.tasks[1].id, "exact_match,strict").value().values;
  const auto last = run.store->scores(stored.id, stored.tasks[1].id, "exact_match,last-number").value().values;
  CHECK(strict == std::vector<double>{1, 0, 0, 0, 0});
  CHECK(last == std::vector<double>{0, 1, 0, 0, 0});
  REQUIRE(prompts.size() == 5);
  for (const std::string& prompt : prompts) CHECK(starts_with(prompt, "Q: What is 1 + 1?\nA: 2\n\nQ: What is "));
}

// A folder with a task of four rows, two of them bad.
struct BadRows {
  testing::TempFolder folder;
  Registry registry;
  explicit BadRows(const std::string& name, const std::string& extra = "") {
    const std::string rows =
        "{\"id\":1,\"q\":\"?\",\"a\":\"x\",\"b\":\"y\",\"answer\":0}\n{\"id\":2,\"q\":\"?\",\"a\":\"x\",\"b\":\"y\","
        "\"answer\":\"Z\"}\n"
        "{\"id\":3,\"q\":\"?\",\"a\":\"x\",\"b\":\"y\",\"answer\":1}\n{\"id\":1,\"q\":\"!\",\"a\":\"x\",\"b\":\"y\","
        "\"answer\":1}\n";
    REQUIRE(real_files().write_atomic(folder / "rows.jsonl", rows).ok());
    const std::string text =
        replace_all(kChoice, R"("task":"t")", R"("id_column":"id","task":")" + name + "\"" + extra);
    REQUIRE(real_files().write_atomic(folder / "t.json", text).ok());
    const Status status = add_task_files(registry, {(folder / "t.json").string()}, {}, compile_jinja);
    REQUIRE_MESSAGE(status.ok(), status.message());
  }
};

TEST_CASE("a bad row stops the run before it starts, with file and row, unless it is told to skip") {
  BadRows bad("bad_rows");
  RunSettings settings;
  settings.tasks = {"bad_rows"};
  const Result<std::vector<PlannedTask>> refused = plan_run(bad.registry, settings, {});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.status().code() == Code::bad_data);
  CHECK_HAS(refused.status().message(), "rows.jsonl row 2: doc_to_target");
  CHECK_HAS(refused.status().message(), "1 more rows are bad");
  CHECK_HAS(refused.status().message(), "--skip-bad-rows");

  Run run;
  run.settings.tasks = {"bad_rows"};
  run.settings.skip_bad_rows = true;
  const StoredRun stored = run.execute(bad.registry);
  CHECK(stored.tasks[0].rows == 2);
  CHECK(stored.tasks[0].split_label == "2 bad rows of test skipped");
  CHECK(RunSettings::from_json(stored.settings)->skip_bad_rows);
}

TEST_CASE("a data file that changed is refused by name") {
  BadRows bad("changed_rows");
  const std::string text = replace_all(kChoice, R"("test":"rows.jsonl")",
                                       R"("test":{"path":"rows.jsonl","sha256":")" + std::string(64, '0') + "\"}");
  REQUIRE(real_files()
              .write_atomic(bad.folder / "u.json", replace_all(text, R"("task":"t")", R"("task":"changed_too")"))
              .ok());
  REQUIRE(add_task_files(bad.registry, {(bad.folder / "u.json").string()}, {}, compile_jinja).ok());
  RunSettings settings;
  settings.tasks = {"changed_too"};
  const Result<std::vector<PlannedTask>> refused = plan_run(bad.registry, settings, {});
  REQUIRE_FALSE(refused.ok());
  CHECK_HAS(refused.status().message(), "rows.jsonl: expected SHA-256 0000");
}

TEST_CASE("a task's name may not be taken, and a group is scored by one metric") {
  testing::TempFolder folder;
  Registry registry;
  add_all_tasks(registry);
  REQUIRE(
      real_files().write_atomic(folder / "a.json", replace_all(kChoice, R"("task":"t")", R"("task":"gsm8k")")).ok());
  const Status taken = add_task_files(registry, {(folder / "a.json").string()}, {}, compile_jinja);
  CHECK_HAS(taken.message(), "a.json: task: expected a name that no task or group has, found \"gsm8k\"");
  REQUIRE(real_files()
              .write_atomic(folder / "a.json", replace_all(kChoice, R"("task":"t")", R"("task":"m1","group":"mg")"))
              .ok());
  REQUIRE(real_files()
              .write_atomic(folder / "b.json", replace_all(kChoice, R"("task":"t")",
                                                           R"("task":"m2","group":"mg","metric_list":["acc_norm"])"))
              .ok());
  const Status mixed = add_task_files(registry, {}, {folder.path().string()}, compile_jinja);
  CHECK_HAS(mixed.message(), "primary_metric: expected acc,none as the others of group mg, found acc_norm,none");
}

}  // namespace
}  // namespace assay
