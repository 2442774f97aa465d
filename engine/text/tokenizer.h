#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/status.h"
#include "engine/request.h"

namespace assay {

struct TokenizeOptions {
  bool add_special_tokens = false;   // apply the post-processor (BOS, EOS)
  bool parse_special_tokens = true;  // text that spells an added token becomes it
};

// Text to token ids and back, exactly as Hugging Face tokenizers does for the same tokenizer.json (model.md 4) or
// mistral-common for a tekken.json. Immutable after loading; safe from any thread.
class Tokenizer {
 public:
  // Looks in a checkpoint folder for tokenizer.json (with tokenizer_config.json beside it), then tekken.json.
  // Errors: not_found when neither is there; bad_data names field; unsupported names an unknown component type.
  static Result<Tokenizer> open(const Path& folder);
  // From the texts of tokenizer.json and tokenizer_config.json (may be empty).
  static Result<Tokenizer> from_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                                     std::string_view source);
  static Result<Tokenizer> from_tekken(std::string_view tekken_json, std::string_view source);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Errors: bad_data for text that is not UTF-8. A byte or character without a token is dropped or becomes the unknown
  // token, as the file says.
  Result<Tokens> encode(std::string_view text, const TokenizeOptions& options = {}) const;
  // Ids outside the vocabulary decode to nothing. Invalid UTF-8 becomes U+FFFD.
  std::string decode(const Tokens& tokens, bool skip_special_tokens = true) const;

  // The raw bytes one token stands for (before UTF-8 repair), special tokens as their text; empty for unknown ids.
  // Concatenated over a byte-level vocabulary these give decode()'s bytes: what streaming and stop strings work on.
  std::string token_bytes(TokenId token) const;
  bool is_special(TokenId token) const;
  std::optional<TokenId> find_token(std::string_view content) const;  // by its content in the file, special tokens included

  int vocab_size() const;  // largest id + 1
  // The special tokens of tokenizer_config.json / special_tokens_map.json: text, empty when there is none.
  const std::string& bos_text() const;
  const std::string& eos_text() const;
  const std::string& pad_text() const;
  const std::string& unk_text() const;
  // SHA-256 over the files it was read from.
  const std::string& digest() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
