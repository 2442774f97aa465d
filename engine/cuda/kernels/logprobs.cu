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

// A chunk of a row a block.
__global__ void __launch_bounds__(kThreads) read_rows(ReadLogits work) {
  begin_kernel();
  const int64_t row = work.first_row + blockIdx.x;
  const int chunk = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  const int64_t first_token = chunk * work.chunk_tokens;
  const float* logits = work.logits + blockIdx.x * work.ld + first_token;
  const int count = static_cast<int>(min(work.chunk_tokens, work.vocab_size - first_token));

  int bad = 0;
  for (int i = thread; i < count; i += kThreads) bad |= isfinite(logits[i]) ? 0 : 1;
  bad = __syncthreads_or(bad);
  const Best best = next_best(logits, count, {INFINITY, -1});
  float sum = 0;
  for (int i = thread; i < count; i += kThreads) sum = __fadd_rn(sum, expf(logits[i] - best.value));
  sum = block_sum<kThreads>(sum);
  const int64_t num_chunks = gridDim.y;
  if (thread == 0)
    work.stats[row * num_chunks + chunk] = {best.value, sum, static_cast<int>(first_token) + best.id, bad};

  for (int i = work.first_target[row] + thread; i < work.first_target[row + 1]; i += kThreads) {
    const int64_t inside = work.targets[i] - first_token;
    if (inside >= 0 && inside < count) work.target_logits[i] = logits[inside];
  }
  if (work.kept_row && work.kept_row[row] >= 0) {
    float* kept = work.kept + work.kept_row[row] * work.vocab_size + first_token;
    for (int i = thread; i < count; i += kThreads) kept[i] = logits[i];
  }
  if (work.max_top == 0) return;
  TopEntry* top = work.top + (row * num_chunks + chunk) * work.max_top;
  const int wanted = min(work.num_top[row], count);
  Best last = best;
  for (int i = 0; i < wanted; ++i) {
    if (thread == 0) top[i] = {last.value, static_cast<int>(first_token) + last.id};
    if (i + 1 < wanted) last = next_best(logits, count, last);
  }
}

}  // namespace

Status read_logits(const ReadLogits& work, const Queue& queue) {
  if (work.rows == 0) return ok_status();
  const int64_t chunks = (work.vocab_size + work.chunk_tokens - 1) / work.chunk_tokens;
  ASSAY_CUDA(queue_kernel(read_rows, dim3(static_cast<unsigned>(work.rows), static_cast<unsigned>(chunks)), kThreads, 0,
                          queue, work));
  return check_launch("read_logits", queue.stream);
}

}  // namespace assay::cuda
