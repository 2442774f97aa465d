#pragma once

#include "engine/cuda/kernels/dequant.cuh"
#include "engine/cuda/kernels/pipeline.cuh"
#include "engine/cuda/kernels/w4a16_schedule.cuh"

// From float32 sums in the tensor core's fragments to the output: epilogues, and the sums of tiles that several workers
// computed parts of, always in the order of the parts.
namespace assay::cuda {

// Where a thread's four sums of eight tokens belong: packed rows `row` and row + 1, tokens `token` and token + 1;
// v = (row, token), (row, token + 1), (row + 1, token), (row + 1, token + 1).
struct FragmentPlace {
  int row = 0, token = 0;
};

__device__ inline float silu(float x) { return x / (1.0f + __expf(-x)); }

__device__ inline void store_pair(__nv_bfloat16* out, float first, float second, bool both) {
  if (both)
    *reinterpret_cast<__nv_bfloat162*>(out) = __floats2bfloat162_rn(first, second);
  else
    *out = __float2bfloat16_rn(first);
}

// One addition an element, made in L2: nobody waits for what is there.
__device__ inline void add_pair(float* out, float first, float second, bool both) {
  if (both)
    asm volatile("red.relaxed.gpu.global.add.v2.f32 [%0], {%1, %2};" ::"l"(out), "f"(first), "f"(second) : "memory");
  else
    asm volatile("red.relaxed.gpu.global.add.f32 [%0], %1;" ::"l"(out), "f"(first) : "memory");
}

__device__ inline void store_rows(const W4Args& args, const FragmentPlace& at, const float (&v)[4]) {
  if (at.row >= args.n) return;
  const bool both = at.row + 1 < args.n;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    if (at.token + e >= args.m) continue;
    const int64_t index = (at.token + e) * args.epilogue.ld + at.row;
    if (args.epilogue.kind == W4Epilogue::Kind::store) {
      store_pair(static_cast<__nv_bfloat16*>(args.epilogue.out) + index, v[e], v[2 + e], both);
      continue;
    }
    float* out = static_cast<float*>(args.epilogue.out) + index;
    if (args.epilogue.kind == W4Epilogue::Kind::add)
      add_pair(out, v[e], v[2 + e], both);
    else if (both)
      *reinterpret_cast<float2*>(out) = make_float2(v[e], v[2 + e]);
    else
      *out = v[e];
  }
}

// Lanes of neighboring outputs exchange one token each, so that every lane writes two neighbors of one token.
__device__ inline void store_swiglu(const W4Args& args, const FragmentPlace& at, const float (&v)[4]) {
  float h[2];
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const float gate = __bfloat162float(__float2bfloat16_rn(v[e]));
    h[e] = silu(gate) * __bfloat162float(__float2bfloat16_rn(v[2 + e]));
  }
  const bool odd = (threadIdx.x >> 2) & 1;
  const float received = __shfl_xor_sync(0xFFFFFFFFu, odd ? h[0] : h[1], 4);
  const int token = at.token + odd, column = at.row / 2 - odd;
  if (token >= args.m || column >= args.n / 2) return;
  __nv_bfloat16* out = static_cast<__nv_bfloat16*>(args.epilogue.out) + token * args.epilogue.ld + column;
  store_pair(out, odd ? received : h[0], odd ? h[1] : received, column + 1 < args.n / 2);
}

// All 32 lanes of the warp call it together.
__device__ inline void finish(const W4Args& args, const FragmentPlace& at, float (&v)[4]) {
  if (args.epilogue.bias != nullptr && at.row < args.n) {
    const float first = args.epilogue.bias[at.row];
    const float second = at.row + 1 < args.n ? args.epilogue.bias[at.row + 1] : 0.0f;
    v[0] += first, v[1] += first, v[2] += second, v[3] += second;
  }
  if (args.epilogue.kind == W4Epilogue::Kind::swiglu)
    store_swiglu(args, at, v);
  else
    store_rows(args, at, v);
}

// One warpgroup's 64 rows by kTokens of sums. Thread t of it holds v[4 j .. 4 j + 3] for eight tokens j.
template <int kTokens>
struct TileSums {
  static constexpr int kSlices = kTokens / 8;
  const W4Args& args;
  int tile_row;  // 0..3 in the row of blocks
  int thread;    // 0..127 in the warpgroup
  int barrier;   // the warpgroup's name

