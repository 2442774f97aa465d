#pragma once

// W4A16 products by wgmma: the weights are the 64-row side and are dequantized into registers, the tokens come as the
// swizzled shared-memory side. One producer warp feeds a ring of stages by bulk copies; every other warpgroup owns 64
// packed rows. w4a16_gemm.cu and w4a16_gemm_tall.cu compile them.
#include "engine/cuda/kernels/mma.cuh"
#include "engine/cuda/kernels/reduce.cuh"
#include "engine/cuda/kernels/w4a16_kernels.h"
#include "engine/cuda/kernels/wgmma.cuh"

namespace assay::cuda {

template <int kWarpgroups_, int kTokens_, int kHalves_, int kSets_, bool kZeros_>
struct Gemm {
  static constexpr int kTokens = kTokens_, kHalves = kHalves_, kSets = kSets_;
  static constexpr bool kZeros = kZeros_;
  static constexpr int kWarpgroups = kWarpgroups_, kParts = 4 / kWarpgroups;
  static constexpr int kThreads = (kWarpgroups + 1) * 128;
  // Registers of a thread after the producers have handed most of theirs over. One thread block an SM: where two fit,
  // some SMs get two of the same launch and others none.
  static constexpr int kGiven = kWarpgroups == 4 ? 24 : 40, kTaken = kWarpgroups == 4 ? 112 : 232;
  // Running totals of cut sums: where they pay for the registers.
  static constexpr bool kTotalsInRegisters = kWarpgroups == 2 && kTokens >= 64 && kTokens <= 128;

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
  const uint64_t policy = args.token_tiles == 1 ? kEvictFirst : kEvictNormal;
  uint32_t to = stage + G::kActivationBytes;
#pragma unroll
  for (int h = 0; h < G::kHalves; ++h, to += G::kPartCodeBytes)
    copy_bulk(to, block + (half + h) * kHalfCodeBytes + job.part * G::kPartCodeBytes, G::kPartCodeBytes, barrier,
              policy);
#pragma unroll
  for (int s = 0; s < G::kMetaSets; ++s, to += G::kPartSetBytes)
    copy_bulk(to, block + kCodeBytes + s * kSetBytes + job.part * G::kPartSetBytes, G::kPartSetBytes, barrier, policy);
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

// What a thread needs of a stage to make its A fragments.
template <class G>
struct StageWeights {
  uint32_t words[G::kHalves][4];
  uint32_t scales;  // address of the thread's scales in the first set

  __device__ StageWeights(uint32_t weights, int warpgroup, int thread)
      : scales(weights + G::kHalves * G::kPartCodeBytes + warpgroup * (kTileRows * 2) + thread / 4 * 4) {
#pragma unroll
    for (int h = 0; h < G::kHalves; ++h) {
      const uint4 codes = load_shared_16(weights + h * G::kPartCodeBytes + warpgroup * kTileCodeBytes + thread * 16);
      words[h][0] = codes.x, words[h][1] = codes.y, words[h][2] = codes.z, words[h][3] = codes.w;
    }
  }
  __device__ GroupScale group(int set) const {
    const uint32_t at = scales + set * G::kPartSetBytes;
    GroupScale group;
    if constexpr (G::kZeros)
      group.set(load_shared_4(at), load_shared_4(at + G::kSets * G::kPartSetBytes));
    else
      group.set(load_shared_4(at));
    return group;
  }
};

#ifdef ASSAY_EVERY_LANE_ARRIVES
// For racecheck, which follows threads one by one and cannot see that a lane speaks for its warp.
constexpr int kLanesThatArrive = 32;
#else
constexpr int kLanesThatArrive = 1;
#endif

// Tells the producer that this warp is done with a stage; 0: with none.
__device__ inline void release(uint32_t free_barrier) {
  __syncwarp();
  barrier_arrive_if(free_barrier, threadIdx.x % 32 < kLanesThatArrive && free_barrier != 0);
}

// Products of one stage, queued behind those under way. Two steps of 16 columns are made together, and their fragments
// while the tensor cores work on the two before them.
template <class G>
__device__ void multiply_stage(float (&sums)[G::kTokens / 2], uint32_t (&a)[2][2][4], uint32_t stage, int half,
                               int warpgroup, int thread, uint32_t stage_before, int& keep) {
  const StageWeights<G> weights(stage + G::kActivationBytes, warpgroup, thread);
  GroupScale group;
#pragma unroll
  for (int h = 0; h < G::kHalves; ++h) {
    const uint64_t tokens = wgmma_descriptor(stage + h * G::kTokens * 128);
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      if ((pair == 0 && (h == 0 || G::kSets > 1)) || G::kSets == 4)
        group = weights.group(((half + h) * 64 + pair * 32) * G::kSets / 128);
      wgmma_wait<1>();
      if (h == 0 && pair == 1) release(stage_before);
      dequantize(weights.words[h][2 * pair], group, a[pair][0]);
      dequantize(weights.words[h][2 * pair + 1], group, a[pair][1]);
      wgmma_fence();
      Wgmma<G::kTokens>::run(sums, a[pair][0], tokens + pair * 4, keep);
      keep = 1;
      Wgmma<G::kTokens>::run(sums, a[pair][1], tokens + pair * 4 + 2, keep);
      wgmma_commit();
    }
  }
}

template <int kCount>
__device__ void pin(float (&sums)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(sums[i])::"memory");
}

