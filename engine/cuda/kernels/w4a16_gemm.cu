// W4A16 products by wgmma: the weights are the 64-row side and are dequantized into registers, the tokens come as the
// swizzled shared-memory side. One producer warp feeds a ring of stages by bulk copies; every other warpgroup owns 64
// packed rows. bench_gemm --sweep chose the tiles.
#include "engine/cuda/kernels/mma.cuh"
#include "engine/cuda/kernels/reduce.cuh"
#include "engine/cuda/kernels/w4a16_kernels.h"
#include "engine/cuda/kernels/wgmma.cuh"

namespace assay::cuda {
namespace {

template <int kTokens_, int kHalves_, int kCluster_, int kSets_, bool kZeros_>
struct Gemm {
  static constexpr int kTokens = kTokens_, kHalves = kHalves_, kCluster = kCluster_, kSets = kSets_;
  static constexpr bool kZeros = kZeros_;
  static constexpr int kWarpgroups = 2, kParts = 4 / kWarpgroups;
  static constexpr int kThreads = (kWarpgroups + 1) * 128;
  // Few tokens need few registers: the next kernel's thread blocks move in beside and fetch their first weights.
  static constexpr int kBlocksAnSm = kTokens <= 64 ? 2 : 1;
  // Registers of a thread after the producers have handed most of theirs over.
  static constexpr int kGiven = kBlocksAnSm == 2 ? 32 : 40, kTaken = kBlocksAnSm == 2 ? 104 : 232;

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

// A cluster's two thread blocks work on the same tokens and columns: each fetches half of the tokens for both.
template <class G>
__device__ void fetch_activations(const CUtensorMap* map, const Job& job, int kb, int half, uint32_t stage,
                                  uint32_t barrier) {
#pragma unroll
  for (int h = 0; h < G::kHalves; ++h) {
    const int column = kb * kBlockColumns + (half + h) * kHalfColumns, token = job.token_tile * G::kTokens;
    const uint32_t to = stage + h * G::kTokens * 128;
    if constexpr (G::kCluster == 1) {
      copy_box(to, map, column, token, barrier);
    } else {
      const int mine = static_cast<int>(cluster_rank()) * (G::kTokens / 2);
      copy_box_to_both(to + mine * 128, map, column, token + mine, barrier);
    }
  }
}

template <class G>
__device__ void prefetch_weights(const W4Args& args, const Job& job, int kb, int half) {
  const uint8_t* block = args.blocks + (int64_t{job.block_row} * args.num_k_blocks + kb) * args.block_bytes;
#pragma unroll
  for (int h = 0; h < G::kHalves; ++h)
    prefetch_bulk(block + (half + h) * kHalfCodeBytes + job.part * G::kPartCodeBytes, G::kPartCodeBytes);
#pragma unroll
  for (int s = 0; s < G::kMetaSets; ++s)
    prefetch_bulk(block + kCodeBytes + s * kSetBytes + job.part * G::kPartSetBytes, G::kPartSetBytes);
}

// The stages of a thread block's jobs, one after another.
template <class G>
struct StageWalk {
  JobWalk<G::kParts, G::kTokens> jobs;
  Job job;
  int kb = 0, half = 0;
  bool more;

