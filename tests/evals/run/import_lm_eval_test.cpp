#include "evals/run/import_lm_eval.h"

#include <doctest/doctest.h>

#include <map>

#include "evals/run/runner.h"
#include "reports/export_lm_eval.h"
#include "reports/recovery.h"
#include "tests/support/scripted_client.h"
#include "tests/support/source_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/toy_tasks.h"

using namespace assay;
using namespace assay::testing;

namespace {

const Path kGolden = testing::source_folder() / "tests/golden/lm_eval_run";

std::map<std::string, std::vector<double>> metrics_of(Store& store, RunId id) {
  std::map<std::string, std::vector<double>> all;
  const StoredRun run = store.run(id).value();
  for (const StoredTask& task : run.tasks) {
    const auto keys = store.metric_keys(id, task.id).value();
    for (const std::string& key : keys) all[task.name + " " + key] = store.scores(id, task.id, key)->values;
  }
  return all;
}

}  // namespace

TEST_CASE("what lm-eval 0.4.13 wrote becomes a finished run with its own numbers") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  const auto files = find_lm_eval_runs(kGolden).value();
  REQUIRE(files.size() == 1);
  CHECK(files[0].samples.size() == 2);
  const ImportedRun imported = import_lm_eval(*store, files[0], Registry()).value();
  CHECK(imported.tasks == 2);
  CHECK(imported.items == 8);
  CHECK(imported.matched_hashes == 8);
  CHECK(imported.mismatched_hashes == 0);
  CHECK_MESSAGE(imported.warnings.empty(), (imported.warnings.empty() ? "" : imported.warnings[0]));
  const StoredRun run = store->run(imported.run).value();
  CHECK(run.state == RunState::finished);
  CHECK(run.model.model_name == "HuggingFaceTB/SmolLM2-135M-Instruct");
  CHECK(run.model.dtype == "float32");
  const auto task =
      std::find_if(run.tasks.begin(), run.tasks.end(), [](const StoredTask& t) { return t.name == "mmlu_anatomy"; });
  REQUIRE(task != run.tasks.end());
  CHECK(task->version == "1.0");
  CHECK(task->num_fewshot == 2);
  CHECK(task->split == "test");
  CHECK(task->rows == 135);
  CHECK(task->planned == 4);
  CHECK(task->primary_metric == "acc,none");
  const auto metrics = metrics_of(*store, imported.run);
  CHECK(metrics.at("mmlu_anatomy acc,none").size() == 4);
  CHECK(metrics.count("gsm8k exact_match,strict-match") == 1);
  CHECK(metrics.count("gsm8k exact_match,flexible-extract") == 1);
  int64_t choices = 0;
  REQUIRE(store
              ->for_each_item(run.id, task->id,
                              [&](const StoredItem& item) {
                                choices += static_cast<int64_t>(item.response.loglikelihoods.size());
                                CHECK(item.requests[0].continuation == " A");
                                CHECK(item.response.loglikelihoods[0].sum < 0);
                                return ok_status();
                              })
              .ok());
  CHECK(choices == 16);
}

TEST_CASE("the same results file is one run, however often it is imported") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  const auto files = find_lm_eval_runs(kGolden).value();
  const RunId first = import_lm_eval(*store, files[0], Registry())->run;
  const ImportedRun again = import_lm_eval(*store, files[0], Registry()).value();
  CHECK(again.was_here);
  CHECK(again.run == first);
  CHECK(store->runs()->size() == 1);
}

