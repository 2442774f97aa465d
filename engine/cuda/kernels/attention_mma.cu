// Based on: Dao. FlashAttention-2. 2023; Dao and others. Flash-Decoding (keys split, partial sums merged). 2023

#include "engine/cuda/kernels/attention.cuh"

namespace assay::cuda {
namespace {

constexpr int kKeyTiles = kGroupKeys / 8;  // n8 tiles of scores

// Rows of keys and values in shared memory lie 16 bytes further apart than they are long: eight of them then fall into
// different banks.
template <int kHeadDim>
inline constexpr int kRowStride = kHeadDim + 8;
template <int kHeadDim>
inline constexpr int kTileSize = kGroupKeys* kRowStride<kHeadDim>;

// The state of 16 query rows of a warp. A thread holds two of them, g and g + 8, at the columns of multiply_add.
template <int kHeadDim>
struct Rows {
  uint32_t query[kHeadDim / 16][4];
  int position[2];  // -1: no such row
  int first_seen[2];
  float sums[kHeadDim / 8][4];  // of the split at hand
  float max[2], weight[2];
  float total[kHeadDim / 8][4];
  float total_max[2], total_weight[2];

  __device__ __forceinline__ void begin_split() {
#pragma unroll
    for (int i = 0; i < kHeadDim / 8; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[i][c] = 0;
    }
    max[0] = max[1] = -INFINITY;
    weight[0] = weight[1] = 0;
  }

  __device__ __forceinline__ void begin() {
    begin_split();
#pragma unroll
    for (int i = 0; i < kHeadDim / 8; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) total[i][c] = 0;
    }
    total_max[0] = total_max[1] = -INFINITY;
    total_weight[0] = total_weight[1] = 0;
  }

  // scores = query x keys, [16, 64]
  __device__ __forceinline__ void score(const bf16* keys, int lane, float (&scores)[kKeyTiles][4]) const {
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) scores[n][c] = 0;
    }
    const bf16* row = keys + (lane / 16 * 8 + lane % 8) * kRowStride<kHeadDim> + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
#pragma unroll
      for (int pair = 0; pair < kKeyTiles / 2; ++pair) {
        uint32_t b[4];
        load_matrices(b, row + pair * 16 * kRowStride<kHeadDim> + k * 16);
        multiply_add(scores[2 * pair], query[k], b[0], b[1]);
        multiply_add(scores[2 * pair + 1], query[k], b[2], b[3]);
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
      for (int i = 0; i < kHeadDim / 8; ++i) {
        sums[i][2 * h] = __fmul_rn(sums[i][2 * h], rescale);
        sums[i][2 * h + 1] = __fmul_rn(sums[i][2 * h + 1], rescale);
      }
      max[h] = new_max;
    }
  }

  // sums += weights x values
  __device__ __forceinline__ void add_values(const bf16* values, int lane, const float (&weights)[kKeyTiles][4]) {
    const bf16* row = values + (lane / 8 % 2 * 8 + lane % 8) * kRowStride<kHeadDim> + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < kKeyTiles / 2; ++k) {
      const uint32_t a[4] = {pack_bf16(weights[2 * k][0], weights[2 * k][1]),
                             pack_bf16(weights[2 * k][2], weights[2 * k][3]),
                             pack_bf16(weights[2 * k + 1][0], weights[2 * k + 1][1]),
                             pack_bf16(weights[2 * k + 1][2], weights[2 * k + 1][3])};
#pragma unroll
      for (int d = 0; d < kHeadDim / 16; ++d) {
        uint32_t b[4];
        load_matrices_transposed(b, row + k * 16 * kRowStride<kHeadDim> + d * 16);
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
      for (int i = 0; i < kHeadDim / 8; ++i) {
        total[i][2 * h] = merged(merge, total[i][2 * h], sums[i][2 * h]);
        total[i][2 * h + 1] = merged(merge, total[i][2 * h + 1], sums[i][2 * h + 1]);
      }
    }
  }
};

