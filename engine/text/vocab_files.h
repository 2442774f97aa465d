#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/text/bpe.h"

namespace assay {

// Ids are below this: a file that claims more is refused before its table is made.
constexpr int64_t kMaxTokenId = (1 << 24) - 1;

// A token that is found in text before anything else is done to it.
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;      // skip_special_tokens leaves it out
  bool normalized = false;   // looked for in the normalized text
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool single_word = false;  // only where no word character touches it
};

// What the files of a vocabulary hold, before they are put to work.
struct Vocab {
  BpeModel model;
  std::vector<AddedToken> added;  // as listed
};

// tokenizer.json: {model, added_tokens}. With `byte_level` the contents, which then are printable stand-ins, become raw
// bytes (BpeModel::bytes); those with other characters can be decoded but not found.
// Errors: bad_data naming the field; unsupported for models that are not BPE, and for dropout, prefixes and suffixes.
Result<Vocab> read_tokenizer_json_vocab(const JsonField& root, bool byte_level);

// One entry of added_tokens, or of added_tokens_decoder, where the id is the key.
Result<AddedToken> read_added_token(const JsonField& field, TokenId id);

// tekken.json of mistral-common, versions v1 to v15: raw bytes; `pattern` receives config.pattern. All special tokens
// are in `added`, unnamed slots as <SPECIAL_n>. Merges are those of tiktoken: a pair merges when its bytes are a token,
// whose rank is the merge's.
Result<Vocab> read_tekken_vocab(const JsonField& root, std::string& pattern);

}  // namespace assay
