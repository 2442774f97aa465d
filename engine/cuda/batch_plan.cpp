#include "engine/cuda/batch_plan.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/backend/batch_checks.h"
#include "engine/base/check.h"

namespace assay::cuda {
namespace {

// A row and a slot that its keys and values go to.
struct Write {
  int32_t row = 0;
  int32_t slot = 0;
};

// Positions, the segments' own writes and block tables; the run of each segment.
std::vector<RowRun> place_segments(const Batch& batch, int32_t num_blocks, BatchPlan& plan,
                                   std::vector<Write>& writes) {
  std::vector<RowRun> runs;
  for (const BatchSegment& segment : batch.segments) {
    ASSAY_CHECK_LE(1, segment.num_tokens);
    ASSAY_CHECK_LE(0, segment.first_position);
    ASSAY_CHECK_EQ(segment.first_row, static_cast<int32_t>(plan.positions.size()));
    if (segment.generated) {
      ASSAY_CHECK_EQ(segment.first_row, plan.num_generated);  // generated segments come first
      plan.num_generated += segment.num_tokens;
    }
    const int32_t end = segment.first_position + segment.num_tokens;
    const int32_t num_entries = (end + kKvBlockTokens - 1) / kKvBlockTokens;
    ASSAY_CHECK_LE(num_entries, static_cast<int32_t>(segment.block_table.size()));
    runs.push_back({segment.first_row, segment.num_tokens, segment.first_position, segment.first_row,
                    static_cast<int32_t>(plan.block_tables.size())});
    for (int32_t i = 0; i < num_entries; ++i) {
      const KvBlockId id = segment.block_table[static_cast<size_t>(i)];
      check_block(id, num_blocks);
      plan.block_tables.push_back(id);
    }
    for (int32_t position = segment.first_position; position < end; ++position) {
      const KvBlockId id = segment.block_table[static_cast<size_t>(position / kKvBlockTokens)];
      writes.push_back({static_cast<int32_t>(plan.positions.size()), id * kKvBlockTokens + position % kKvBlockTokens});
      plan.positions.push_back(position);
    }
  }
  ASSAY_CHECK_EQ(static_cast<int32_t>(plan.positions.size()), batch.num_rows());
  return runs;
}

void place_writes(const Batch& batch, int32_t num_blocks, std::vector<Write> writes, BatchPlan& plan) {
  for (const KvExtraWrite& write : batch.extra_writes) {
    check_block(write.block, num_blocks);
    ASSAY_CHECK(write.row >= 0 && write.row < batch.num_rows());
    ASSAY_CHECK(write.slot >= 0 && write.slot < kKvBlockTokens);
    writes.push_back({write.row, write.block * kKvBlockTokens + write.slot});
  }
  std::stable_sort(writes.begin(), writes.end(), [](const Write& a, const Write& b) { return a.row < b.row; });
  plan.first_write.assign(static_cast<size_t>(batch.num_rows()) + 1, 0);
  for (const Write& write : writes) {
    ++plan.first_write[static_cast<size_t>(write.row) + 1];
    plan.write_slots.push_back(write.slot);
  }
  for (size_t row = 1; row < plan.first_write.size(); ++row) plan.first_write[row] += plan.first_write[row - 1];
}

// Runs of neighboring wanted rows of one segment.
std::vector<RowRun> wanted_runs(const Batch& batch, const std::vector<RowRun>& segments) {
  std::vector<RowRun> runs;
  size_t next = 0;
  for (const RowRun& segment : segments) {
    const int32_t segment_end = segment.first_row + segment.num_tokens;
    while (next < batch.logits.size() && batch.logits[next].row < segment_end) {
      const size_t first = next;
      const int32_t begin = batch.logits[first].row;
      int32_t end = begin;
      for (; next < batch.logits.size() && batch.logits[next].row == end && end < segment_end; ++next) ++end;
      runs.push_back({begin, end - begin, segment.first_position + begin - segment.first_row,
                      static_cast<int32_t>(first), segment.table_offset});
    }
  }
  return runs;
}

void plan_requests(const Batch& batch, int64_t vocab_size, int32_t max_device_top, BatchPlan& plan) {
  plan.first_target.push_back(0);
  for (const LogitRequest& request : batch.logits) {
    plan.wanted_rows.push_back(request.row);
    plan.num_wanted_generated += request.row < plan.num_generated;
    plan.targets.insert(plan.targets.end(), request.targets.begin(), request.targets.end());
    plan.first_target.push_back(static_cast<int32_t>(plan.targets.size()));
    const auto top = static_cast<int32_t>(std::clamp<int64_t>(request.num_logprobs, 0, vocab_size));
    const bool keep = request.want_logits || top > max_device_top;
    plan.num_top.push_back(keep ? 0 : top);
    plan.max_top = std::max(plan.max_top, plan.num_top.back());
    plan.kept_row.push_back(keep ? plan.num_kept++ : -1);
    plan.draws.push_back(request.draw.value_or(TokenDraw{}));
  }
  const bool any = std::any_of(batch.logits.begin(), batch.logits.end(), [](const auto& r) { return r.draw; });
  if (!any) plan.draws.clear();
}

int32_t first_split_of(const RowRun& tile, int32_t window) {
  if (window <= 0) return 0;
  return std::max(0, tile.first_position - window + 1) / kSplitKeys;
}

int32_t end_split_of(const RowRun& tile) { return (tile.first_position + tile.num_tokens - 1) / kSplitKeys + 1; }

// A run cut into pieces of at most `tokens` tokens.
std::vector<RowRun> tiles_of(const RowRun& run, int32_t tokens) {
  std::vector<RowRun> tiles;
  for (int32_t done = 0; done < run.num_tokens; done += tokens) {
    tiles.push_back({run.first_row + done, std::min(tokens, run.num_tokens - done), run.first_position + done,
                     run.out_row + done, run.table_offset});
  }
  return tiles;
}

AttentionItem item_of(const RowRun& tile, int32_t first_split, int32_t end_split) {
  AttentionItem item;
  item.first_row = tile.first_row;
  item.out_row = tile.out_row;
  item.num_tokens = tile.num_tokens;
  item.first_position = tile.first_position;
  item.table_offset = tile.table_offset;
  item.first_split = first_split;
  item.end_split = end_split;
  return item;
}

// Items of one tile: one that takes every split, or several with partial sums.
void add_tile(const RowRun& tile, int32_t splits_per_item, const AttentionCut& cut, std::vector<AttentionItem>& items,
              AttentionPlan& plan) {
  const int32_t first = first_split_of(tile, cut.window), end = end_split_of(tile), count = end - first;
  const int64_t slots = int64_t{tile.num_tokens} * count;
  if (count <= splits_per_item || plan.num_slots + slots > cut.max_slots) {
    items.push_back(item_of(tile, first, end));
    return;
  }
  for (int32_t split = first; split < end; split += splits_per_item) {
    AttentionItem item = item_of(tile, split, std::min(end, split + splits_per_item));
    item.first_slot = plan.num_slots + split - first;
    item.slot_step = count;
    items.push_back(item);
  }
  for (int32_t t = 0; t < tile.num_tokens; ++t) {
    plan.combines.push_back({tile.out_row + t, plan.num_slots + t * count, count});
  }
  plan.num_slots += static_cast<int32_t>(slots);
}

void cut_tiles(const std::vector<RowRun>& tiles, const AttentionCut& cut, std::vector<AttentionItem>& items,
               AttentionPlan& plan) {
  int64_t splits = 0;
  for (const RowRun& tile : tiles) splits += end_split_of(tile) - first_split_of(tile, cut.window);
  const int64_t wanted_items = std::max(1, cut.wanted_pieces / cut.num_kv_heads);
  const auto splits_per_item = static_cast<int32_t>(std::max<int64_t>(1, splits / wanted_items));
  for (const RowRun& tile : tiles) add_tile(tile, splits_per_item, cut, items, plan);
  const auto work = [](const AttentionItem& item) {
    return int64_t{item.num_tokens} * (item.end_split - item.first_split);
  };
  std::stable_sort(items.begin(), items.end(),
                   [&](const AttentionItem& a, const AttentionItem& b) { return work(a) > work(b); });
}

// The next power of two; 0 stays.
int32_t class_of(size_t count) { return count == 0 ? 0 : static_cast<int32_t>(std::bit_ceil(count)); }

int64_t reserve(int64_t& bytes, size_t count, size_t element) {
  const int64_t at = bytes;
  bytes += static_cast<int64_t>((count * element + 15) / 16 * 16);
  return at;
}

template <class T>
void put(std::byte* out, int64_t at, const std::vector<T>& values) {
  if (!values.empty()) std::memcpy(out + at, values.data(), values.size() * sizeof(T));
}

}  // namespace

int32_t rows_of(AttentionShape shape) {
  switch (shape) {
    case AttentionShape::narrow: return 16;
    case AttentionShape::wide: return 64;
    case AttentionShape::simple: break;
  }
  return 1;
}

AttentionPlan plan_attention(const std::vector<RowRun>& runs, const AttentionCut& cut) {
  AttentionPlan plan;
  std::vector<RowRun> narrow, wide;
  for (const RowRun& run : runs) {
    if (!cut.mma) {
      for (const RowRun& tile : tiles_of(run, 1)) {
        plan.simple.push_back(item_of(tile, first_split_of(tile, cut.window), end_split_of(tile)));
      }
      continue;
    }
    const bool fits_narrow = int64_t{run.num_tokens} * cut.group <= rows_of(AttentionShape::narrow);
    const int32_t rows = rows_of(fits_narrow ? AttentionShape::narrow : AttentionShape::wide);
    ASSAY_CHECK_LE(cut.group, rows);
    const auto tiles = tiles_of(run, rows / cut.group);
    auto& target = fits_narrow ? narrow : wide;
    target.insert(target.end(), tiles.begin(), tiles.end());
  }
  cut_tiles(narrow, cut, plan.narrow, plan);
  cut_tiles(wide, cut, plan.wide, plan);
  return plan;
}

BatchPlan plan_batch(const Batch& batch, const AttentionCut& cut, int32_t num_blocks, int64_t vocab_size,
                     int32_t max_device_top) {
  check_tokens(batch, vocab_size);
  BatchPlan plan;
  plan.tokens = batch.tokens;
  plan.feeds.assign(batch.tokens.size(), -1);
  for (const TokenFeed& feed : batch.feeds) {
    ASSAY_CHECK(feed.row >= 0 && feed.row < batch.num_rows() && feed.request >= 0);
    plan.feeds[static_cast<size_t>(feed.row)] = feed.request;
  }
  std::vector<Write> writes;
  const std::vector<RowRun> segments = place_segments(batch, num_blocks, plan, writes);
  place_writes(batch, num_blocks, std::move(writes), plan);
  for (const KvCopy& copy : batch.copies) {
    check_block(copy.from, num_blocks);
    check_block(copy.to, num_blocks);
    ASSAY_CHECK(copy.num_tokens >= 0 && copy.num_tokens <= kKvBlockTokens);
    plan.copies.insert(plan.copies.end(), {copy.from, copy.to, copy.num_tokens});
  }
  plan_requests(batch, vocab_size, max_device_top, plan);
  plan.all = plan_attention(segments, cut);
  if (!plan.wants_all()) plan.wanted = plan_attention(wanted_runs(batch, segments), cut);
  return plan;
}

UploadLayout lay_out(const BatchPlan& plan) {
  UploadLayout at;
  constexpr size_t kInt = sizeof(int32_t);
  at.tokens = reserve(at.bytes, plan.tokens.size(), kInt);
  at.feeds = reserve(at.bytes, plan.feeds.size(), kInt);
  at.positions = reserve(at.bytes, plan.positions.size(), kInt);
  at.first_write = reserve(at.bytes, plan.first_write.size(), kInt);
  at.write_slots = reserve(at.bytes, plan.write_slots.size(), kInt);
  at.copies = reserve(at.bytes, plan.copies.size(), kInt);
  at.wanted_rows = reserve(at.bytes, plan.wanted_rows.size(), kInt);
  at.first_target = reserve(at.bytes, plan.first_target.size(), kInt);
  at.targets = reserve(at.bytes, plan.targets.size(), kInt);
  at.num_top = reserve(at.bytes, plan.num_top.size(), kInt);
  at.kept_row = reserve(at.bytes, plan.kept_row.size(), kInt);
  at.draws = reserve(at.bytes, plan.draws.size(), sizeof(TokenDraw));
  const auto attention = [&](UploadLayout::Attention& places, const AttentionPlan& work) {
    places.narrow = reserve(at.bytes, work.narrow.size(), sizeof(AttentionItem));
    places.wide = reserve(at.bytes, work.wide.size(), sizeof(AttentionItem));
    places.simple = reserve(at.bytes, work.simple.size(), sizeof(AttentionItem));
    places.combines = reserve(at.bytes, work.combines.size(), sizeof(CombineItem));
  };
  attention(at.all, plan.all);
  attention(at.wanted, plan.wanted);
  at.block_tables = reserve(at.bytes, plan.block_tables.size(), kInt);
  return at;
}

void write_upload(const BatchPlan& plan, const UploadLayout& at, std::byte* out) {
  put(out, at.tokens, plan.tokens);
  put(out, at.feeds, plan.feeds);
  put(out, at.positions, plan.positions);
  put(out, at.first_write, plan.first_write);
  put(out, at.write_slots, plan.write_slots);
  put(out, at.block_tables, plan.block_tables);
  put(out, at.copies, plan.copies);
  put(out, at.wanted_rows, plan.wanted_rows);
  put(out, at.first_target, plan.first_target);
  put(out, at.targets, plan.targets);
  put(out, at.num_top, plan.num_top);
  put(out, at.kept_row, plan.kept_row);
  put(out, at.draws, plan.draws);
  const auto attention = [&](const UploadLayout::Attention& places, const AttentionPlan& work) {
    put(out, places.narrow, work.narrow);
    put(out, places.wide, work.wide);
    put(out, places.simple, work.simple);
    put(out, places.combines, work.combines);
  };
  attention(at.all, plan.all);
  attention(at.wanted, plan.wanted);
}

std::optional<DecodeClass> decode_class(const Batch& batch, const BatchPlan& plan) {
  const bool one_each = std::all_of(batch.segments.begin(), batch.segments.end(), [](const BatchSegment& segment) {
    return segment.generated && segment.num_tokens == 1;
  });
  if (!one_each || !plan.wants_all() || plan.num_rows() == 0 || plan.num_rows() > kMostDecodeRows) return std::nullopt;
  if (!plan.all.wide.empty()) return std::nullopt;
  if (!plan.copies.empty() || !batch.extra_writes.empty() || plan.num_kept > 0 || !plan.targets.empty())
    return std::nullopt;
  return DecodeClass{class_of(batch.tokens.size()),
                     class_of(plan.all.narrow.size()),
                     class_of(plan.all.simple.size()),
                     class_of(plan.all.combines.size()),
                     plan.max_top,
                     !plan.draws.empty()};
}

void pad_to_class(const DecodeClass& target, BatchPlan& plan) {
  const auto rows = static_cast<size_t>(target.rows);
  for (auto row = static_cast<int32_t>(plan.tokens.size()); row < target.rows; ++row) plan.wanted_rows.push_back(row);
  plan.tokens.resize(rows);
  plan.feeds.resize(rows, -1);
  plan.positions.resize(rows);
  plan.first_write.resize(rows + 1, plan.first_write.back());
  plan.write_slots.resize(rows);
  plan.first_target.resize(rows + 1, plan.first_target.back());
  plan.num_top.resize(rows);
  plan.kept_row.resize(rows, -1);
  if (target.draws) plan.draws.resize(rows);
  plan.num_generated = plan.num_wanted_generated = target.rows;
  AttentionItem nothing;
  nothing.num_tokens = 0;
  plan.all.narrow.resize(static_cast<size_t>(target.narrow), nothing);
  plan.all.simple.resize(static_cast<size_t>(target.simple), nothing);
  plan.all.combines.resize(static_cast<size_t>(target.combines), CombineItem{});
}

}  // namespace assay::cuda
