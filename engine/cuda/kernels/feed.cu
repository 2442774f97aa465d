// Tokens from one batch to the next without a way over the host.
#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 128;

__global__ void choose(ChooseTokens work) {
  begin_kernel();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= work.rows) return;
  int32_t token;
  if (work.draws != nullptr && work.draws[row].temperature > 0) {
    token = work.drawn[row].token;
  } else {
    const ChunkStats* chunks = work.stats + row * work.num_chunks;
    float best = chunks[0].max;
    token = chunks[0].argmax;
    for (int32_t c = 1; c < work.num_chunks; ++c) {
      if (chunks[c].max > best) best = chunks[c].max, token = chunks[c].argmax;
    }
  }
  // Rows that are not finite fail when they are collected; until then no one may read outside the embedding.
  work.chosen[row] = token >= 0 && token < work.vocab_size ? token : 0;
}

__global__ void feed(const int32_t* feeds, int64_t rows, const int32_t* chosen, int32_t* tokens) {
  begin_kernel();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row < rows && feeds[row] >= 0) tokens[row] = chosen[feeds[row]];
}

unsigned blocks_for(int64_t rows) { return static_cast<unsigned>((rows + kThreads - 1) / kThreads); }

}  // namespace

Status choose_tokens(const ChooseTokens& work, const Queue& queue) {
  if (work.rows == 0) return ok_status();
  ASSAY_CUDA(queue_kernel(choose, dim3(blocks_for(work.rows)), kThreads, 0, queue, work));
  return check_launch("choose_tokens", queue.stream);
}

Status feed_tokens(const int32_t* feeds, int64_t rows, const int32_t* chosen, int32_t* tokens, const Queue& queue) {
  if (rows == 0) return ok_status();
  ASSAY_CUDA(queue_kernel(feed, dim3(blocks_for(rows)), kThreads, 0, queue, feeds, rows, chosen, tokens));
  return check_launch("feed_tokens", queue.stream);
}

}  // namespace assay::cuda