// An item and a KV head a block; a warp takes 16 of its rows (tokens times heads of the group). Keys and values come in
// groups of 64, the next group on its way while one is worked on.
template <int kHeadDim, int kWarps>
__global__ void __launch_bounds__(kWarps * 32) attend_mma(AttentionWork work) {
  extern __shared__ __align__(16) bf16 tiles[];  // [2 stages, keys and values, 64, kRowStride]
  constexpr int kPieces = kHeadDim / 8;
  begin_kernel();
  const AttentionItem item = work.items[blockIdx.x];
  if (item.num_tokens == 0) return;
  const int kv_head = static_cast<int>(blockIdx.y), num_kv_heads = work.cache.num_kv_heads;
  const int heads = work.num_heads / num_kv_heads;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int last_position = item.first_position + item.num_tokens - 1;
  const int32_t* table = work.block_tables + item.table_offset;
  const bf16* cache = static_cast<const bf16*>(work.cache.data);

  const auto load_group = [&](int group, int stage) {
    bf16* keys = tiles + stage * 2 * kTileSize<kHeadDim>;
    bf16* values = keys + kTileSize<kHeadDim>;
    for (int i = static_cast<int>(threadIdx.x); i < kGroupKeys * kPieces; i += kWarps * 32) {
      const int key = i / kPieces, piece = i % kPieces * 8, position = group * kGroupKeys + key;
      const bool inside = position <= last_position;
      const int64_t block = inside ? table[position / kKvBlockTokens] : 0;
      const bf16* from =
          cache + ((block * num_kv_heads + kv_head) * 2 * kKvBlockTokens + position % kKvBlockTokens) * kHeadDim +
          piece;
      copy_async_16(keys + key * kRowStride<kHeadDim> + piece, from, inside);
      copy_async_16(values + key * kRowStride<kHeadDim> + piece, from + kKvBlockTokens * kHeadDim, inside);
    }
    commit_copies();
  };

  Rows<kHeadDim> rows;
  int token[2], head[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = warp * 16 + lane / 4 + 8 * h;
    const bool exists = row < item.num_tokens * heads;
    token[h] = row / heads;
    head[h] = kv_head * heads + row % heads;
    rows.position[h] = exists ? item.first_position + token[h] : -1;
    rows.first_seen[h] = work.window > 0 ? rows.position[h] - work.window + 1 : 0;
    const bf16* query = static_cast<const bf16*>(work.query) +
                        (item.first_row + (exists ? token[h] : 0)) * work.query_ld + head[h] * kHeadDim + lane % 4 * 2;
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      rows.query[k][h] = exists ? *reinterpret_cast<const uint32_t*>(query + k * 16) : 0u;
      rows.query[k][2 + h] = exists ? *reinterpret_cast<const uint32_t*>(query + k * 16 + 8) : 0u;
    }
  }
  rows.begin();

  const float scale = work.scale * kLog2E;
  const int first_seen = work.window > 0 ? max(0, item.first_position - work.window + 1) : 0;
  const int first_group = max(item.first_split * kGroupsPerSplit, first_seen / kGroupKeys);
  const int end_group = min(item.end_split * kGroupsPerSplit, last_position / kGroupKeys + 1);
  load_group(first_group, 0);
  for (int group = first_group; group < end_group; ++group) {
    const int stage = (group - first_group) % 2;
    if (group + 1 < end_group) {
      load_group(group + 1, 1 - stage);
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    __syncthreads();
    const bf16* keys = tiles + stage * 2 * kTileSize<kHeadDim>;
    float scores[kKeyTiles][4];
    rows.score(keys, lane, scores);
    if ((group + 1) * kGroupKeys - 1 > item.first_position || work.window > 0)
      rows.hide(group * kGroupKeys, lane, scores);
    rows.soften(scale, scores);
    rows.add_values(keys + kTileSize<kHeadDim>, lane, scores);
    __syncthreads();

    if ((group + 1) % kGroupsPerSplit != 0 && group + 1 != end_group) continue;
    rows.close_split();
    if (item.first_slot < 0) {
      rows.merge_split();
    } else {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        if (rows.position[h] < 0) continue;
        const int64_t slot =
            item.first_slot + (group / kGroupsPerSplit - item.first_split) + int64_t{token[h]} * item.slot_step;
        float* to = work.partials + (slot * work.num_heads + head[h]) * (kHeadDim + 2);
#pragma unroll
        for (int i = 0; i < kHeadDim / 8; ++i) {
          *reinterpret_cast<float2*>(to + i * 8 + lane % 4 * 2) =
              make_float2(rows.sums[i][2 * h], rows.sums[i][2 * h + 1]);
        }
        if (lane % 4 == 0) *reinterpret_cast<float2*>(to + kHeadDim) = make_float2(rows.max[h], rows.weight[h]);
      }
    }
    rows.begin_split();
  }

  if (item.first_slot >= 0) return;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    if (rows.position[h] < 0) continue;
    const float inverse = __fdiv_rn(1.0f, rows.total_weight[h]);
    bf16* out =
        static_cast<bf16*>(work.out) + (item.out_row + token[h]) * work.out_ld + head[h] * kHeadDim + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kHeadDim / 8; ++i) {
      *reinterpret_cast<uint32_t*>(out + i * 8) =
          pack_bf16(__fmul_rn(rows.total[i][2 * h], inverse), __fmul_rn(rows.total[i][2 * h + 1], inverse));
    }
  }
}

template <int kHeadDim, int kWarps>
Status launch(const AttentionWork& work, const Queue& queue) {
  constexpr int kBytes = 4 * kTileSize<kHeadDim> * static_cast<int>(sizeof(bf16));
  ASSAY_CUDA(cudaFuncSetAttribute(attend_mma<kHeadDim, kWarps>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  const dim3 grid(static_cast<unsigned>(work.num_items), static_cast<unsigned>(work.cache.num_kv_heads));
  ASSAY_CUDA(queue_kernel(attend_mma<kHeadDim, kWarps>, grid, kWarps * 32, kBytes, queue, work));
  return check_launch("attend_mma", queue.stream);
}

}  // namespace

Status attend_with_tensor_cores(const AttentionWork& work, const Queue& queue) {
  const bool narrow = work.shape == AttentionShape::narrow;
  if (work.cache.head_dim == 64) return narrow ? launch<64, 1>(work, queue) : launch<64, 4>(work, queue);
  return narrow ? launch<128, 1>(work, queue) : launch<128, 4>(work, queue);
}

}  // namespace assay::cuda
