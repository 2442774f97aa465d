#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/added_tokens.h"
#include "engine/text/bpe.h"
#include "engine/text/normalize.h"
#include "engine/text/post_processor.h"
#include "engine/text/pretokenize.h"
#include "engine/text/token_decoder.h"
#include "engine/text/tokenizer.h"
#include "engine/text/tokenizer_config.h"
#include "engine/text/vocab_files.h"

namespace assay {

// All that a Tokenizer is made of, put together from its files. Immutable once loaded.
struct TokenizerParts {
  explicit TokenizerParts(BpeModel model) : bpe(std::move(model)) {}

  Bpe bpe;
  std::unique_ptr<Normalizer> normalizer;  // nullptr: none
  PreTokenization pre_tokenization;
  std::unique_ptr<TokenDecoder> decoder;  // nullptr: contents are joined by spaces
  Affixes affixes;
  TokenizerConfig config;
  uint64_t cut_owner = 0;  // 0: texts may not be cut between words; else this vocabulary's own number, a multiple of 2
  bool is_tekken = false;  // contents are bytes as they are, and text is repaired from special token to special token
  std::string digest;

  std::vector<AddedToken> added;
  std::vector<int32_t> added_index;  // id -> index into `added`, -1: not added; as long as the largest id + 1
  std::unordered_map<std::string, TokenId> added_ids;
  AddedTokenMatcher raw_matcher;         // tokens to look for in the text as it came
  AddedTokenMatcher normalized_matcher;  // and in the normalized text

  const TokenTable& tokens() const { return bpe.model().tokens; }
  const AddedToken* find_added(TokenId id) const;
  bool is_token(TokenId id) const { return find_added(id) || !tokens().content(id).empty(); }
  // Whether decoding is joining the bytes of tokens.
  bool joins_bytes() const { return is_tekken || (decoder && decoder->is_byte_level()); }
  std::optional<TokenId> find(std::string_view content) const;
  std::string spelling(TokenId id) const;  // a token's content as tokenizer.json writes it
  std::string bytes(TokenId id) const;     // what it stands for by itself

 private:
  TokenId find_hidden(std::string_view content) const;
};

// Errors: as Tokenizer::from_json and from_tekken.
Result<std::unique_ptr<TokenizerParts>> load_tokenizer_json(const NamedText& tokenizer, const NamedText& config,
                                                            const NamedText& special_tokens_map,
                                                            TekkenRegex tekken_regex);
Result<std::unique_ptr<TokenizerParts>> load_tekken_json(const NamedText& tekken);

}  // namespace assay
