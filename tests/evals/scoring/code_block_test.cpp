#include "evals/scoring/code_block.h"

#include <doctest/doctest.h>

using namespace assay;

TEST_CASE("the printed line numbers cut the block out of the text") {
  CHECK(block_from_output("a\nb\nc", "0 1\n").value() == "a\nb");
  CHECK(block_from_output("a\nb\nc", "2 2\n").value() == "c");
}

TEST_CASE("line numbers that the text does not have are refused") {
  for (const char* printed : {"", "1", "1 3", "2 1", "-1 1", "a b", "0 1 2"}) {
    CAPTURE(printed);
    CHECK(block_from_output("a\nb\nc", printed).status().code() == Code::bad_data);
  }
}

TEST_CASE("the text travels as hexadecimal digits, so that nothing of it can be run") {
  const std::string program = program_that_finds_block(
      "\")\nimport os\0"
      "x");
  CHECK(program.find("import os") == std::string::npos);
  CHECK(program.find("22290a696d706f7274206f73") != std::string::npos);
}
