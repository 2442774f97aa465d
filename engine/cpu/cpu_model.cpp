#include "engine/cpu/cpu_model.h"

#include <algorithm>
#include <cstring>

namespace assay::cpu {
namespace {

// Packs what a model's linears need, one after the other.
class Loader {
 public:
  Loader(const Arithmetic& arithmetic, Team& team, CpuModel& model)
      : arithmetic_(arithmetic), team_(team), model_(model) {}

  Result<std::unique_ptr<Product>> product(const std::vector<const LinearWeight*>& parts,
                                           ColumnLayout layout = ColumnLayout::joined) {
    const PackOptions options{.layout = layout, .keep_float32 = !arithmetic_.bfloat16};
    ASSAY_ASSIGN(PackedMatrix matrix, pack_matrix(parts, options, pages_, team_));
    std::unique_ptr<Product> product;
    if (arithmetic_.activations() == Activations::bf16) {
      product = make_bf16_product(std::move(matrix));
    } else {
      const Kernels& kernels = kernels_for(arithmetic_.isa, arithmetic_.activations());
      ASSAY_ASSIGN(product, make_float_product(std::move(matrix), kernels));
    }
    count(*product);
    return product;
  }

  // A norm's weight, padded; in bfloat16 rounded as the product with it will be.
  Result<std::vector<float>> norm(const TensorView& view) const {
    ASSAY_ASSIGN(std::vector<float> weight, to_floats(view));
    if (arithmetic_.bfloat16) {
      for (float& value : weight) value = bf16_to_float(float_to_bf16(value));
    }
    weight.resize(static_cast<size_t>(padded_width(static_cast<int64_t>(weight.size()))));
    return weight;
  }

 private:
  void count(const Product& product) {
    const PackedMatrix& matrix = product.matrix();
    ++(matrix.format == PackedMatrix::Format::int4 ? model_.num_int4 : model_.num_dense);
    model_.weight_bytes += matrix.bytes();
    model_.scratch_bytes = std::max(model_.scratch_bytes, product.scratch_bytes());
    if (!matrix.column_order.empty()) model_.widest_reordered = std::max(model_.widest_reordered, matrix.k_padded);
  }

  const Arithmetic& arithmetic_;
  Team& team_;
  CpuModel& model_;
  FilePages pages_;
};

Result<CpuLayer> load_layer(const LayerWeights& weights, Loader& loader) {
  CpuLayer layer;
  ASSAY_ASSIGN(layer.input_norm, loader.norm(weights.input_norm));
  ASSAY_ASSIGN(layer.qkv, loader.product({&weights.q_proj, &weights.k_proj, &weights.v_proj}));
  ASSAY_ASSIGN(layer.o, loader.product({&weights.o_proj}));
  ASSAY_ASSIGN(layer.post_attention_norm, loader.norm(weights.post_attention_norm));
  ASSAY_ASSIGN(layer.gate_up, loader.product({&weights.gate_proj, &weights.up_proj}, ColumnLayout::interleaved));
  ASSAY_ASSIGN(layer.down, loader.product({&weights.down_proj}));
  return layer;
}

bool same_bytes(const TensorView& view, const LinearWeight& linear) {
  const auto* dense = std::get_if<TensorView>(&linear.weight);
  return dense && dense->bytes.data() == view.bytes.data();
}

}  // namespace

Result<CpuModel> load_cpu_model(const ModelConfig& config, const ModelWeights& weights, const Arithmetic& arithmetic,
                                Team& team) {
  CpuModel model;
  Loader loader(arithmetic, team, model);
  model.layers.reserve(static_cast<size_t>(config.num_layers));
  for (const LayerWeights& layer : weights.layers) {
    ASSAY_ASSIGN(CpuLayer loaded, load_layer(layer, loader));
    model.layers.push_back(std::move(loaded));
  }
  ASSAY_ASSIGN(model.final_norm, loader.norm(weights.final_norm));
  ASSAY_ASSIGN(model.lm_head, loader.product({&weights.lm_head}));
  model.embed_tokens = weights.embed_tokens;
  model.embed_from_head = same_bytes(weights.embed_tokens, weights.lm_head);
  return model;
}

void copy_embedding(const CpuModel& model, TokenId token, float* out) {
  if (model.embed_from_head) return copy_packed_row(model.lm_head->matrix(), token, out);
  const TensorView& table = model.embed_tokens;
  const auto width = static_cast<size_t>(table.cols());
  const std::byte* row = table.bytes.data() + static_cast<size_t>(token) * width * dtype_bytes(table.dtype);
  if (table.dtype == DType::f32) {
    std::memcpy(out, row, width * sizeof(float));
    return;
  }
  for (size_t i = 0; i < width; ++i) {
    uint16_t bits;
    std::memcpy(&bits, row + 2 * i, sizeof bits);
    out[i] = table.dtype == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
  }
}

}  // namespace assay::cpu
