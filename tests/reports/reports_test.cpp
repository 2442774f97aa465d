#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "evals/run/runner.h"
#include "reports/export_lm_eval.h"
#include "reports/recovery.h"
#include "reports/recovery_plot.h"
#include "reports/run_view.h"
#include "reports/table.h"
#include "tests/support/scripted_client.h"
#include "tests/support/temp_folder.h"
#include "tests/support/toy_tasks.h"

using namespace assay;
using namespace assay::testing;

namespace {

// Two models' runs over two toy tasks that form a group, in one store.
struct TwoRuns {
  TempFolder folder;
  Registry registry;
  std::vector<PlannedTask> tasks;
  RunSettings settings;
  std::unique_ptr<Store> store;
  RunId baseline = 0, candidate = 0;

  TwoRuns() {
    registry.add(std::make_unique<ToyChoiceTask>("toy_a"));
    registry.add(std::make_unique<ToyChoiceTask>("toy_b"));
    TaskGroup group;
    group.name = group.alias = "toy";
    group.children = {"toy_a", "toy_b"};
    group.metric = "acc,none";
    registry.add(group);
    tasks.push_back(plan_toy(*registry.find_task("toy_a"), 20));
    tasks.push_back(plan_toy(*registry.find_task("toy_b"), 10));
    settings.tasks = {"toy"};
    store = Store::open(folder / "a.db").value();
    baseline = run("none");
    candidate = run("w4a16 int4 group 64 symmetric");
  }
  RunId run(const std::string& quantization) {
    ScriptedClient client;
    client.mutable_info().quantization = quantization;
    client.mutable_info().model_name = quantization == "none" ? "base" : "quantized";
    Progress progress(real_clock(), false, false);
    const StoredRun stored =
        store
            ->run(
                store->create_run(describe_run(client, tasks, settings, "assay run --tasks toy", real_clock())).value())
            .value();
    REQUIRE(execute_run(
                client, *store, stored, tasks, settings, {}, progress, [] { return false; }, real_clock())
                .value()
                .finished);
    return stored.id;
  }
};

}  // namespace

TEST_CASE("a run's view has the group before its leaves, weighted by size") {
  TwoRuns runs;
  const RunView view = view_run(*runs.store, runs.baseline, runs.registry).value();
  REQUIRE(view.tasks.size() == 3);
  CHECK(view.tasks[0].name == "toy");
  CHECK(view.tasks[0].is_group);
  const double a = view.tasks[1].metrics[0].estimate.mean, b = view.tasks[2].metrics[0].estimate.mean;
  CHECK(view.tasks[0].metrics[0].estimate.mean == doctest::Approx((20 * a + 10 * b) / 30));
  const std::string text = print_terminal(run_table(view), false);
  CHECK(text.find("toy_a") != std::string::npos);
  CHECK(text.find("assay run --tasks toy") != std::string::npos);
  const Json json = run_json(view);
  for (const char* key : {"run", "tasks", "tokens_asked", "tokens_computed", "seconds", "tokens_per_s"})
    CHECK(json.find(key) != nullptr);
  CHECK(json.find("tasks")->find("toy_a")->find("acc,none")->as_real() == a);
}

TEST_CASE("a report is the same bytes from another store with the same answers") {
  TwoRuns first, second;
  const auto text = [](TwoRuns& runs) {
    return print_terminal(run_table(view_run(*runs.store, runs.baseline, runs.registry).value()), false);
  };
  CHECK(text(first) == text(second));
}

TEST_CASE("equal answers recover 100 %, a group is one row, its tasks appear in detail") {
  TwoRuns runs;
  const RecoveryReport report =
      compare_runs(*runs.store, runs.baseline, runs.candidate, runs.registry, false, false).value();
  REQUIRE(report.rows.size() == 1);
  CHECK(report.rows[0].task == "toy");
  CHECK(report.rows[0].comparison.count == 30);
  CHECK(report.rows[0].comparison.recovery == 1);
  CHECK(report.rows[0].comparison.lost == 0);
  CHECK(compare_runs(*runs.store, runs.baseline, runs.candidate, runs.registry, true, false).value().rows.size() == 3);
  const std::string markdown = print_markdown(recovery_table(report));
  CHECK(markdown.find("| toy") != std::string::npos);
  CHECK(markdown.find("100.0 %") != std::string::npos);
  CHECK(print_csv(recovery_table(report)).find("toy,0,acc") != std::string::npos);
  CHECK(recovery_json(report).find("rows")->as_array()[0].find("recovery")->as_real() == 1);
}

