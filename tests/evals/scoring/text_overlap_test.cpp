#include "evals/scoring/text_overlap.h"

#include <doctest/doctest.h>

#include "tests/support/recorded.h"

namespace assay {
namespace {

TEST_CASE("BLEU and ROUGE equal what lm-eval's libraries give") {
  const Json recorded = testing::recorded_json("lm_eval/overlap.json");
  REQUIRE(recorded.size() == 126);
  for (const Json& row : recorded.as_array()) {
    const std::string& prediction = row.find("prediction")->as_string();
    const std::string& reference = row.find("reference")->as_string();
    CAPTURE(prediction);
    CAPTURE(reference);
    const auto near = [](double value) { return doctest::Approx(value).epsilon(1e-9); };
    CHECK(sentence_bleu(prediction, reference).value() == near(row.find("bleu")->as_real()));
    const Rouge scores = rouge(prediction, reference);
    CHECK(scores.rouge1 == near(row.find("rouge1")->as_real()));
    CHECK(scores.rouge2 == near(row.find("rouge2")->as_real()));
    CHECK(scores.rouge_lsum == near(row.find("rougeLsum")->as_real()));
  }
}

TEST_CASE("a text is all of itself and nothing of another") {
  CHECK(sentence_bleu("one two three four", "one two three four").value() == doctest::Approx(100));
  CHECK(sentence_bleu("one two three four", "five six").value() == 0);
  CHECK(sentence_bleu("too short", "too short").value() == 0);
  CHECK(rouge("One, two", "one two").rouge1 == doctest::Approx(100));
  CHECK(rouge("", "one").rouge_lsum == 0);
}

}  // namespace
}  // namespace assay
