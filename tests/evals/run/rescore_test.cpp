#include "evals/run/rescore.h"

#include <doctest/doctest.h>

#include "evals/run/runner.h"
#include "tests/support/scripted_client.h"
#include "tests/support/temp_folder.h"
#include "tests/support/toy_tasks.h"

using namespace assay;
using namespace assay::testing;

namespace {

// The toy task with another opinion about what is right.
class Contrarian final : public Task {
 public:
  explicit Contrarian(TaskInfo info) : Task(std::move(info)) {}
  Result<Question> ask(const Json& document) const override {
    Question question;
    question.text = document.find("question")->as_string();
    for (const Json& choice : document.find("choices")->as_array()) question.choices.push_back(choice.as_string());
    question.gold = 3 - static_cast<int>(document.find("answer")->as_int());
    return question;
  }
};

struct OneRun {
  TempFolder folder;
  ToyChoiceTask task{"toy"};
  std::vector<PlannedTask> tasks;
  RunSettings settings;
  std::unique_ptr<Store> store = Store::open(folder / "a.db").value();
  StoredRun run;
  OneRun() {
    tasks.push_back(plan_toy(task, 12));
    settings.tasks = {"toy"};
    ScriptedClient client;
    Progress progress(real_clock(), false, false);
    run =
        store->run(store->create_run(describe_run(client, tasks, settings, "assay run", real_clock())).value()).value();
    REQUIRE(execute_run(
                client, *store, run, tasks, settings, {}, progress, [] { return false; }, real_clock())
                .ok());
  }
  std::vector<double> scores() { return store->scores(run.id, run.tasks[0].id, "acc,none")->values; }
};

}  // namespace

TEST_CASE("judging again with the same task changes nothing") {
  OneRun one;
  Registry registry;
  registry.add(std::make_unique<ToyChoiceTask>("toy"));
  const auto before = one.scores();
  const RescoreSummary summary = rescore_run(*one.store, one.run.id, registry).value();
  CHECK(summary.items == 12);
  CHECK(summary.changed == 0);
  CHECK(one.scores() == before);
}

TEST_CASE("a changed judge renews scores, version and a finding, without asking the model") {
  OneRun one;
  TaskInfo info = ToyChoiceTask::make_info("toy");
  info.version = "2.0";
  Registry registry;
  registry.add(std::make_unique<Contrarian>(info));
  const auto before = one.scores();
  const RescoreSummary summary = rescore_run(*one.store, one.run.id, registry).value();
  CHECK(summary.items == 12);
  CHECK(summary.changed > 0);
  const auto after = one.scores();
  REQUIRE(after.size() == before.size());
  int64_t differ = 0;
  for (size_t i = 0; i < after.size(); ++i) differ += after[i] != before[i];
  CHECK(differ > 0);
  CHECK(one.store->run(one.run.id)->tasks[0].version == "2.0");
  const auto findings = one.store->findings(one.run.id).value();
  CHECK(std::any_of(findings.begin(), findings.end(), [](const StoredFinding& f) { return f.code == "rescored"; }));
}

TEST_CASE("a task that is gone leaves the run as it was") {
  OneRun one;
  const auto before = one.scores();
  CHECK(rescore_run(*one.store, one.run.id, Registry()).status().code() == Code::not_found);
  CHECK(one.scores() == before);
}
