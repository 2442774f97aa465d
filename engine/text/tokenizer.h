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
  bool reuse = true;                 // take over what this thread's last text begins with; the same ids either way
};

struct TokenizerParts;

// The tokenizer.json published with Mistral's tekken models splits by Llama 3's pattern instead of their own. As
// shipped it is obeyed; `fixed` puts tekken's pattern in its place. A run must record which.
enum class TekkenRegex { as_shipped, fixed };

// Text to token ids and back, exactly as Hugging Face tokenizers does for the same tokenizer.json (model.md 4) or
// mistral-common for a tekken.json. Immutable after loading; safe from any thread.
class Tokenizer {
 public:
  // Looks in a checkpoint folder for tokenizer.json (with tokenizer_config.json and special_tokens_map.json beside it),
  // then tekken.json. Errors: not_found when neither is there; bad_data names field; unsupported names an unknown
  // component type; invalid_argument when a regex is to be fixed that is not there.
  static Result<Tokenizer> open(const Path& folder, TekkenRegex tekken_regex = TekkenRegex::as_shipped);
  // From the texts of tokenizer.json, tokenizer_config.json and special_tokens_map.json (the latter two may be empty).
  static Result<Tokenizer> from_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                                     std::string_view source, std::string_view special_tokens_map_json = {},
                                     TekkenRegex tekken_regex = TekkenRegex::as_shipped);
  // With parse_special_tokens off, as mistral-common has it, no text becomes a special token; add_special_tokens puts
  // <s> first.
  static Result<Tokenizer> from_tekken(std::string_view tekken_json, std::string_view source);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Errors: bad_data for text that is not UTF-8; invalid_argument beyond 64 MiB. A byte or character without a token is
  // dropped or becomes the unknown token, as the file says.
  Result<Tokens> encode(std::string_view text, const TokenizeOptions& options = {}) const;
  // Ids outside the vocabulary decode to nothing. Invalid UTF-8 becomes U+FFFD. clean_up_tokenization_spaces of
  // tokenizer_config.json is honored.
  std::string decode(const Tokens& tokens, bool skip_special_tokens = true) const;

  // The raw bytes one token stands for (before UTF-8 repair), special tokens as their text; empty for unknown ids.
  // Concatenated over a byte-level vocabulary these give decode()'s bytes: what streaming and stop strings work on. Of
  // other vocabularies decode() may drop the first token's leading space.
  std::string token_bytes(TokenId token) const;
  bool is_special(TokenId token) const;
  // By its content as the file spells it (in a tekken.json: its bytes), special tokens included.
  std::optional<TokenId> find_token(std::string_view content) const;

  int vocab_size() const;  // largest id + 1
  // The special tokens of tokenizer_config.json or special_tokens_map.json: text, empty when there is none.
  const std::string& bos_text() const;
  const std::string& eos_text() const;
  const std::string& pad_text() const;
  const std::string& unk_text() const;
  // SHA-256 over the lengths and bytes of the files it was read from.
  const std::string& digest() const;

 private:
  explicit Tokenizer(std::unique_ptr<TokenizerParts> parts);
  std::unique_ptr<const TokenizerParts> parts_;
};

}  // namespace assay
