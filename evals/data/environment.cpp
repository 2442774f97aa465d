#include "evals/data/environment.h"

#include <cstdlib>

#include "engine/base/text_util.h"

namespace assay {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool is_true(const std::string& value) {
  const std::string upper = py_upper(value);
  return upper == "1" || upper == "ON" || upper == "YES" || upper == "TRUE";
}

}  // namespace assay
