#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 256;

struct Best {
  float value;
  int id;
};

__device__ __forceinline__ Best better(Best a, Best b) {
  return b.value > a.value || (b.value == a.value && b.id < a.id) ? b : a;
}

// The best of a block, known to every thread; the same whatever the order.
__device__ __forceinline__ Best block_best(Best mine) {
  __shared__ Best warps[kThreads / 32];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const Best other = {__shfl_xor_sync(0xffffffffu, mine.value, offset),
                        __shfl_xor_sync(0xffffffffu, mine.id, offset)};
    mine = better(mine, other);
  }
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = mine;
  __syncthreads();
  Best best = warps[0];
#pragma unroll
  for (int i = 1; i < kThreads / 32; ++i) best = better(best, warps[i]);
  __syncthreads();
  return best;
}

constexpr int kNoId = 0x7fffffff;

// The largest logit after (value, id) `last` in the order: larger first, then lower ids.
__device__ Best next_best(const float* logits, int count, Best last) {
  Best mine = {-INFINITY, kNoId};
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    const float value = logits[i];
    if (value < last.value || (value == last.value && i > last.id)) mine = better(mine, {value, i});
  }
  return block_best(mine);
}

// A row a block.
__global__ void __launch_bounds__(kThreads) read_rows(ReadLogits work) {
  const int64_t row = blockIdx.x;
  const float* logits = work.logits + row * work.ld;
  const int count = work.count, thread = static_cast<int>(threadIdx.x);

  int bad = 0;
  for (int i = thread; i < count; i += kThreads) bad |= isfinite(logits[i]) ? 0 : 1;
  bad = __syncthreads_or(bad);
  const Best best = next_best(logits, count, {INFINITY, -1});
  float sum = 0;
  for (int i = thread; i < count; i += kThreads) sum = __fadd_rn(sum, expf(logits[i] - best.value));
  sum = block_sum<kThreads>(sum);
  if (thread == 0) {
    work.stats[row * work.num_chunks + work.chunk] = {best.value, sum, work.first_token + best.id, bad};
  }

  for (int i = work.first_target[row] + thread; i < work.first_target[row + 1]; i += kThreads) {
    const int inside = work.targets[i] - work.first_token;
    if (inside >= 0 && inside < count) work.target_logits[i] = logits[inside];
  }
  if (work.kept_row && work.kept_row[row] >= 0) {
    float* kept = work.kept + work.kept_row[row] * work.vocab_size + work.first_token;
    for (int i = thread; i < count; i += kThreads) kept[i] = logits[i];
  }
  if (work.max_top == 0) return;
  TopEntry* top = work.top + (row * work.num_chunks + work.chunk) * work.max_top;
  const int wanted = min(work.num_top[row], count);
  Best last = best;
  for (int i = 0; i < wanted; ++i) {
    if (thread == 0) top[i] = {last.value, work.first_token + last.id};
    if (i + 1 < wanted) last = next_best(logits, count, last);
  }
}

}  // namespace

Status read_logits(const ReadLogits& work, cudaStream_t stream) {
  if (work.rows == 0) return ok_status();
  read_rows<<<static_cast<unsigned>(work.rows), kThreads, 0, stream>>>(work);
  return check_launch("read_logits", stream);
}

}  // namespace assay::cuda
