#include "engine/cuda/cuda_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "engine/base/check.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/repack.h"
#include "engine/cuda/w4a16.h"

namespace assay::cuda {
namespace {

using Parts = std::vector<const LinearWeight*>;

const PackedLinear* quantized(const LinearWeight& linear) { return std::get_if<PackedLinear>(&linear.weight); }

bool same_groups(const PackedLinear& a, const PackedLinear& b) {
  if (a.scheme.group_size != b.scheme.group_size || a.g_idx.has_value() != b.g_idx.has_value()) return false;
  return !a.g_idx || std::equal(a.g_idx->bytes.begin(), a.g_idx->bytes.end(), b.g_idx->bytes.begin());
}

// Whether the parts can share one int4 matrix.
bool share_int4(const Parts& parts, const ModelForm& form) {
  if (form.element != Element::bf16) return false;
  const PackedLinear* first = quantized(*parts[0]);
  return first && std::all_of(parts.begin(), parts.end(), [&](const LinearWeight* part) {
           const PackedLinear* linear = quantized(*part);
           return linear && linear->scheme.bits == 4 && same_groups(*linear, *first);
         });
}

int64_t rows_of(const Parts& parts) {
  int64_t rows = 0;
  for (const LinearWeight* part : parts) rows += part->out_features;
  return rows;
}

bool asymmetric(const Parts& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [](const LinearWeight* part) { return quantized(*part)->zero_point.has_value(); });
}

int64_t group_columns(const PackedLinear& linear) {
  return linear.scheme.group_size == 0 ? linear.in_features : linear.scheme.group_size;
}

// The shape in which the W4A16 kernels take parts that share an int4 matrix, if they do.
std::optional<W4Shape> packed_shape(const Parts& parts) {
  const PackedLinear& first = *quantized(*parts[0]);
  if (first.g_idx && first.scheme.group_size > 0) return std::nullopt;
  const auto shape = w4_shape(rows_of(parts), first.in_features, group_columns(first), asymmetric(parts));
  return shape.ok() ? std::optional(*shape) : std::nullopt;
}

template <class T>
T element_at(const TensorView& view, int64_t index) {
  T value;
  std::memcpy(&value, view.bytes.data() + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

float float_at(const TensorView& view, int64_t index) {
  if (view.dtype == DType::bf16) return bf16_to_float(element_at<uint16_t>(view, index));
  if (view.dtype == DType::f16) return f16_to_float(element_at<uint16_t>(view, index));
  return element_at<float>(view, index);
}

// Uploads an f32, f16 or bf16 tensor as bf16 or f32.
Status upload_dense(const TensorView& view, Element element, void* to, Uploader& uploader) {
  const auto count = static_cast<int64_t>(view.bytes.size() / dtype_bytes(view.dtype));
  const bool as_it_is = view.dtype == (element == Element::bf16 ? DType::bf16 : DType::f32);
  if (as_it_is) return uploader.copy(to, view.bytes.data(), static_cast<int64_t>(view.bytes.size()));
  const int64_t bytes = element_bytes(element);
  return uploader.run(to, count * bytes, [&](std::byte* out, int64_t offset, int64_t size) {
    for (int64_t i = 0; i < size / bytes; ++i) {
      const float value = float_at(view, offset / bytes + i);
      if (element == Element::f32) {
        std::memcpy(out + i * 4, &value, 4);
      } else {
        const uint16_t bits = float_to_bf16(value);
        std::memcpy(out + i * 2, &bits, 2);
      }
    }
  });
}

// Zero points [out, groups] of a 4-bit linear as signed numbers, from either layout.
std::vector<int8_t> zero_points_of(const PackedLinear& linear) {
  const int64_t rows = linear.out_features, groups = linear.scheme.num_groups(linear.in_features);
  std::vector<int8_t> zeros(static_cast<size_t>(rows * groups));
  if (!linear.zero_point) return zeros;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      auto& zero = zeros[static_cast<size_t>(row * groups + group)];
      if (linear.zero_point->dtype == DType::i8) {
        zero = element_at<int8_t>(*linear.zero_point, row * groups + group);
      } else {
        const auto word = element_at<uint32_t>(*linear.zero_point, row / 8 * groups + group);
        zero = static_cast<int8_t>(static_cast<int>(word >> (row % 8 * 4) & 15u) - 8);
      }
    }
  }
  return zeros;
}

Result<std::vector<float>> finite_scales(const PackedLinear& linear) {
  ASSAY_ASSIGN(std::vector<float> scales, to_floats(linear.scale));
  if (std::all_of(scales.begin(), scales.end(), [](float scale) { return std::isfinite(scale); })) return scales;
  return bad_data(fmt::format("tensor {}: holds a scale that is not finite: the checkpoint is damaged",
                              quoted_name(linear.scale.name)));
}

Result<Int4Weight> load_int4(const Parts& parts, Uploader& uploader) {
  const PackedLinear& first = *quantized(*parts[0]);
  const std::string& name = parts[0]->name;
  Int4Weight weight;
  weight.group_size = group_columns(first);
  weight.num_groups = first.scheme.num_groups(first.in_features);
  int64_t code_bytes = 0;
  std::vector<float> scales;
  std::vector<int8_t> zeros;
  for (const LinearWeight* part : parts) {
    const PackedLinear& linear = *quantized(*part);
    code_bytes += static_cast<int64_t>(linear.packed.bytes.size());
    ASSAY_ASSIGN(const std::vector<float> part_scales, finite_scales(linear));
    scales.insert(scales.end(), part_scales.begin(), part_scales.end());
    const std::vector<int8_t> part_zeros = zero_points_of(linear);
    zeros.insert(zeros.end(), part_zeros.begin(), part_zeros.end());
  }
  ASSAY_ASSIGN(weight.codes, DeviceBuffer::allocate(code_bytes, name));
  int64_t at = 0;
  for (const LinearWeight* part : parts) {
    const auto bytes = quantized(*part)->packed.bytes;
    ASSAY_TRY(uploader.copy(weight.codes.as<std::byte>() + at, bytes.data(), static_cast<int64_t>(bytes.size())));
    at += static_cast<int64_t>(bytes.size());
  }
  ASSAY_ASSIGN(weight.scales, uploader.upload(scales, name));
  if (asymmetric(parts)) {
    ASSAY_ASSIGN(weight.zeros, uploader.upload(zeros, name));
  }
  if (first.g_idx && first.scheme.group_size > 0) {
    std::vector<int32_t> groups(static_cast<size_t>(first.in_features));
    std::memcpy(groups.data(), first.g_idx->bytes.data(), groups.size() * sizeof(int32_t));
    ASSAY_ASSIGN(weight.group_of_column, uploader.upload(groups, name));
  }
  return weight;
}

bool exact_in_bf16(const TensorView& scale) {
  if (scale.dtype == DType::bf16) return true;
  const auto count = static_cast<int64_t>(scale.bytes.size() / dtype_bytes(scale.dtype));
  for (int64_t i = 0; i < count; ++i) {
    const float value = float_at(scale, i);
    if (bf16_to_float(float_to_bf16(value)) != value) return false;
  }
  return true;
}

// A bias in the order of packed rows.
Result<DeviceBuffer> load_packed_bias(const std::vector<float>& bias, bool interleaved, const std::string& name,
                                      Uploader& uploader) {
  if (!interleaved) return uploader.upload(bias, name);
  std::vector<float> turns(bias.size());
  for (size_t i = 0; i < bias.size(); ++i) turns[i] = bias[i / 2 + i % 2 * (bias.size() / 2)];
  return uploader.upload(turns, name);
}

// The checkpoint's order on the device -> the kernels' order.
Result<W4Weight> pack(const Int4Weight& from, const W4Shape& shape, bool gate_up, const std::string& name,
                      Uploader& uploader) {
  W4Weight packed;
  packed.shape = shape;
  packed.interleaved = gate_up;
  ASSAY_ASSIGN(packed.blocks, DeviceBuffer::allocate(shape.bytes(), name));
  const W4Source source{from.codes.as<uint32_t>(), from.scales.as<float>(), from.zeros.as<int8_t>(), from.group_size,
                        gate_up};
  ASSAY_TRY(w4a16_repack(source, shape, packed.blocks.data(), uploader.stream()));
  return packed;
}

// One part's rows as dense elements.
Status load_rows(const LinearWeight& part, Element element, void* to, Uploader& uploader) {
  const PackedLinear* packed = quantized(part);
  if (!packed) return upload_dense(std::get<TensorView>(part.weight), element, to, uploader);
  if (packed->scheme.bits == 4) {
    ASSAY_ASSIGN(const Int4Weight weight, load_int4({&part}, uploader));
    ASSAY_TRY(dequantize_int4(element, weight, part.in_features, 0, part.out_features, to, uploader.stream()));
    return uploader.finish();  // the codes go away
  }
  ASSAY_ASSIGN(const UnpackedLinear unpacked, unpack(*packed));
  std::vector<uint16_t> bits(static_cast<size_t>(part.out_features * part.in_features));
  dequantize_rows_bf16(unpacked, 0, part.out_features, bits.data());
  const auto* bytes = reinterpret_cast<const std::byte*>(bits.data());
  return upload_dense({part.name, DType::bf16, {part.out_features, part.in_features}, {bytes, bits.size() * 2}},
                      element, to, uploader);
}

Result<DenseWeight> load_dense(const Parts& parts, int64_t n, int64_t k, Element element, Uploader& uploader) {
  DenseWeight weight;
  ASSAY_ASSIGN(weight.data, DeviceBuffer::allocate(n * k * element_bytes(element), parts[0]->name));
  auto* to = weight.data.as<std::byte>();
  for (const LinearWeight* part : parts) {
    ASSAY_TRY(load_rows(*part, element, to, uploader));
    to += part->out_features * k * element_bytes(element);
  }
  return weight;
}

// Empty where no part has one.
Result<std::vector<float>> bias_of(const Parts& parts) {
  std::vector<float> bias;
  if (std::none_of(parts.begin(), parts.end(), [](const LinearWeight* part) { return part->bias.has_value(); }))
    return bias;
  for (const LinearWeight* part : parts) {
    std::vector<float> values(static_cast<size_t>(part->out_features));
    if (part->bias) {
      ASSAY_ASSIGN(values, to_floats(*part->bias));
    }
    bias.insert(bias.end(), values.begin(), values.end());
  }
  return bias;
}

// Parts that share an int4 matrix: packed where the kernels take it, dense as well if the form says so.
Status load_quantized(const Parts& parts, const ModelForm& form, bool gate_up, Uploader& uploader, Linear& linear) {
  ASSAY_ASSIGN(Int4Weight raw, load_int4(parts, uploader));
  const auto shape = packed_shape(parts);
  const bool exact = std::all_of(parts.begin(), parts.end(),
                                 [](const LinearWeight* part) { return exact_in_bf16(quantized(*part)->scale); });
  if (shape && exact) {
    ASSAY_ASSIGN(linear.packed, pack(raw, *shape, gate_up, linear.name, uploader));
  }
  if (form.expand_int4) {
    DenseWeight dense;
    ASSAY_ASSIGN(dense.data, DeviceBuffer::allocate(linear.n * linear.k * element_bytes(form.element), linear.name));
    ASSAY_TRY(dequantize_int4(form.element, raw, linear.k, 0, linear.n, dense.data.data(), uploader.stream()));
    linear.weight = std::move(dense);
  } else if (!linear.packed) {
    linear.weight = std::move(raw);
    return ok_status();
  }
  return uploader.finish();  // the codes go away
}

// A norm's weight; in bfloat16 rounded as the product with it will be.
Result<DeviceBuffer> load_norm(const TensorView& view, Element element, Uploader& uploader) {
  ASSAY_ASSIGN(std::vector<float> weight, to_floats(view));
  if (element == Element::bf16) {
    for (float& value : weight) value = bf16_to_float(float_to_bf16(value));
  }
  return uploader.upload(weight, view.name);
}

Result<CudaLayer> load_layer(const LayerWeights& weights, const ModelForm& form, Uploader& uploader) {
  CudaLayer layer;
  ASSAY_ASSIGN(layer.input_norm, load_norm(weights.input_norm, form.element, uploader));
  ASSAY_ASSIGN(layer.qkv, load_linear({&weights.q_proj, &weights.k_proj, &weights.v_proj}, form, uploader));
  ASSAY_ASSIGN(layer.o, load_linear({&weights.o_proj}, form, uploader));
  ASSAY_ASSIGN(layer.post_attention_norm, load_norm(weights.post_attention_norm, form.element, uploader));
  ASSAY_ASSIGN(layer.gate_up, load_linear({&weights.gate_proj, &weights.up_proj}, form, uploader, true));
  ASSAY_ASSIGN(layer.down, load_linear({&weights.down_proj}, form, uploader));
  return layer;
}

void count_product(const Linear& linear, CudaModel& model) {
  ++model.num_products;
  model.num_packed += linear.packed.has_value();
  model.num_int4 += linear.packed.has_value() || std::holds_alternative<Int4Weight>(linear.weight);
}

// Dense whatever it was: chunks of its rows are multiplied apart.
Result<Linear> load_head(const LinearWeight& head, const ModelForm& form, Uploader& uploader) {
  Linear linear;
  linear.name = head.name;
  linear.n = head.out_features;
  linear.k = head.in_features;
  linear.element = form.element;
  ASSAY_ASSIGN(linear.weight, load_dense({&head}, linear.n, linear.k, form.element, uploader));
  ASSAY_ASSIGN(const std::vector<float> bias, bias_of({&head}));
  ASSAY_ASSIGN(linear.bias, uploader.upload(bias, linear.name));
  return linear;
}

bool same_bytes(const TensorView& view, const LinearWeight& linear) {
  const auto* dense = std::get_if<TensorView>(&linear.weight);
  return dense && dense->bytes.data() == view.bytes.data();
}

int64_t linear_bytes(const Parts& parts, const ModelForm& form) {
  const int64_t elements = rows_of(parts) * parts[0]->in_features;
  const int64_t dense = elements * element_bytes(form.element);
  int64_t bytes = 0;
  for (const LinearWeight* part : parts) bytes += part->bias ? 2 * part->out_features * 4 : 0;
  if (!share_int4(parts, form)) return bytes + dense;
  const int64_t groups = rows_of(parts) * quantized(*parts[0])->scheme.num_groups(parts[0]->in_features);
  const int64_t raw = elements / 2 + groups * (asymmetric(parts) ? 5 : 4);
  const auto shape = packed_shape(parts);
  if (form.expand_int4) return bytes + dense + (shape ? shape->bytes() : 0);
  return bytes + (shape ? std::max(raw, shape->bytes()) : raw);
}

}  // namespace

