#include "engine/cpu/kernels.h"

#define ASSAY_ISA portable
#define ASSAY_SIMD_LEVEL 0

#include "engine/cpu/attention_body.h"
#include "engine/cpu/ops_body.h"

namespace assay::cpu::portable {
namespace {

template <class Storage>
constexpr Kernels make_kernels(Activations activations) {
  return {.activations = activations,
          .element_bytes = sizeof(typename Storage::Element),
          .rms_norm = rms_norm<Storage>,
          .rotate = rotate<Storage>,
          .write_kv = write_kv<Storage>,
          .attend = attend<Storage>,
          .finish = finish<Storage>,
          .expand_strip = expand_strip,
          .logit_stats = logit_stats};
}

constexpr Kernels kFloat = make_kernels<F32Storage>(Activations::f32);
constexpr Kernels kRounded = make_kernels<RoundedStorage>(Activations::f32_rounded);

}  // namespace

const Kernels& kernels(Activations activations) { return activations == Activations::f32 ? kFloat : kRounded; }

}  // namespace assay::cpu::portable
