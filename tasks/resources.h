#pragma once

#include <string_view>

namespace assay {

// Files of tasks/resources as built into the program; where each comes from is said in the README beside them.
std::string_view bbh_shots_json();
std::string_view ifeval_languages_gz();
std::string_view ifeval_english_gz();

}  // namespace assay
