#include "evals/scoring/code_answers.h"

#include <doctest/doctest.h>

using namespace assay;

namespace {

Value json(const char* text) { return value_from_json(text).value(); }

// Whether one program's answers, in order, are right: "10" for a right and a wrong one.
std::string judged(const AnswerRules& rules, const std::vector<std::pair<Value, Value>>& answers_and_expected,
                   const Value::Items& arguments = {}) {
  auto inputs = std::make_shared<Inputs>();
  auto expected = std::make_shared<std::vector<Value>>();
  for (const auto& [answer, right] : answers_and_expected) {
    inputs->push_back(arguments);
    expected->push_back(right);
  }
  const AnswerCheck check = evalplus_check(rules, inputs, expected)();
  std::string marks;
  for (size_t i = 0; i < answers_and_expected.size(); ++i) marks += check(i, answers_and_expected[i].first) ? '1' : '0';
  return marks;
}

AnswerRules humaneval(const char* name = "f", double atol = 0) { return {.entry_point = name, .atol = atol}; }
AnswerRules mbpp(const char* name, double atol = 0) { return {.entry_point = name, .mbpp = true, .atol = atol}; }

}  // namespace

TEST_CASE("answers are compared as Python compares, and types only where a tolerance is needed") {
  CHECK(judged(humaneval(), {{json("2"), json("2.0")}, {json("true"), json("1")}}) == "11");
  CHECK(judged(humaneval(), {{json("[1]"), Value::tuple({json("1")})}}) == "0");
  CHECK(judged(humaneval(), {{json("2.0000001"), json("2.0")}}) == "1");
  CHECK(judged(humaneval(), {{json("2.00001"), json("2.0")}}) == "0");
  CHECK(judged(humaneval(), {{json("[1, 2.0000001]"), json("[1, 2.0]")}}) == "0");  // not all floats: no tolerance
  CHECK(judged(humaneval(), {{json("[1.0, 2.0000001]"), json("[1.0, 2.0]")}}) == "1");
  CHECK(judged(humaneval(), {{json("[1.0]"), json("[1.0, 2.0]")}}) == "0");
  CHECK(judged(humaneval(), {{json("\"2.0\""), json("2.0")}}) == "0");
  CHECK(judged(humaneval(), {{json("NaN"), json("NaN")}}) == "0");
}

TEST_CASE("the tolerance that a float switches on stays on for later answers of the same program only") {
  const std::pair<Value, Value> near_list = {json("[1, 2.0000001]"), json("[1, 2.0]")};
  const std::pair<Value, Value> exact_float = {json("1.5"), json("1.5")};
  CHECK(judged(humaneval(), {near_list, exact_float, near_list}) == "011");
  CHECK(judged(humaneval(), {near_list}) == "0");
}

TEST_CASE("a problem's own tolerance wants equal types") {
  CHECK(judged(humaneval("f", 1e-4), {{json("2.00005"), json("2.0")}, {json("2"), json("2.0")}}) == "11");
  CHECK(judged(humaneval("f", 1e-4), {{json("3"), json("3.00001")}}) == "0");
}

TEST_CASE("some of MBPP's answers are compared as sets") {
  const AnswerRules rules = mbpp("similar_elements");
  CHECK(judged(rules, {{json("[2, 1, 1]"), Value::tuple({json("1"), json("2")})}}) == "1");
  CHECK(judged(rules, {{json("[[1]]"), json("[[1]]")}}) == "0");  // lists have no hash: an exception in Python
  CHECK(judged(rules, {{json("\"ab\""), json("[\"b\", \"a\"]")}}) == "1");
  CHECK(judged(rules, {{json("3"), json("[3]")}}) == "0");
  CHECK(judged(humaneval("similar_elements"), {{json("[2, 1]"), json("[1, 2]")}}) == "0");
}

TEST_CASE("where any output counts, a boolean is compared and all else must not be None") {
  const AnswerRules rules = mbpp("check_str");
  CHECK(expects_any_output(rules));
  const Value yes = expected_of(rules, json("\"match\"")), no = expected_of(rules, Value::none());
  CHECK(judged(rules, {{Value::opaque("re.Match", 1), yes}, {Value::none(), no}, {json("0"), yes}}) == "111");
  CHECK(judged(rules, {{json("true"), no}, {Value::none(), yes}, {json("1"), no}}) == "000");
}

TEST_CASE("the surface of a pyramid and the digit distance have second right answers") {
  CHECK(judged(mbpp("surface_Area"), {{json("33"), json("0")}}, {json("3"), json("4")}) == "0");
  CHECK(judged(mbpp("surface_Area"), {{json("35"), json("0")}}, {json("3"), json("4")}) == "1");
  CHECK(judged(mbpp("digit_distance_nums"), {{json("6"), json("0")}}, {json("1"), json("256")}) == "0");
  CHECK(judged(mbpp("digit_distance_nums"), {{json("12"), json("0")}}, {json("1"), json("256")}) == "1");
}

TEST_CASE("any root of the polynomial is right, and evalplus 0.3 forgets to count it") {
  const Value::Items arguments = {json("[-6, 11, -6, 1]")};
  AnswerRules rules = humaneval("find_zero", 1e-4);
  const std::vector<std::pair<Value, Value>> roots = {{json("1.0"), json("3.0")}, {json("2"), json("3.0")}};
  CHECK(judged(rules, roots, arguments) == "11");
  CHECK(judged(rules, {{json("1.5"), json("1.5")}}, arguments) == "0");
  CHECK(judged(rules, {{json("\"1\""), json("3.0")}}, arguments) == "0");
  rules.lose_find_zero = true;
  CHECK(judged(rules, roots, arguments) == "10");
}
