#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/vocab_files.h"

namespace assay {

// What tokenizer_config.json and special_tokens_map.json say beside tokenizer.json.
struct TokenizerConfig {
  std::string bos, eos, pad, unk;          // texts; empty when there is none
  std::vector<std::string> special_texts;  // every token that either file names special, these four included
  std::vector<AddedToken> added;           // added_tokens_decoder
  std::optional<bool> add_bos, add_eos;    // add_bos_token, add_eos_token
  bool overrides_post_processor = false;   // tokenizer_class is one whose code puts add_bos and add_eos into effect
  bool clean_up_spaces = false;            // clean_up_tokenization_spaces
};

// A file's text and what errors call it.
struct NamedText {
  std::string_view text;  // empty: there is no such file
  std::string name;
};

// Where both files name a token tokenizer_config.json decides, and a special_tokens_map.json beside a
// tokenizer_config.json with added_tokens_decoder is not read for more; beside one without (an old checkpoint) it comes
// first, as in transformers. Errors: bad_data naming the field.
Result<TokenizerConfig> read_tokenizer_config(const NamedText& config, const NamedText& special_tokens_map);

}  // namespace assay
