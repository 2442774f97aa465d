#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/base/json.h"
#include "engine/base/regex.h"
#include "engine/base/status.h"

namespace assay {

// The error for a component of a tokenizer.json whose "type" is not one of those implemented.
Status unsupported_type(const JsonField& component, std::string_view implemented);

// The member `key` of a component: exactly one character. `other` when it is missing.
Result<std::string> character_or(const JsonField& component, std::string_view key, std::string_view other);

// The "pattern" of a Split or Replace: {"String": literal} or {"Regex": Oniguruma pattern}.
struct ComponentPattern {
  bool is_regex = false;
  std::string text;
};
Result<ComponentPattern> read_pattern(const JsonField& component);
// Compiles it, a literal too. Errors: unsupported, naming the field.
Result<Regex> compile_pattern(const JsonField& component, const ComponentPattern& pattern);

}  // namespace assay
