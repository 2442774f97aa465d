#pragma once

#include <cstdint>
#include <string_view>

namespace assay::cpu {

// Families of instructions that kernels are compiled for, each including those before it.
enum class InstructionSet : uint8_t {
  portable,     // any x86-64
  avx2,         // with FMA
  avx512,       // F, BW, DQ, VL
  avx512_bf16,  // and BF16: products of bf16 pairs
};

// The richest one that this processor and its operating system run.
InstructionSet best_instruction_set();
std::string_view instruction_set_name(InstructionSet isa);

}  // namespace assay::cpu
