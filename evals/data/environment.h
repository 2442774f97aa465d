#pragma once

#include <string>

namespace assay {

// An environment variable's value, "" when it is not set.
std::string environment(const char* name);

// Whether a switch of the Hub's libraries is on: 1, ON, YES or TRUE in any case.
bool is_true(const std::string& value);

}  // namespace assay
