// W4A16 products by wgmma: the weights are the 64-row side and are dequantized into registers, the tokens come as the
// swizzled shared-memory side. One producer warp feeds a ring of stages by bulk copies; every other warpgroup owns 64
// packed rows. bench_gemm --sweep chose the tiles.
#include "engine/cuda/kernels/mma.cuh"
#include "engine/cuda/kernels/reduce.cuh"
#include "engine/cuda/kernels/w4a16_kernels.h"
#include "engine/cuda/kernels/wgmma.cuh"

namespace assay::cuda {
namespace {

template <int kTokens_, int kWarpgroups_, int kHalves_, int kSets_, bool kZeros_>
struct Gemm {
  static constexpr int kTokens = kTokens_, kWarpgroups = kWarpgroups_, kHalves = kHalves_, kSets = kSets_;
  static constexpr bool kZeros = kZeros_;
  static constexpr int kParts = 4 / kWarpgroups;
  static constexpr int kThreads = (kWarpgroups + 1) * 128;
  // Registers of a thread at the start, and after the producers have handed most of theirs over.
  static constexpr int kGiven = kWarpgroups == 4 ? 32 : 40, kTaken = kWarpgroups == 4 ? 112 : 232;

  static constexpr int kActivationBytes = kHalves * kTokens * 128;
  static constexpr int kPartCodeBytes = kWarpgroups * kTileCodeBytes;  // of one half
  static constexpr int kPartSetBytes = kWarpgroups * kTileRows * 2;
  static constexpr int kMetaSets = kSets * (kZeros ? 2 : 1);
  static constexpr int kWeightBytes = kHalves * kPartCodeBytes + kMetaSets * kPartSetBytes;
  static constexpr int kStageBytes = (kActivationBytes + kWeightBytes + 1023) / 1024 * 1024;
};

// The ring of stages: where one lies, and the barriers that say it is full or free.
struct Ring {
  uint32_t data = 0, barriers = 0;
  int stages = 0, stage_bytes = 0;
  int stage = 0, phase = 0;

  __device__ uint32_t here() const { return data + stage * stage_bytes; }
  __device__ uint32_t full() const { return barriers + stage * 16; }
  __device__ uint32_t free() const { return barriers + stage * 16 + 8; }
  __device__ void advance() {
    if (++stage == stages) stage = 0, phase ^= 1;
  }
};

template <class G>
__device__ void fetch_weights(const W4Args& args, const Job& job, int kb, int half, uint32_t stage, uint32_t barrier) {
  const uint8_t* block = args.blocks + (int64_t{job.block_row} * args.num_k_blocks + kb) * args.block_bytes;
  uint32_t to = stage + G::kActivationBytes;
  if constexpr (G::kParts == 1 && G::kHalves == 2) {
    copy_bulk(to, block, G::kWeightBytes, barrier);
  } else {
#pragma unroll
    for (int h = 0; h < G::kHalves; ++h, to += G::kPartCodeBytes)
      copy_bulk(to, block + (half + h) * kHalfCodeBytes + job.part * G::kPartCodeBytes, G::kPartCodeBytes, barrier);
#pragma unroll
    for (int s = 0; s < G::kMetaSets; ++s, to += G::kPartSetBytes)
      copy_bulk(to, block + kCodeBytes + s * kSetBytes + job.part * G::kPartSetBytes, G::kPartSetBytes, barrier);
  }
}

template <class G>
__device__ void fetch_activations(const CUtensorMap* map, const Job& job, int kb, int half, uint32_t stage,
                                  uint32_t barrier) {
#pragma unroll
  for (int h = 0; h < G::kHalves; ++h)
    copy_box(stage + h * G::kTokens * 128, map, kb * kBlockColumns + (half + h) * kHalfColumns,
             job.token_tile * G::kTokens, barrier);
}

// One thread. Weights do not depend on the kernel before, so the ring's first round of them is asked for before the
// wait for that kernel.
template <class G>
__device__ void produce(const W4Args& args, const CUtensorMap* map, Ring ring) {
  constexpr uint32_t kBytes = G::kActivationBytes + G::kWeightBytes;
  Job job;
  int ahead = 0;
  Ring early = ring;
  for (JobWalk<G::kParts, G::kTokens> walk(args); ahead < ring.stages && walk.next(job);)
    for (int kb = job.kb_begin; kb < job.kb_end && ahead < ring.stages; ++kb)
      for (int half = 0; half < 2 && ahead < ring.stages; half += G::kHalves, ++ahead, early.advance()) {
        barrier_expect(early.full(), kBytes);
        fetch_weights<G>(args, job, kb, half, early.here(), early.full());
      }
  wait_for_prior_kernels();
  for (JobWalk<G::kParts, G::kTokens> walk(args); walk.next(job);)
    for (int kb = job.kb_begin; kb < job.kb_end; ++kb)
      for (int half = 0; half < 2; half += G::kHalves, ring.advance()) {
        if (ahead > 0) {
          --ahead;
        } else {
          barrier_wait(ring.free(), ring.phase ^ 1);
          barrier_expect(ring.full(), kBytes);
          fetch_weights<G>(args, job, kb, half, ring.here(), ring.full());
        }
        fetch_activations<G>(map, job, kb, half, ring.here(), ring.full());
      }
}

// The warpgroup's A fragments of 64 columns.
template <class G>
__device__ void dequantize_half(uint32_t (&a)[4][4], uint32_t weights, int half_in_stage, int half, int warpgroup,
                                int thread) {
  const uint4 codes =
      load_shared_16(weights + half_in_stage * G::kPartCodeBytes + warpgroup * kTileCodeBytes + thread * 16);
  const uint32_t word[4] = {codes.x, codes.y, codes.z, codes.w};
  const uint32_t scales = weights + G::kHalves * G::kPartCodeBytes + warpgroup * (kTileRows * 2) + thread / 4 * 4;
  GroupScale group;
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    if (step == 0 || (G::kSets == 4 && step == 2)) {
      const int set = (half * 64 + step * 16) * G::kSets / 128;
      const uint32_t at = scales + set * G::kPartSetBytes;
      if constexpr (G::kZeros)
        group.set(load_shared_4(at), load_shared_4(at + G::kSets * G::kPartSetBytes));
      else
        group.set(load_shared_4(at));
    }
    dequantize(word[step], group, a[step]);
  }
}

template <class G>
__device__ void multiply_half(float (&sums)[G::kTokens / 2], const uint32_t (&a)[4][4], uint32_t activations,
                              int& keep) {
  const uint64_t tokens = wgmma_descriptor(activations);
  wgmma_fence();
#pragma unroll
  for (int step = 0; step < 4; ++step, keep = 1) Wgmma<G::kTokens>::run(sums, a[step], tokens + step * 2, keep);
  wgmma_commit();
}

template <int kCount>
__device__ void pin(float (&sums)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(sums[i])::"memory");
}

