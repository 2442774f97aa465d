#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"

namespace assay {

// A normalizer or pre-tokenizer of tokenizer.json, by its "type" (model.md 4.5). Unknown types are `unsupported`.
// Immutable, thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual Result<std::string> normalize(std::string_view text) const = 0;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Splits and rewrites pieces in place; `at_start` tells whether pieces[0] begins the original text (Metaspace "first").
  virtual Status split(std::vector<std::string>& pieces, bool at_start) const = 0;
};

// null gives a null pointer: nothing to do. Errors name the field.
Result<std::unique_ptr<Normalizer>> make_normalizer(const JsonField& field);
Result<std::unique_ptr<PreTokenizer>> make_pre_tokenizer(const JsonField& field);

}  // namespace assay
