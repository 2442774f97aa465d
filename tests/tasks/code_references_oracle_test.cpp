// Every reference solution passes its own tests, except the one that evalplus 0.3 never counts.
#include <doctest/doctest.h>

#include <cstdlib>
#include <mutex>

#include "engine/base/text_util.h"
#include "engine/base/threads.h"
#include "evals/data/fetch.h"
#include "evals/scoring/code_check.h"
#include "tasks/all_tasks.h"
#include "tests/support/shared_folder.h"

using namespace assay;

namespace {

// Task ids whose reference does not pass, with the reason.
std::vector<std::string> failing(const std::string& task_name, const std::string& subset, Profile profile) {
  const auto shared = testing::shared_folder();
  if (!shared) return {"skipped: no ../shared"};
  SandboxOptions options;
  if (const char* python = std::getenv("ASSAY_TEST_PYTHON")) options.interpreter = python;
  auto runner = open_program_runner(options);
  if (!runner.ok()) return {"skipped: " + runner.status().message()};
  Registry registry;
  add_all_tasks(registry, profile);
  const Task& task = *registry.find_task(task_name);
  DataLocations locations;
  locations.mirror = *shared / "data";
  const LoadedSplit split = load_split(locations, *find_manifest(task.info().dataset).value(), subset, "test").value();
  std::vector<Json> documents;
  for (const Json& row : split.rows) documents.push_back(task.to_document(row, split.layout).value());
  REQUIRE(task.prepare(documents, SplitRole::evaluated).ok());
  const CodeChecker checker(**runner, code_rules(profile));
  std::vector<std::string> failed;
  std::mutex mutex;
  parallel_for(
      documents.size(),
      [&](size_t i) {
        const Json& document = documents[i];
        const CodeProblem problem = task.code_problem(document, {.profile = profile}).value();
        const auto prepared = checker.prepare(problem);
        const Json* solution = document.find("canonical_solution");
        const std::string program = !problem.reference.empty() ? problem.reference
                                    : solution                 ? problem.code_prefix + solution->as_string()
                                                               : document.find("code")->as_string();
        const ProgramVerdict verdict = prepared.ok() ? checker.check_program(**prepared, program) : ProgramVerdict{};
        if (verdict.base == Verdict::pass && verdict.plus == Verdict::pass) return;
        const std::lock_guard lock(mutex);
        failed.push_back(problem.task_id + ": " +
                         (prepared.ok() ? excerpt(verdict.detail, 200) : prepared.status().message()));
      },
      (*runner)->num_workers());
  for (const std::string& one : failed) MESSAGE(task_name << ": " << one);
  return failed;
}

bool skipped(const std::vector<std::string>& failed) {
  const bool skip = !failed.empty() && starts_with(failed[0], "skipped");
  if (skip) MESSAGE(failed[0]);
  return skip;
}

}  // namespace

TEST_CASE("every reference solution of HumanEval passes its test code") {
  const auto failed = failing("humaneval", "", Profile::main);
  CHECK((skipped(failed) || failed.empty()));
}

TEST_CASE("every reference solution of HumanEval+ passes; under the card's profile all but HumanEval/32") {
  const auto failed = failing("humaneval_plus", "", Profile::main);
  if (skipped(failed)) return;
  CHECK(failed.empty());
  const auto card = failing("humaneval_plus", "", Profile::card_2025_04);
  REQUIRE(card.size() == 1);
  CHECK(starts_with(card[0], "HumanEval/32:"));
}

TEST_CASE("every reference solution of MBPP+ passes") {
  const auto failed = failing("mbpp_plus", "", Profile::main);
  CHECK((skipped(failed) || failed.empty()));
}

TEST_CASE("every reference solution of MBPP passes its three assertions, but one whose set-up lm-eval leaves out") {
  const auto failed = failing("mbpp", "full", Profile::main);
  if (skipped(failed)) return;
  REQUIRE(failed.size() == 1);
  CHECK(starts_with(failed[0], "Mbpp/367:"));
}
