// W4A16 products of few rows by mma.sync: cp.async stages of 256 packed rows by 128 columns, a warp for every 16 rows.
// Plain where w4a16_gemm.cuh is elaborate; both deal blocks and reduce alike.
#include "engine/cuda/kernels/mma.cuh"
#include "engine/cuda/kernels/reduce.cuh"
#include "engine/cuda/kernels/w4a16_kernels.h"

namespace assay::cuda {
namespace {

constexpr int kThreads = 512;

template <int kTokens_, int kSets_, bool kZeros_>
struct Gemv {
  static constexpr int kTokens = kTokens_, kSets = kSets_;
  static constexpr bool kZeros = kZeros_;
  static constexpr int kBlockBytes = kCodeBytes + kSets * kSetBytes * (kZeros ? 2 : 1);
  // A token's 128 columns, and 16 bytes so that eight tokens' rows fall into different banks.
  static constexpr int kPitch = kBlockColumns * 2 + 16;
  static constexpr int kStageBytes = kBlockBytes + kTokens * kPitch;
};

template <class V>
__device__ void fetch_stage(const W4Args& args, const Job& job, int kb, uint32_t stage) {
  const uint8_t* block = args.blocks + (int64_t{job.block_row} * args.num_k_blocks + kb) * args.block_bytes;
  for (int i = threadIdx.x * 16; i < V::kBlockBytes; i += kThreads * 16) copy_16_async(stage + i, block + i, true);
  constexpr int kChunks = kBlockColumns / 8;
  for (int i = threadIdx.x; i < V::kTokens * kChunks; i += kThreads) {
    const int row = i / kChunks, token = job.token_tile * V::kTokens + row,
              column = kb * kBlockColumns + i % kChunks * 8;
    const bool inside = token < args.m && column < args.k;
    const __nv_bfloat16* source = inside ? args.x + token * args.ldx + column : args.x;
    copy_16_async(stage + V::kBlockBytes + row * V::kPitch + i % kChunks * 16, source, inside);
  }
}

template <class V>
__device__ GroupScale load_group(uint32_t stage, int set, int thread) {
  const uint32_t at = stage + kCodeBytes + set * kSetBytes + thread / 4 * 4;
  GroupScale group;
  if constexpr (V::kZeros)
    group.set(load_shared_4(at), load_shared_4(at + V::kSets * kSetBytes));
  else
    group.set(load_shared_4(at));
  return group;
}

// sums += the warp's 16 rows by the stage's 128 columns.
template <class V>
__device__ void multiply_stage(float (&sums)[V::kTokens / 2], uint32_t stage) {
  const int thread = threadIdx.x, lane = thread % 32;
  const uint32_t row = stage + V::kBlockBytes + lane % 8 * V::kPitch + lane / 8 * 16;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint4 codes = load_shared_16(stage + half * kHalfCodeBytes + thread * 16);
    const uint32_t word[4] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const GroupScale group = load_group<V>(stage, (half * 64 + pair * 32) * V::kSets / 128, thread);
      uint32_t a[2][4];
      dequantize(word[2 * pair], group, a[0]);
      dequantize(word[2 * pair + 1], group, a[1]);
#pragma unroll
      for (int j = 0; j < V::kTokens / 8; ++j) {
        uint32_t b[4];
        load_matrices(b, row + j * 8 * V::kPitch + half * 128 + pair * 64);
        float(&four)[4] = *reinterpret_cast<float(*)[4]>(&sums[4 * j]);
        multiply_add(four, a[0], b[0], b[1]);
        multiply_add(four, a[1], b[2], b[3]);
      }
    }
  }
}

// Stages of all jobs in one sequence, fetched kAhead before they are used.
template <class V>
struct StageWalk {
  JobWalk<1, V::kTokens> jobs;
  Job job;
  int kb = 0;
  bool more;
  __device__ explicit StageWalk(const W4Args& args) : jobs(args) {
    more = jobs.next(job);
    kb = job.kb_begin;
  }
  __device__ void advance() {
    if (++kb < job.kb_end) return;
    more = jobs.next(job);
    kb = job.kb_begin;
  }
};

template <class V>
__global__ void __launch_bounds__(kThreads, 1) w4a16_gemv(const __grid_constant__ W4Args args, int stages) {
  extern __shared__ __align__(128) uint8_t raw[];
  const uint32_t base = shared_address(raw);
  const int worker = gridDim.x - 1 - blockIdx.x;
  const TileSums<V::kTokens> tile{args, static_cast<int>(threadIdx.x) / 128, static_cast<int>(threadIdx.x) % 128,
                                  1 + static_cast<int>(threadIdx.x) / 128};
  let_next_kernel_start();
  wait_for_prior_kernels();

  StageWalk<V> fetch(args), use(args);
  int fetched = 0, used = 0;
  const auto fetch_next = [&] {
    if (fetch.more) {
      fetch_stage<V>(args, fetch.job, fetch.kb, base + fetched * V::kStageBytes);
      fetch.advance();
    }
    commit_copies();
    if (++fetched == stages) fetched = 0;
  };
  for (int i = 0; i + 1 < stages; ++i) fetch_next();

  float sums[V::kTokens / 2];
  while (use.more) {
    if (use.kb == use.job.kb_begin)
#pragma unroll
      for (int i = 0; i < V::kTokens / 2; ++i) sums[i] = 0;
    switch (stages) {  // all but the newest stages - 2 groups have arrived
      case 2: wait_copies<0>(); break;
      case 3: wait_copies<1>(); break;
      case 4: wait_copies<2>(); break;
      case 6: wait_copies<4>(); break;
      default: wait_copies<6>(); break;
    }
    __syncthreads();
    fetch_next();
    multiply_stage<V>(sums, base + used * V::kStageBytes);
    if (++used == stages) used = 0;
    const Job job = use.job;
    const bool last = use.kb + 1 == job.kb_end;
    use.advance();
    if (!last) continue;
    if (job.kb_end - job.kb_begin == args.num_k_blocks)
      tile.write(job.block_row, job.token_tile, sums);
    else
      tile.publish(worker, job, sums);
  }
  reduce_cut_rows(tile, worker);
}

template <class V>
cudaError_t launch(const W4Args& args, const LaunchPlan& plan, int shared_bytes, int grid, cudaStream_t stream) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(grid), config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = shared_bytes, config.stream = stream;
  config.attrs = &attribute, config.numAttrs = plan.overlap ? 1 : 0;
  return cudaLaunchKernelEx(&config, w4a16_gemv<V>, args, plan.stages);
}

template <class V>
MmaKernel entry() {
  return {V::kTokens, V::kSets, V::kZeros, V::kStageBytes, launch<V>, reinterpret_cast<const void*>(w4a16_gemv<V>)};
}

template <int kSets, bool kZeros>
void add(std::vector<MmaKernel>& kernels) {
  kernels.push_back(entry<Gemv<8, kSets, kZeros>>());
  kernels.push_back(entry<Gemv<16, kSets, kZeros>>());
  kernels.push_back(entry<Gemv<32, kSets, kZeros>>());
  kernels.push_back(entry<Gemv<64, kSets, kZeros>>());
}

std::vector<MmaKernel> make_kernels() {
  std::vector<MmaKernel> kernels;
  for_every_grouping([&]<int kSets, bool kZeros> { add<kSets, kZeros>(kernels); });
  return kernels;
}

}  // namespace

const std::vector<MmaKernel>& mma_kernels() {
  static const std::vector<MmaKernel> kernels = make_kernels();
  return kernels;
}

}  // namespace assay::cuda
