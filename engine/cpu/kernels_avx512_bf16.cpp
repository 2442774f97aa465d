#include <immintrin.h>

#include "engine/cpu/kernels.h"

#define ASSAY_ISA avx512_bf16
#define ASSAY_SIMD_LEVEL 4
// The pragma reaches templates of this file only: headers above it keep the build's own target.
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")
#include "engine/cpu/attention_body.h"
#include "engine/cpu/ops_body.h"

namespace assay::cpu::avx512_bf16 {
namespace {

constexpr Kernels kKernels = {.activations = Activations::bf16,
                              .element_bytes = sizeof(uint16_t),
                              .rms_norm = rms_norm<Bf16Storage>,
                              .rotate = rotate<Bf16Storage>,
                              .write_kv = write_kv<Bf16Storage>,
                              .attend = attend<Bf16Storage>,
                              .finish = finish<Bf16Storage>,
                              .expand_strip = expand_strip,
                              .logit_stats = logit_stats};

}  // namespace

const Kernels& kernels(Activations) { return kKernels; }

}  // namespace assay::cpu::avx512_bf16
