#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/backend/batch.h"

namespace assay::cuda {

// Keys whose scores are softened together, and keys summed from an empty state before they join a row's total. Both
// count from position 0.
inline constexpr int32_t kGroupKeys = 64;
inline constexpr int32_t kSplitKeys = 256;

// Which attention kernel, and how many query rows (tokens times heads of one KV head) it takes at once.
enum class AttentionShape : uint8_t {
  simple,  // one token at a time, any head size, every element
  narrow,  // tensor cores, 16 rows: decoding
  wide,    // tensor cores, 64 rows: prompts
};
int32_t rows_of(AttentionShape shape);  // 1, 16, 64

// One piece of attention work: consecutive tokens of one segment over a run of splits. Read by the device as it lies.
struct AttentionItem {
  int32_t first_row = 0;  // of the queries
  int32_t out_row = 0;    // of the results
  int32_t num_tokens = 0;
  int32_t first_position = 0;
  int32_t table_offset = 0;  // of the segment's block table in BatchPlan::block_tables
  int32_t first_split = 0, end_split = 0;
  // Of partial sums: split s of token t goes to first_slot + (s - first_split) + t * slot_step. -1: all splits are
  // here, and results go to out.
  int32_t first_slot = -1;
  int32_t slot_step = 0;
};

// One row whose partial sums are merged: splits in ascending order lie one behind the other.
struct CombineItem {
  int32_t out_row = 0;
  int32_t first_slot = 0;
  int32_t num_splits = 0;
};

// Attention over one set of rows, cut into pieces.
struct AttentionPlan {
  std::vector<AttentionItem> narrow, wide, simple;  // longest first
  std::vector<CombineItem> combines;
  int32_t num_slots = 0;  // of partial sums
};

// How attention is cut.
struct AttentionCut {
  bool mma = true;    // tensor-core kernels; else simple
  int32_t group = 1;  // query heads of a KV head
  int32_t num_kv_heads = 1;
  int32_t window = 0;            // 0: full attention
  int32_t max_slots = 0;         // partial sums that there is room for
  int32_t wanted_pieces = 1024;  // items times KV heads that keep the device busy
};

// A Batch as the device reads it.
struct BatchPlan {
  int32_t num_generated = 0;          // rows of generated tokens: the first ones
  int32_t num_wanted_generated = 0;   // of wanted_rows
  std::vector<int32_t> tokens;        // [num_rows]
  std::vector<int32_t> feeds;         // [num_rows]: request of the batch before that decides the token; -1: it is known
  std::vector<int32_t> positions;     // [num_rows]
  std::vector<int32_t> first_write;   // [num_rows + 1]
  std::vector<int32_t> write_slots;   // block * 16 + slot
  std::vector<int32_t> block_tables;  // the segments' tables, one behind the other
  std::vector<int32_t> copies;        // [num_copies, 3]
  std::vector<int32_t> wanted_rows;   // rows of batch.logits
  AttentionPlan all;                  // every row; results lie as the batch's rows
  AttentionPlan wanted;               // those of wanted_rows; results in their order

  std::vector<int32_t> first_target;  // [wanted + 1]
  std::vector<int32_t> targets;
  std::vector<int32_t> num_top;   // [wanted]: log-probabilities found on the device
  std::vector<int32_t> kept_row;  // [wanted]: row of kept logits, or -1
  std::vector<TokenDraw> draws;   // [wanted], temperature 0 where nothing is drawn; empty where no row asks
  int32_t max_top = 0;
  int32_t num_kept = 0;

  int32_t num_rows() const { return static_cast<int32_t>(tokens.size()); }
  // All rows' logits are wanted: `wanted` stays empty, it would be `all`.
  bool wants_all() const { return wanted_rows.size() == tokens.size(); }
};

// Requests for more log-probabilities than `max_device_top` keep the whole row. Ids are checked against num_blocks and
// vocab_size (ASSAY_CHECK).
BatchPlan plan_batch(const Batch& batch, const AttentionCut& cut, int32_t num_blocks, int64_t vocab_size,
                     int32_t max_device_top);

// Cuts rows of segments into items. `runs` are consecutive rows of one segment.
struct RowRun {
  int32_t first_row = 0;
  int32_t num_tokens = 0;
  int32_t first_position = 0;
  int32_t out_row = 0;
  int32_t table_offset = 0;
};
AttentionPlan plan_attention(const std::vector<RowRun>& runs, const AttentionCut& cut);

// Where the pieces of a plan lie in the one upload of a step.
struct UploadLayout {
  // Byte offsets, each a multiple of 16.
  int64_t tokens = 0, feeds = 0, positions = 0, first_write = 0, write_slots = 0, copies = 0, wanted_rows = 0,
          block_tables = 0;
  int64_t first_target = 0, targets = 0, num_top = 0, kept_row = 0, draws = 0;
  struct Attention {
    int64_t narrow = 0, wide = 0, simple = 0, combines = 0;
  } all, wanted;
  int64_t bytes = 0;
};
// Block tables come last, so that nothing else's place depends on how long they are.
UploadLayout lay_out(const BatchPlan& plan);
// Writes everything to `out`, layout.bytes long.
void write_upload(const BatchPlan& plan, const UploadLayout& layout, std::byte* out);

// ---- decoding steps that repeat ------------------------------------------------------------------------------------

// What the launches of a decoding step depend on, besides addresses: steps of one class can be replayed.
struct DecodeClass {
  int32_t rows = 0, narrow = 0, simple = 0, combines = 0, max_top = 0;
  bool draws = false;
  auto operator<=>(const DecodeClass&) const = default;
};
inline constexpr int32_t kMostDecodeRows = 256;

// The class of a plan that computes one generated token of each of up to 256 sequences, and of each row what the device
// reads off its logits; nothing for other plans.
std::optional<DecodeClass> decode_class(const Batch& batch, const BatchPlan& plan);
// Fills a plan up to its class: rows at position 0 that write no keys and attend to nothing, and empty items.
void pad_to_class(const DecodeClass& target, BatchPlan& plan);

}  // namespace assay::cuda