TEST_CASE("runs that asked different questions are not compared unless forced, and then with a warning") {
  TwoRuns runs;
  runs.settings.prompt.apply_chat_template = true;
  const RunId other = runs.run("int4 group 64 symmetric");
  const auto refused = compare_runs(*runs.store, runs.baseline, other, runs.registry, false, false);
  CHECK(refused.status().code() == Code::bad_data);
  CHECK(refused.status().message().find("apply_chat_template") != std::string::npos);
  const RecoveryReport forced = compare_runs(*runs.store, runs.baseline, other, runs.registry, false, true).value();
  CHECK_FALSE(forced.warnings.empty());
  CHECK(forced.rows[0].comparison.count == 30);
}

TEST_CASE("a perplexity is aggregated over all words, shown as it is, and left out of the average") {
  TwoRuns runs;
  runs.registry.add(std::make_unique<ToyRollingTask>("toy_pages"));
  runs.tasks.push_back(plan_rolling(*runs.registry.find_task("toy_pages"), 8));
  const RunId before = runs.run("none"), after = runs.run("w4a16");
  const RunView view = view_run(*runs.store, before, runs.registry).value();
  const TaskView& pages = view.tasks.back();
  REQUIRE(pages.name == "toy_pages");
  const StoredScores scores = runs.store->scores(before, view.run.tasks.back().id, "word_perplexity,none").value();
  double sum = 0, words = 0;
  for (size_t i = 0; i < scores.values.size(); ++i) {
    sum += scores.values[i];
    words += scores.weights[i];
  }
  for (const MetricView& metric : pages.metrics) {
    CHECK_FALSE(metric.share);
    if (metric.key == "word_perplexity,none") CHECK(metric.estimate.mean == doctest::Approx(std::exp(-sum / words)));
  }
  const RecoveryReport report = compare_runs(*runs.store, before, after, runs.registry, false, false).value();
  REQUIRE(report.rows.size() == 2);  // the group and the pages; one share alone has no average
  CHECK(report.rows[1].comparison.recovery == doctest::Approx(1));
  CHECK_FALSE(report.rows[1].share);
  CHECK(print_terminal(recovery_table(report), false).find(fmt::format("{:.4f}", std::exp(-sum / words))) !=
        std::string::npos);

  const auto files = export_lm_eval(*runs.store, before, runs.registry, runs.folder / "rolled", true).value();
  std::ifstream samples(files[2]);
  std::string line;
  REQUIRE(std::getline(samples, line));
  const Json json = Json::parse(line, "line").value();
  const Json& argument = *json.find("arguments")->find("gen_args_0");
  CHECK(argument.size() == 1);
  CHECK(argument.find("arg_0")->as_string() == json.find("doc")->find("page")->as_string());
  CHECK(json.find("resps")->as_array()[0].as_array()[0].is_string());
  CHECK(json.find("word_perplexity")->as_array()[0].as_real() == scores.values[0]);
  CHECK(json.find("word_perplexity")->as_array()[1].as_int() == static_cast<int64_t>(scores.weights[0]));
  std::ifstream results(files[3]);
  const std::string text((std::istreambuf_iterator<char>(results)), std::istreambuf_iterator<char>());
  CHECK(text.find("\"word_perplexity_stderr,none\": \"N/A\"") != std::string::npos);
}

TEST_CASE("an export holds lm-eval's files with one line a document") {
  TwoRuns runs;
  const auto files = export_lm_eval(*runs.store, runs.candidate, runs.registry, runs.folder / "out", true).value();
  REQUIRE(files.size() == 3);
  std::ifstream in(files[0]);
  std::string line;
  int lines = 0;
  while (std::getline(in, line)) {
    const Json row = Json::parse(line, "line").value();
    CHECK(row.find("doc_id")->as_int() == lines);
    CHECK(row.find("arguments")->find("gen_args_3")->find("arg_1") != nullptr);
    CHECK(row.find("resps")->as_array().size() == 4);
    CHECK(row.find("filter")->as_string() == "none");
    CHECK(row.find("acc") != nullptr);
    ++lines;
  }
  CHECK(lines == 20);
  const Json results = Json::parse(real_files().read(files.back()).value(), "results").value();
  CHECK(results.find("results")->find("toy_a")->find("acc,none") != nullptr);
  CHECK(results.find("groups")->find("toy") != nullptr);
  CHECK(results.find("n-samples")->find("toy_b")->find("effective")->as_int() == 10);
}

