#include "engine/text/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <optional>

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "engine/text/char_class.h"

namespace assay {
namespace {

constexpr size_t kMinSlots = 16;
constexpr uint8_t kWholeUnknown = 0;
constexpr uint8_t kWholeYes = 1;
constexpr uint8_t kWholeNo = 2;

// Slots for `count` entries at most two thirds full.
size_t slots_for(size_t count) { return std::bit_ceil(std::max(kMinSlots, count + count / 2 + 1)); }

struct ByteAlphabet {
  std::array<char32_t, 256> to_char{};
  std::array<int16_t, 0x180> to_byte{};

  constexpr ByteAlphabet() {
    for (int16_t& byte : to_byte) byte = -1;
    char32_t next_stand_in = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const char32_t c = printable ? static_cast<char32_t>(byte) : next_stand_in++;
      to_char[static_cast<size_t>(byte)] = c;
      to_byte[c] = static_cast<int16_t>(byte);
    }
  }
};
constexpr ByteAlphabet kByteAlphabet;

std::optional<std::string> to_bytes(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (size_t i = 0; i < token.size();) {
    const char32_t c = next_code_point(token, i);
    const int byte = c < kByteAlphabet.to_byte.size() ? kByteAlphabet.to_byte[c] : -1;
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

}  // namespace

void TokenTable::reserve(size_t num_tokens, size_t content_bytes) {
  contents_.reserve(content_bytes);
  spans_.reserve(num_tokens);
  if (slots_for(num_tokens) > slots_.size()) rehash(slots_for(num_tokens));
}

bool TokenTable::store(TokenId id, std::string_view content) {
  ASSAY_CHECK(id >= 0 && !content.empty());
  const auto index = static_cast<size_t>(id);
  if (index >= spans_.size()) spans_.resize(index + 1);
  if (spans_[index].length != 0) return false;
  ASSAY_CHECK_LE(contents_.size() + content.size(), size_t{UINT32_MAX});
  spans_[index] = {static_cast<uint32_t>(contents_.size()), static_cast<uint32_t>(content.size())};
  contents_ += content;
  return true;
}

bool TokenTable::add_hidden(TokenId id, std::string_view content) { return store(id, content); }

bool TokenTable::add(TokenId id, std::string_view content) {
  if (find(content) >= 0 || !store(id, content)) return false;
  if (slots_for(num_found_ + 1) > slots_.size()) rehash(slots_for(num_found_ + 1));
  insert(hash64(content), id);
  ++num_found_;
  longest_ = std::max(longest_, content.size());
  return true;
}

void TokenTable::insert(uint64_t hash, TokenId id) {
  const size_t mask = slots_.size() - 1;
  size_t i = hash & mask;
  while (slots_[i].id >= 0) i = (i + 1) & mask;
  slots_[i] = {static_cast<uint32_t>(hash >> 32), id};
}

void TokenTable::rehash(size_t num_slots) {
  std::vector<Slot> old(num_slots);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.id >= 0) insert(hash64(content(slot.id)), slot.id);
  }
}

TokenId TokenTable::find(std::string_view content) const {
  if (content.empty() || content.size() > longest_) return -1;
  const uint64_t hash = hash64(content);
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask; slots_[i].id >= 0; i = (i + 1) & mask) {
    if (slots_[i].hash == static_cast<uint32_t>(hash >> 32) && this->content(slots_[i].id) == content)
      return slots_[i].id;
  }
  return -1;
}

std::string_view TokenTable::content(TokenId id) const {
  if (id < 0 || static_cast<size_t>(id) >= spans_.size()) return {};
  const Span& span = spans_[static_cast<size_t>(id)];
  return std::string_view(contents_).substr(span.begin, span.length);
}

void MergeTable::reserve(size_t num_merges) {
  const size_t num_slots = slots_for(num_merges);
  if (num_slots <= slots_.size()) return;
  std::vector<Slot> old(num_slots);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.pair != kEmpty) slots_[slot_of(slot.pair)] = slot;
  }
}

// The slot that holds `pair`, or the free one where it belongs.
size_t MergeTable::slot_of(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  size_t i = (pair * 0x9E3779B97F4A7C15u >> 32) & mask;
  while (slots_[i].pair != pair && slots_[i].pair != kEmpty) i = (i + 1) & mask;
  return i;
}

void MergeTable::set(TokenId left, TokenId right, Merge merge) {
  reserve(num_merges_ + 1);
  const uint64_t pair = pair_of(left, right);
  Slot& slot = slots_[slot_of(pair)];
  if (slot.pair == kEmpty) ++num_merges_;
  slot = {pair, merge};
}

Merge MergeTable::find(TokenId left, TokenId right) const {
  if (slots_.empty()) return {};
  return slots_[slot_of(pair_of(left, right))].merge;
}

