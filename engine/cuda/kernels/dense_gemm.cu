#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"
#include "engine/cuda/kernels/mma.cuh"

// Products x W^T without a library. Every sum runs over k in ascending order from zero, so a row's bits depend neither
// on m nor on the tile it falls into; k beyond the end adds exact zeros.
namespace assay::cuda {
namespace {

template <class T>
__device__ __forceinline__ void finish(const Epilogue& epilogue, int64_t row, int64_t column, float sum) {
  const int64_t at = row * epilogue.ld + column;
  if (epilogue.kind == Epilogue::Kind::store) {
    static_cast<T*>(epilogue.out)[at] = from_float<T>(sum);
  } else if (epilogue.kind == Epilogue::Kind::add) {
    static_cast<float*>(epilogue.out)[at] += sum;
  } else {
    static_cast<float*>(epilogue.out)[at] = sum;
  }
}

// ---- bf16, tensor cores: a block makes 128 x 128 outputs, a warp 64 x 32 of them ------------------------------------

constexpr int kTileM = 128, kTileN = 128, kTileK = 32, kStages = 3, kThreads = 256;
constexpr int kStride = kTileK + 8;  // eight rows fall into different banks
constexpr int kStageSize = (kTileM + kTileN) * kStride;
constexpr int kSharedBytes = kStages * kStageSize * static_cast<int>(sizeof(bf16));

// Queues 128 rows of 32 columns from (first_row, first_k); zeros beyond rows and k.
__device__ __forceinline__ void load_tile(const bf16* from, int64_t rows, int64_t k, int64_t first_row, int64_t first_k,
                                          bf16* tile) {
#pragma unroll
  for (int i = 0; i < kTileM * kTileK / 8 / kThreads; ++i) {
    const int piece = static_cast<int>(threadIdx.x) + i * kThreads;
    const int row = piece / (kTileK / 8), column = piece % (kTileK / 8) * 8;
    const bool inside = first_row + row < rows && first_k + column < k;
    const bf16* source = inside ? from + (first_row + row) * k + first_k + column : from;
    copy_16_async(shared_address(tile + row * kStride + column), source, inside);
  }
}

__device__ __forceinline__ void multiply_tile(const bf16* a_tile, const bf16* b_tile, int lane,
                                              float (&sums)[4][4][4]) {
#pragma unroll
  for (int k = 0; k < kTileK; k += 16) {
    uint32_t a[4][4], b[2][4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      load_matrices(a[i], shared_address(a_tile + (i * 16 + lane % 16) * kStride + k + lane / 16 * 8));
#pragma unroll
    for (int j = 0; j < 2; ++j)
      load_matrices(b[j],
                    shared_address(b_tile + (j * 16 + lane / 16 * 8 + lane % 8) * kStride + k + lane / 8 % 2 * 8));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) multiply_add(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    multiply_bf16(const bf16* x, const bf16* w, int64_t m, int64_t n, int64_t k, Epilogue epilogue) {
  extern __shared__ __align__(16) bf16 stages[];
  const int64_t first_m = static_cast<int64_t>(blockIdx.y) * kTileM,
                first_n = static_cast<int64_t>(blockIdx.x) * kTileN;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp / 4 * 64, warp_n = warp % 4 * 32;
  const int num_tiles = static_cast<int>((k + kTileK - 1) / kTileK);
  const auto load = [&](int tile) {
    bf16* stage = stages + tile % kStages * kStageSize;
    if (tile < num_tiles) {
      load_tile(x, m, k, first_m, int64_t{tile} * kTileK, stage);
      load_tile(w, n, k, first_n, int64_t{tile} * kTileK, stage + kTileM * kStride);
    }
    commit_copies();  // an empty group keeps the count
  };

  float sums[4][4][4] = {};
  for (int tile = 0; tile < kStages - 1; ++tile) load(tile);
  for (int tile = 0; tile < num_tiles; ++tile) {
    wait_copies<kStages - 2>();
    __syncthreads();
    load(tile + kStages - 1);
    const bf16* stage = stages + tile % kStages * kStageSize;
    multiply_tile(stage + warp_m * kStride, stage + (kTileM + warp_n) * kStride, lane, sums);
  }

#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int64_t row = first_m + warp_m + i * 16 + lane / 4 + c / 2 * 8;
        const int64_t column = first_n + warp_n + j * 8 + lane % 4 * 2 + c % 2;
        if (row < m && column < n) finish<bf16>(epilogue, row, column, sums[i][j][c]);
      }
    }
  }
}

// ---- float32: a block makes 64 x 64 outputs, a thread 4 x 4 ---------------------------------------------------------

constexpr int kTile32 = 64, kDepth32 = 16, kThreads32 = 256, kStride32 = kTile32 + 4;

__device__ __forceinline__ void load_tile32(const float* from, int64_t rows, int64_t k, int64_t first_row,
                                            int64_t first_k, float (&tile)[kDepth32][kStride32]) {
#pragma unroll
  for (int i = 0; i < kTile32 * kDepth32 / kThreads32; ++i) {
    const int index = static_cast<int>(threadIdx.x) + i * kThreads32, row = index / kDepth32, column = index % kDepth32;
    const bool inside = first_row + row < rows && first_k + column < k;
    tile[column][row] = inside ? from[(first_row + row) * k + first_k + column] : 0.0f;
  }
}

__global__ void __launch_bounds__(kThreads32)
    multiply_f32(const float* x, const float* w, int64_t m, int64_t n, int64_t k, Epilogue epilogue) {
  __shared__ float a[kDepth32][kStride32], b[kDepth32][kStride32];
  const int64_t first_m = static_cast<int64_t>(blockIdx.y) * kTile32;
  const int64_t first_n = static_cast<int64_t>(blockIdx.x) * kTile32;
  const int thread_m = static_cast<int>(threadIdx.x) / 16 * 4, thread_n = static_cast<int>(threadIdx.x) % 16 * 4;
  float sums[4][4] = {};
  for (int64_t first_k = 0; first_k < k; first_k += kDepth32) {
    load_tile32(x, m, k, first_m, first_k, a);
    load_tile32(w, n, k, first_n, first_k, b);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth32; ++d) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] = __fmaf_rn(a[d][thread_m + i], b[d][thread_n + j], sums[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t row = first_m + thread_m + i, column = first_n + thread_n + j;
      if (row < m && column < n) finish<float>(epilogue, row, column, sums[i][j]);
    }
  }
}

dim3 grid_of(int64_t m, int64_t n, int tile_m, int tile_n) {
  return {static_cast<unsigned>((n + tile_n - 1) / tile_n), static_cast<unsigned>((m + tile_m - 1) / tile_m)};
}

}  // namespace

Status multiply_own(Element element, const void* x, const void* w, int64_t m, int64_t n, int64_t k,
                    const Epilogue& epilogue, cudaStream_t stream) {
  if (m == 0 || n == 0) return ok_status();
  if (element == Element::f32) {
    multiply_f32<<<grid_of(m, n, kTile32, kTile32), kThreads32, 0, stream>>>(
        static_cast<const float*>(x), static_cast<const float*>(w), m, n, k, epilogue);
    return check_launch("multiply_f32", stream);
  }
  ASSAY_CUDA(cudaFuncSetAttribute(multiply_bf16, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  multiply_bf16<<<grid_of(m, n, kTileM, kTileN), kThreads, kSharedBytes, stream>>>(
      static_cast<const bf16*>(x), static_cast<const bf16*>(w), m, n, k, epilogue);
  return check_launch("multiply_bf16", stream);
}

}  // namespace assay::cuda
