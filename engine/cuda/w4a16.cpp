#include "engine/cuda/w4a16.h"

#include <cuda.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/cuda/kernels/w4a16_kernels.h"
#include "engine/cuda/kernels/w4a16_repack.h"

namespace assay::cuda {
namespace {

// Token tiles that one stream launch reduces; more run in further launches, so that the workspace stays small.
constexpr int64_t kStreamTokenTiles = 4;
// Thread blocks of the tiles schedule at most: each has running totals in the workspace.
constexpr int kMostTileCtas = 144;

Status launched(cudaError_t error, const char* kernel) {
  if (error == cudaSuccess) return ok_status();
  return internal_error(fmt::format("{}: launch failed: {}", kernel, cudaGetErrorString(error)));
}

int64_t token_tiles_of(int64_t m, const LaunchPlan& plan) { return (m + plan.tile_tokens - 1) / plan.tile_tokens; }

// One size for all shapes: what one product keeps behind its counters must not lie where another's counters are.
constexpr int64_t kCounterBytes = int64_t{256} << 10;

bool fits_counters(const W4Shape& shape) { return shape.num_block_rows * kStreamTokenTiles * 4 * 4 <= kCounterBytes; }

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                 const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// The driver's encoder, asked for at run time so that nothing links the driver.
EncodeTiled find_encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
  return error == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<EncodeTiled>(function)
                                                                      : nullptr;
}

// x as boxes of 64 columns by some tokens; outside m and k it reads as zeros.
Status encode_activations(const __nv_bfloat16* x, int64_t ldx, int64_t m, int64_t k, int box_tokens, CUtensorMap& map) {
  static const EncodeTiled encode = find_encoder();
  if (encode == nullptr)
    return unsupported("w4a16: the driver has no cuTensorMapEncodeTiled: update it to 525 or later");
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(k), static_cast<cuuint64_t>(m)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(ldx * 2)};
  const cuuint32_t box[2] = {kHalfColumns, static_cast<cuuint32_t>(box_tokens)};
  const cuuint32_t element_strides[2] = {1, 1};
  const CUresult result =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<__nv_bfloat16*>(x), sizes, strides, box,
             element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result == CUDA_SUCCESS) return ok_status();
  return internal_error(fmt::format("w4a16: cuTensorMapEncodeTiled failed with {}: x {} by {}, row pitch {}",
                                    static_cast<int>(result), m, k, ldx));
}

// Whether whole tiles must be summed where stream would have cut them.
bool cuts_sums(const W4Shape& shape, const LaunchPlan& plan) {
  return plan.schedule == LaunchPlan::Schedule::tiles && plan.batch_invariant && workers_of(shape).grain == 1;
}

W4Args make_args(const W4Matrix& w, const W4Epilogue& epilogue, const LaunchPlan& plan) {
  W4Args args;
  args.blocks = static_cast<const uint8_t*>(w.blocks);
  args.block_bytes = w.shape.block_bytes();
  args.num_block_rows = static_cast<int>(w.shape.num_block_rows);
  args.num_k_blocks = static_cast<int>(w.shape.num_k_blocks);
  args.workers = workers_of(w.shape);
  args.n = static_cast<int>(w.shape.n), args.k = static_cast<int>(w.shape.k);
  args.epilogue = epilogue;
  args.stream = plan.schedule == LaunchPlan::Schedule::stream;
  args.cut_sums = cuts_sums(w.shape, plan);
  args.spread = plan.spread_reduction;
  args.overlap = plan.overlap;
  return args;
}

int num_device_sms() {
  int device = 0, sms = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device);
  return std::max(sms, 1);
}

int grid_of(const W4Args& args, const LaunchPlan& plan, int parts) {
  if (args.stream) return static_cast<int>(args.workers.count) * parts;
  static const int sms = num_device_sms();
  const int wanted = std::min(plan.num_ctas > 0 ? plan.num_ctas : sms, kMostTileCtas);
  return std::min(std::max(wanted / parts, 1), args.num_block_rows * args.token_tiles) * parts;
}

