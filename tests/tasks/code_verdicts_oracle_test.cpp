// evalplus 0.3.1's recorded verdicts over some 1,800 programs, hostile ones among them, judged again in the sandbox.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "engine/base/file.h"
#include "engine/base/text_util.h"
#include "engine/base/threads.h"
#include "evals/data/fetch.h"
#include "evals/scoring/code_check.h"
#include "tasks/all_tasks.h"
#include "tests/support/shared_folder.h"

using namespace assay;

namespace {

struct Record {
  std::string task_id, kind, program, base, plus, stability, why;
  bool depends_on_packages = false;
};

std::vector<Record> read_records(const Path& path) {
  std::vector<Record> records;
  const std::string packed = real_files().read(path).value();
  const std::string text_of_all = gunzip(packed, size_t{1} << 30, path.string()).value();
  for (const std::string& line : split_any(text_of_all, "\n")) {
    // A program that holds half a surrogate pair is no text: no file of programs can bring it here.
    const Result<Json> parsed = Json::parse(line, path.string());
    if (!parsed.ok()) continue;
    const Json& row = *parsed;
    const auto text = [&](const char* key) { return row.find(key)->as_string(); };
    records.push_back({text("task_id"), text("kind"), text("solution"), text("base"), text("plus"), text("stability"),
                       row.find("base_detail")->find("why")->as_string(), row.find("env_dependent")->as_bool()});
  }
  return records;
}

std::map<std::string, Json> problems(const Path& shared, const std::string& task, const std::string& data) {
  DataLocations locations;
  locations.mirror = shared / "data";
  const LoadedSplit split = load_split(locations, *find_manifest(data).value(), "", "test").value();
  Registry registry;
  add_all_tasks(registry, Profile::card_2025_04);
  std::map<std::string, Json> documents;
  for (const Json& row : split.rows) {
    const Json document = registry.find_task(task)->to_document(row, split.layout).value();
    documents[document.find("task_id")->as_string()] = document;
  }
  return documents;
}

const Task& task_named(const std::string& name) {
  static const Registry* const registry = [] {
    auto* made = new Registry;
    add_all_tasks(*made, Profile::card_2025_04);
    return made;
  }();
  return *registry->find_task(name);
}

// Programs that evalplus passes or fails for reasons that are not the program's answers: packages that its process
// happens to hold, loose types that no plain value has, and cheats.
bool may_differ(const Record& record) {
  return record.depends_on_packages || record.stability == "load_sensitive" || record.stability == "unstable" ||
         record.stability == "timing_single_run" || starts_with(record.kind, "h:") ||
         record.kind.find("decimal") != std::string::npos || record.kind.find("fraction") != std::string::npos ||
         record.kind.find("generator") != std::string::npos || record.kind.find("np") != std::string::npos ||
         record.kind.find("ndarray") != std::string::npos;
}

struct Tally {
  int count = 0, equal_base = 0, equal_plus = 0;
  std::vector<std::string> differences;
};

Tally judge_all(ProgramRunner& runner, const Path& shared, const std::string& name, const std::string& file) {
  const CodeChecker checker(runner, code_rules(Profile::card_2025_04));
  const auto documents = problems(shared, name, name);
  std::map<std::string, std::vector<Record>> by_task;
  for (Record& record : read_records(shared / "oracle/code" / file)) by_task[record.task_id].push_back(record);
  std::vector<const std::vector<Record>*> groups;
  for (const auto& [task_id, records] : by_task) groups.push_back(&records);
  Tally tally;
  std::mutex mutex;
  parallel_for(
      groups.size(),
      [&](size_t i) {
        const std::vector<Record>& records = *groups[i];
        const CodeProblem problem = task_named(name).code_problem(documents.at(records[0].task_id), {}).value();
        const auto prepared = checker.prepare(problem);
        for (const Record& record : records) {
          const ProgramVerdict verdict =
              prepared.ok() ? checker.check_program(**prepared, record.program) : ProgramVerdict{};
          const bool base = (verdict.base == Verdict::pass) == (record.base == "pass");
          const bool plus = (verdict.plus == Verdict::pass) == (record.plus == "pass");
          const std::lock_guard lock(mutex);
          ++tally.count;
          tally.equal_base += base;
          tally.equal_plus += plus;
          if (base && plus) continue;
          tally.differences.push_back(fmt::format(
              "{}{} {}: evalplus {}/{} ({}), here {}/{}: {}", may_differ(record) ? "" : "! ", record.task_id,
              record.kind, record.base, record.plus, record.why, verdict_name(verdict.base), verdict_name(verdict.plus),
              prepared.ok() ? excerpt(verdict.detail, 160) : prepared.status().message()));
        }
      },
      runner.num_workers());
  return tally;
}

void compare(const std::string& name, const std::string& file) {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  SandboxOptions options;
  if (const char* python = std::getenv("ASSAY_TEST_PYTHON")) options.interpreter = python;
  auto runner = open_program_runner(options);
  if (!runner.ok()) {
    MESSAGE("skipped: " << runner.status().message());
    return;
  }
  const Tally tally = judge_all(**runner, *shared, name, file);
  MESSAGE(tally.count << " programs: " << tally.equal_base << " base and " << tally.equal_plus
                      << " plus verdicts equal");
  for (const std::string& difference : tally.differences) {
    MESSAGE(difference);
    CHECK_FALSE(starts_with(difference, "! "));
  }
  CHECK(tally.count > 500);
}

}  // namespace

TEST_CASE("HumanEval+'s recorded verdicts are met, or differ for a reason that is known") {
  compare("humaneval_plus", "verdicts_humaneval.jsonl.gz");
}

TEST_CASE("MBPP+'s recorded verdicts are met, or differ for a reason that is known") {
  compare("mbpp_plus", "verdicts_mbpp.jsonl.gz");
}
