#pragma once

// Body of attention over KV blocks, compiled once for every instruction set (see simd.h).

#include "engine/cpu/kernels.h"
#include "engine/cpu/ops_body.h"
#include "engine/cpu/simd.h"

namespace assay::cpu::ASSAY_ISA {

inline constexpr int kTileRows = 6;     // queries that share a pass over keys and values
inline constexpr int kGroupBlocks = 4;  // KV blocks a softmax step takes
inline constexpr int kGroupKeys = kGroupBlocks * kKvBlockTokens;
inline constexpr int kMaxHeadDim = 256;
// Sums held in registers at once are kTileRows * kWide vectors.
inline constexpr int kWide = ASSAY_SIMD_LEVEL >= 3 ? 4 : 1;

// acc + a * b, where a is one step (a pair in bf16) given to all lanes.
template <class Storage>
ASSAY_INLINE V16 dot_step(V16 acc, const typename Storage::Element* a, const typename Storage::Element* b) {
#if ASSAY_SIMD_LEVEL == 4
  if constexpr (sizeof(typename Storage::Element) == 2) {
    int pair;
    std::memcpy(&pair, a, sizeof pair);
    return (V16)_mm512_dpbf16_ps((__m512)acc, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)_mm512_loadu_si512(b));
  }
#endif
  if constexpr (sizeof(typename Storage::Element) == 4) return madd(splat(*a), load16(b), acc);
  __builtin_unreachable();
}

// State of a tile of queries between softmax steps.
template <class Storage>
struct Tile {
  const typename Storage::Element* query[kTileRows];
  int32_t position[kTileRows];
  float max[kTileRows];  // of the scores seen so far, in units of log2
  V16 sum[kTileRows];    // of the exponentials, by lane
  alignas(64) float out[kTileRows][kMaxHeadDim];
  alignas(64) float scores[kTileRows][kGroupKeys];
  alignas(64) typename Storage::Element weights[kTileRows][kGroupKeys];
};

// scores[r][16 b ...] = query r . keys of block b, for Rows rows and Blocks blocks.
template <class Storage, int Rows, int Blocks>
void score_blocks(Tile<Storage>& tile, const std::byte* const* blocks, int64_t head_dim, int first_block) {
  using Element = typename Storage::Element;
  constexpr int64_t pack = kPack<Storage>;
  V16 acc[Rows][Blocks];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) acc[r][b] = splat(0.0f);
  }
  for (int64_t d = 0; d < head_dim; d += pack) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
      for (int b = 0; b < Blocks; ++b) {
        const auto* keys = reinterpret_cast<const Element*>(blocks[first_block + b]) + d * kKvBlockTokens;
        acc[r][b] = dot_step<Storage>(acc[r][b], tile.query[r] + d, keys);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) store16(tile.scores[r] + (first_block + b) * kKvBlockTokens, acc[r][b]);
  }
}

// out[r][d ...] += weights[r] . values, for Rows rows and 16 * Width columns from `d`.
template <class Storage, int Rows, int Width>
void add_values(Tile<Storage>& tile, const std::byte* const* blocks, int num_blocks, int64_t head_dim, int64_t d) {
  using Element = typename Storage::Element;
  constexpr int64_t pack = kPack<Storage>;
  V16 acc[Rows][Width];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int w = 0; w < Width; ++w) acc[r][w] = load16(tile.out[r] + d + w * kLanes);
  }
  for (int b = 0; b < num_blocks; ++b) {
    const auto* values = reinterpret_cast<const Element*>(blocks[b]) + kKvBlockTokens * head_dim + d * pack;
    for (int64_t key = 0; key < kKvBlockTokens; key += pack, values += head_dim * pack) {
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const Element* weight = tile.weights[r] + b * kKvBlockTokens + key;
#pragma GCC unroll 4
        for (int w = 0; w < Width; ++w) {
          acc[r][w] = dot_step<Storage>(acc[r][w], weight, values + w * kLanes * pack);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int w = 0; w < Width; ++w) store16(tile.out[r] + d + w * kLanes, acc[r][w]);
  }
}

// Where the keys that a query sees begin and end: [first, last].
struct Sight {
  int32_t first, last;
};

ASSAY_INLINE Sight sight_of(int32_t position, int64_t window) {
  const int64_t first = window > 0 ? position - window + 1 : 0;
  return {static_cast<int32_t>(first > 0 ? first : 0), position};
}