  __device__ FragmentPlace place(int block_row, int token_tile, int slice) const {
    const int slab = thread / 32, group = thread % 32 / 4, quad = thread % 4;
    return {block_row * kBlockRows + tile_row * kTileRows + slab * kSlabRows + 2 * group,
            token_tile * kTokens + slice * 8 + 2 * quad};
  }
  // Slices that hold a token.
  __device__ int live_slices(int token_tile) const { return min(kSlices, (args.m - token_tile * kTokens + 7) / 8); }
  __device__ int first_worker(int block_row) const { return args.workers.of(block_row * args.num_k_blocks); }
  __device__ int last_worker(int block_row) const { return args.workers.of((block_row + 1) * args.num_k_blocks - 1); }
  // A worker has at most two pieces of cut rows: one that does not begin at the row's begin, one that does.
  __device__ float4* partial(int worker, int block_row, int token_tile) const {
    const bool begins = args.workers.begin(worker) <= block_row * args.num_k_blocks;
    const int64_t slot = (int64_t{worker} * 2 + begins) * args.token_tiles + token_tile;
    return reinterpret_cast<float4*>(args.partials) + (slot * 4 + tile_row) * (kSlices * 128) + thread;
  }
  __device__ uint32_t* counter(int block_row, int token_tile) const {
    return args.counters + (int64_t{block_row} * args.token_tiles + token_tile) * 4 + tile_row;
  }

  // The whole sum is here: write it out.
  __device__ void write(int block_row, int token_tile, float (&v)[kTokens / 2]) const {
    const int live = live_slices(token_tile);
#pragma unroll
    for (int j = 0; j < kSlices; ++j) {
      if (j >= live) break;
      float four[4] = {v[4 * j], v[4 * j + 1], v[4 * j + 2], v[4 * j + 3]};
      finish(args, place(block_row, token_tile, j), four);
    }
  }

  // One piece of the sum is here: leave it for whoever reduces.
  __device__ void publish(int worker, int block_row, int token_tile, const float (&v)[kTokens / 2]) const {
    const int live = live_slices(token_tile);
    float4* out = partial(worker, block_row, token_tile);
#pragma unroll
    for (int j = 0; j < kSlices; ++j) {
      if (j >= live) break;
      __stcg(out + j * 128, make_float4(v[4 * j], v[4 * j + 1], v[4 * j + 2], v[4 * j + 3]));
    }
    __threadfence();
    named_barrier(barrier, 128);
    if (thread == 0) add_release(counter(block_row, token_tile), 1);
  }

  // Sums this worker's share of a cut row's slices over all pieces, first piece first, once all are published.
  __device__ void reduce(int worker, int block_row, int token_tile) const {
    const int first = first_worker(block_row), pieces = last_worker(block_row) - first + 1;
    const int reducers = args.spread ? min(pieces, live_slices(token_tile)) : 1;
    const int mine = worker - first;
    if (mine >= reducers) return;
    uint32_t* flag = counter(block_row, token_tile);
    if (thread == 0) {
      while (load_acquire(flag) < static_cast<uint32_t>(pieces)) __nanosleep(20);
      __threadfence();
    }
    named_barrier(barrier, 128);
    const int live = live_slices(token_tile), end = live * (mine + 1) / reducers;
    for (int j = live * mine / reducers; j < end; j += kTogether)
      sum_slices(first, pieces, block_row, token_tile, j, min(kTogether, end - j));
    named_barrier(barrier, 128);
    if (thread == 0 && add_release(flag, 1) == static_cast<uint32_t>(pieces + reducers - 1)) atomicExch(flag, 0u);
  }

 private:
  static constexpr int kTogether = kSlices < 4 ? kSlices : 4;  // slices whose loads are under way at once

  __device__ void sum_slices(int first, int pieces, int block_row, int token_tile, int slice, int count) const {
    float4 sums[kTogether];
    load_slices(sums, first, block_row, token_tile, slice, count);
#pragma unroll 2
    for (int p = 1; p < pieces; ++p) {
      float4 piece[kTogether];
      load_slices(piece, first + p, block_row, token_tile, slice, count);
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        sums[i].x += piece[i].x, sums[i].y += piece[i].y;
        sums[i].z += piece[i].z, sums[i].w += piece[i].w;
      }
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (i >= count) break;
      float four[4] = {sums[i].x, sums[i].y, sums[i].z, sums[i].w};
      finish(args, place(block_row, token_tile, slice + i), four);
    }
  }
  __device__ void load_slices(float4 (&v)[kTogether], int worker, int block_row, int token_tile, int slice,
                              int count) const {
    const float4* from = partial(worker, block_row, token_tile) + slice * 128;
#pragma unroll
    for (int i = 0; i < kTogether; ++i) v[i] = i < count ? __ldcg(from + i * 128) : float4{};
  }
};

// After a worker's last run: its shares of the rows that it has only a part of, at most its first and its last.
template <int kTokens>
__device__ inline void reduce_cut_rows(const TileSums<kTokens>& sums, int worker) {
  const W4Args& args = sums.args;
  const int begin = args.workers.begin(worker);
  const int end = args.workers.begin(worker + 1);
  const int first_row = begin / args.num_k_blocks, last_row = (end - 1) / args.num_k_blocks;
  for (int row = first_row;; row = last_row) {
    if (sums.first_worker(row) != sums.last_worker(row))
      for (int tile = 0; tile < args.token_tiles; ++tile) sums.reduce(worker, row, tile);
    if (row == last_row) return;
  }
}

}  // namespace assay::cuda
