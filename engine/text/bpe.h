#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/request.h"

namespace assay {

// The vocabulary and merge rules of a byte-pair encoding, over token contents as the file writes them.
// Based on: Sennrich, Haddow and Birch. Neural machine translation of rare words with subword units. 2016.
struct BpeModel {
  std::unordered_map<std::string, TokenId> vocab;
  std::unordered_map<uint64_t, std::pair<int32_t, TokenId>> merges;  // (left id << 32 | right id) -> (rank, merged id)
  bool ignore_merges = false;   // a piece that is a token is that token
  bool byte_fallback = false;   // an unknown character becomes its <0xHH> tokens
  bool fuse_unk = false;
  TokenId unk_token = -1;       // -1: unknown characters are dropped
};

// Appends the ids of one pre-token. Merges the adjacent pair of lowest rank first, leftmost among equals, with a heap and
// a linked list: O(n log n). `scratch` state lives in the call; thread-safe for a const model.
void bpe_encode(const BpeModel& model, std::string_view piece, Tokens& out);

// GPT-2's printable stand-ins for bytes: '!'..'~' and two Latin-1 ranges map to themselves, the others to U+0100 on.
std::string byte_level_encode(std::string_view bytes);
// Back to bytes; characters that stand for no byte are copied as their UTF-8.
std::string byte_level_decode(std::string_view text);

}  // namespace assay
