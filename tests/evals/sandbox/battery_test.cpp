// The hostile batteries: every row has one verdict, nothing gets out, nothing stays, nothing fakes a pass.

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>

#include "evals/sandbox/grader.h"
#include "evals/sandbox/sandbox.h"
#include "tests/evals/sandbox/battery.h"
#include "tests/evals/sandbox/canaries.h"

namespace assay::testing {
namespace {

// `assay bench sandbox` measures kill to gone on a quiet machine; here the machine may be busy with anything.
constexpr double kKillLimit_ms = 1000;

struct Configuration {
  const char* name;
  LaunchMode mode;
  bool use_cgroups;
};
constexpr Configuration kConfigurations[] = {{"warm", LaunchMode::warm, true},
                                             {"cold", LaunchMode::cold, true},
                                             {"warm without cgroups", LaunchMode::warm, false},
                                             {"cold without cgroups", LaunchMode::cold, false}};

std::unique_ptr<Sandbox> open_sandbox(const Configuration& configuration) {
  SandboxOptions options;
  options.mode = configuration.mode;
  options.use_cgroups = configuration.use_cgroups;
  options.num_workers = 2;
  auto sandbox = Sandbox::open(options);
  REQUIRE_MESSAGE(sandbox.ok(), sandbox.status().message());
  return std::move(sandbox).value();
}

std::string special(std::string program) {
  program = replaced(std::move(program), "@NUL@", std::string(1, '\0'));
  program = replaced(std::move(program), "@BOM@", "\xef\xbb\xbf");
  program = replaced(std::move(program), "@TENMB@", std::string(10 << 20, 'x'));
  return replaced(std::move(program), "@SURROGATE@", "\xed\xa0\x80\f\f");
}

// What a row demands beyond its verdict.
struct Demands {
  SandboxLimits limits;
  bool has_out = false, fast = false;
  std::string out;
};

Demands demands_of(const BatteryRow& row) {
  Demands demands;
  demands.limits.cpu_s = 0.35;
  demands.limits.wall_s = 20;
  demands.limits.memory_bytes = 256 << 20;
  for (size_t i = 1; i < row.fields.size(); ++i) {
    const std::string& field = row.fields[i];
    if (field.rfind("wall=", 0) == 0) {
      demands.limits.wall_s = std::stod(field.substr(5));
    } else if (field == "fast") {
      demands.fast = true;
    } else {
      demands.has_out = true;
      demands.out = field + "\n";
      if (field == "half") demands.out = "half";
      if (field == "escapes") demands.out = "\x1b[2J\xe2\x80\xae<script>'; DROP TABLE runs;--";
      if (field == "all-bytes") {
        demands.out.clear();
        for (int byte = 0; byte < 256; ++byte) demands.out += static_cast<char>(byte);
      }
    }
  }
  // Only rows about time are held to tight limits, so that a slow or busy machine sees the same verdicts.
  if (row.fields[0] != "timeout") demands.limits.cpu_s = 10;
  return demands;
}

void contain_all(const Configuration& configuration) {
  const Canaries canaries;
  {
    const auto sandbox = open_sandbox(configuration);
    const std::vector<BatteryRow> rows = read_battery("containment.battery");
    REQUIRE(rows.size() >= 99);
    std::vector<ProgramRequest> requests;
    for (const BatteryRow& row : rows) {
      requests.push_back({special(canaries.fill(row.program)), demands_of(row).limits});
      requests.push_back({"print('honest')", {}});  // the next program never notices
    }
    double slowest_kill_ms = 0;
    sandbox->run_batch(requests, [&](size_t i, const ProgramResult& result) {
      const BatteryRow& row = rows[i / 2];
      INFO(std::string(configuration.name) << ": " << row.id << " " << row.title << ": " << result.detail << " out "
                                           << result.out.substr(0, 300) << " err " << result.err.substr(0, 2000));
      slowest_kill_ms = std::max(slowest_kill_ms, result.kill_ms);
      if (i % 2 == 1) {
        CHECK(result.verdict == Verdict::pass);
        CHECK(result.out == "honest\n");
        return;
      }
      const Demands demands = demands_of(row);
      CHECK(verdict_name(result.verdict) == row.fields[0]);
      if (demands.has_out) CHECK(result.out == demands.out);
      if (demands.fast) CHECK(result.wall_s < 10);
      CHECK(result.out.size() <= 65536);
    });
    MESSAGE(std::string(configuration.name)
            << ": " << rows.size() << " programs, slowest kill " << slowest_kill_ms << " ms");
    CHECK(slowest_kill_ms <= kKillLimit_ms);
    CHECK(canaries.untouched());
  }
  CHECK(num_children() == 0);
}

std::vector<Value> numbers(std::initializer_list<int> values) {
  Value::Items items;
  for (const int value : values) items.push_back(Value::integer(value));
  return {Value::list(items)};
}

GradeRequest sorting(bool about_time = false) {
  GradeRequest request;
  request.entry_point = "sort_list";
  const std::vector<std::vector<Value>> inputs = {numbers({3, 1, 2}), numbers({2, 1}), numbers({5, 4, 4, -1}),
                                                  numbers({9, 7, 8, 6}), numbers({1, 0})};
  auto calls = std::make_shared<std::vector<Call>>();
  for (const auto& input : inputs) calls->push_back({input, about_time ? 0.3 : 10});
  auto expected = std::make_shared<const std::vector<Value>>(
      std::vector<Value>{numbers({1, 2, 3})[0], numbers({1, 2})[0], numbers({-1, 4, 4, 5})[0], numbers({6, 7, 8, 9})[0],
                         numbers({0, 1})[0]});
  request.calls = calls;
  request.check = expect_values(expected);
  request.limits.sandbox.cpu_s = about_time ? 1 : 20;
  request.limits.sandbox.wall_s = about_time ? 1.5 : 60;
  request.limits.sandbox.memory_bytes = 512 << 20;
  return request;
}

constexpr const char* kTests =
    "def check(candidate):\n"
    "    assert helper(1) == 2\n"
    "    assert candidate([3, 1, 2]) == [1, 2, 3]\n"
    "    assert candidate([2, 1]) == [1, 2]\n"
    "    assert candidate([5, 4, 4, -1]) == [-1, 4, 4, 5]\n"
    "    assert candidate([9, 7, 8, 6]) == [6, 7, 8, 9]\n"
    "    assert candidate([1, 0]) == [0, 1]\n"
    "check(sort_list)\n";

GradeRequest by_tests(GradeRequest request) {
  request.calls = nullptr;
  request.test_code = kTests;
  request.support_code = "def helper(x): return x + 1\ndef sort_list(a): pass\n";
  return request;
}

void fake_nothing(const Configuration& configuration) {
  {
    const auto sandbox = open_sandbox(configuration);
    Grader grader(*sandbox);
    const std::vector<BatteryRow> rows = read_battery("faking.battery");
    REQUIRE(rows.size() >= 41);
    std::vector<GradeRequest> requests;
    for (const BatteryRow& row : rows) {
      requests.push_back(sorting(row.fields[0] == "timeout"));
      requests.back().program = row.program;
      requests.push_back(by_tests(requests.back()));
    }
    grader.grade_all(requests, [&](size_t i, const GradeResult& result) {
      const BatteryRow& row = rows[i / 2];
      INFO(std::string(configuration.name)
           << (i % 2 ? " by tests: " : " by calls: ") << row.id << " " << row.title << ": " << result.detail);
      CHECK(result.verdict != Verdict::pass);
      CHECK(verdict_name(result.verdict) == row.fields[i % 2]);
      if (result.verdict == Verdict::timeout) CHECK(result.rerun_alone);
    });
    GradeRequest honest = sorting();
    honest.program = "def sort_list(a): return sorted(a)\n";
    for (const GradeRequest& request : {honest, by_tests(honest)}) {
      const GradeResult result = grader.grade(request);
      INFO(result.detail);
      CHECK(result.verdict == Verdict::pass);
      CHECK(result.calls_answered == 5);
    }
  }
  CHECK(num_children() == 0);
}

}  // namespace

TEST_CASE("every containment row ends as it should: warm") { contain_all(kConfigurations[0]); }
TEST_CASE("every containment row ends as it should: cold") { contain_all(kConfigurations[1]); }
TEST_CASE("every containment row ends as it should: warm without cgroups") { contain_all(kConfigurations[2]); }
TEST_CASE("every containment row ends as it should: cold without cgroups") { contain_all(kConfigurations[3]); }
TEST_CASE("no cheat passes: warm") { fake_nothing(kConfigurations[0]); }
TEST_CASE("no cheat passes: cold") { fake_nothing(kConfigurations[1]); }
TEST_CASE("no cheat passes: warm without cgroups") { fake_nothing(kConfigurations[2]); }
TEST_CASE("no cheat passes: cold without cgroups") { fake_nothing(kConfigurations[3]); }

}  // namespace assay::testing
