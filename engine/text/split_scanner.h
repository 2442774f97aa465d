#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace assay {

// Part of a text: bytes [begin, end).
struct Piece {
  uint32_t begin = 0;
  uint32_t end = 0;
};

// The split patterns of the widely used byte-level vocabularies, each with a scanner of its own: several times as fast
// as a regular expression engine. Their matches leave no character out, so that they cut a text into pieces.
enum class SplitPattern {
  gpt2,    // GPT-2, SmolLM, StarCoder2: what ByteLevel's use_regex means
  llama3,  // Llama 3: digits by three
  qwen2,   // Qwen 2, 2.5, 3: digits one by one
  tekken,  // Mistral's tekken: words end where lower case meets upper case
};

// The pattern spelled exactly so; nullopt for any other text: such patterns are for Regex.
std::optional<SplitPattern> known_split_pattern(std::string_view pattern);
std::string_view split_pattern_text(SplitPattern pattern);

// Appends the pattern's matches in `text`, moved by `offset`. `text` is valid UTF-8 of less than 2^32 - offset bytes;
// `classes` is scratch. Same matches as Oniguruma and PCRE2 find, with the character classes of char_class.h.
void scan_split(SplitPattern pattern, std::string_view text, uint32_t offset, std::vector<uint8_t>& classes,
                std::vector<Piece>& out);

}  // namespace assay
