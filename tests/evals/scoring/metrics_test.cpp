#include "evals/scoring/metrics.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/recorded.h"

namespace assay {
namespace {

std::vector<Loglikelihood> sums(std::initializer_list<double> values) {
  std::vector<Loglikelihood> result;
  for (double value : values) result.push_back({.sum = value});
  return result;
}

double metric(const Score& score, const std::string& name, const std::string& filter = "none") {
  for (const MetricValue& m : score.metrics) {
    if (m.name == name && m.filter == filter) return m.value;
  }
  return -1;
}

TaskInfo choice_task() {
  TaskInfo task;
  task.metrics = {{.name = "acc"}, {.name = "acc_norm"}, {.name = "acc_bytes"}};
  return task;
}

TEST_CASE("exact_match equals lm-eval's under every mix of normalizations") {
  const Json recorded = testing::recorded_json("lm_eval/filters.json");
  REQUIRE(recorded.find("exact_match")->size() == 180);
  for (const Json& item : recorded.find("exact_match")->as_array()) {
    const Json::Array& c = item.as_array();
    CAPTURE(item.dump());
    ExactMatch options{.ignore_case = c[2].as_bool(), .ignore_punctuation = c[3].as_bool(), .regexes_to_ignore = {}};
    if (c[4].as_bool()) options.regexes_to_ignore = {",", "\\$", "(?s).*#### ", "\\.$"};
    Result<bool> equal = exact_match(c[0].as_string(), c[1].as_string(), options);
    REQUIRE_MESSAGE(equal.ok(), equal.status().message());
    CHECK(*equal == c[5].as_bool());
  }
}

TEST_CASE("the lowest index wins among equals") {
  CHECK(arg_max({-3, -1, -1}) == 1);
  CHECK(arg_max({-2, -2}) == 0);
  CHECK(arg_max({-INFINITY, -5}) == 1);
}

TEST_CASE("acc takes the sums, acc_norm code points, acc_bytes bytes") {
  // Sums: first wins; by code point: -4/2, -6/4, -9/3; by byte: -4/2, -6/4, -9/9.
  const Question question{.text = "", .choices = {"no", "yes!", "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC"}, .gold = 1};
  Score score = judge_multiple_choice(choice_task(), question, sums({-4, -6, -9}));
  CHECK(score.outcome == Outcome::scored);
  CHECK(metric(score, "acc") == 0);
  CHECK(metric(score, "acc_norm") == 1);
  CHECK(metric(score, "acc_bytes") == 0);
}

TEST_CASE("where contexts differ they are what is chosen among") {
  TaskInfo task;
  task.metrics = {{.name = "acc"}};
  const Question question{.contexts = {"a", "b"}, .choices = {"same"}, .gold = 1, .target = "same"};
  CHECK(metric(judge_multiple_choice(task, question, sums({-2, -1})), "acc") == 1);
  CHECK(metric(judge_multiple_choice(task, question, sums({-1, -2})), "acc") == 0);
}

TEST_CASE("a loglikelihood that is not a number, or one too few, is a failure and never a score") {
  const Question question{.text = "", .choices = {"a", "b"}, .gold = 0};
  Score score = judge_multiple_choice(choice_task(), question, sums({-1, NAN}));
  CHECK(score.outcome == Outcome::failed);
  CHECK(score.metrics.empty());
  CHECK(score.reason.find("choice 1") != std::string::npos);
  CHECK(judge_multiple_choice(choice_task(), question, sums({-1})).outcome == Outcome::failed);
  CHECK(judge_multiple_choice(choice_task(), Question{}, {}).outcome == Outcome::failed);
}

TEST_CASE("generations are scored once a filter, and no answer in any filter is told apart") {
  TaskInfo task;
  task.kind = RequestKind::generate_until;
  task.filters = {
      {.name = "strict", .steps = {{.kind = FilterStep::Kind::regex, .pattern = "#### (\\d+)"}}},
      {.name = "loose", .steps = {{.kind = FilterStep::Kind::regex, .pattern = "\\d+", .group_select = -1}}}};
  const Question question{.text = "", .target = "42"};
  Score score = judge_generation(task, question, "maybe 42");
  CHECK(score.outcome == Outcome::scored);
  CHECK(metric(score, "exact_match", "strict") == 0);
  CHECK(metric(score, "exact_match", "loose") == 1);
  REQUIRE(score.extracted.size() == 2);
  CHECK(score.extracted[0].text == "[invalid]");
  CHECK(score.extracted[1].text == "42");
  score = judge_generation(task, question, "no idea");
  CHECK(score.outcome == Outcome::no_answer);
  CHECK(metric(score, "exact_match", "loose") == 0);
}

TEST_CASE("a generation without filters is compared as it is") {
  TaskInfo task;
  task.kind = RequestKind::generate_until;
  Score score = judge_generation(task, Question{.target = "Paris"}, "Paris");
  CHECK(metric(score, "exact_match") == 1);
  CHECK(score.extracted[0].filter == "none");
}

}  // namespace
}  // namespace assay
