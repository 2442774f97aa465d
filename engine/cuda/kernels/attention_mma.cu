// Based on: Dao. FlashAttention-2. 2023; Dao and others. Flash-Decoding (keys split, partial sums merged). 2023

#include "engine/cuda/kernels/attention_rows.cuh"

namespace assay::cuda {
namespace {

// An item and a KV head a block. Either each warp takes 16 of its rows (tokens times heads of the group), or all of
// them share the only 16. Keys and values come in groups of 64: two groups in turn where products take the time; one,
// each half of which is replaced as soon as it is used, where copies do and many blocks on an SM hide their latency.
template <int kHeadDim, int kSharers>
struct Attend {
  using State = Rows<kHeadDim, kSharers>;
  static constexpr int kWarps = 4, kThreads = kWarps * 32, kPieces = kHeadDim / 8;
  static constexpr int kStages = kSharers == 1 ? 2 : 1;
  static constexpr int kTileElements = kStages * 2 * kTileSize<kHeadDim>;
  static constexpr int kSharedBytes = kTileElements * 2 + (kSharers > 1 ? 16 * kScoreStride * 4 : 0);
  static constexpr int kBlocksAnSm = kSharers == 1 ? 1 : 3;
};

template <int kHeadDim, int kSharers>
__global__ void __launch_bounds__(Attend<kHeadDim, kSharers>::kThreads, Attend<kHeadDim, kSharers>::kBlocksAnSm)
    attend_mma(AttentionWork work) {
  using A = Attend<kHeadDim, kSharers>;
  extern __shared__ __align__(16) bf16 tiles[];  // [stages, keys and values, 64, kRowStride], then exchanged scores
  const AttentionItem item = work.items[blockIdx.x];
  const int kv_head = static_cast<int>(blockIdx.y), num_kv_heads = work.cache.num_kv_heads;
  const int heads = work.num_heads / num_kv_heads;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int share = kSharers == 1 ? 0 : warp, first_column = share * A::State::kColumns;
  const int last_position = item.first_position + item.num_tokens - 1;
  const int32_t* table = work.block_tables + item.table_offset;
  const bf16* cache = static_cast<const bf16*>(work.cache.data);

  // Keys (or, half 1, values) of a group; one committed set of copies, empty for groups that are not there.
  const auto load = [&](int group, int end_group, int half) {
    bf16* to = tiles + ((group % A::kStages) * 2 + half) * kTileSize<kHeadDim>;
    if (group < end_group) {
#pragma unroll
      for (int turn = 0; turn < kGroupKeys * A::kPieces / A::kThreads; ++turn) {
        const int i = turn * A::kThreads + static_cast<int>(threadIdx.x);
        const int key = i / A::kPieces, piece = i % A::kPieces * 8, position = group * kGroupKeys + key;
        const bool inside = position <= last_position;
        const int64_t block = inside ? table[position / kKvBlockTokens] : 0;
        copy_16_async(shared_address(to + key * kRowStride<kHeadDim> + piece),
                      cache +
                          (((block * num_kv_heads + kv_head) * 2 + half) * kKvBlockTokens + position % kKvBlockTokens) *
                              kHeadDim +
                          piece,
                      inside);
      }
    }
    commit_copies();
  };
  const auto load_group = [&](int group, int end_group) {
    load(group, end_group, 0);
    load(group, end_group, 1);
  };

  const int first_seen = work.window > 0 ? max(0, item.first_position - work.window + 1) : 0;
  const int first_group = max(item.first_split * kGroupsPerSplit, first_seen / kGroupKeys);
  const int end_group = min(item.end_split * kGroupsPerSplit, last_position / kGroupKeys + 1);
  const bool early = item.num_tokens > 0 && (first_group + 1) * kGroupKeys <= item.first_position;  // older keys only
  if (early) load_group(first_group, end_group);
  begin_kernel();
  if (item.num_tokens == 0) return;
  if (!early) load_group(first_group, end_group);

  typename A::State rows;
  int token[2], head[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = (kSharers == 1 ? warp * 16 : 0) + lane / 4 + 8 * h;
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
  auto* exchanged = reinterpret_cast<float*>(tiles + A::kTileElements);
  for (int group = first_group; group < end_group; ++group) {
    const bf16* keys = tiles + group % A::kStages * 2 * kTileSize<kHeadDim>;
    float scores[kKeyTiles][4];
    if constexpr (A::kStages == 2) {
      load_group(group + 1, end_group);
      wait_copies<2>();
    } else {
      wait_copies<1>();
    }
    __syncthreads();
    rows.score(keys, share, lane, exchanged, scores);  // sharers pass a barrier in here: nobody needs the keys after it
    if constexpr (A::kStages == 1) load(group + 1, end_group, 0);
    if ((group + 1) * kGroupKeys - 1 > item.first_position || work.window > 0)
      rows.hide(group * kGroupKeys, lane, scores);
    rows.soften(scale, scores);
    if constexpr (A::kStages == 1) {
      wait_copies<1>();
      __syncthreads();
    }
    rows.add_values(keys + kTileSize<kHeadDim> + first_column, lane, scores);
    __syncthreads();
    if constexpr (A::kStages == 1) load(group + 1, end_group, 1);

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
        for (int i = 0; i < A::State::kColumns / 8; ++i) {
          *reinterpret_cast<float2*>(to + first_column + i * 8 + lane % 4 * 2) =
              make_float2(rows.sums[i][2 * h], rows.sums[i][2 * h + 1]);
        }
        if (share == 0 && lane % 4 == 0)
          *reinterpret_cast<float2*>(to + kHeadDim) = make_float2(rows.max[h], rows.weight[h]);
      }
    }
    rows.begin_split();
  }

  if (item.first_slot >= 0) return;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    if (rows.position[h] < 0) continue;
    const float inverse = __fdiv_rn(1.0f, rows.total_weight[h]);
    bf16* out = static_cast<bf16*>(work.out) + (item.out_row + token[h]) * work.out_ld + head[h] * kHeadDim +
                first_column + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < A::State::kColumns / 8; ++i) {
      *reinterpret_cast<uint32_t*>(out + i * 8) =
          pack_bf16(__fmul_rn(rows.total[i][2 * h], inverse), __fmul_rn(rows.total[i][2 * h + 1], inverse));
    }
  }
}

template <int kHeadDim, int kSharers>
Status launch(const AttentionWork& work, const Queue& queue) {
  using A = Attend<kHeadDim, kSharers>;
  const auto kernel = attend_mma<kHeadDim, kSharers>;
  ASSAY_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, A::kSharedBytes));
  const dim3 grid(static_cast<unsigned>(work.num_items), static_cast<unsigned>(work.cache.num_kv_heads));
  ASSAY_CUDA(queue_kernel(kernel, grid, A::kThreads, A::kSharedBytes, queue, work));
  return check_launch("attend_mma", queue.stream);
}

}  // namespace

Status attend_with_tensor_cores(const AttentionWork& work, const Queue& queue) {
  const bool narrow = work.shape == AttentionShape::narrow;
  if (work.cache.head_dim == 64) return narrow ? launch<64, 4>(work, queue) : launch<64, 1>(work, queue);
  return narrow ? launch<128, 4>(work, queue) : launch<128, 1>(work, queue);
}

}  // namespace assay::cuda
