#include "engine/cuda/kernels/attention.cuh"

namespace assay::cuda {

Status attend_with_tensor_cores(const AttentionWork& work, const Queue& queue);  // attention_mma.cu

namespace {

constexpr int kHeadsPerBlock = 4;
constexpr int kMaxHeadDim = 256;
constexpr int kLanes = 32;

// One token of one head a warp: 32 keys at a time from a multiple of 32, a key a lane for the scores, a column a lane
// for the values.
template <class T>
__global__ void __launch_bounds__(kHeadsPerBlock* kLanes) attend_simple(AttentionWork work) {
  __shared__ float queries[kHeadsPerBlock][kMaxHeadDim];
  begin_kernel();
  const AttentionItem item = work.items[blockIdx.x];
  if (item.num_tokens == 0) return;
  const int warp = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  const int head = static_cast<int>(blockIdx.y) * kHeadsPerBlock + warp;
  if (head >= work.num_heads) return;
  const int head_dim = work.cache.head_dim, num_kv_heads = work.cache.num_kv_heads;
  const int kv_head = head / (work.num_heads / num_kv_heads);
  const int32_t* table = work.block_tables + item.table_offset;
  const auto row_of = [&](int position) {
    const int64_t block = table[position / kKvBlockTokens];
    return static_cast<const T*>(work.cache.data) +
           ((block * num_kv_heads + kv_head) * 2 * kKvBlockTokens + position % kKvBlockTokens) * head_dim;
  };

  const T* query = static_cast<const T*>(work.query) + item.first_row * work.query_ld + int64_t{head} * head_dim;
  for (int d = lane; d < head_dim; d += kLanes) queries[warp][d] = to_float(query[d]);
  __syncwarp();

  const int position = item.first_position;
  const int first_seen = work.window > 0 ? max(0, position - work.window + 1) : 0;
  const float scale = work.scale * kLog2E;
  float sums[kMaxHeadDim / kLanes] = {};
  float largest = -INFINITY, weight = 0;
  for (int base = first_seen / kLanes * kLanes; base <= position; base += kLanes) {
    const int key = base + lane;
    float score = -INFINITY;
    if (key <= position && key >= first_seen) {
      const T* row = row_of(key);
      float dot = 0;
      for (int d = 0; d < head_dim; d += 8) {
        const Eight<T> eight = load_eight(row + d);
#pragma unroll
        for (int j = 0; j < 8; ++j) dot = __fmaf_rn(queries[warp][d + j], to_float(eight.values[j]), dot);
      }
      score = __fmul_rn(dot, scale);
    }
    float new_max = score;
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2)
      new_max = fmaxf(new_max, __shfl_xor_sync(0xffffffffu, new_max, offset));
    new_max = fmaxf(largest, new_max);
    const float rescale = exp2f(largest - new_max), mine = exp2f(score - new_max);
    weight = __fmaf_rn(weight, rescale, warp_sum(mine));
    largest = new_max;
#pragma unroll
    for (int i = 0; i < kMaxHeadDim / kLanes; ++i) sums[i] = __fmul_rn(sums[i], rescale);
    for (int j = 0; j < kLanes; ++j) {
      const float factor = __shfl_sync(0xffffffffu, mine, j);
      if (factor == 0) continue;  // out of sight: the slot may hold anything
      const T* value = row_of(base + j) + kKvBlockTokens * head_dim;
#pragma unroll
      for (int i = 0; i < kMaxHeadDim / kLanes; ++i) {
        const int d = i * kLanes + lane;
        if (d < head_dim) sums[i] = __fmaf_rn(factor, to_float(value[d]), sums[i]);
      }
    }
  }

  const float inverse = __fdiv_rn(1.0f, weight);
  T* out = static_cast<T*>(work.out) + item.out_row * work.out_ld + int64_t{head} * head_dim;
#pragma unroll
  for (int i = 0; i < kMaxHeadDim / kLanes; ++i) {
    const int d = i * kLanes + lane;
    if (d < head_dim) out[d] = from_float<T>(__fmul_rn(sums[i], inverse));
  }
}

template <class T>
__global__ void combine_rows(const float* partials, const CombineItem* items, int num_heads, int head_dim, T* out,
                             int64_t out_ld) {
  begin_kernel();
  const CombineItem item = items[blockIdx.x];
  if (item.num_splits == 0) return;
  const int head = static_cast<int>(blockIdx.y), d = static_cast<int>(threadIdx.x);
  float total = 0, total_max = -INFINITY, total_weight = 0;
  for (int s = 0; s < item.num_splits; ++s) {
    const float* from = partials + ((int64_t{item.first_slot} + s) * num_heads + head) * (head_dim + 2);
    const Merge merge = merge_of(total_max, from[head_dim]);
    total_max = merge.max;
    total_weight = merged(merge, total_weight, from[head_dim + 1]);
    total = merged(merge, total, from[d]);
  }
  const float inverse = __fdiv_rn(1.0f, total_weight);
  out[item.out_row * out_ld + int64_t{head} * head_dim + d] = from_float<T>(__fmul_rn(total, inverse));
}

}  // namespace

bool has_mma_attention(Element element, int64_t head_dim) {
  return element == Element::bf16 && (head_dim == 64 || head_dim == 128);
}

Status attend(Element element, const AttentionWork& work, const Queue& queue) {
  if (work.num_items == 0) return ok_status();
  if (work.shape != AttentionShape::simple) return attend_with_tensor_cores(work, queue);
  const dim3 grid(static_cast<unsigned>(work.num_items),
                  static_cast<unsigned>((work.num_heads + kHeadsPerBlock - 1) / kHeadsPerBlock));
  ASSAY_FOR_ELEMENT(element, ASSAY_CUDA(queue_kernel(attend_simple<T>, grid, kHeadsPerBlock * kLanes, 0, queue, work)));
  return check_launch("attend_simple", queue.stream);
}

Status combine_attention(Element element, const float* partials, const CombineItem* items, int64_t count,
                         int32_t num_heads, int32_t head_dim, void* out, int64_t out_ld, const Queue& queue) {
  if (count == 0) return ok_status();
  const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>(num_heads));
  ASSAY_FOR_ELEMENT(element, ASSAY_CUDA(queue_kernel(combine_rows<T>, grid, head_dim, 0, queue, partials, items,
                                                     num_heads, head_dim, static_cast<T*>(out), out_ld)));
  return check_launch("combine_attention", queue.stream);
}

}  // namespace assay::cuda
