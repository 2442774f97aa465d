#include "evals/scoring/sanitize.h"

#include <doctest/doctest.h>

#include "tests/support/mangled.h"

using namespace assay;

namespace {

// What is left of a program that is taken whole as its longest block.
std::string kept(const std::string& program, const std::string& entry_point = "f") {
  return reachable_definitions(program, entry_point).value();
}

bool grammar_missing() {
  const bool missing = reachable_definitions("", "f").status().code() == Code::unsupported;
  if (missing) MESSAGE("skipped: built without the Python grammar");
  return missing;
}

}  // namespace

TEST_CASE("imports come first, then what the entry point needs, in the order written") {
  if (grammar_missing()) return;
  CHECK(kept("def g():\n    return K\nimport os\nK = 3\nL = 4\ndef f():\n    return g()\nfrom a import b") ==
        "import os\nfrom a import b\ndef g():\n    return K\nK = 3\ndef f():\n    return g()");
}

TEST_CASE("functions that return nothing, decorated ones and everything under a condition are dropped") {
  if (grammar_missing()) return;
  CHECK(kept("def h():\n    print(1)\ndef f():\n    h()\n    return 1") == "def f():\n    h()\n    return 1");
  CHECK(kept("@cache\ndef f():\n    return 1") == "");
  CHECK(kept("if True:\n    import os\ndef f():\n    return 1\nprint(f())") == "def f():\n    return 1");
  CHECK(kept("from __future__ import annotations\ndef f():\n    return 1") == "def f():\n    return 1");
}

TEST_CASE("the first definition of a name wins, whatever its kind") {
  if (grammar_missing()) return;
  CHECK(kept("f = 1\ndef f():\n    return 2") == "f = 1");
  CHECK(kept("def f():\n    return 1\ndef f():\n    return 2") == "def f():\n    return 1");
}

TEST_CASE("without the entry point only the imports are left, and the block where there are none") {
  if (grammar_missing()) return;
  const BlockFinder whole = [](std::string_view text) { return Result<std::string>(std::string(text)); };
  CHECK(sanitize_program("import os\ndef g():\n    return 1", "f", whole).value() == "import os");
  CHECK(sanitize_program("def g():\n    return 1", "f", whole).value() == "def g():\n    return 1");
  CHECK(sanitize_program("def g():\n    return 1", "f", whole, false).value() == "");
}

TEST_CASE("evalplus' walk ends early after a run of bare yields, and so does ours") {
  if (grammar_missing()) return;
  const auto with_yields = [](int count) {
    std::string program = "def f():\n";
    for (int i = 0; i < count; ++i) program += "    yield\n";
    return program + "    return 1";
  };
  CHECK(kept(with_yields(2)) == with_yields(2));
  CHECK(kept(with_yields(9)) == "");
}

TEST_CASE("any bytes are taken") {
  if (grammar_missing()) return;
  testing::for_each_mangled(
      "import os\nclass A:\n    x = [1, f'{y}']\ndef f(a):\n    return A.x[a] if a else \"\\n\"\n", 60, 400,
      [](std::string_view damaged) { (void)reachable_definitions(damaged, "f"); });
}
