// W4A16 products by wgmma, 128 packed rows a thread block.
#include "engine/cuda/kernels/w4a16_gemm.cuh"

namespace assay::cuda {
namespace {

template <int kSets, bool kZeros>
void add(std::vector<WgmmaKernel>& kernels) {
  kernels.push_back(wgmma_kernel<Gemm<2, 8, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<2, 16, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<2, 32, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<2, 64, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<2, 96, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<2, 128, 2, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<2, 192, 1, kSets, kZeros>>());
  kernels.push_back(wgmma_kernel<Gemm<2, 256, 1, kSets, kZeros>>());
}

std::vector<WgmmaKernel> make_kernels() {
  std::vector<WgmmaKernel> kernels = tall_wgmma_kernels();
  for_every_grouping([&]<int kSets, bool kZeros> { add<kSets, kZeros>(kernels); });
  return kernels;
}

}  // namespace

const std::vector<WgmmaKernel>& wgmma_kernels() {
  static const std::vector<WgmmaKernel> kernels = make_kernels();
  return kernels;
}

}  // namespace assay::cuda