// Running totals of the cuts of a row, each thread's own: in registers,
template <int kCount, bool kInRegisters>
struct Totals {
  float totals[kCount];

  // slot: the warpgroup among all of the launch.
  __device__ Totals(const W4Args& /*args*/, int /*slot*/, int /*thread*/) {}
  __device__ void add(const float (&sums)[kCount], bool first) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) totals[i] = first ? sums[i] : totals[i] + sums[i];
  }
  // sums = totals + sums.
  __device__ void finish(float (&sums)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) sums[i] = totals[i] + sums[i];
  }
};

// or in device memory.
template <int kCount>
struct Totals<kCount, false> {
  float4* at;

  __device__ Totals(const W4Args& args, int slot, int thread)
      : at(reinterpret_cast<float4*>(args.partials) + slot * (kCount / 4 * 128) + thread) {}
  __device__ void add(const float (&sums)[kCount], bool first) const {
#pragma unroll
    for (int j = 0; j < kCount / 4; ++j) {
      float4 total = make_float4(sums[4 * j], sums[4 * j + 1], sums[4 * j + 2], sums[4 * j + 3]);
      if (!first) {
        const float4 before = __ldcg(at + j * 128);
        total.x = before.x + total.x, total.y = before.y + total.y;
        total.z = before.z + total.z, total.w = before.w + total.w;
      }
      __stcg(at + j * 128, total);
    }
  }
  __device__ void finish(float (&sums)[kCount]) const {
#pragma unroll
    for (int j = 0; j < kCount / 4; ++j) {
      const float4 before = __ldcg(at + j * 128);
      sums[4 * j] = before.x + sums[4 * j], sums[4 * j + 1] = before.y + sums[4 * j + 1];
      sums[4 * j + 2] = before.z + sums[4 * j + 2], sums[4 * j + 3] = before.w + sums[4 * j + 3];
    }
  }
};

template <class G>
__device__ void consume(const W4Args& args, Ring ring) {
  constexpr int kSums = G::kTokens / 2;
  const int warpgroup = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  const int worker = static_cast<int>(gridDim.x - 1 - blockIdx.x) / G::kParts;
  Totals<kSums, G::kTotalsInRegisters> totals(args, blockIdx.x * G::kWarpgroups + warpgroup, thread);
  float sums[kSums];
  uint32_t a[2][2][4];
  wait_for_prior_kernels();

  Job job;
  JobWalk<G::kParts, G::kTokens> walk(args);
  const TileSums<G::kTokens> tile{args, walk.part * G::kWarpgroups + warpgroup, thread, 1 + warpgroup};
  while (walk.next(job)) {
    const int row_begin = job.block_row * args.num_k_blocks;
    int cut = args.cut_sums ? next_cut(args.workers, row_begin) - row_begin : job.kb_end;
    bool cut_before = false;
    uint32_t stage_before = 0;
    int keep = 0;
    for (int kb = job.kb_begin; kb < job.kb_end; ++kb) {
      if (kb == cut) {
        wgmma_wait<0>();
        pin(sums);
        totals.add(sums, !cut_before);
        cut_before = true, keep = 0;
        cut = next_cut(args.workers, row_begin + kb) - row_begin;
      }
#pragma unroll
      for (int half = 0; half < 2; half += G::kHalves) {
        barrier_wait(ring.full(), ring.phase);
        multiply_stage<G>(sums, a, ring.here(), half, warpgroup, thread, stage_before, keep);
        stage_before = ring.free();
        ring.advance();
      }
    }
    wgmma_wait<0>();
    pin(sums);
    release(stage_before);
    if (cut_before) totals.finish(sums);
    if (job.kb_end - job.kb_begin == args.num_k_blocks)
      tile.write(job.block_row, job.token_tile, sums);
    else
      tile.publish(worker, job, sums);
  }
  if (args.stream) reduce_cut_rows(tile, worker);
}

template <class G>
__global__ void __launch_bounds__(G::kThreads, 1)
    w4a16_gemm(const __grid_constant__ W4Args args, const __grid_constant__ CUtensorMap map, int stages) {
  extern __shared__ uint8_t raw[];
  const uint32_t base = (shared_address(raw) + 1023) / 1024 * 1024;
  const int ring_bytes = stages * G::kStageBytes;
  const Ring ring{base, base + ring_bytes, stages, G::kStageBytes};

  if (threadIdx.x == 0) {
    prefetch_map(&map);
    for (Ring r = ring; r.phase == 0; r.advance()) {
      barrier_init(r.full(), 1);
      barrier_init(r.free(), G::kWarpgroups * 4 * kLanesThatArrive);
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
    consume<G>(args, ring);
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
WgmmaKernel wgmma_kernel() {
  return {G::kTokens, G::kWarpgroups, G::kHalves, G::kSets,
          G::kZeros,  G::kStageBytes, launch<G>,  reinterpret_cast<const void*>(w4a16_gemm<G>)};
}

}  // namespace assay::cuda
