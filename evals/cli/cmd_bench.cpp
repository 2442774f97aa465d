#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "evals/cli/commands.h"
#include "evals/cli/sandbox_options.h"
#include "evals/sandbox/grader.h"
#include "evals/store/store.h"
#include "reports/table.h"

namespace assay::cli {
namespace {

// A small real job: a list function with a typing import and nineteen calls.
constexpr const char* kJob =
    "from typing import List\n"
    "def running_max(numbers: List[int]) -> List[int]:\n"
    "    result = []\n"
    "    for n in numbers:\n"
    "        result.append(n if not result else max(n, result[-1]))\n"
    "    return result\n";
constexpr const char* kBomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n";
constexpr int kNumCalls = 19;

GradeRequest job() {
  GradeRequest request;
  request.program = kJob;
  request.entry_point = "running_max";
  auto calls = std::make_shared<std::vector<Call>>();
  auto expected = std::make_shared<std::vector<Value>>();
  for (int i = 0; i < kNumCalls; ++i) {
    Value::Items numbers, maxima;
    int64_t top = 0;
    for (int64_t n = 0; n <= i; ++n) {
      const int64_t value = n * 7919 % 13;
      top = n == 0 ? value : std::max(top, value);
      numbers.push_back(Value::integer(value));
      maxima.push_back(Value::integer(top));
    }
    calls->push_back({{Value::list(numbers)}, 5});
    expected->push_back(Value::list(maxima));
  }
  request.calls = calls;
  request.check = expect_values(expected);
  return request;
}

struct Figures {
  double per_s = 0, p50_ms = 0, p99_ms = 0;
  int64_t failed = 0;
};

Figures summary(std::vector<double> milliseconds, double seconds, int64_t failed) {
  std::sort(milliseconds.begin(), milliseconds.end());
  const size_t n = milliseconds.size();
  return {static_cast<double>(n) / seconds, milliseconds[n / 2], milliseconds[std::min(n - 1, n * 99 / 100)], failed};
}

double now_s() { return static_cast<double>(real_clock().monotonic_us()) * 1e-6; }

// Graded runs of the small job on all workers.
Figures measure_throughput(Sandbox& sandbox, int runs) {
  Grader grader(sandbox);
  const std::vector<GradeRequest> requests(static_cast<size_t>(runs), job());
  grader.grade_all(std::span(requests).first(static_cast<size_t>(std::min(runs, 8))),
                   [](size_t, const GradeResult&) {});
  std::vector<double> milliseconds;
  int64_t failed = 0;
  const double begun = now_s();
  grader.grade_all(requests, [&](size_t, const GradeResult& result) {
    milliseconds.push_back(result.wall_s * 1e3);
    failed += result.verdict != Verdict::pass;
  });
  return summary(std::move(milliseconds), now_s() - begun, failed);
}

// One run at a time of an empty program, launch and end included.
double median_latency_ms(Sandbox& sandbox, int runs) {
  std::vector<double> milliseconds;
  for (int i = 0; i < runs; ++i) {
    const double begun = now_s();
    (void)sandbox.run({"pass", {}});
    milliseconds.push_back((now_s() - begun) * 1e3);
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  return milliseconds[milliseconds.size() / 2];
}

// From the decision to kill a fork bomb until nothing of it is left: the slowest of four, one after the other, or as
// many at once as there are workers.
double slowest_kill_ms(Sandbox& sandbox, bool at_once) {
  ProgramRequest bomb{kBomb, {}};
  bomb.limits.cpu_s = 0.3;
  double slowest = 0;
  const auto note = [&](const ProgramResult& result) { slowest = std::max(slowest, result.kill_ms); };
  const std::vector<ProgramRequest> bombs(4, bomb);
  if (at_once)
    sandbox.run_batch(bombs, [&](size_t, const ProgramResult& result) { note(result); });
  else
    for (const ProgramRequest& one : bombs) note(sandbox.run(one));
  return slowest;
}

struct BenchVerb {
  int runs = 1000;
  SandboxOptions options;
};

Result<int> bench_sandbox(const BenchVerb& verb, const Globals& globals) {
  Json rows = Json::array();
  double latency_bare_ms = 0;
  for (const bool bare : {true, false}) {
    for (const LaunchMode mode : {LaunchMode::warm, LaunchMode::cold}) {
      SandboxOptions options = verb.options;
      options.mode = mode;
      options.no_sandbox = bare;
      ASSAY_ASSIGN(const auto sandbox, Sandbox::open(options));
      const bool warm = mode == LaunchMode::warm;
      const double latency_ms = median_latency_ms(*sandbox, std::min(verb.runs, 200));
      const Figures figures = measure_throughput(*sandbox, warm ? verb.runs : std::max(1, verb.runs / 4));
      if (warm && bare) latency_bare_ms = latency_ms;
      Json row = Json::object()
                     .set("isolation", sandbox->isolation())
                     .set("workers", sandbox->num_workers())
                     .set("runs_per_s", figures.per_s)
                     .set("graded_p50_ms", figures.p50_ms)
                     .set("graded_p99_ms", figures.p99_ms)
                     .set("not_passed", figures.failed)
                     .set("launch_p50_ms", latency_ms);
      if (warm && !bare) row.set("layers_add_ms", latency_ms - latency_bare_ms);
      if (!bare) {
        row.set("fork_bomb_kill_ms", slowest_kill_ms(*sandbox, false));
        row.set("fork_bombs_at_once_kill_ms", slowest_kill_ms(*sandbox, true));
      }
      if (!globals.json)
        std::printf("%-6s %s\n", warm ? "warm" : "cold", row.dump({.python_separators = true}).c_str());
      rows.push_back(std::move(row));
    }
  }
  if (globals.json) std::printf("%s\n", Json::object().set("sandbox", rows).dump().c_str());
  return 0;
}

struct FigureFiles {
  std::vector<std::string> files;
  std::string build;
  std::string filter;
};

Result<int> import_benches(const FigureFiles& verb, const Globals& globals) {
  ASSAY_ASSIGN(const auto store, Store::open(globals.db));
  Json imported = Json::array();
  for (const std::string& file : verb.files) {
    ASSAY_ASSIGN(const std::string text, real_files().read(file));
    ASSAY_ASSIGN(const Json json, Json::parse(text, file));
    ASSAY_ASSIGN(StoredBench bench, read_bench(json, file, Path(file).stem().string(), verb.build));
    bench.imported_utc_us = real_clock().utc_us();
    ASSAY_ASSIGN(const bool fresh, store->add_bench(bench));
    const auto rows = static_cast<int64_t>(bench.rows.size());
    imported.push_back(Json::object().set("file", file).set("build", bench.build).set("rows", rows).set("new", fresh));
    if (!globals.json)
      std::printf("%s: %lld rows of %s%s\n", file.c_str(), static_cast<long long>(rows), bench.build.c_str(),
                  fresh ? "" : ", already there");
  }
  if (globals.json) std::printf("%s\n", Json::object().set("imported", imported).dump().c_str());
  return 0;
}

// "tokens_per_s 15953, real_time 513.4 ms"
std::string figures_text(const Json& figures) {
  const Json* unit = figures.find("time_unit");
  std::string text;
  for (const auto& [key, value] : figures.as_object()) {
    const bool time = key == "real_time";
    if (!value.is_number() || key == "cpu_time" || key == "iterations") continue;
    if (!text.empty()) text += ", ";
    text += fmt::format("{} {:.6g}", key, value.as_real());
    if (time && unit && unit->is_string()) text += " " + unit->as_string();
  }
  return text;
}

Result<int> list_benches(const FigureFiles& verb, const Globals& globals) {
  ASSAY_ASSIGN(const auto store, Store::open_existing(globals.db));
  ASSAY_ASSIGN(const auto benches, store->benches());
  Table table;
  table.columns = {{"build"}, {"program"}, {"row"}, {"figures"}};
  Json list = Json::array();
  for (const StoredBench& bench : benches) {
    Json rows = Json::object();
    for (const auto& [name, figures] : bench.rows) {
      if (name.find(verb.filter) == std::string::npos) continue;
      table.rows.push_back({bench.build, bench.program, name, figures_text(figures)});
      rows.set(name, figures);
    }
    list.push_back(Json::object()
                       .set("build", bench.build)
                       .set("program", bench.program)
                       .set("context", bench.context)
                       .set("rows", std::move(rows)));
  }
  if (globals.json) {
    std::printf("%s\n", Json::object().set("benches", list).dump().c_str());
  } else {
    std::fputs(print_terminal(table, globals.use_color()).c_str(), stdout);
  }
  return 0;
}

void add_figures(CLI::App& verb, Globals& globals, Action& chosen) {
  auto state = std::make_shared<FigureFiles>();
  CLI::App* import = verb.add_subcommand("import", "stores figures of the benchmark programs in the database");
  import->add_option("files", state->files, "JSON files that bench programs wrote")->required();
  import->add_option("--build", state->build, "what was measured, where the file does not say");
  import->callback(
      [state, &globals, &chosen] { chosen = [state, &globals] { return import_benches(*state, globals);
};
}  // namespace
);
CLI::App* list = verb.add_subcommand("ls", "stored figures, newest first");
list->add_option("--filter", state->filter, "rows whose name holds this");
list->callback([state, &globals, &chosen] { chosen = [state, &globals] { return list_benches(*state, globals); }; });
}  // namespace assay::cli

}  // namespace

void add_bench(CLI::App& app, Globals& globals, Action& chosen) {
  CLI::App* verb = app.add_subcommand("bench", "measure on this machine");
  verb->require_subcommand(1);
  add_figures(*verb, globals, chosen);
  auto state = std::make_shared<BenchVerb>();
  CLI::App* sandbox = verb->add_subcommand("sandbox", "isolated runs a second, what the layers add, kill to gone");
  sandbox->add_option("--runs", state->runs, "warm runs; cold ones are a quarter")->check(CLI::Range(1, 1000000));
  sandbox->add_option("--workers", state->options.num_workers, "programs at once (default: cores)");
  sandbox->add_flag_callback(
      "--no-cgroup", [state] { state->options.use_cgroups = false; }, "limits and polling only");
  sandbox->callback(
      [state, &globals, &chosen] { chosen = [state, &globals] { return bench_sandbox(*state, globals); }; });
}

}  // namespace assay::cli
