// W4A16 products by wgmma, 256 packed rows a thread block: half as many reads of the tokens, and twice as many warps to
// hide latencies behind.
#include "engine/cuda/kernels/w4a16_gemm.cuh"

namespace assay::cuda {
namespace {

template <int kSets, bool kZeros>
void add(std::vector<WgmmaKernel>& kernels) {
  kernels.push_back(wgmma_kernel<Gemm<4, 8, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<4, 16, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<4, 32, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<4, 64, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<4, 96, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<4, 128, 2, kSets, kZeros>>());
}

}  // namespace

std::vector<WgmmaKernel> tall_wgmma_kernels() {
  std::vector<WgmmaKernel> kernels;
  for_every_grouping([&]<int kSets, bool kZeros> { add<kSets, kZeros>(kernels); });
  return kernels;
}

}  // namespace assay::cuda