Status run_wgmma(const W4Args& args, const W4Shape& shape, const LaunchPlan& plan, cudaStream_t stream) {
  for (const WgmmaKernel& kernel : wgmma_kernels()) {
    if (kernel.tile_tokens != plan.tile_tokens || kernel.warpgroups != plan.warpgroups ||
        kernel.halves != plan.halves || kernel.sets != shape.sets || kernel.zeros != shape.has_zeros)
      continue;
    CUtensorMap map;
    ASSAY_TRY(encode_activations(args.x, args.ldx, args.m, args.k, plan.tile_tokens, map));
    const int grid = grid_of(args, plan, 4 / plan.warpgroups);
    return launched(kernel.launch(args, map, plan, static_cast<int>(plan_shared_bytes(plan, shape)), grid, stream),
                    "w4a16_gemm");
  }
  return unsupported("w4a16: no such kernel: " + plan.text());
}

Status run_mma(const W4Args& args, const W4Shape& shape, const LaunchPlan& plan, cudaStream_t stream) {
  for (const MmaKernel& kernel : mma_kernels())
    if (kernel.tile_tokens == plan.tile_tokens && kernel.sets == shape.sets && kernel.zeros == shape.has_zeros)
      return launched(
          kernel.launch(args, plan, static_cast<int>(plan_shared_bytes(plan, shape)), grid_of(args, plan, 1), stream),
          "w4a16_gemv");
  return unsupported("w4a16: no such kernel: " + plan.text());
}

// Elements of an output row's start, as the kind stores them.
int64_t out_element_bytes(W4Epilogue::Kind kind) {
  return kind == W4Epilogue::Kind::add || kind == W4Epilogue::Kind::float32 ? 4 : 2;
}

}  // namespace

int64_t w4a16_workspace_bytes(const W4Shape& shape, int64_t m, const LaunchPlan& plan) {
  if (cuts_sums(shape, plan))
    return kCounterBytes + int64_t{kMostTileCtas} * plan.warpgroups * kTileRows * plan.tile_tokens * 4;
  if (plan.schedule != LaunchPlan::Schedule::stream) return 0;
  const int64_t tiles = std::min(token_tiles_of(m, plan), kStreamTokenTiles);
  const int64_t slot = int64_t{kBlockRows} * plan.tile_tokens * 4;
  return kCounterBytes + workers_of(shape).count * 2 * tiles * slot;
}

Status w4a16_prepare() {
  for (const WgmmaKernel& kernel : wgmma_kernels())
    ASSAY_TRY(launched(cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize, 232448),
                       "w4a16_gemm: shared memory"));
  for (const MmaKernel& kernel : mma_kernels())
    ASSAY_TRY(launched(cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize, 232448),
                       "w4a16_gemv: shared memory"));
  return ok_status();
}

Status w4a16_matmul(const W4Matrix& w, const __nv_bfloat16* x, int64_t ldx, int64_t m, const W4Epilogue& epilogue,
                    const LaunchPlan& plan, void* workspace, cudaStream_t stream, std::string* ran) {
  if (!plan_is_supported(plan, w.shape) || !fits_counters(w.shape))
    return unsupported("w4a16: no such kernel: " + plan.text());
  W4Args args = make_args(w, epilogue, plan);
  const int64_t tiles = token_tiles_of(m, plan);
  const int64_t tiles_a_launch = args.stream ? std::min(tiles, kStreamTokenTiles) : tiles;
  args.counters = static_cast<uint32_t*>(workspace);
  args.partials = reinterpret_cast<float*>(static_cast<uint8_t*>(workspace) + kCounterBytes);
  args.ldx = ldx;
  for (int64_t tile = 0; tile < tiles; tile += tiles_a_launch) {
    const int64_t first = tile * plan.tile_tokens;
    args.m = static_cast<int>(std::min(m - first, tiles_a_launch * plan.tile_tokens));
    args.token_tiles = static_cast<int>(token_tiles_of(args.m, plan));
    args.x = x + first * ldx;
    args.epilogue.out = static_cast<uint8_t*>(epilogue.out) + first * epilogue.ld * out_element_bytes(epilogue.kind);
    ASSAY_TRY(plan.kernel == LaunchPlan::Kernel::mma ? run_mma(args, w.shape, plan, stream)
                                                     : run_wgmma(args, w.shape, plan, stream));
  }
  if (ran) *ran = plan.kernel == LaunchPlan::Kernel::mma ? "w4a16_gemv" : "w4a16_gemm";
  return ok_status();
}

Status w4a16_repack(const W4Source& source, const W4Shape& shape, void* blocks, cudaStream_t stream) {
  return launched(repack_on_device(source, shape, blocks, stream), "w4a16_repack");
}

}  // namespace assay::cuda
