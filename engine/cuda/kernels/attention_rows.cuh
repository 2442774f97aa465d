#pragma once

#include "engine/cuda/kernels/attention.cuh"
#include "engine/cuda/kernels/mma.cuh"

// Softmax attention of 16 query rows on the tensor cores, a group of 64 keys at a time. The kernel brings keys and
// values.
namespace assay::cuda {

inline constexpr int kKeyTiles = kGroupKeys / 8;  // n8 tiles of scores

// Rows of keys and values in shared memory lie 16 bytes further apart than they are long: eight of them then fall into
// different banks.
template <int kHeadDim>
inline constexpr int kRowStride = kHeadDim + 8;
template <int kHeadDim>
inline constexpr int kTileSize = kGroupKeys* kRowStride<kHeadDim>;

__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  uint32_t bits;
  memcpy(&bits, &both, sizeof bits);
  return bits;
}

// Scores that warps exchange; rows lie so far apart that eight of them fall into different banks.
inline constexpr int kScoreStride = kGroupKeys + 8;

// The state of 16 query rows. A thread holds two of them, g and g + 8, at the columns of multiply_add. kSharers warps
// share the rows: each scores some of a group's keys, all of them soften all scores, and each sums some of the head's
// columns. No sum is split by that, so a row's bits do not show it.
template <int kHeadDim, int kSharers>
struct Rows {
  static constexpr int kColumns = kHeadDim / kSharers;  // that this warp sums
  uint32_t query[kHeadDim / 16][4];
  int position[2];  // -1: no such row
  int first_seen[2];
  float sums[kColumns / 8][4];  // of the split at hand
  float max[2], weight[2];
  float total[kColumns / 8][4];
  float total_max[2], total_weight[2];

  __device__ __forceinline__ void begin_split() {
#pragma unroll
    for (int i = 0; i < kColumns / 8; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[i][c] = 0;
    }
    max[0] = max[1] = -INFINITY;
    weight[0] = weight[1] = 0;
  }

  __device__ __forceinline__ void begin() {
    begin_split();
#pragma unroll
    for (int i = 0; i < kColumns / 8; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) total[i][c] = 0;
    }
    total_max[0] = total_max[1] = -INFINITY;
    total_weight[0] = total_weight[1] = 0;
  }

  // scores = query x keys, for kPairs x 16 keys from first_key
  template <int kPairs>
  __device__ __forceinline__ void multiply_keys(const bf16* keys, int first_key, int lane,
                                                float (&scores)[2 * kPairs][4]) const {
#pragma unroll
    for (int n = 0; n < 2 * kPairs; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) scores[n][c] = 0;
    }
    const bf16* row = keys + (first_key + lane / 16 * 8 + lane % 8) * kRowStride<kHeadDim> + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        uint32_t b[4];
        load_matrices(b, shared_address(row + pair * 16 * kRowStride<kHeadDim> + k * 16));
        multiply_add(scores[2 * pair], query[k], b[0], b[1]);
        multiply_add(scores[2 * pair + 1], query[k], b[2], b[3]);
      }
    }
  }

  // scores = query x keys, [16, 64]; what sharers scored comes through `exchanged`, [16, kScoreStride].
  __device__ __forceinline__ void score(const bf16* keys, int share, int lane, float* exchanged,
                                        float (&scores)[kKeyTiles][4]) const {
    if constexpr (kSharers == 1) {
      multiply_keys<kKeyTiles / 2>(keys, 0, lane, scores);
    } else {
      constexpr int kOwn = kKeyTiles / kSharers;
      float own[kOwn][4];
      multiply_keys<kOwn / 2>(keys, share * kOwn * 8, lane, own);
      float* at = exchanged + lane / 4 * kScoreStride + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < kOwn; ++n) {
        float* to = at + (share * kOwn + n) * 8;
        *reinterpret_cast<float2*>(to) = make_float2(own[n][0], own[n][1]);
        *reinterpret_cast<float2*>(to + 8 * kScoreStride) = make_float2(own[n][2], own[n][3]);
      }
      __syncthreads();
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
        const float2 low = *reinterpret_cast<const float2*>(at + n * 8);
        const float2 high = *reinterpret_cast<const float2*>(at + n * 8 + 8 * kScoreStride);
        scores[n][0] = low.x, scores[n][1] = low.y, scores[n][2] = high.x, scores[n][3] = high.y;
      }
    }
  }

  __device__ __forceinline__ void hide(int first_key, int lane, float (&scores)[kKeyTiles][4]) const {
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int key = first_key + n * 8 + lane % 4 * 2 + c % 2;
        if (key > position[c / 2] || key < first_seen[c / 2]) scores[n][c] = -INFINITY;
      }
    }
  }

  // Scores become weights; what was summed so far is scaled to the new maximum.
  __device__ __forceinline__ void soften(float scale, float (&scores)[kKeyTiles][4]) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float largest = -INFINITY;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) largest = fmaxf(largest, fmaxf(scores[n][2 * h], scores[n][2 * h + 1]));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
      const float new_max = fmaxf(max[h], __fmul_rn(largest, scale));
      const float shift = new_max == -INFINITY ? 0.0f : new_max;
      const float rescale = exp2_fast(max[h] - shift);
      float added = 0;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
        for (int c = 2 * h; c < 2 * h + 2; ++c) {
          scores[n][c] = exp2_fast(__fmaf_rn(scores[n][c], scale, -shift));
          added = __fadd_rn(added, scores[n][c]);
        }
      }
      weight[h] = __fmaf_rn(weight[h], rescale, added);
