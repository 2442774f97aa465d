#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "evals/run/plan.h"
#include "evals/task/registry.h"

namespace assay {

// A named list of tasks with the settings they are asked with: data-manifests/suites/<name>.json, built into the
// program, or a file of the user's. Tasks that need other settings (a chat template, another profile) are another part.
struct Suite {
  std::string name, about;
  std::vector<RunSettings> parts;
};

std::vector<std::string> suite_names();  // of those built in, sorted
// By name, or by path where a file is meant. Errors: not_found with the nearest name; parse_suite's.
Result<Suite> find_suite(const std::string& name_or_path);
// Errors: bad_data naming the field; unknown keys are refused.
Result<Suite> parse_suite(std::string_view text, std::string_view source);

// The command line's word on top of a part's: values by task join the part's and win over them, a bare value replaces
// them all. Chat flags, system instruction, gen_kwargs and max_length are taken where they are given.
RunSettings overlaid(const RunSettings& part, const RunSettings& given);

// The part without the tasks that the program does not have; their names go to `unknown`.
RunSettings with_known_tasks(const RunSettings& part, const Registry& registry, std::vector<std::string>& unknown);

}  // namespace assay
