// Programs that a model wrote, on their way from completion to stored verdict.
#include <doctest/doctest.h>

#include "engine/base/text_util.h"
#include "evals/run/grading.h"
#include "evals/run/runner.h"
#include "tests/support/scripted_client.h"
#include "tests/support/scripted_programs.h"
#include "tests/support/temp_folder.h"

using namespace assay;
using namespace assay::testing;

namespace {

class ToyCodeTask final : public Task {
 public:
  static TaskInfo make_info() {
    TaskInfo info;
    info.name = info.alias = "toy_code";
    info.version = "1";
    info.dataset = "toy";
    info.test_split = "test";
    info.kind = RequestKind::generate_until;
    info.metrics = {{.name = "pass@1"}, {.name = "pass@2"}};
    info.primary_metric = "pass@1,none";
    return info;
  }
  ToyCodeTask() : Task(make_info()) {}
  Result<Question> ask(const Json& document) const override {
    Question question;
    question.text = document.find("question")->as_string();
    return question;
  }
  bool wants_programs() const override { return true; }
  Result<CodeProblem> code_problem(const Json& document, const AskContext&) const override {
    CodeProblem problem;
    problem.task_id = document.find("question")->as_string();
    problem.entry_point = "f";
    problem.test_code = "assert f()";
    return problem;
  }
};

struct Bench {
  TempFolder folder;
  ToyCodeTask task;
  std::vector<PlannedTask> tasks;
  RunSettings settings;
  std::unique_ptr<Store> store;
  Progress progress{real_clock(), false, false};
  ScriptedPrograms programs;
  CodeChecker checker{programs, CodeRules{}};

  Bench() {
    PlannedTask planned;
    planned.task = &task;
    for (int64_t i = 0; i < 12; ++i) {
      planned.documents.push_back(Json::object().set("question", "problem " + std::to_string(i)));
      planned.doc_ids.push_back(i);
      planned.shots.emplace_back();
    }
    planned.stored.name = planned.stored.alias = "toy_code";
    planned.stored.info = task_info_to_json(task.info());
    planned.stored.primary_metric = task.info().primary_metric;
    planned.stored.rows = planned.stored.planned = 12;
    tasks.push_back(std::move(planned));
    settings.tasks = {"toy_code"};
    store = Store::open(folder / "a.db").value();
  }

  static ScriptedClient writer() {
    ScriptedClient client;
    client.generate = [](const std::string& prompt) {
      return prompt.find('1') != std::string::npos ? std::string("right") : std::string("wrong");
    };
    return client;
  }
  StoredRun create(ModelClient& client) {
    const StoredRun run = describe_run(client, tasks, settings, "assay run", real_clock(), &checker);
    return store->run(store->create_run(run).value()).value();
  }
  Result<RunSummary> execute(
      ModelClient& client, const StoredRun& run, const std::function<bool()>& interrupted = [] { return false; }) {
    return execute_run(client, *store, run, tasks, settings, {}, progress, interrupted, real_clock(), &checker);
  }
  std::vector<double> scores(const StoredRun& run) {
    return store->scores(run.id, run.tasks[0].id, "pass@1,none").value().values;
  }
};

const std::vector<double> kExpected = {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1};

}  // namespace

TEST_CASE("every program is run once and stored with its verdict, the isolation and the interpreter") {
  Bench bench;
  ScriptedClient client = Bench::writer();
  const StoredRun run = bench.create(client);
  CHECK(run.machine.find("sandbox")->find("sha256")->as_string() == "abc");
  CHECK(bench.execute(client, run).value().finished);
  CHECK(bench.scores(run) == kExpected);
  CHECK(bench.programs.graded == 12);
  int isolated = 0;
  REQUIRE(bench.store
              ->for_each_item(run.id, run.tasks[0].id,
                              [&](const StoredItem& item) {
                                for (const Extracted& one : item.score.extracted)
                                  isolated += one.filter == "isolation" && one.text == "scripted";
                                return ok_status();
                              })
              .ok());
  CHECK(isolated == 12);
}

TEST_CASE("a verdict that could not be reached is no score, and a resume grades the stored answer without asking") {
  Bench bench;
  ScriptedClient client = Bench::writer();
  const StoredRun run = bench.create(client);
  const auto working = bench.programs.verdict;
  bench.programs.verdict = [](const std::string& program) {
    return program.find(to_hex("right")) != std::string::npos ? Verdict::infra : Verdict::fail;
  };
  CHECK(bench.execute(client, run).value().failed == 3);
  CHECK(bench.scores(run).size() == 9);
  bench.programs.verdict = working;
  bench.programs.graded = 0;
  ScriptedClient again = Bench::writer();
  CHECK(bench.execute(again, run).value().finished);
  CHECK(again.answers_given() == 0);
  CHECK(bench.programs.graded == 3);
  CHECK(bench.scores(run) == kExpected);
}

TEST_CASE("an interruption at any moment loses no answer and counts none twice") {
  for (int moment = 1; moment < 8; ++moment) {
    CAPTURE(moment);
    Bench bench;
    ScriptedClient client = Bench::writer();
    client.batch = 3;
    const StoredRun run = bench.create(client);
    int calls = 0;
    const RunSummary stopped = bench.execute(client, run, [&] { return ++calls >= moment; }).value();
    ScriptedClient again = Bench::writer();
    CHECK(bench.execute(again, run).value().finished);
    CHECK(bench.scores(run) == kExpected);
    CHECK(client.answers_given() + again.answers_given() == 12);
    CHECK((stopped.finished || moment < 8));
  }
}

TEST_CASE("without a sandbox no program is run") {
  Bench bench;
  ScriptedClient client = Bench::writer();
  const StoredRun run = bench.create(client);
  const auto refused = execute_run(
      client, *bench.store, run, bench.tasks, bench.settings, {}, bench.progress, [] { return false; }, real_clock());
  CHECK(refused.status().code() == Code::invalid_argument);
  CHECK(client.answers_given() == 0);
}

TEST_CASE("several programs of one problem give pass@k") {
  ScriptedPrograms programs;
  const CodeChecker checker(programs, CodeRules{});
  const TaskInfo info = ToyCodeTask::make_info();
  Grading grading(checker, 2);
  grading.submit({.key = 7, .task = &info, .problem = {}, .completions = {"right", "wrong", "wrong", "right"}});
  const std::vector<Graded> graded = grading.wait();
  REQUIRE(graded.size() == 1);
  CHECK(graded[0].key == 7);
  REQUIRE(graded[0].score.metrics.size() == 2);
  CHECK(graded[0].score.metrics[0].value == doctest::Approx(0.5));
  CHECK(graded[0].score.metrics[1].value == doctest::Approx(1 - 1.0 / 6));
  CHECK(programs.graded == 2);  // equal completions run once
  CHECK(grading.num_pending() == 0);
}

TEST_CASE("each form of program is cut out of its completion") {
  ScriptedPrograms programs;
  const CodeChecker checker(programs, CodeRules{});
  const auto program = [&](ProgramForm form, const char* completion) {
    CodeProblem problem;
    problem.form = form;
    problem.code_prefix = form == ProgramForm::first_block ? "" : "def f():\n";
    return checker.program_of(problem, completion).value();
  };
  CHECK(program(ProgramForm::continued, "    return 1") == "def f():\n    return 1");
  CHECK(program(ProgramForm::until_fence, "    return 1\n```\nDone.") == "def f():\n    return 1\n");
  CHECK(program(ProgramForm::first_block, "\ndef f():\n    return 1\n```\nDone.") == "def f():\n    return 1");
  CHECK(program(ProgramForm::first_block, "no fence at all") == "");
}
