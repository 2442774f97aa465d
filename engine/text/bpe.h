#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"

namespace assay {

// Token contents and their ids, both ways. Contents lie end to end in one buffer, so that a hundred thousand of them
// load in milliseconds. Thread-compatible.
class TokenTable {
 public:
  void reserve(size_t num_tokens, size_t content_bytes);
  // False when the content or the id is taken already. REQUIRES: id >= 0 and content is not empty.
  bool add(TokenId id, std::string_view content);
  // The same, but find() will not see it: for contents that no text can reach.
  bool add_hidden(TokenId id, std::string_view content);

  TokenId find(std::string_view content) const;                 // -1: none
  std::string_view content(TokenId id) const;                   // empty for ids without a token
  int size() const { return static_cast<int>(spans_.size()); }  // largest id + 1

 private:
  struct Span {
    uint32_t begin = 0;
    uint32_t length = 0;
  };
  struct Slot {
    uint32_t hash = 0;
    TokenId id = -1;
  };
  bool store(TokenId id, std::string_view content);
  void rehash(size_t num_slots);
  void insert(uint64_t hash, TokenId id);
  std::string contents_;
  std::vector<Span> spans_;  // by id
  std::vector<Slot> slots_;  // open addressing; a power of two
  size_t num_found_ = 0;     // tokens in slots_
  size_t longest_ = 0;
};

// A merge rule's rank (lower goes first) and what the pair becomes.
struct Merge {
  int32_t rank = -1;  // -1: the pair does not merge
  TokenId token = -1;
};

// (left id, right id) -> Merge. Thread-compatible.
class MergeTable {
 public:
  void reserve(size_t num_merges);
  void set(TokenId left, TokenId right, Merge merge);  // replaces an earlier rule of the same pair
  Merge find(TokenId left, TokenId right) const;
  size_t size() const { return num_merges_; }

 private:
  struct Slot {
    uint64_t pair = kEmpty;
    Merge merge;
  };
  static constexpr uint64_t kEmpty = UINT64_MAX;
  static uint64_t pair_of(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t pair) const;
  std::vector<Slot> slots_;
  size_t num_merges_ = 0;
};

// The vocabulary and merge rules of a byte-pair encoding.
// Based on: Sennrich, Haddow and Birch. Neural machine translation of rare words with subword units. 2016.
struct BpeModel {
  TokenTable tokens;
  MergeTable merges;
  bool bytes = false;          // a symbol is a byte, and contents are raw bytes; else a symbol is a character
  bool ignore_merges = false;  // a piece that is a token is that token
  bool byte_fallback = false;  // an unknown character becomes the <0xHH> tokens of its bytes, if all of them exist
  bool fuse_unk = false;       // neighboring unknown characters become one unknown token
  TokenId unk_token = -1;      // -1: unknown characters are dropped
};

// Working memory of Bpe::encode, to be used again for the next piece. Not thread-safe.
class BpeScratch {
 private:
  friend class Bpe;
  struct Symbol {
    int32_t previous;
    int32_t next;
    TokenId token;
    Merge merge;  // with the next symbol; rank -1 when there is none, or when this symbol is gone
  };
  std::vector<Symbol> symbols_;
  std::vector<uint64_t> queue_;  // rank << 32 | symbol, smallest on top
};

// Encodes pieces of text. Immutable; thread-safe as long as each thread brings its own scratch.
class Bpe {
 public:
  explicit Bpe(BpeModel model);

  // Appends the ids of one pre-token of at most 2^31 - 1 bytes of UTF-8. Merges the adjacent pair of lowest rank first,
  // leftmost among equals, with a heap and a linked list: O(n log n), no recursion.
  void encode(std::string_view piece, BpeScratch& scratch, Tokens& out) const;

  const BpeModel& model() const { return model_; }

 private:
  bool is_whole(TokenId token, std::string_view content, BpeScratch& scratch) const;
  void encode_by_merging(std::string_view piece, BpeScratch& scratch, Tokens& out) const;
  void split_into_symbols(std::string_view piece, BpeScratch& scratch) const;
  void add_symbol(TokenId token, BpeScratch& scratch) const;
  bool add_fallback(std::string_view character, BpeScratch& scratch) const;
  void set_merge(int32_t symbol, BpeScratch& scratch) const;
  void merge_all(BpeScratch& scratch) const;

  BpeModel model_;
  std::array<TokenId, 256> byte_symbols_;  // bytes: the token of each byte
  std::array<TokenId, 256> fallback_;      // <0xHH>
  // Most pieces are words with a token of their own that their merges do reach. Whether a token is such a one is found
  // out when it is first met: 0 unknown, 1 yes, 2 no.
  mutable std::vector<std::atomic<uint8_t>> whole_;
};

// GPT-2's printable stand-ins for bytes: '!'..'~' and two Latin-1 ranges map to themselves, the others to U+0100 on.
std::string byte_level_encode(std::string_view bytes);
// A token's text back to bytes. A token with a character that stands for no byte is left as it is, whole.
std::string byte_level_decode(std::string_view token);
// Whether every character of `token` stands for a byte.
bool is_byte_level(std::string_view token);

}  // namespace assay
