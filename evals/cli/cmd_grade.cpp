#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "engine/base/clock.h"
#include "engine/base/text_util.h"
#include "engine/base/threads.h"
#include "evals/cli/code_session.h"
#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"
#include "evals/data/table_reader.h"

namespace assay::cli {
namespace {

struct GradeVerb {
  std::string task, samples, out;
  RunOptions options;
};

// A program of the file and the problem it answers.
struct Sample {
  size_t problem = 0, row = 0;
  std::string program;
  ProgramVerdict verdict;
};

struct Problem {
  CodeProblem code;
  std::shared_ptr<const PreparedProblem> prepared;  // held while programs of it are to be judged
  Status status;
  std::vector<size_t> samples;
  size_t unjudged = 0;
};

struct Work {
  std::vector<std::unique_ptr<Problem>> problems;
  std::vector<Sample> samples;
};

Result<Work> read_work(const GradeVerb& verb, const PlannedTask& planned) {
  Work work;
  std::map<std::string, size_t> by_id;
  std::map<std::string, std::string> prompts;
  for (const Json& document : planned.documents) {
    auto problem = std::make_unique<Problem>();
    ASSAY_ASSIGN(problem->code, planned.task->code_problem(document, planned.asked));
    by_id[problem->code.task_id] = work.problems.size();
    const Json* prompt = document.find("prompt");
    if (prompt && prompt->is_string()) prompts[problem->code.task_id] = prompt->as_string();
    work.problems.push_back(std::move(problem));
  }
  ASSAY_ASSIGN(const Rows rows, read_table(verb.samples, {.kind = "jsonl"}));
  for (size_t i = 0; i < rows.size(); ++i) {
    const JsonField row(rows[i], fmt::format("{}: row {}", verb.samples, i + 1));
    ASSAY_ASSIGN(const std::string id, row.get_string("task_id"));
    const auto found = by_id.find(id);
    if (found == by_id.end()) return row.get("task_id")->error("a problem of " + verb.task);
    Sample sample{.problem = found->second, .row = i};
    if (row.find("solution")) {
      ASSAY_ASSIGN(sample.program, row.get_string("solution"));
    } else {
      ASSAY_ASSIGN(const std::string completion, row.get_string("completion"));
      sample.program = prompts[id] + completion;
    }
    work.problems[sample.problem]->samples.push_back(work.samples.size());
    work.samples.push_back(std::move(sample));
  }
  if (work.samples.empty()) return bad_data(verb.samples + ": no program in it");
  return work;
}

// Deals out what is to be done: programs whose problem is prepared, and where there is none, another problem's
// preparation. So nobody waits for a preparation that somebody else has begun, and few problems are held at once.
class Schedule {
 public:
  explicit Schedule(Work& work) : work_(work) {}

  // Takes part until everything is done; called by every worker.
  void take_part(const CodeChecker& checker) {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (!ready_.empty()) {
        const size_t i = ready_.front();
        ready_.pop_front();
        judge(work_.samples[i], checker, lock);
      } else if (next_problem_ < work_.problems.size()) {
        prepare(*work_.problems[next_problem_++], checker, lock);
      } else if (preparing_ > 0) {
        changed_.wait(lock);
      } else {
        return;
      }
    }
  }

 private:
  void prepare(Problem& problem, const CodeChecker& checker, std::unique_lock<std::mutex>& lock) {
    if (problem.samples.empty()) return;
    ++preparing_;
    lock.unlock();
    auto prepared = checker.prepare(problem.code);
    lock.lock();
    --preparing_;
    problem.status = prepared.status();
    if (prepared.ok()) problem.prepared = std::move(*prepared);
    problem.unjudged = problem.samples.size();
    ready_.insert(ready_.end(), problem.samples.begin(), problem.samples.end());
    changed_.notify_all();
  }

  void judge(Sample& sample, const CodeChecker& checker, std::unique_lock<std::mutex>& lock) {
    Problem& problem = *work_.problems[sample.problem];
    lock.unlock();
    if (problem.prepared) {
      sample.verdict = checker.check_program(*problem.prepared, sample.program);
    } else {
      sample.verdict.detail = problem.status.message();
    }
    lock.lock();
    if (--problem.unjudged == 0) problem.prepared.reset();
  }