// Adds the sums of one cut to the running totals in shared memory.
template <int kCount>
__device__ void add_to_totals(float4* totals, const float (&sums)[kCount], bool first) {
#pragma unroll
  for (int j = 0; j < kCount / 4; ++j) {
    float4 total = make_float4(sums[4 * j], sums[4 * j + 1], sums[4 * j + 2], sums[4 * j + 3]);
    if (!first) {
      const float4 before = totals[j * 128];
      total.x = before.x + total.x, total.y = before.y + total.y;
      total.z = before.z + total.z, total.w = before.w + total.w;
    }
    totals[j * 128] = total;
  }
}

template <class G>
__device__ void consume(const W4Args& args, Ring ring, float4* all_totals) {
  const int warpgroup = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  float4* totals = all_totals + warpgroup * (G::kTokens / 8 * 128) + thread;
  float sums[G::kTokens / 2];
  wait_for_prior_kernels();

  Job job;
  int part = 0;
  for (JobWalk<G::kParts, G::kTokens> walk(args); walk.next(job);) {
    part = job.part;
    const int row_begin = job.block_row * args.num_k_blocks;
    int cut = args.cut_sums ? next_cut(row_begin, args.num_blocks) - row_begin : job.kb_end;
    bool cut_before = false;
    int keep = 0;
    for (int kb = job.kb_begin; kb < job.kb_end; ++kb) {
      if (kb == cut) {
        add_to_totals(totals, sums, !cut_before);
        cut_before = true, keep = 0;
        cut = next_cut(row_begin + kb, args.num_blocks) - row_begin;
      }
      for (int half = 0; half < 2; half += G::kHalves, ring.advance()) {
        const uint32_t weights = ring.here() + G::kActivationBytes;
        barrier_wait(ring.full(), ring.phase);
        uint32_t a[G::kHalves][4][4];
#pragma unroll
        for (int h = 0; h < G::kHalves; ++h) {
          dequantize_half<G>(a[h], weights, h, half + h, warpgroup, thread);
          multiply_half<G>(sums, a[h], ring.here() + h * G::kTokens * 128, keep);
        }
        wgmma_wait<0>();
        pin(sums);
        if (thread % 32 == 0) barrier_arrive(ring.free());
      }
    }
    if (cut_before) {
      add_to_totals(totals, sums, false);
#pragma unroll
      for (int j = 0; j < G::kTokens / 8; ++j) {
        const float4 total = totals[j * 128];
        sums[4 * j] = total.x, sums[4 * j + 1] = total.y, sums[4 * j + 2] = total.z, sums[4 * j + 3] = total.w;
      }
    }
    const TileSums<G::kTokens> tile{args, job.part * G::kWarpgroups + warpgroup, thread, 1 + warpgroup};
    if (job.kb_end - job.kb_begin == args.num_k_blocks)
      tile.write(job.block_row, job.token_tile, sums);
    else
      tile.publish(static_cast<int>(gridDim.x - 1 - blockIdx.x) / G::kParts, job.block_row, job.token_tile, sums);
  }
  if (args.stream) {
    part = static_cast<int>(gridDim.x - 1 - blockIdx.x) % G::kParts;
    const TileSums<G::kTokens> tile{args, part * G::kWarpgroups + warpgroup, thread, 1 + warpgroup};
    reduce_cut_rows(tile, static_cast<int>(gridDim.x - 1 - blockIdx.x) / G::kParts);
  }
}

