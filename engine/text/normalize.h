#pragma once

#include <memory>
#include <string>

#include "engine/base/json.h"
#include "engine/base/status.h"

namespace assay {

// No text on its way to tokens may grow beyond this, whatever a tokenizer's components do to it.
constexpr size_t kMaxTextBytes = size_t{64} << 20;

// A part of a text on its way through the normalizers. `at_start`: its first character is the original text's first.
struct NormalizedText {
  std::string text;
  bool at_start = true;
};

// A normalizer of tokenizer.json. Immutable, thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // `text` is valid UTF-8 and stays so. Errors: bad_data when it would exceed kMaxTextBytes, or when a pattern's search
  // gives up.
  virtual Status normalize(NormalizedText& text) const = 0;
  // Whether a text may be cut before a space between two ASCII letters, its halves normalized one by one.
  virtual bool keeps_word_cuts() const { return false; }
};

// By its "type": NFC, NFKC, Lowercase, Prepend, Replace, Strip, Sequence. null gives a null pointer: nothing to do.
// Errors: bad_data naming the field; unsupported for other types.
Result<std::unique_ptr<Normalizer>> make_normalizer(const JsonField& field);

}  // namespace assay
