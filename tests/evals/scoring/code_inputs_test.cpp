#include "evals/scoring/code_inputs.h"

#include <doctest/doctest.h>

using namespace assay;

namespace {

// The argument lists of a problem as Python prints them.
std::string inputs(const char* json, const char* task, bool mbpp = true) {
  const auto parsed = parse_inputs(json, task, mbpp);
  if (!parsed.ok()) return parsed.status().message();
  std::string text;
  for (const Value::Items& arguments : *parsed) text += Value::tuple(arguments).repr();
  return text;
}

}  // namespace

TEST_CASE("HumanEval's inputs are taken as JSON has them, integers of any size") {
  CHECK(inputs("[[[1, 2], 0.5], [123456789012345678901234567890, \"a\"]]", "HumanEval/2", false) ==
        "([1, 2], 0.5)(123456789012345678901234567890, 'a')");
  CHECK(inputs("[[[1, 2]]]", "Mbpp/2", false) == "([1, 2],)");
}

TEST_CASE("MBPP's tuples, sets and complex numbers come back, problem by problem") {
  CHECK(inputs("[[[1], [2]]]", "Mbpp/2") == "((1,), (2,))");
  CHECK(inputs("[[[[1], [2]], [[3]]]]", "Mbpp/63") == "([(1,), (2,)], [(3,)])");
  CHECK(inputs("[[[[1]], [2]]]", "Mbpp/75") == "([(1,)], [2])");
  CHECK(inputs("[[[1], [2]]]", "Mbpp/106") == "([1], (2,))");
  CHECK(inputs("[[[[1], []]]]", "Mbpp/115") == "([{1}, {}],)");
  CHECK(inputs("[[\"2\", \"(-0-1j)\"]]", "Mbpp/124") == "(2.0, (-0-1j))");
  CHECK(inputs("[[1], [\"-1e-3+2J\"]]", "Mbpp/252") == "((1+0j),)((-0.001+2j),)");
  CHECK(parse_inputs("[[\"4.5j\"]]", "Mbpp/252", true).value()[0][0].as_complex() == std::complex<double>(0, 4.5));
  CHECK(inputs("[[[[1], [2]]]]", "Mbpp/259") == "(((1,), (2,)),)");
  CHECK(inputs("[[[1, [2, [3]]]]]", "Mbpp/278") == "((1, (2, [3])),)");
  CHECK(inputs("[[[1], 2, 3]]", "Mbpp/307") == "((1,), 2, 3)");
  CHECK(inputs("[[[1, [2, [3]]]]]", "Mbpp/580") == "((1, (2, (3,))),)");
  CHECK(inputs("[[{\"a\": [1, 2]}, 6, 7]]", "Mbpp/722") == "({'a': (1, 2)}, 6, 7)");
  CHECK(inputs("{}", "Mbpp/793") == "");
}

TEST_CASE("what is no list of argument lists is refused") {
  CHECK(parse_inputs("[1]", "Mbpp/2", true).status().code() == Code::bad_data);
  CHECK(parse_inputs("{\"a\": 1}", "Mbpp/2", true).status().code() == Code::bad_data);
  CHECK(parse_inputs("[[1]", "Mbpp/2", true).status().code() == Code::bad_data);
}