#pragma unroll
      for (int i = 0; i < kColumns / 8; ++i) {
        sums[i][2 * h] = __fmul_rn(sums[i][2 * h], rescale);
        sums[i][2 * h + 1] = __fmul_rn(sums[i][2 * h + 1], rescale);
      }
      max[h] = new_max;
    }
  }

  // sums += weights x values, whose columns this warp sums begin at `values`
  __device__ __forceinline__ void add_values(const bf16* values, int lane, const float (&weights)[kKeyTiles][4]) {
    const bf16* row = values + (lane / 8 % 2 * 8 + lane % 8) * kRowStride<kHeadDim> + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < kKeyTiles / 2; ++k) {
      const uint32_t a[4] = {pack_bf16(weights[2 * k][0], weights[2 * k][1]),
                             pack_bf16(weights[2 * k][2], weights[2 * k][3]),
                             pack_bf16(weights[2 * k + 1][0], weights[2 * k + 1][1]),
                             pack_bf16(weights[2 * k + 1][2], weights[2 * k + 1][3])};
#pragma unroll
      for (int d = 0; d < kColumns / 16; ++d) {
        uint32_t b[4];
        load_matrices_transposed(b, shared_address(row + k * 16 * kRowStride<kHeadDim> + d * 16));
        multiply_add(sums[2 * d], a, b[0], b[1]);
        multiply_add(sums[2 * d + 1], a, b[2], b[3]);
      }
    }
  }

  // The weights of a row, which its four threads hold parts of.
  __device__ __forceinline__ void close_split() {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      weight[h] = __fadd_rn(weight[h], __shfl_xor_sync(0xffffffffu, weight[h], 1));
      weight[h] = __fadd_rn(weight[h], __shfl_xor_sync(0xffffffffu, weight[h], 2));
    }
  }

  __device__ __forceinline__ void merge_split() {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const Merge merge = merge_of(total_max[h], max[h]);
      total_max[h] = merge.max;
      total_weight[h] = merged(merge, total_weight[h], weight[h]);
#pragma unroll
      for (int i = 0; i < kColumns / 8; ++i) {
        total[i][2 * h] = merged(merge, total[i][2 * h], sums[i][2 * h]);
        total[i][2 * h + 1] = merged(merge, total[i][2 * h + 1], sums[i][2 * h + 1]);
      }
    }
  }
};

}  // namespace assay::cuda
