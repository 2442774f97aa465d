#include <doctest/doctest.h>

#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

std::string asked(const std::string& page) {
  return testing::task_named("wikitext").ask(Json::object().set("page", page))->target;
}

TEST_CASE("the raw file's lines are cut before titles, not before sections") {
  std::vector<Json> lines;
  for (const char* line : {" ", " = First = ", " ", " text ", " = = Section = = ", " more ", " = Second = ", " end "})
    lines.push_back(*testing::task_named("wikitext").to_document(Json::object().set("text", line), "raw-lines"));
  REQUIRE(testing::task_named("wikitext").prepare(lines, SplitRole::evaluated).ok());
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].find("page")->as_string() == " = First = \n \n text \n = = Section = = \n more ");
  CHECK(lines[1].find("page")->as_string() == " = Second = \n end \n");
}

TEST_CASE("tokenization is undone step by step") {
  CHECK(asked("a guest @-@ starring 1 @,@ 000 @.@ 5 , or so . Next") == "a guest-starring 1,000.5, or so. Next");
  CHECK(asked("( in brackets ) [ too ] { and } \" quoted \" ' here '") ==
        "(in brackets) [too] {and} \"quoted\" 'here'");
  CHECK(asked("= = = Deep = = =\n next \n line") == "=== Deep ===\nnext\nline");
  CHECK(asked("the dogs ' house N times 20 \u00b0 C") == "the dogs' house 1 times 20\u00b0C");
}

TEST_CASE("words and bytes are the article's own, and each window's sum counts") {
  Sample sample;
  sample.document = Json::object().set("page", " one two\nthree ");
  const Score score =
      testing::task_named("wikitext").judge(sample, {.loglikelihoods = {{.sum = -3}, {.sum = -4}}, .completions = {}});
  REQUIRE(score.metrics.size() == 3);
  for (const MetricValue& metric : score.metrics) CHECK(metric.value == -7);
  CHECK(score.metrics[0].name == "word_perplexity");
  CHECK(score.metrics[0].weight == 5);  // Python's split keeps the empty pieces at both ends
  CHECK(score.metrics[1].weight == 15);
  CHECK(score.metrics[2].name == "bits_per_byte");
  CHECK(testing::task_named("wikitext").judge(sample, {}).outcome == Outcome::failed);
}

}  // namespace
}  // namespace assay
