#include "evals/run/suite.h"

#include <doctest/doctest.h>

#include "engine/base/file.h"
#include "tests/support/temp_folder.h"
#include "tests/support/toy_tasks.h"

using namespace assay;
using namespace assay::testing;

TEST_CASE("every suite built in parses and bears its file's name") {
  CHECK(suite_names() == std::vector<std::string>{"mistral-small-card", "openllm-v1", "smoke"});
  for (const std::string& name : suite_names()) {
    const auto suite = find_suite(name);
    REQUIRE_MESSAGE(suite.ok(), suite.status().message());
    CHECK(suite->name == name);
  }
  const Suite card = find_suite("mistral-small-card").value();
  CHECK(card.parts[0].prompt.apply_chat_template);
  CHECK(card.parts[0].prompt.fewshot_as_multiturn);
  CHECK(choice_for("", card.parts[0].num_fewshot, "gsm8k", "").value() == "8");
  CHECK(choice_for("", card.parts[0].num_fewshot, "mmlu_anatomy", "mmlu_stem").value() == "5");
  CHECK(choice_for("", card.parts[0].num_fewshot, "mmlu_pro_law", "mmlu_pro").value() == "5");
}

TEST_CASE("a suite may be a file, and a mistyped name says which is near") {
  TempFolder folder;
  REQUIRE(
      real_files().write_atomic(folder / "mine.json", R"({"name":"mine","parts":[{"tasks":["a"],"limit":0.5}]})").ok());
  const Suite mine = find_suite((folder / "mine.json").string()).value();
  CHECK(mine.parts[0].limit == "0.5");
  CHECK(find_suite("openllm-v2").status().message().find("did you mean \"openllm-v1\"") != std::string::npos);
}

TEST_CASE("what is wrong in a suite is named with its path") {
  const auto message = [](const char* text) { return parse_suite(text, "s.json").status().message(); };
  CHECK(message(R"({"name":"x","parts":[{"tasks":["a"],"shots":3}]})").find("parts[0].shots") != std::string::npos);
  CHECK(message(R"({"name":"x","parts":[{"tasks":[]}]})").find("at least one task") != std::string::npos);
  CHECK(message(R"({"name":"x","parts":[]})").find("at least one part") != std::string::npos);
  CHECK(message(R"({"parts":[{"tasks":["a"]}]})").find("name") != std::string::npos);
  CHECK(message(R"({"name":"x","parts":[{"tasks":["a"],"limit":[1]}]})").find("parts[0].limit") != std::string::npos);
}

TEST_CASE("the command line's word wins by task, a bare value for all") {
  RunSettings part, given;
  part.num_fewshot = "a=5,b=3";
  part.limit = "7";
  given.num_fewshot = "b=1";
  given.limit = "a=2";
  const RunSettings both = overlaid(part, given);
  CHECK(choice_for("", both.num_fewshot, "a", "").value() == "5");
  CHECK(choice_for("", both.num_fewshot, "b", "").value() == "1");
  CHECK(choice_for("", both.limit, "a", "").value() == "2");
  CHECK(choice_for("", both.limit, "b", "").value() == "7");
  given.num_fewshot = "0";
  CHECK(choice_for("", overlaid(part, given).num_fewshot, "a", "").value() == "0");
}

TEST_CASE("tasks the program lacks are told apart from those it has") {
  Registry registry;
  registry.add(std::make_unique<ToyChoiceTask>("toy"));
  RunSettings part;
  part.tasks = {"toy", "other"};
  std::vector<std::string> unknown;
  CHECK(with_known_tasks(part, registry, unknown).tasks == std::vector<std::string>{"toy"});
  CHECK(unknown == std::vector<std::string>{"other"});
}