  Work& work_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<size_t> ready_;
  size_t next_problem_ = 0;
  int preparing_ = 0;
};

void judge(Work& work, const CodeChecker& checker) {
  Schedule schedule(work);
  const int num_workers = checker.runner().num_workers();
  parallel_for(
      static_cast<size_t>(num_workers), [&](size_t) { schedule.take_part(checker); }, num_workers);
}

// The mean of a metric over problems, and its standard error: the problem is the unit, however many programs it has.
struct Mean {
  int64_t count = 0;
  double sum = 0, squares = 0;
  void add(double value) {
    ++count;
    sum += value;
    squares += value * value;
  }
  double value() const { return count ? sum / static_cast<double>(count) : 0; }
  double standard_error() const {
    const double n = static_cast<double>(count);
    return count < 2 ? 0 : std::sqrt(std::max(0.0, squares / n - value() * value()) / (n - 1));
  }
};

Status write_verdicts(const GradeVerb& verb, const Work& work) {
  if (verb.out.empty()) return ok_status();
  std::string text;
  for (const Sample& sample : work.samples) {
    Json line = Json::object();
    line.set("task_id", work.problems[sample.problem]->code.task_id).set("row", static_cast<int64_t>(sample.row));
    line.set("base", verdict_name(sample.verdict.base)).set("plus", verdict_name(sample.verdict.plus));
    text += line.set("detail", sample.verdict.detail).dump() + "\n";
  }
  return real_files().write_atomic(verb.out, text);
}

Result<int> grade_command(const GradeVerb& verb, const Globals& globals) {
  ASSAY_ASSIGN(RunSettings settings, run_settings(verb.options));
  settings.tasks = {verb.task};
  ASSAY_ASSIGN(auto tasks, plan_run(registry(settings.prompt.profile), settings, DataLocations::from_environment()));
  if (tasks.size() != 1 || !tasks[0].task->wants_programs())
    return invalid_argument(verb.task + ": expected one task whose answers are programs");
  ASSAY_ASSIGN(const CodeSession session, open_code_session(tasks, verb.options, settings));
  ASSAY_ASSIGN(Work work, read_work(verb, tasks[0]));
  const int64_t start_us = real_clock().monotonic_us();
  judge(work, *session.get());
  const double seconds = static_cast<double>(real_clock().monotonic_us() - start_us) * 1e-6;
  ASSAY_TRY(write_verdicts(verb, work));

  std::map<std::string, Mean> means;
  int64_t failed = 0, answered = 0;
  for (const auto& problem : work.problems) {
    if (problem->samples.empty()) continue;
    ++answered;
    std::vector<ProgramVerdict> verdicts;
    for (const size_t i : problem->samples) verdicts.push_back(work.samples[i].verdict);
    const Score score = score_programs(tasks[0].task->info(), problem->code, verdicts, session.runner->isolation());
    failed += score.outcome == Outcome::failed;
    for (const MetricValue& metric : score.metrics) means[metric.name + "," + metric.filter].add(metric.value);
  }
  Json json = Json::object().set("task", verb.task).set("programs", static_cast<int64_t>(work.samples.size()));
  json.set("problems", answered).set("failed", failed).set("seconds", seconds);
  json.set("sandbox", session.runner->provenance());
  Json metrics = Json::object();
  for (const auto& [name, mean] : means)
    metrics.set(name, Json::object().set("value", mean.value()).set("standard_error", mean.standard_error()));
  json.set("metrics", std::move(metrics));
  if (globals.json) {
    std::printf("%s\n", json.dump().c_str());
    return 0;
  }
  std::printf("%s: %zu programs for %lld problems in %.1f s\n", verb.task.c_str(), work.samples.size(),
              static_cast<long long>(answered), seconds);
  for (const auto& [name, mean] : means)
    std::printf("  %-16s %6.2f %% +- %.2f\n", name.c_str(), 100 * mean.value(), 100 * mean.standard_error());
  if (failed > 0) std::printf("  %lld problems without verdict\n", static_cast<long long>(failed));
  std::printf("  isolation: %s\n", session.runner->isolation().c_str());
  return 0;
}

}  // namespace

void add_grade(CLI::App& app, Globals& globals, Action& chosen) {
  auto verb = std::make_shared<GradeVerb>();
  CLI::App* sub = app.add_subcommand("grade", "run the programs of a file in the sandbox and score them");
  sub->add_option("TASK", verb->task, "humaneval, humaneval_plus, mbpp, mbpp_plus")->required();
  sub->add_option("SAMPLES", verb->samples, "JSON lines: task_id, and solution (a whole program) or completion")
      ->required();
  sub->add_option("--out", verb->out, "write every program's verdict here, as JSON lines");
  sub->add_option("--profile", verb->options.profile, "whose rules: main, or card-2025-04")
      ->check(CLI::IsMember({"main", "card-2025-04"}));
  add_code_options(*sub, verb->options);
  sub->callback([verb, &globals, &chosen] { chosen = [verb, &globals] { return grade_command(*verb, globals); }; });
}

}  // namespace assay::cli
