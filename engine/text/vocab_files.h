#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/text/bpe.h"

namespace assay {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false, normalized = false, lstrip = false, rstrip = false, single_word = false;
};

// What the files of a vocabulary hold, before they are put to work.
struct Vocab {
  BpeModel model;
  std::vector<std::string> id_to_content;  // token contents as the file writes them; empty for holes
  std::vector<AddedToken> added;
  bool raw_bytes = false;                  // contents are raw bytes (tekken) instead of byte-level text
};

// tokenizer.json: {model, added_tokens}. Only BPE models; others are `unsupported`.
Result<Vocab> read_tokenizer_json_vocab(const JsonField& root);
// tekken.json of mistral-common: `pattern` receives config.pattern.
Result<Vocab> read_tekken_vocab(const JsonField& root, std::string& pattern);

}  // namespace assay
