#include "evals/task/sample.h"

#include <doctest/doctest.h>

#include "tests/support/recorded.h"

namespace assay {
namespace {

TEST_CASE("document hashes equal lm-eval's for every kind of value") {
  const Json cases = testing::recorded_json("lm_eval/hashes.json");
  REQUIRE(cases.size() == 4);
  for (const Json& item : cases.as_array()) {
    CHECK(document_hash(item.as_array()[0]) == item.as_array()[1].as_string());
  }
}

TEST_CASE("the order of a document's columns is part of its hash") {
  const Json ab = Json::object().set("a", 1).set("b", 2), ba = Json::object().set("b", 2).set("a", 1);
  CHECK(ab == ba);
  CHECK(document_hash(ab) != document_hash(ba));
}

TEST_CASE("kinds and outcomes have lm-eval's and the store's names") {
  CHECK(request_kind_name(RequestKind::multiple_choice) == "multiple_choice");
  CHECK(request_kind_name(RequestKind::loglikelihood_rolling) == "loglikelihood_rolling");
  CHECK(outcome_name(Outcome::no_answer) == "no_answer");
}

TEST_CASE("a question whose contexts differ serves as a shot with its right context") {
  Question question{.text = "unused", .contexts = {"first", "second"}, .gold = 1};
  CHECK(question.shot_text() == "second");
  question.contexts.clear();
  CHECK(question.shot_text() == "unused");
}

}  // namespace
}  // namespace assay
