#include "evals/run/runner.h"

#include <doctest/doctest.h>

#include <map>

#include "tests/support/scripted_client.h"
#include "tests/support/temp_folder.h"
#include "tests/support/toy_tasks.h"

using namespace assay;
using namespace assay::testing;

namespace {

struct Bench {
  TempFolder folder;
  ToyChoiceTask first{"toy_a"}, second{"toy_b"};
  std::vector<PlannedTask> tasks;
  RunSettings settings;
  std::unique_ptr<Store> store;
  Progress progress{real_clock(), false, false};

  Bench() {
    tasks.push_back(plan_toy(first, 30));
    tasks.push_back(plan_toy(second, 11));
    settings.tasks = {"toy_a", "toy_b"};
    store = Store::open(folder / "a.db").value();
  }

  StoredRun create(ModelClient& client) {
    return store->run(store->create_run(describe_run(client, tasks, settings, "assay run", real_clock())).value())
        .value();
  }
  Result<RunSummary> execute(
      ModelClient& client, const StoredRun& run, const RunHints& hints = {},
      const std::function<bool()>& interrupted = [] { return false; }) {
    return execute_run(client, *store, run, tasks, settings, hints, progress, interrupted, real_clock());
  }
  std::map<std::string, std::vector<double>> scores(const StoredRun& run) {
    std::map<std::string, std::vector<double>> all;
    for (const StoredTask& task : run.tasks) {
      for (const char* key : {"acc,none", "acc_norm,none"})
        all[task.name + key] = store->scores(run.id, task.id, key).value().values;
    }
    return all;
  }
};

}  // namespace

TEST_CASE("every planned sample is asked once, scored and stored, and the run is finished") {
  Bench bench;
  ScriptedClient client;
  const StoredRun run = bench.create(client);
  const RunSummary summary = bench.execute(client, run).value();
  CHECK(summary.finished);
  CHECK(summary.asked == 41);
  CHECK(client.answers_given() == 41 * 4);
  CHECK(bench.store->run(run.id).value().state == RunState::finished);
  CHECK(bench.store->answered(run.id, run.tasks[0].id).value().size() == 30);
  CHECK(bench.store->answered(run.id, run.tasks[1].id).value().size() == 11);
}

TEST_CASE("worked examples that come with a task are asked their own way") {
  Bench bench;
  const ToyTaskWithShots task("toy_shots");
  PlannedTask planned = plan_toy(task, 5);
  planned.shot_pool = task.inline_shots();
  planned.shots.assign(5, {1, 0});
  planned.stored.num_fewshot = 2;
  bench.tasks = {planned};
  bench.settings.tasks = {"toy_shots"};
  ScriptedClient client;
  const StoredRun run = bench.create(client);
  CHECK(bench.execute(client, run).value().failed == 0);
  int64_t seen = 0;
  REQUIRE(bench.store
              ->for_each_item(run.id, run.tasks[0].id,
                              [&](const StoredItem& item) {
                                const std::string& context = item.requests[0].context;
                                CHECK(context.find("second example") < context.find("first example"));
                                CHECK(context.find("first example") < context.find("toy_shots question"));
                                ++seen;
                                return ok_status();
                              })
              .ok());
  CHECK(seen == 5);
}

TEST_CASE("order of asking, window and batch size leave every score as it is") {
  std::map<std::string, std::vector<double>> expected;
  for (const char* order : {"natural", "reverse", "shuffled:5"}) {
    for (const int64_t window : {1, 8, 4096}) {
      Bench bench;
      ScriptedClient client;
      client.batch = static_cast<size_t>(window % 13 + 1);
      const StoredRun run = bench.create(client);
      RunHints hints;
      hints.item_order = order;
      hints.window_items = window;
      REQUIRE(bench.execute(client, run, hints).value().finished);
      if (expected.empty()) expected = bench.scores(run);
      CHECK(bench.scores(run) == expected);
    }
  }
}

TEST_CASE("a run that breaks off at any answer goes on where it stopped and ends with the same scores") {
  std::map<std::string, std::vector<double>> expected;
  {
    Bench bench;
    ScriptedClient client;
    const StoredRun run = bench.create(client);
    REQUIRE(bench.execute(client, run).ok());
    expected = bench.scores(run);
  }
  for (int64_t broken = 0; broken < 41 * 4; broken += 9) {
    Bench bench;
    ScriptedClient first;
    first.fail_wait_after = broken;
    const StoredRun run = bench.create(first);
    CHECK_FALSE(bench.execute(first, run).ok());
    ScriptedClient second;
    const RunSummary summary = bench.execute(second, run).value();
    CHECK(summary.finished);
    const int64_t stored_before = 41 - summary.asked;
    CHECK(stored_before <= broken / 4);
    CHECK(bench.scores(run) == expected);
  }
}