int64_t model_bytes(const ModelWeights& weights, const ModelForm& form) {
  int64_t bytes = weights.lm_head.out_features * weights.lm_head.in_features * element_bytes(form.element);
  if (!same_bytes(weights.embed_tokens, weights.lm_head))
    bytes += weights.embed_tokens.rows() * weights.embed_tokens.cols() * element_bytes(form.element);
  for (const LayerWeights& layer : weights.layers) {
    bytes += linear_bytes({&layer.q_proj, &layer.k_proj, &layer.v_proj}, form) + linear_bytes({&layer.o_proj}, form);
    bytes += linear_bytes({&layer.gate_proj, &layer.up_proj}, form) + linear_bytes({&layer.down_proj}, form);
    bytes += (layer.input_norm.rows() + layer.post_attention_norm.rows()) * 4;
  }
  return bytes + weights.final_norm.rows() * 4;
}

int64_t largest_workspace(const CudaModel& model, int64_t max_rows) {
  int64_t bytes = 0;
  for (const CudaLayer& layer : model.layers) {
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down})
      bytes = std::max(bytes, linear_workspace_bytes(*linear, max_rows));
  }
  return bytes;
}

int64_t largest_w4_workspace(const CudaModel& model, int64_t max_rows, int num_sms) {
  int64_t bytes = 0;
  std::set<std::pair<int64_t, int64_t>> seen;  // layers are of a few shapes, and have one group size
  for (const CudaLayer& layer : model.layers) {
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      if (linear->packed && seen.insert({linear->n, linear->k}).second)
        bytes = std::max(bytes, w4_workspace_bytes(*linear, max_rows, num_sms));
    }
  }
  return bytes;
}