  __device__ explicit StageWalk(const W4Args& args) : jobs(args) {
    more = jobs.next(job);
    kb = job.kb_begin;
  }
  __device__ void advance() {
    half += G::kHalves;
    if (half < 2) return;
    half = 0;
    if (++kb < job.kb_end) return;
    more = jobs.next(job);
    kb = job.kb_begin;
  }
};

// One thread. Weights do not depend on the kernel before: the ring's first round of them is asked for before the wait
// for that kernel. A scout runs further ahead and has weights brought into L2, so that memory stays busy however small
// the ring is.
template <class G>
__device__ void produce(const W4Args& args, const CUtensorMap* map, Ring ring) {
  constexpr uint32_t kBytes = G::kActivationBytes + G::kWeightBytes;
  StageWalk<G> scout(args);
  int ahead = 0;
  for (Ring early = ring; scout.more && ahead < ring.stages; ++ahead, early.advance(), scout.advance()) {
    barrier_expect(early.full(), kBytes);
    fetch_weights<G>(args, scout.job, scout.kb, scout.half, early.here(), early.full());
  }
  for (int i = 0; scout.more && i < args.stages_to_l2; ++i, scout.advance())
    prefetch_weights<G>(args, scout.job, scout.kb, scout.half);
  wait_for_prior_kernels();
  for (StageWalk<G> now(args); now.more; now.advance(), ring.advance()) {
    if (ahead > 0) {
      --ahead;
    } else {
      barrier_wait(ring.free(), ring.phase ^ 1);
      barrier_expect(ring.full(), kBytes);
      fetch_weights<G>(args, now.job, now.kb, now.half, ring.here(), ring.full());
    }
    fetch_activations<G>(map, now.job, now.kb, now.half, ring.here(), ring.full());
    if (args.stages_to_l2 > 0 && scout.more) {
      prefetch_weights<G>(args, scout.job, scout.kb, scout.half);
      scout.advance();
    }
  }
  let_next_kernel_start();
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

// Tells the producers that this warp is done with a stage; 0: with none.
template <class G>
__device__ void release(uint32_t free_barrier) {
  const int lane = threadIdx.x % 32;
  if constexpr (G::kCluster == 1)
    barrier_arrive_if(free_barrier, lane == 0 && free_barrier != 0);
  else
    barrier_arrive_in_cluster(free_barrier, lane, lane < G::kCluster && free_barrier != 0);
}

// Products of one stage, queued behind those under way. Four steps of 16 columns are under way at most: a step's
// fragments are made while the tensor cores work on the three before it.
template <class G>
__device__ void multiply_stage(float (&sums)[G::kTokens / 2], uint32_t (&a)[4][4], uint32_t stage, int half,
                               int warpgroup, int thread, uint32_t stage_before, int& keep) {
  const StageWeights<G> weights(stage + G::kActivationBytes, warpgroup, thread);
  GroupScale group;
#pragma unroll
  for (int h = 0; h < G::kHalves; ++h) {
    const uint64_t tokens = wgmma_descriptor(stage + h * G::kTokens * 128);
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      if ((step == 0 && (h == 0 || G::kSets > 1)) || (G::kSets == 4 && step == 2))
        group = weights.group(((half + h) * 64 + step * 16) * G::kSets / 128);
      wgmma_wait<3>();
      if (h == 0 && step == 3) release<G>(stage_before);
      dequantize(weights.words[h][step], group, a[step]);
      wgmma_fence();
      Wgmma<G::kTokens>::run(sums, a[step], tokens + step * 2, keep);
      wgmma_commit();
      keep = 1;
    }
  }
}

template <int kCount>
__device__ void pin(float (&sums)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(sums[i])::"memory");
}

// Running totals of the cuts of a row, each thread's own, in device memory.
template <int kCount>
struct Totals {
  float4* at;

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
  // sums = totals + sums.
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
  const Totals<kSums> totals{reinterpret_cast<float4*>(args.partials) +
                             (blockIdx.x * G::kWarpgroups + warpgroup) * (kSums / 4 * 128) + thread};
  float sums[kSums];
  uint32_t a[4][4];
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
    release<G>(stage_before);
    if (cut_before) totals.finish(sums);
    if (job.kb_end - job.kb_begin == args.num_k_blocks)
      tile.write(job.block_row, job.token_tile, sums);
    else
      tile.publish(worker, job.block_row, job.token_tile, sums);
  }
  if (args.stream && args.spread) reduce_cut_rows(tile, worker);
}

template <class G>
__global__ void __launch_bounds__(G::kThreads, G::kBlocksAnSm)
    w4a16_gemm(const __grid_constant__ W4Args args, const __grid_constant__ CUtensorMap map, int stages) {
  extern __shared__ uint8_t raw[];
  const uint32_t base = (shared_address(raw) + 1023) / 1024 * 1024;
  const int ring_bytes = stages * G::kStageBytes;
  const Ring ring{base, base + ring_bytes, stages, G::kStageBytes};

  if (threadIdx.x == 0) {
    prefetch_map(&map);
    for (Ring r = ring; r.phase == 0; r.advance()) {
      barrier_init(r.full(), 1);
      barrier_init(r.free(), G::kWarpgroups * 4 * G::kCluster);
    }
    fence_barrier_init();
  }
  __syncthreads();
  if constexpr (G::kCluster > 1) cluster_barrier();
  if (threadIdx.x < 128) {
    give_registers<G::kGiven>();
    if (threadIdx.x == 0) produce<G>(args, &map, ring);
  } else {
    take_registers<G::kTaken>();
    consume<G>(args, ring);
  }
  if constexpr (G::kCluster > 1) cluster_barrier();  // the other block may still send tokens and arrivals here
}

template <class G>
cudaError_t launch(const W4Args& args, const CUtensorMap& map, const LaunchPlan& plan, int shared_bytes, int grid,
                   cudaStream_t stream) {
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim.x = G::kCluster, attributes[0].val.clusterDim.y = attributes[0].val.clusterDim.z = 1;
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(grid), config.blockDim = dim3(G::kThreads);
  config.dynamicSmemBytes = shared_bytes, config.stream = stream;
  config.attrs = attributes, config.numAttrs = plan.overlap ? 2 : 1;
  return cudaLaunchKernelEx(&config, w4a16_gemm<G>, args, map, plan.stages);
}

template <class G>
WgmmaKernel entry() {
  return {G::kTokens,     G::kWarpgroups, G::kHalves,
          G::kCluster,    G::kSets,       G::kZeros,
          G::kStageBytes, launch<G>,      reinterpret_cast<const void*>(w4a16_gemm<G>)};
}

// Every group size and zero-point form of the tiles that plans choose.
template <int kSets, bool kZeros>
void add(std::vector<WgmmaKernel>& kernels) {
  kernels.push_back(entry<Gemm<8, 2, 1, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<16, 2, 1, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<32, 2, 1, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<64, 2, 2, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<96, 2, 2, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<128, 2, 2, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<192, 1, 2, kSets, kZeros>>());
  kernels.push_back(entry<Gemm<256, 1, 2, kSets, kZeros>>());
}

std::vector<WgmmaKernel> make_kernels() {
  std::vector<WgmmaKernel> kernels;
  add<1, false>(kernels);
  kernels.push_back(entry<Gemm<16, 2, 2, 1, false>>());
  kernels.push_back(entry<Gemm<32, 2, 2, 1, false>>());
  kernels.push_back(entry<Gemm<64, 2, 1, 1, false>>());
  kernels.push_back(entry<Gemm<96, 2, 1, 1, false>>());
  kernels.push_back(entry<Gemm<128, 2, 1, 1, false>>());
  kernels.push_back(entry<Gemm<192, 1, 1, 1, false>>());
  kernels.push_back(entry<Gemm<256, 1, 1, 1, false>>());
#ifndef ASSAY_W4_PLAIN_ONLY
  add<2, false>(kernels);
  add<4, false>(kernels);
  add<1, true>(kernels);
  add<2, true>(kernels);
  add<4, true>(kernels);
#endif
  return kernels;
}

}  // namespace

const std::vector<WgmmaKernel>& wgmma_kernels() {
  static const std::vector<WgmmaKernel> kernels = make_kernels();
  return kernels;
}

}  // namespace assay::cuda
