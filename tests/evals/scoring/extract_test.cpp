#include "evals/scoring/extract.h"

#include <doctest/doctest.h>

#include "tests/support/recorded.h"

namespace assay {
namespace {

Filter single(FilterStep step) { return {.name = "only", .steps = {std::move(step)}}; }

TEST_CASE("regex filters find what lm-eval's find") {
  const Json recorded = testing::recorded_json("lm_eval/filters.json");
  REQUIRE(recorded.find("regex")->size() > 150);
  for (const Json& item : recorded.find("regex")->as_array()) {
    const Json::Array& c = item.as_array();
    CAPTURE(item.dump());
    const Filter filter = single({.kind = FilterStep::Kind::regex,
                                  .pattern = c[0].as_string(),
                                  .group_select = static_cast<int>(c[1].as_int())});
    Result<std::string> found = apply_filter(filter, c[2].as_string(), {});
    REQUIRE_MESSAGE(found.ok(), found.status().message());
    CHECK(*found == c[3].as_string());
  }
}

TEST_CASE("multiple-choice filters fall back as lm-eval's do: pattern, choice text, letter") {
  const Json recorded = testing::recorded_json("lm_eval/filters.json");
  REQUIRE(recorded.find("multi_choice")->size() > 250);
  for (const Json& item : recorded.find("multi_choice")->as_array()) {
    const Json::Array& c = item.as_array();
    CAPTURE(item.dump());
    const bool fold = c[3].as_bool();
    const Filter filter = single({.kind = FilterStep::Kind::multi_choice_regex,
                                  .pattern = "(\\([A-Z]\\))",
                                  .group_select = static_cast<int>(c[2].as_int()),
                                  .ignore_case = fold,
                                  .ignore_punctuation = fold});
    Result<std::string> found = apply_filter(filter, c[1].as_string(), testing::strings_of(c[0]));
    REQUIRE_MESSAGE(found.ok(), found.status().message());
    CHECK(*found == c[4].as_string());
  }
}

TEST_CASE("texts are cut at stop strings as lm-eval cuts them") {
  const Json recorded = testing::recorded_json("lm_eval/filters.json");
  for (const Json& item : recorded.find("stop")->as_array()) {
    const Json::Array& c = item.as_array();
    CAPTURE(item.dump());
    CHECK(cut_at_stop(c[0].as_string(), testing::strings_of(c[1])) == c[2].as_string());
  }
}

TEST_CASE("steps run one after the other") {
  Filter filter{.name = "chain"};
  filter.steps = {{.kind = FilterStep::Kind::regex, .pattern = "ANSWER: (.*)"},
                  {.kind = FilterStep::Kind::lowercase},
                  {.kind = FilterStep::Kind::take_first}};
  CHECK(*apply_filter(filter, "x ANSWER:  \xC3\x89TE \n", {}) == "\xC3\xA9te");
  CHECK(*apply_filter(single({.kind = FilterStep::Kind::strip}), "\xC2\xA0 x\n", {}) == "x");
}

TEST_CASE("a response on which a pattern runs out of steps has no answer, and a bad pattern is an error") {
  const Filter explosive = single({.kind = FilterStep::Kind::regex, .pattern = "(x+x+)+y"});
  CHECK(*apply_filter(explosive, std::string(5000, 'x'), {}) == kInvalidAnswer);
  CHECK_FALSE(apply_filter(single({.kind = FilterStep::Kind::regex, .pattern = "("}), "x", {}).ok());
}

TEST_CASE("bytes that are no UTF-8 do not stop a filter") {
  const Filter digits = single({.kind = FilterStep::Kind::regex, .pattern = "[0-9]+"});
  CHECK(*apply_filter(digits, "\xff\xfe 12 \xc3", {}) == "12");
}

}  // namespace
}  // namespace assay
