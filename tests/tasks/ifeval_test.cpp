#include <doctest/doctest.h>

#include <cstdlib>

#include "engine/base/file.h"
#include "engine/base/text_util.h"
#include "tasks/ifeval/instructions.h"
#include "tasks/ifeval/language.h"
#include "tasks/ifeval/python_json.h"
#include "tasks/ifeval/sentences.h"
#include "tests/support/source_folder.h"
#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

double metric(const Score& score, const std::string& name) {
  for (const MetricValue& value : score.metrics) {
    if (value.name == name) return value.value;
  }
  return -1;
}

Score judged(const Json& document, const std::string& response) {
  Sample sample;
  sample.document = document;
  Response answer;
  answer.completions.push_back({.text = response});
  return testing::task_named("ifeval").judge(sample, answer);
}

double share_of_true(const Json& verdicts) {
  double followed = 0;
  for (const Json& verdict : verdicts.as_array()) followed += verdict.as_bool();
  return followed / static_cast<double>(verdicts.size());
}

// ASSAY_IFEVAL_VERDICTS names a larger file of the same kind (tests/golden/ifeval/make_verdicts.py --texts).
Path verdict_file() {
  const char* named = std::getenv("ASSAY_IFEVAL_VERDICTS");
  return named ? Path(named) : testing::source_folder() / "tests" / "golden" / "ifeval" / "verdicts.json";
}

TEST_CASE("every recorded verdict of lm-eval's checks is repeated, strict and loose") {
  const Result<std::string> text = real_files().read(verdict_file());
  REQUIRE_MESSAGE(text.ok(), text.status().message());
  const Json rows = testing::parsed(*text);
  int64_t verdicts = 0;
  for (const Json& row : rows.as_array()) {
    const Json& document = *row.find("document");
    CAPTURE(document.dump());
    CAPTURE(row.find("response")->as_string());
    const Score score = judged(document, row.find("response")->as_string());
    REQUIRE_MESSAGE(score.outcome == Outcome::scored, score.reason);
    CHECK(metric(score, "inst_level_strict_acc") == share_of_true(*row.find("strict")));
    CHECK(metric(score, "inst_level_loose_acc") == share_of_true(*row.find("loose")));
    CHECK(metric(score, "prompt_level_strict_acc") == (row.find("prompt_strict")->as_bool() ? 1.0 : 0.0));
    CHECK(metric(score, "prompt_level_loose_acc") == (row.find("prompt_loose")->as_bool() ? 1.0 : 0.0));
    verdicts += static_cast<int64_t>(row.find("strict")->size());
  }
  MESSAGE(rows.size(), " responses, ", verdicts, " verdicts compared");
  CHECK(rows.size() >= 600);
}

TEST_CASE("abbreviations, initials and numbers end no sentence, closing quotes belong to theirs") {
  using Sentences = std::vector<std::string_view>;
  CHECK(ifeval::sentences_of("Dr. Smith met J. R. Jones at 3 p.m. today. He left.") ==
        Sentences{"Dr. Smith met J. R. Jones at 3 p.m. today.", "He left."});
  CHECK(ifeval::sentences_of("(One.) \"Two!\" Three") == Sentences{"(One.)", "\"Two!\"", "Three"});
  CHECK(ifeval::sentences_of("  \n ").empty());
}

TEST_CASE("words are cut as the Penn Treebank's rules cut them") {
  CHECK(ifeval::treebank_words("I can't; \"stop\" (now).") ==
        std::vector<std::string>{"I", "ca", "n't", ";", "``", "stop", "''", "(", "now", ")", "."});
  CHECK(ifeval::count_words("don't x_y \u0939\u093f\u0928\u094d\u0926\u0940 \u00b2") == 4);
}

TEST_CASE("languages are told apart, and a text without letters has none") {
  CHECK(ifeval::detect_language("This is an ordinary English sentence about nothing.") == "en");
  CHECK(ifeval::detect_language("Das ist ein ganz gewöhnlicher deutscher Satz.") == "de");
  CHECK_FALSE(ifeval::detect_language("123 !!!").has_value());
}

TEST_CASE("JSON is what Python takes for JSON") {
  for (const char* good : {"{}", "[1, -0.5e+3, NaN, -Infinity]", R"({"a":1,"a":2})", R"("\ud800")", " null\n", "1e5"})
    CHECK_MESSAGE(ifeval::is_python_json(good), good);
  for (const char* bad : {"", "{a:1}", "[1,]", "01", "1.", "\"\t\"", "{}{}", "+1", "'a'", "[", "{\"a\"}", "-"})
    CHECK_MESSAGE(!ifeval::is_python_json(bad), bad);
  CHECK_FALSE(ifeval::is_python_json(std::string(5000, '[')));
}

TEST_CASE("an instruction that is unknown or lacks an argument is refused by name") {
  CHECK(testing::refusal("ifeval",
                         R"({"key":1,"prompt":"p","instruction_id_list":["startend:quotations"],"kwargs":[{}]})")
            .find("did it mean \"startend:quotation\"?") != std::string::npos);
  CHECK(
      testing::refusal(
          "ifeval",
          R"({"key":1,"prompt":"p","instruction_id_list":["length_constraints:number_words"],"kwargs":[{"relation":"at least"}]})")
          .find("num_words") != std::string::npos);
  CHECK(
      testing::refusal("ifeval", R"({"key":1,"prompt":"p","instruction_id_list":["punctuation:no_comma"],"kwargs":[]})")
          .find("kwargs") != std::string::npos);
  CHECK(ifeval::instruction_ids().size() == 25);
}

TEST_CASE("an instruction-level share counts as often as the prompt has instructions") {
  const Json document = testing::parsed(
      R"({"key":1,"prompt":"p","instruction_id_list":["punctuation:no_comma","startend:quotation"],"kwargs":[{},{}]})");
  const Score score = judged(document, "no comma");
  CHECK(metric(score, "inst_level_strict_acc") == 0.5);
  for (const MetricValue& value : score.metrics) CHECK(value.weight == (starts_with(value.name, "inst") ? 2 : 0));
}

TEST_CASE("a blank answer follows nothing, an answer's preamble is forgiven loosely only") {
  const Json document = testing::parsed(
      R"({"key":1,"prompt":"p","instruction_id_list":["punctuation:no_comma"],"kwargs":[{"relation":null}]})");
  CHECK(metric(judged(document, " \n"), "prompt_level_loose_acc") == 0);
  const Score score = judged(document, "Sure, here it is:\nno comma\n");
  CHECK(metric(score, "prompt_level_strict_acc") == 0);
  CHECK(metric(score, "prompt_level_loose_acc") == 1);
}

}  // namespace
}  // namespace assay
