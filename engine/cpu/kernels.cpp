#include "engine/cpu/kernels.h"

#include "engine/base/check.h"

namespace assay::cpu {

const Kernels& kernels_for(InstructionSet isa, Activations activations) {
  ASSAY_CHECK(activations != Activations::bf16 || isa == InstructionSet::avx512_bf16);
  switch (isa) {
    case InstructionSet::portable: break;
    case InstructionSet::avx2: return avx2::kernels(activations);
    case InstructionSet::avx512: return avx512::kernels(activations);
    case InstructionSet::avx512_bf16:
      return activations == Activations::bf16 ? avx512_bf16::kernels(activations) : avx512::kernels(activations);
  }
  return portable::kernels(activations);
}

}  // namespace assay::cpu
