#pragma once

#include "engine/cuda/kernels/dequant.cuh"
#include "engine/cuda/kernels/mma.cuh"
#include "engine/cuda/kernels/pipeline.cuh"
#include "engine/cuda/kernels/silu.cuh"
#include "engine/cuda/kernels/w4a16_schedule.cuh"

// From float32 sums in the tensor core's fragments to the output: epilogues, and the sums of tiles that several workers
// computed parts of, always in the order of the parts.
namespace assay::cuda {

// Where a thread's four sums of eight tokens belong: packed rows `row` and row + 1, tokens `token` and token + 1;
// v = (row, token), (row, token + 1), (row + 1, token), (row + 1, token + 1).
struct FragmentPlace {
  int row = 0, token = 0;
};

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

// What the swiglu epilogue makes of a gate's and an up's sum.
__device__ inline float gated(float gate, float up) {
  return silu(__bfloat162float(__float2bfloat16_rn(gate))) * __bfloat162float(__float2bfloat16_rn(up));
}

// Lanes of neighboring outputs exchange one token each, so that every lane writes two neighbors of one token.
__device__ inline void store_swiglu(const W4Args& args, const FragmentPlace& at, const float (&v)[4]) {
  float h[2];
#pragma unroll
  for (int e = 0; e < 2; ++e) h[e] = gated(v[e], v[2 + e]);
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
  __device__ float4* partial(int worker, bool begins, int token_tile) const {
    const int64_t slot = (worker * 2 + begins) * args.token_tiles + token_tile;
    return reinterpret_cast<float4*>(args.partials) + (slot * 4 + tile_row) * (kSlices * 128) + thread;
  }
  __device__ uint32_t* counter(int block_row, int token_tile) const {
    return args.counters + (int64_t{block_row} * args.token_tiles + token_tile) * 4 + tile_row;
  }

  // The whole sum is here: write it out.
  __device__ void write(int block_row, int token_tile, float (&v)[kTokens / 2]) const {
    if (block_row * kBlockRows + (tile_row + 1) * kTileRows <= args.n)
      return write_whole_rows(block_row, token_tile, v);
    const int live = live_slices(token_tile);
#pragma unroll
    for (int j = 0; j < kSlices; ++j) {
      if (j >= live) break;
      float four[4] = {v[4 * j], v[4 * j + 1], v[4 * j + 2], v[4 * j + 3]};
      finish(args, place(block_row, token_tile, j), four);
    }
  }

  // One piece of the sum is here: leave it for whoever reduces.
  __device__ void publish(int worker, const Job& job, const float (&v)[kTokens / 2]) const {
    const int block_row = job.block_row, token_tile = job.token_tile, live = live_slices(token_tile);
    float4* out = partial(worker, job.kb_begin == 0, token_tile);
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
  __device__ void reduce(int worker, int first, int pieces, int block_row, int token_tile) const {
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
  using Kind = W4Epilogue::Kind;

  // All 64 rows exist. The kind is asked for once, so that each kind's code is short and straight: with questions at
  // every slice the epilogue took an eighth of the whole product's time at 256 tokens.
  __device__ void write_whole_rows(int block_row, int token_tile, float (&v)[kTokens / 2]) const {
    const FragmentPlace at = place(block_row, token_tile, 0);
    if (args.epilogue.bias != nullptr) {
      const float first = args.epilogue.bias[at.row], second = args.epilogue.bias[at.row + 1];
#pragma unroll
      for (int j = 0; j < kSlices; ++j)
        v[4 * j] += first, v[4 * j + 1] += first, v[4 * j + 2] += second, v[4 * j + 3] += second;
    }
    switch (args.epilogue.kind) {
      case Kind::store: return write_rows<Kind::store, __nv_bfloat16>(at, v);
      case Kind::add: return write_rows<Kind::add, float>(at, v);
      case Kind::swiglu: return write_gated(at, v);
      case Kind::float32: return write_rows<Kind::float32, float>(at, v);
    }
  }

  template <Kind kKind, class T>
  __device__ void write_rows(const FragmentPlace& at, const float (&v)[kTokens / 2]) const {
    T* out = static_cast<T*>(args.epilogue.out) + at.token * args.epilogue.ld + at.row;
    const int left = args.m - at.token;
#pragma unroll
    for (int i = 0; i < kSlices * 2; ++i) {
      const int token = i / 2 * 8 + i % 2;
      if (token >= left) continue;
      const float first = v[i / 2 * 4 + i % 2], second = v[i / 2 * 4 + 2 + i % 2];
      T* to = out + token * args.epilogue.ld;
      if constexpr (kKind == Kind::store)
        store_pair(to, first, second, true);
      else if constexpr (kKind == Kind::add)
        add_pair(to, first, second, true);
      else
        *reinterpret_cast<float2*>(to) = make_float2(first, second);
    }
  }

  // A slice's eight outputs by eight tokens change sides between lanes, so that every lane writes two neighbors of one
  // token.
  __device__ void write_gated(const FragmentPlace& at, const float (&v)[kTokens / 2]) const {
    const int lane = thread % 32, first_token = at.token - 2 * (lane % 4) + lane / 4;
    const int column = at.row / 2 - lane / 4 + 2 * (lane % 4);
    auto* out = static_cast<__nv_bfloat16*>(args.epilogue.out) + first_token * args.epilogue.ld + column;
    const int left = args.m - first_token;
#pragma unroll
    for (int j = 0; j < kSlices; ++j) {
      const __nv_bfloat162 tokens =
          __floats2bfloat162_rn(gated(v[4 * j], v[4 * j + 2]), gated(v[4 * j + 1], v[4 * j + 3]));
      const uint32_t outputs = transpose_8x8(as_bits(tokens));
      if (j * 8 < left) *reinterpret_cast<uint32_t*>(out + j * 8 * args.epilogue.ld) = outputs;
    }
  }

  static constexpr int kTogether = kSlices < 4 ? kSlices : 4;  // slices whose loads are under way at once

  __device__ void sum_slices(int first, int pieces, int block_row, int token_tile, int slice, int count) const {
    float4 sums[kTogether];
    load_slices(sums, first, true, token_tile, slice, count);
#pragma unroll 2
    for (int p = 1; p < pieces; ++p) {
      float4 piece[kTogether];
      load_slices(piece, first + p, false, token_tile, slice, count);
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
  __device__ void load_slices(float4 (&v)[kTogether], int worker, bool begins, int token_tile, int slice,
                              int count) const {
    const float4* from = partial(worker, begins, token_tile) + slice * 128;
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
    const int first = sums.first_worker(row), pieces = sums.last_worker(row) - first + 1;
    for (int tile = 0; pieces > 1 && tile < args.token_tiles; ++tile) sums.reduce(worker, first, pieces, row, tile);
    if (row == last_row) return;
  }
}

}  // namespace assay::cuda
