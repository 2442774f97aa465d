#include "engine/cpu/isa.h"

namespace assay::cpu {

InstructionSet best_instruction_set() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!avx2) return InstructionSet::portable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!avx512) return InstructionSet::avx2;
  return __builtin_cpu_supports("avx512bf16") ? InstructionSet::avx512_bf16 : InstructionSet::avx512;
}

std::string_view instruction_set_name(InstructionSet isa) {
  switch (isa) {
    case InstructionSet::portable: return "x86-64";
    case InstructionSet::avx2: return "AVX2";
    case InstructionSet::avx512: return "AVX-512";
    case InstructionSet::avx512_bf16: return "AVX-512 BF16";
  }
  return "";
}

}  // namespace assay::cpu
