#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/status.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/product.h"
#include "engine/cpu/team.h"
#include "engine/model/model_config.h"
#include "engine/model/tensor_table.h"

namespace assay::cpu {

// Which instructions and which arithmetic a model runs with.
struct Arithmetic {
  InstructionSet isa = InstructionSet::portable;
  bool bfloat16 = true;

  Activations activations() const {
    if (!bfloat16) return Activations::f32;
    return isa == InstructionSet::avx512_bf16 ? Activations::bf16 : Activations::f32_rounded;
  }
};

// One decoder layer, ready for products. Queries, keys and values come out of one product, side by side; gate and up
// out of another, their product with silu already taken.
struct CpuLayer {
  std::vector<float> input_norm;  // [padded hidden_size]
  std::unique_ptr<Product> qkv;   // columns: q, then k, then v
  std::unique_ptr<Product> o;
  std::vector<float> post_attention_norm;  // [padded hidden_size]
  std::unique_ptr<Product> gate_up;        // interleaved (packed_matrix.h)
  std::unique_ptr<Product> down;
};

// A model repacked for the CPU. Weights that were repacked no longer hold the checkpoint's pages; an embedding that is
// not tied is read from them.
struct CpuModel {
  TensorView embed_tokens;
  bool embed_from_head = false;  // rows of the embedding are read back from lm_head
  std::vector<CpuLayer> layers;
  std::vector<float> final_norm;
  std::unique_ptr<Product> lm_head;
  int64_t weight_bytes = 0;
  int64_t scratch_bytes = 0;            // of one worker
  int64_t num_int4 = 0, num_dense = 0;  // products
  int64_t widest_reordered = 0;         // largest k of a product that wants its x reordered; 0: none does
};

// Errors: out_of_memory, internal, bad_data.
Result<CpuModel> load_cpu_model(const ModelConfig& config, const ModelWeights& weights, const Arithmetic& arithmetic,
                                Team& team);

// Row `token` of the embedding as floats, exactly as stored (bf16 when that is how lm_head was packed).
void copy_embedding(const CpuModel& model, TokenId token, float* out);

}  // namespace assay::cpu
