#pragma once

#include <cstdint>

#include "engine/cuda/kernels/w4a16_kernels.h"

// Which part of a W4A16 product a thread block computes.
namespace assay::cuda {

// Blocks kb_begin..kb_end of one row of blocks (or of part `part` of it), for one tile of tokens.
struct Job {
  int block_row = 0, part = 0, token_tile = 0, kb_begin = 0, kb_end = 0;
};

// Walks a thread block's jobs; producers and consumers walk alike. kParts neighbors share a row of blocks.
template <int kParts, int kTokens>
struct JobWalk {
  const W4Args& args;
  int position = 0, end = 0, part = 0, token_tile = 0;

  // Thread blocks take workers from the last to the first: a worker waits only for those that started before it.
  __device__ explicit JobWalk(const W4Args& a) : args(a) {
    if (args.stream) {
      const int reversed = gridDim.x - 1 - blockIdx.x;
      part = reversed % kParts;
      position = args.workers.begin(reversed / kParts);
      end = args.workers.begin(reversed / kParts + 1);
    } else {
      part = blockIdx.x % kParts;
      position = blockIdx.x / kParts;
      end = args.num_block_rows * args.token_tiles;
    }
  }

  __device__ bool next(Job& job) {
    if (position >= end) return false;
    if (args.stream)
      next_run(job);
    else
      next_tile(job);
    return true;
  }

 private:
  __device__ void next_run(Job& job) {
    const int row = position / args.num_k_blocks, first = position - row * args.num_k_blocks;
    const int length = min(args.num_k_blocks - first, end - position);
    job = {row, part, token_tile, first, first + length};
    if (++token_tile == args.token_tiles) token_tile = 0, position += length;
  }

  // Some 2048 tokens at a time, so that their activations stay in L2 while all weights pass by.
  __device__ void next_tile(Job& job) {
    constexpr int kGroup = (2048 + kTokens - 1) / kTokens;
    const int group = position / (kGroup * args.num_block_rows);
    const int in_group = min(kGroup, args.token_tiles - group * kGroup);
    const int rest = position - group * kGroup * args.num_block_rows, row = rest / in_group;
    job = {row, part, group * kGroup + rest - row * in_group, 0, args.num_k_blocks};
    position += gridDim.x / kParts;
  }
};

// The first block after `block` that another worker of the stream schedule begins with.
__device__ inline int next_cut(const W4Workers& workers, int block) { return workers.begin(workers.of(block) + 1); }

}  // namespace assay::cuda