TEST_CASE("an exported run comes back with equal scores and pairs with the one it came from") {
  TempFolder folder;
  Registry registry;
  registry.add(std::make_unique<ToyChoiceTask>("toy"));
  std::vector<PlannedTask> tasks = {plan_toy(*registry.find_task("toy"), 20)};
  RunSettings settings;
  settings.tasks = {"toy"};
  auto store = Store::open(folder / "a.db").value();
  ScriptedClient client;
  Progress progress(real_clock(), false, false);
  const StoredRun run =
      store->run(store->create_run(describe_run(client, tasks, settings, "assay run", real_clock())).value()).value();
  REQUIRE(execute_run(
              client, *store, run, tasks, settings, {}, progress, [] { return false; }, real_clock())
              .ok());
  REQUIRE(export_lm_eval(*store, run.id, registry, folder / "out", true).ok());
  const auto files = find_lm_eval_runs(folder / "out").value();
  REQUIRE(files.size() == 1);
  const ImportedRun imported = import_lm_eval(*store, files[0], registry).value();
  CHECK(imported.matched_hashes == 20);
  CHECK(imported.warnings.empty());
  CHECK(metrics_of(*store, imported.run) == metrics_of(*store, run.id));
  const RecoveryReport report = compare_runs(*store, run.id, imported.run, registry, false, false).value();
  REQUIRE(report.rows.size() == 1);
  CHECK(report.rows[0].comparison.count == 20);
  CHECK(report.rows[0].comparison.lost == 0);
  CHECK(report.rows[0].comparison.gained == 0);
}

TEST_CASE("documents with other texts pair by number, with a warning") {
  TempFolder folder;
  auto store = Store::open(folder / "a.db").value();
  std::vector<RunId> ids;
  for (const char* text : {"a", "b"}) {
    StoredRun run;
    run.settings = run.machine = Json::object();
    StoredTask task;
    task.name = "toy";
    task.info = Json::object();
    task.primary_metric = "acc,none";
    task.rows = task.planned = 2;
    run.tasks = {task};
    ids.push_back(store->create_run(run).value());
    const StoredRun stored = store->run(ids.back()).value();
    StoredItem first, second;
    first.document = Json::object().set("q", text);
    second.doc_id = 1;
    second.document = Json::object().set("q", "same");
    first.score.metrics = second.score.metrics = {{"acc", "none", 1.0}};
    REQUIRE(store->add_items(stored.id, stored.tasks[0].id, {first, second}).ok());
  }
  const RecoveryReport report = compare_runs(*store, ids[0], ids[1], Registry(), false, true).value();
  CHECK(report.rows[0].comparison.count == 2);
  CHECK(std::any_of(report.warnings.begin(), report.warnings.end(), [](const std::string& warning) {
    return warning.find("1 questions differ in their text and were paired by number") != std::string::npos;
  }));
}

TEST_CASE("lines of older lm-eval versions are read: plain lists, numbers, no hash, no filter, no metric names") {
  const auto sample = parse_lm_eval_sample(
      R"({"doc_id": 3, "doc": {"q": "x"}, "target": 1, "arguments": [["ctx", " a"], ["ctx", " b"]],
          "resps": [[[-1.5, false]], [[-0.5, true]]], "filtered_resps": [[-1.5, false], [-0.5, true]], "acc": 1.0, "acc_norm": true})",
      "line");
  REQUIRE_MESSAGE(sample.ok(), sample.status().message());
  CHECK(sample->filter == "none");
  CHECK(sample->item.target == "1");
  REQUIRE(sample->item.requests.size() == 2);
  CHECK(sample->item.requests[1].continuation == " b");
  REQUIRE(sample->item.response.loglikelihoods.size() == 2);
  CHECK(sample->item.response.loglikelihoods[1].is_greedy);
  REQUIRE(sample->item.score.metrics.size() == 2);
  CHECK(sample->item.score.metrics[1].value == 1.0);
}

TEST_CASE("a damaged line is named with its file and number") {
  TempFolder folder;
  REQUIRE(real_files().write_atomic(folder / "samples_t.jsonl", "{\"doc_id\":0,\"resps\":[]}\n{\"doc_id\":").ok());
  const auto read = read_lm_eval_samples(folder / "samples_t.jsonl");
  CHECK(read.status().code() == Code::bad_data);
  CHECK(read.status().message().find("samples_t.jsonl line 2") != std::string::npos);
  CHECK(find_lm_eval_runs(folder / "nothing").status().code() == Code::not_found);
  CHECK(find_lm_eval_runs(folder.path()).status().code() == Code::not_found);
}