Result<Linear> load_linear(const Parts& parts, const ModelForm& form, Uploader& uploader, bool gate_up) {
  ASSAY_CHECK(!parts.empty());
  Linear linear;
  linear.name = parts[0]->name;
  linear.k = parts[0]->in_features;
  linear.element = form.element;
  for (const LinearWeight* part : parts) {
    ASSAY_CHECK_EQ(part->in_features, linear.k);
    linear.n += part->out_features;
  }
  if (linear.k % 8 != 0)
    return unsupported(
        fmt::format("{}: {} inputs, the CUDA backend takes multiples of 8; use --backend cpu", linear.name, linear.k));
  if (share_int4(parts, form)) {
    ASSAY_TRY(load_quantized(parts, form, gate_up, uploader, linear));
  } else {
    ASSAY_ASSIGN(linear.weight, load_dense(parts, linear.n, linear.k, form.element, uploader));
  }
  ASSAY_ASSIGN(const std::vector<float> bias, bias_of(parts));
  ASSAY_ASSIGN(linear.bias, uploader.upload(bias, linear.name));
  if (linear.packed && !bias.empty()) {
    ASSAY_ASSIGN(linear.packed->bias, load_packed_bias(bias, gate_up, linear.name, uploader));
  }
  return linear;
}

Result<CudaModel> load_cuda_model(const ModelWeights& weights, const ModelForm& form, Uploader& uploader) {
  CudaModel model;
  model.form = form;
  model.layers.reserve(weights.layers.size());
  for (const LayerWeights& layer : weights.layers) {
    ASSAY_ASSIGN(CudaLayer loaded, load_layer(layer, form, uploader));
    for (const Linear* linear : {&loaded.qkv, &loaded.o, &loaded.gate_up, &loaded.down}) count_product(*linear, model);
    model.layers.push_back(std::move(loaded));
  }
  ASSAY_ASSIGN(model.final_norm, load_norm(weights.final_norm, form.element, uploader));
  ASSAY_ASSIGN(model.lm_head, load_head(weights.lm_head, form, uploader));
  ++model.num_products;
  if (!same_bytes(weights.embed_tokens, weights.lm_head)) {
    const int64_t elements = weights.embed_tokens.rows() * weights.embed_tokens.cols();
    ASSAY_ASSIGN(model.own_embedding, DeviceBuffer::allocate(elements * element_bytes(form.element), "embed_tokens"));
    ASSAY_TRY(upload_dense(weights.embed_tokens, form.element, model.own_embedding.data(), uploader));
  }
  ASSAY_TRY(uploader.finish());
  return model;
}

}  // namespace assay::cuda