TEST_CASE("tables line up in code points and escape what Markdown and CSV would misread") {
  Table table;
  table.columns = {{"naïve"}, {"n", true}};
  table.rows = {{"a|b", "1"}, {"x,\"y\"", "12"}};
  CHECK(print_terminal(table, false) == "naïve   n\n─────────\na|b     1\nx,\"y\"  12\n");
  CHECK(print_markdown(table).find("a\\|b") != std::string::npos);
  CHECK(print_csv(table) == "naïve,n\na|b,1\n\"x,\"\"y\"\"\",12\n");
}

TEST_CASE("findings stand below a run's table and in its object; a comparison shows both runs' warnings") {
  TwoRuns runs;
  using Severity = StoredFinding::Severity;
  REQUIRE(runs.store
              ->replace_findings(runs.candidate,
                                 {{"toy", "chance_level", Severity::warning, 20, 30, "is what guessing gives"},
                                  {"toy", "ended", Severity::info, 1, 2, "ended by themselves"}})
              .ok());
  const RunView view = view_run(*runs.store, runs.candidate, runs.registry).value();
  const std::string table = print_terminal(run_table(view), false);
  CHECK(table.find("warning: toy: is what guessing gives") != std::string::npos);
  CHECK(table.find("note: toy: ended by themselves") != std::string::npos);
  const Json json = run_json(view);
  REQUIRE(json.find("findings")->size() == 2);
  CHECK(json.find("findings")->as_array()[0].find("severity")->as_string() == "warning");
  CHECK(json.find("findings")->as_array()[0].find("affected")->as_int() == 20);
  const RecoveryReport report =
      compare_runs(*runs.store, runs.baseline, runs.candidate, runs.registry, false, false).value();
  const std::string compared = print_terminal(recovery_table(report), false);
  CHECK(compared.find("warning: candidate, toy: is what guessing gives") != std::string::npos);
  CHECK(compared.find("ended by themselves") == std::string::npos);
  CHECK(recovery_json(report).find("candidate_findings")->size() == 2);
}

TEST_CASE("several pairs of runs make one table with one average") {
  TwoRuns runs;
  const RecoveryReport once =
      compare_runs(*runs.store, runs.baseline, runs.candidate, runs.registry, false, false).value();
  const RecoveryReport twice =
      compare_run_pairs(*runs.store, {{runs.baseline, runs.candidate}, {runs.baseline, runs.candidate}}, runs.registry,
                        false, false)
          .value();
  REQUIRE(twice.rows.size() == 3);
  CHECK(twice.rows[2].is_average);
  CHECK(twice.rows[2].comparison.baseline == doctest::Approx(once.rows[0].comparison.baseline));
  CHECK_FALSE(compare_run_pairs(*runs.store, {}, runs.registry, false, false).ok());
}

TEST_CASE("the picture shows every row, stays inside its axis and escapes names") {
  RecoveryReport report;
  report.baseline.model.model_name = "a<b";
  report.candidate.model.model_name = "c&d";
  RecoveryRow inside, beyond, nothing;
  inside.task = "inside";
  inside.comparison.recovery = 0.98;
  inside.comparison.recovery_low = 0.95;
  inside.comparison.recovery_high = 1.01;
  inside.comparison.recovery_bounded = true;
  beyond.task = std::string(40, 'x');
  beyond.comparison = inside.comparison;
  beyond.comparison.recovery = 3;
  beyond.comparison.recovery_high = 9;
  nothing.task = "nothing";
  nothing.comparison.recovery = std::nan("");
  report.rows = {inside, beyond, nothing};
  const std::string svg = recovery_svg(report);
  CHECK(svg.find("c&amp;d against a&lt;b") != std::string::npos);
  CHECK(svg.find("98.0 %  [95.0, 101.0]") != std::string::npos);
  CHECK(svg.find(std::string(34, 'x') + "…") != std::string::npos);
  CHECK(svg.find(">n/a<") != std::string::npos);
  const auto count = [&](std::string_view what) {
    int found = 0;
    for (size_t at = svg.find(what); at != std::string::npos; at = svg.find(what, at + 1)) ++found;
    return found;
  };
  CHECK(count("<circle") == 1);         // the point at 300 % lies outside
  CHECK(count("class=\"head\"") == 1);  // and its bar goes on
  CHECK(count("class=\"name") == 3);
  CHECK(svg.find("nan") == std::string::npos);
}