Bpe::Bpe(BpeModel model) : model_(std::move(model)), whole_(static_cast<size_t>(model_.tokens.size())) {
  for (size_t byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    byte_symbols_[byte] = model_.bytes ? model_.tokens.find({&c, 1}) : -1;
    fallback_[byte] = model_.tokens.find(fmt::format("<0x{:02X}>", byte));
  }
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, Tokens& out) const {
  const TokenId token = model_.tokens.find(piece);
  if (token >= 0 && (model_.ignore_merges || is_whole(token, piece, scratch))) {
    out.push_back(token);
  } else {
    encode_by_merging(piece, scratch, out);
  }
}

bool Bpe::is_whole(TokenId token, std::string_view content, BpeScratch& scratch) const {
  std::atomic<uint8_t>& known = whole_[static_cast<size_t>(token)];
  uint8_t state = known.load(std::memory_order_relaxed);
  if (state == kWholeUnknown) {
    Tokens merged;
    encode_by_merging(content, scratch, merged);
    state = merged == Tokens{token} ? kWholeYes : kWholeNo;
    known.store(state, std::memory_order_relaxed);
  }
  return state == kWholeYes;
}

void Bpe::encode_by_merging(std::string_view piece, BpeScratch& scratch, Tokens& out) const {
  split_into_symbols(piece, scratch);
  merge_all(scratch);
  const auto& symbols = scratch.symbols_;
  if (symbols.empty()) return;
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
    out.push_back(symbols[static_cast<size_t>(i)].token);
  }
}

void Bpe::add_symbol(TokenId token, BpeScratch& scratch) const {
  const auto index = static_cast<int32_t>(scratch.symbols_.size());
  scratch.symbols_.push_back({index - 1, index + 1, token, {}});
}

bool Bpe::add_fallback(std::string_view character, BpeScratch& scratch) const {
  const auto token_of = [&](char c) { return fallback_[static_cast<unsigned char>(c)]; };
  if (!std::all_of(character.begin(), character.end(), [&](char c) { return token_of(c) >= 0; })) return false;
  for (const char c : character) add_symbol(token_of(c), scratch);
  return true;
}

// An unknown token waits until a known character follows: Hugging Face's order, which also lets fallback bytes pass it.
void Bpe::split_into_symbols(std::string_view piece, BpeScratch& scratch) const {
  scratch.symbols_.clear();
  bool unknown_waits = false;
  for (size_t i = 0, length = 1; i < piece.size(); i += length) {
    length = model_.bytes ? 1 : decode_valid(piece, i).length;
    const std::string_view character = piece.substr(i, length);
    const TokenId token =
        model_.bytes ? byte_symbols_[static_cast<unsigned char>(piece[i])] : model_.tokens.find(character);
    if (token >= 0) {
      if (unknown_waits) add_symbol(model_.unk_token, scratch);
      unknown_waits = false;
      add_symbol(token, scratch);
      continue;
    }
    if (model_.byte_fallback && add_fallback(model_.bytes ? byte_level_encode(character) : character, scratch))
      continue;
    if (model_.unk_token < 0) continue;
    if (unknown_waits && !model_.fuse_unk) add_symbol(model_.unk_token, scratch);
    unknown_waits = true;
  }
  if (unknown_waits) add_symbol(model_.unk_token, scratch);
  if (!scratch.symbols_.empty()) scratch.symbols_.back().next = -1;
}

// Looks up the merge of a symbol with its neighbor and queues it.
void Bpe::set_merge(int32_t symbol, BpeScratch& scratch) const {
  BpeScratch::Symbol& left = scratch.symbols_[static_cast<size_t>(symbol)];
  left.merge = {};
  if (left.next < 0) return;
  left.merge = model_.merges.find(left.token, scratch.symbols_[static_cast<size_t>(left.next)].token);
  if (left.merge.rank < 0) return;
  scratch.queue_.push_back(static_cast<uint64_t>(left.merge.rank) << 32 | static_cast<uint32_t>(symbol));
  std::push_heap(scratch.queue_.begin(), scratch.queue_.end(), std::greater<>());
}

void Bpe::merge_all(BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  auto& queue = scratch.queue_;
  queue.clear();
  for (size_t i = 0; i < symbols.size(); ++i) set_merge(static_cast<int32_t>(i), scratch);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const auto index = static_cast<int32_t>(queue.back() & UINT32_MAX);
    const auto rank = static_cast<int32_t>(queue.back() >> 32);
    queue.pop_back();
    BpeScratch::Symbol& left = symbols[static_cast<size_t>(index)];
    if (left.merge.rank != rank) continue;  // a neighbor has merged meanwhile
    BpeScratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
    left.token = left.merge.token;
    left.next = right.next;
    right.merge = {};
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = index;
    set_merge(index, scratch);
    if (left.previous >= 0) set_merge(left.previous, scratch);
  }
}

std::string byte_level_encode(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) append_utf8(text, kByteAlphabet.to_char[static_cast<unsigned char>(c)]);
  return text;
}

std::string byte_level_decode(std::string_view token) { return to_bytes(token).value_or(std::string(token)); }

bool is_byte_level(std::string_view token) { return to_bytes(token).has_value(); }

}  // namespace assay
