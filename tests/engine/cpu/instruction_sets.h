#pragma once

#include <vector>

#include "engine/cpu/kernels.h"

namespace assay::cpu::testing {

// Every set of kernels this machine runs.
inline std::vector<std::pair<InstructionSet, Activations>> runnable_kernels() {
  std::vector<std::pair<InstructionSet, Activations>> all;
  for (const auto isa : {InstructionSet::portable, InstructionSet::avx2, InstructionSet::avx512}) {
    if (isa > best_instruction_set()) continue;
    all.emplace_back(isa, Activations::f32);
    all.emplace_back(isa, Activations::f32_rounded);
  }
  if (best_instruction_set() == InstructionSet::avx512_bf16)
    all.emplace_back(InstructionSet::avx512_bf16, Activations::bf16);
  return all;
}

// Activations in the elements of a set of kernels, with what a kernel may read beyond them. Fresh memory is NaN.
class Elements {
 public:
  Elements(Activations activations, size_t count)
      : activations_(activations), floats_(count, __builtin_nanf("")), bits_(count, 0x7fc0) {}
  Elements(Activations activations, const std::vector<float>& values) : Elements(activations, values.size()) {
    for (size_t i = 0; i < values.size(); ++i) set(i, values[i]);
  }
  void* data(size_t at = 0) {
    return is_bf16() ? static_cast<void*>(bits_.data() + at) : static_cast<void*>(floats_.data() + at);
  }
  void set(size_t i, float value) {
    bits_[i] = float_to_bf16(value);
    floats_[i] = activations_ == Activations::f32 ? value : bf16_to_float(bits_[i]);
  }
  float get(size_t i) const { return is_bf16() ? bf16_to_float(bits_[i]) : floats_[i]; }
  std::vector<float> floats() const {
    std::vector<float> values(floats_.size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = get(i);
    return values;
  }
  std::vector<double> doubles() const {
    const std::vector<float> values = floats();
    return {values.begin(), values.end()};
  }

 private:
  bool is_bf16() const { return activations_ == Activations::bf16; }
  Activations activations_;
  std::vector<float> floats_;
  std::vector<uint16_t> bits_;
};

// Relative distance that one rounding of every element costs.
inline double rounding_of(Activations activations) { return activations == Activations::f32 ? 2e-6 : 3e-3; }

}  // namespace assay::cpu::testing