template <class G>
__global__ void __launch_bounds__(G::kThreads, 1)
    w4a16_gemm(const __grid_constant__ W4Args args, const __grid_constant__ CUtensorMap map, int stages) {
  extern __shared__ uint8_t raw[];
  const uint32_t base = (shared_address(raw) + 1023) / 1024 * 1024;
  uint8_t* aligned = raw + (base - shared_address(raw));
  const int ring_bytes = stages * G::kStageBytes;
  const Ring ring{base, base + ring_bytes, stages, G::kStageBytes};
  float4* totals = reinterpret_cast<float4*>(aligned + ring_bytes + 256);

  if (threadIdx.x == 0) {
    prefetch_map(&map);
    for (Ring r = ring; r.phase == 0; r.advance()) {
      barrier_init(r.full(), 1);
      barrier_init(r.free(), G::kWarpgroups * 4);
    }
    fence_barrier_init();
  }
  __syncthreads();
  let_next_kernel_start();
  if (threadIdx.x < 128) {
    give_registers<G::kGiven>();
    if (threadIdx.x == 0) produce<G>(args, &map, ring);
  } else {
    take_registers<G::kTaken>();
    consume<G>(args, ring, totals);
  }
}

template <class G>
cudaError_t launch(const W4Args& args, const CUtensorMap& map, const LaunchPlan& plan, int shared_bytes, int grid,
                   cudaStream_t stream) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(grid), config.blockDim = dim3(G::kThreads);
  config.dynamicSmemBytes = shared_bytes, config.stream = stream;
  config.attrs = &attribute, config.numAttrs = plan.overlap ? 1 : 0;
  return cudaLaunchKernelEx(&config, w4a16_gemm<G>, args, map, plan.stages);
}

template <class G>
WgmmaKernel entry() {
  return {G::kTokens, G::kWarpgroups, G::kHalves, G::kSets,
          G::kZeros,  G::kStageBytes, launch<G>,  reinterpret_cast<const void*>(w4a16_gemm<G>)};
}

// Every group size and zero-point form of the tiles that plans choose; further tiles for bench_gemm --sweep.
template <int kSets, bool kZeros>
void add_planned(std::vector<WgmmaKernel>& kernels) {
  kernels.push_back(entry<Gemm<8, 4, 2, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<16, 4, 2, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<32, 4, 2, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<64, 4, 2, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<128, 4, 1, kSets, kZeros>>());
}

std::vector<WgmmaKernel> make_kernels() {
  std::vector<WgmmaKernel> kernels;
  add_planned<1, false>(kernels);
  add_planned<2, false>(kernels);
  add_planned<4, false>(kernels);
  add_planned<1, true>(kernels);
  add_planned<2, true>(kernels);
  add_planned<4, true>(kernels);
  kernels.push_back(entry<Gemm<64, 4, 1, 1, false>>());
  kernels.push_back(entry<Gemm<96, 4, 1, 1, false>>());
  kernels.push_back(entry<Gemm<96, 4, 2, 1, false>>());
  kernels.push_back(entry<Gemm<128, 2, 1, 1, false>>());
  kernels.push_back(entry<Gemm<128, 2, 2, 1, false>>());
  kernels.push_back(entry<Gemm<192, 2, 1, 1, false>>());
  kernels.push_back(entry<Gemm<256, 2, 1, 1, false>>());
  return kernels;
}

}  // namespace

const std::vector<WgmmaKernel>& wgmma_kernels() {
  static const std::vector<WgmmaKernel> kernels = make_kernels();
  return kernels;
}

}  // namespace assay::cuda