TEST_CASE("an interruption stops between batches and leaves the run resumable") {
  Bench bench;
  ScriptedClient client;
  const StoredRun run = bench.create(client);
  int calls = 0;
  const RunSummary stopped = bench.execute(client, run, {}, [&] { return ++calls > 3; }).value();
  CHECK_FALSE(stopped.finished);
  CHECK(bench.store->run(run.id).value().state == RunState::running);
  ScriptedClient again;
  const RunSummary finished = bench.execute(again, run).value();
  CHECK(finished.finished);
  CHECK(stopped.asked + finished.asked == 41);
}

TEST_CASE("a sample the machine failed on is a failed row with its reason, and is asked again by the next resume") {
  Bench bench;
  ScriptedClient client;
  client.error = [](const std::string& prompt) {
    return prompt.find("question 3") != std::string::npos ? std::string("no memory") : std::string();
  };
  const StoredRun run = bench.create(client);
  const RunSummary summary = bench.execute(client, run).value();
  CHECK(summary.failed == 2);
  CHECK(bench.store->run(run.id).value().state != RunState::finished);
  CHECK(bench.store->outcomes(run.id, run.tasks[0].id).value().failed == 1);
  CHECK(bench.store->scores(run.id, run.tasks[0].id, "acc,none").value().values.size() == 29);
  ScriptedClient healthy;
  CHECK(bench.execute(healthy, run).value().asked == 2);
  CHECK(bench.store->run(run.id).value().state == RunState::finished);
  CHECK(bench.store->outcomes(run.id, run.tasks[0].id).value().failed == 0);
  CHECK(bench.store->scores(run.id, run.tasks[0].id, "acc,none").value().values.size() == 30);
}

TEST_CASE("a rolled text is one stored request and one answer a window, and keeps its sum and weights") {
  Bench bench;
  ToyRollingTask rolling("toy_pages");
  bench.tasks = {plan_rolling(rolling, 3)};
  bench.settings.max_length = 16;
  ScriptedClient client;
  const StoredRun run = bench.create(client);
  REQUIRE(bench.execute(client, run).value().finished);
  int64_t seen = 0;
  REQUIRE(
      bench.store
          ->for_each_item(run.id, run.tasks[0].id,
                          [&](const StoredItem& item) {
                            const std::string& page = item.document.find("page")->as_string();
                            REQUIRE(item.requests.size() == 1);
                            CHECK(item.requests[0].context == page);
                            CHECK(item.requests[0].continuation_tokens == static_cast<int32_t>(page.size()));
                            CHECK_FALSE(item.requests[0].truncated);
                            CHECK(item.response.loglikelihoods.size() == (page.size() + 15) / 16);
                            double sum = 0;
                            for (const Loglikelihood& window : item.response.loglikelihoods) sum += window.sum;
                            for (const MetricValue& metric : item.score.metrics) {
                              const bool words = metric.name == "word_perplexity";
                              CHECK(metric.value == sum);
                              CHECK(metric.weight ==
                                    static_cast<double>(words ? count_words(page) : static_cast<int64_t>(page.size())));
                            }
                            ++seen;
                            return ok_status();
                          })
          .ok());
  CHECK(seen == 3);
}

TEST_CASE("an order of asking that is not known is a usage error") {
  Bench bench;
  ScriptedClient client;
  const StoredRun run = bench.create(client);
  RunHints hints;
  hints.item_order = "sideways";
  CHECK(bench.execute(client, run, hints).status().code() == Code::invalid_argument);
}

TEST_CASE("the plan's digest changes with anything that may change a score") {
  Bench bench;
  ScriptedClient client;
  const std::string digest = plan_digest(bench.settings, client.info(), bench.tasks);
  CHECK(plan_digest(bench.settings, client.info(), bench.tasks) == digest);
  RunSettings other = bench.settings;
  other.fewshot_seed = 7;
  CHECK(plan_digest(other, client.info(), bench.tasks) != digest);
  EngineInfo model = client.info();
  model.weights_sha256 = "else";
  CHECK(plan_digest(bench.settings, model, bench.tasks) != digest);
  bench.tasks[0].stored.data_sha256 = "else";
  CHECK(plan_digest(bench.settings, client.info(), bench.tasks) != digest);
}
