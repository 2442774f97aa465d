#include <doctest/doctest.h>

#include "evals/run/plan.h"

using namespace assay;

TEST_CASE("settings survive the way through JSON") {
  RunSettings settings;
  settings.tasks = {"mmlu", "gsm8k"};
  settings.num_fewshot = "mmlu=5,0";
  settings.split = "validation";
  settings.prompt = {true, true, "be brief", Profile::card_2025_04};
  settings.limit = "0.5";
  settings.samples["gsm8k"] = {3, 1};
  settings.gen_kwargs.set("max_gen_toks", 9);
  settings.max_length = 512;
  settings.seed = 3;
  const RunSettings back = RunSettings::from_json(Json::parse(settings.to_json().dump(), "x").value()).value();
  CHECK(back.to_json() == settings.to_json());
  CHECK(back.samples.at("gsm8k") == std::vector<int64_t>{3, 1});
  CHECK(back.prompt.system_instruction == "be brief");
  CHECK(back.prompt.profile == Profile::card_2025_04);
  CHECK(back.to_json().find("profile")->as_string() == "card-2025-04");
  CHECK(parse_profile("card").status().message() == "--profile card: expected main or card-2025-04");
}

TEST_CASE("a choice by task beats one for all, and the longest name wins") {
  const auto choice = [](const std::string& setting, const std::string& task, const std::string& group) {
    return choice_for("--split", setting, task, group).value();
  };
  CHECK(choice("", "arc_easy", "").empty());
  CHECK(choice("validation", "arc_easy", "") == "validation");
  CHECK(choice("arc_easy=validation", "arc_challenge", "").empty());
  CHECK(choice("mmlu=5,0", "mmlu_anatomy", "mmlu_stem") == "5");
  CHECK(choice("mmlu=5,0", "gsm8k", "") == "0");
  CHECK(choice("mmlu=5,mmlu_anatomy=2,1", "mmlu_anatomy", "mmlu_stem") == "2");
  CHECK(choice("mmlu_anatomy=2,mmlu=5", "mmlu_anatomy", "mmlu_stem") == "2");
  CHECK(choice("mmlu_stem=3,mmlu=5", "mmlu_anatomy", "mmlu_stem") == "3");
  CHECK(choice_for("--split", "mmlu=", "mmlu_anatomy", "").status().code() == Code::invalid_argument);
}

TEST_CASE("generation settings come from the task, then from --gen-kwargs") {
  TaskInfo task;
  task.kind = RequestKind::generate_until;
  task.generation.until = {"Question:"};
  EngineInfo model;
  model.eos_text = "</s>";
  RunSettings settings;
  GenerationPlan plan = generation_plan(task.generation, settings, model).value();
  CHECK(plan.sampling.max_tokens == 256);
  CHECK(plan.sampling.temperature == 0);
  CHECK(plan.sampling.stop == std::vector<std::string>{"Question:", "</s>"});
  settings.gen_kwargs =
      Json::parse(R"({"max_gen_toks": 20, "temperature": 0.7, "top_p": 0.9, "until": ["a", "b"]})", "x").value();
  plan = generation_plan(task.generation, settings, model).value();
  CHECK(plan.sampling.max_tokens == 20);
  CHECK(plan.sampling.temperature == doctest::Approx(0.7));
  CHECK(plan.until == std::vector<std::string>{"a", "b"});
  settings.gen_kwargs.set("do_sample", false);
  CHECK(generation_plan(task.generation, settings, model).value().sampling.temperature == 0);
  settings.gen_kwargs.set("beams", 2);
  const auto unknown = generation_plan(task.generation, settings, model);
  CHECK(unknown.status().code() == Code::invalid_argument);
  CHECK(unknown.status().message().find("beams") != std::string::npos);
}