// Scores of 16 keys from position `key`, scaled; keys out of sight are minus infinity.
ASSAY_INLINE V16 visible_scores(const float* scores, float scale, int32_t key, Sight sight) {
  const V16 scaled = load16(scores) * splat(scale);
  if (key >= sight.first && key + kLanes - 1 <= sight.last) return scaled;
  const I16 positions = I16{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + key;
  const V16 hidden = splat(-__builtin_inff());
  const V16 begun = positions >= sight.first ? scaled : hidden;
  return positions <= sight.last ? begun : hidden;
}

// One softmax step of one row: scores become weights, earlier sums are scaled down when the maximum rises. A step whose
// keys are all out of sight changes nothing, to the bit.
template <class Storage>
ASSAY_INLINE void soften(Tile<Storage>& tile, int r, int32_t first_key, int num_blocks, float scale, int64_t window,
                         int64_t head_dim) {
  const Sight sight = sight_of(tile.position[r], window);
  V16 scores[kGroupBlocks];
  V16 largest = splat(tile.max[r]);
  for (int b = 0; b < num_blocks; ++b) {
    scores[b] = visible_scores(tile.scores[r] + b * kLanes, scale, first_key + b * kLanes, sight);
    largest = max16(scores[b], largest);
  }
  const float max = reduce_max(largest);
  if (max != tile.max[r]) {
    const V16 shrink = exp2_flushed(splat(tile.max[r] - max));
    tile.sum[r] = tile.sum[r] * shrink;
    for (int64_t d = 0; d < head_dim; d += kLanes) store16(tile.out[r] + d, load16(tile.out[r] + d) * shrink);
    tile.max[r] = max;
  }
  for (int b = 0; b < num_blocks; ++b) {
    const V16 weight = exp2_flushed(scores[b] - splat(max));
    tile.sum[r] = tile.sum[r] + weight;
    Storage::store(tile.weights[r] + b * kLanes, weight);
  }
}

template <class Storage, int Rows>
ASSAY_INLINE void score_all(Tile<Storage>& tile, const std::byte* const* blocks, int num_blocks, int64_t head_dim) {
  if constexpr (kWide == 4) {
    switch (num_blocks) {
      case 1: score_blocks<Storage, Rows, 1>(tile, blocks, head_dim, 0); break;
      case 2: score_blocks<Storage, Rows, 2>(tile, blocks, head_dim, 0); break;
      case 3: score_blocks<Storage, Rows, 3>(tile, blocks, head_dim, 0); break;
      default: score_blocks<Storage, Rows, 4>(tile, blocks, head_dim, 0); break;
    }
  } else {
    for (int b = 0; b < num_blocks; ++b) score_blocks<Storage, Rows, 1>(tile, blocks, head_dim, b);
  }
}

template <class Storage, int Rows>
ASSAY_INLINE void add_all(Tile<Storage>& tile, const std::byte* const* blocks, int num_blocks, int64_t head_dim) {
  int64_t d = 0;
  for (; d + kWide * kLanes <= head_dim; d += kWide * kLanes) {
    add_values<Storage, Rows, kWide>(tile, blocks, num_blocks, head_dim, d);
  }
  for (; d < head_dim; d += kLanes) add_values<Storage, Rows, 1>(tile, blocks, num_blocks, head_dim, d);
}

// Rows queries, from query row `first` of the task (token by token, head by head), over all keys that any of them sees.
template <class Storage, int Rows>
void attend_tile(const AttentionTask& task, int64_t first) {
  using Element = typename Storage::Element;
  Tile<Storage> tile;
  const auto* query = static_cast<const Element*>(task.query);
  for (int r = 0; r < Rows; ++r) {
    const int64_t token = (first + r) / task.num_heads, head = (first + r) % task.num_heads;
    tile.query[r] = query + token * task.query_ld + head * task.head_dim;
    tile.position[r] = task.first_position + static_cast<int32_t>(token);
    tile.max[r] = -1e30f;
    tile.sum[r] = splat(0.0f);
    for (int64_t d = 0; d < task.head_dim; d += kLanes) store16(tile.out[r] + d, splat(0.0f));
  }

  const float scale = task.scale * kLog2E;
  const int32_t last_block = tile.position[Rows - 1] / kKvBlockTokens;
  const int32_t first_group = sight_of(tile.position[0], task.window).first / kGroupKeys;
  for (int32_t block = first_group * kGroupBlocks; block <= last_block; block += kGroupBlocks) {
    const int num_blocks = last_block - block + 1 < kGroupBlocks ? last_block - block + 1 : kGroupBlocks;
    const std::byte* blocks[kGroupBlocks];
    for (int b = 0; b < kGroupBlocks; ++b) {
      const int32_t id = task.block_table[b < num_blocks ? block + b : block];
      blocks[b] = task.blocks + id * task.block_stride_bytes;
    }
    score_all<Storage, Rows>(tile, blocks, num_blocks, task.head_dim);
    for (int r = 0; r < Rows; ++r) {
      soften<Storage>(tile, r, block * kKvBlockTokens, num_blocks, scale, task.window, task.head_dim);
    }
    add_all<Storage, Rows>(tile, blocks, num_blocks, task.head_dim);
  }

  auto* out = static_cast<Element*>(task.out);
  for (int r = 0; r < Rows; ++r) {
    const int64_t token = (first + r) / task.num_heads, head = (first + r) % task.num_heads;
    const V16 inverse = splat(1.0f / reduce_add(tile.sum[r]));
    Element* row = out + token * task.out_ld + head * task.head_dim;
    for (int64_t d = 0; d < task.head_dim; d += kLanes) {
      Storage::store(row + d, load16(tile.out[r] + d) * inverse);
    }
  }
}

template <class Storage>
void attend(const AttentionTask& task) {
  const int64_t rows = int64_t{task.num_tokens} * task.num_heads;
  int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows) attend_tile<Storage, kTileRows>(task, r);
  switch (rows - r) {
    case 1: attend_tile<Storage, 1>(task, r); break;
    case 2: attend_tile<Storage, 2>(task, r); break;
    case 3: attend_tile<Storage, 3>(task, r); break;
    case 4: attend_tile<Storage, 4>(task, r); break;
    case 5: attend_tile<Storage, 5>(task, r); break;
    default: break;
  }
}

}  // namespace assay::cpu::ASSAY_ISA
