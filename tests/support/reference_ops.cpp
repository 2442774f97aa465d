#include "tests/support/reference_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/model/rope_table.h"

namespace assay::testing {
namespace {

using Row = std::vector<double>;

// A linear layer read once.
struct Dense {
  explicit Dense(const LinearWeight& linear) : weight(reference_weight(linear)), out_features(linear.out_features) {
    if (linear.bias) bias = to_floats(*linear.bias).value();
  }
  Row operator()(const Row& x) const {
    Row y = reference_product(x, weight, out_features);
    for (size_t i = 0; i < bias.size(); ++i) y[i] += static_cast<double>(bias[i]);
    return y;
  }
  std::vector<float> weight, bias;
  int64_t out_features;
};

void add(Row& x, const Row& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

// Attention of all positions; q, k, v hold one row a position, already turned.
std::vector<Row> attention(const ModelConfig& config, const std::vector<Row>& q, const std::vector<Row>& k,
                           const std::vector<Row>& v) {
  const auto dim = static_cast<size_t>(config.head_dim);
  const auto group = static_cast<size_t>(config.num_heads / config.num_kv_heads);
  std::vector<Row> out(q.size(), Row(q[0].size()));
  for (size_t head = 0; head < static_cast<size_t>(config.num_heads); ++head) {
    const size_t kv_head = head / group;
    Row keys, values;
    for (size_t p = 0; p < q.size(); ++p) {
      keys.insert(keys.end(), &k[p][kv_head * dim], &k[p][kv_head * dim] + dim);
      values.insert(values.end(), &v[p][kv_head * dim], &v[p][kv_head * dim] + dim);
      const int64_t position = static_cast<int64_t>(p);
      const int64_t first = config.sliding_window > 0 ? std::max<int64_t>(0, position - config.sliding_window + 1) : 0;
      const std::span<const double> query(q[p].data() + head * dim, dim);
      const Row attended = reference_attend(query, keys, values, first, position);
      std::copy(attended.begin(), attended.end(), out[p].begin() + static_cast<long>(head * dim));
    }
  }
  return out;
}

void run_layer(const ModelConfig& config, const LayerWeights& layer, const RopeTable& angles, std::vector<Row>& x) {
  const std::vector<float> input_norm = to_floats(layer.input_norm).value();
  const std::vector<float> post_norm = to_floats(layer.post_attention_norm).value();
  const Dense q_proj(layer.q_proj), k_proj(layer.k_proj), v_proj(layer.v_proj), o_proj(layer.o_proj);
  const Dense gate_proj(layer.gate_proj), up_proj(layer.up_proj), down_proj(layer.down_proj);
  std::vector<Row> q, k, v;
  for (size_t p = 0; p < x.size(); ++p) {
    const Row h = reference_rms_norm(x[p], input_norm, config.rms_norm_eps);
    q.push_back(q_proj(h));
    k.push_back(k_proj(h));
    v.push_back(v_proj(h));
    const auto half = static_cast<size_t>(angles.half_dim);
    const std::span<const float> cos(angles.cos.data() + p * half, half), sin(angles.sin.data() + p * half, half);
    reference_rotate(q.back(), config.head_dim, cos, sin);
    reference_rotate(k.back(), config.head_dim, cos, sin);
  }
  const std::vector<Row> attended = attention(config, q, k, v);
  for (size_t p = 0; p < x.size(); ++p) {
    add(x[p], o_proj(attended[p]));
    const Row h = reference_rms_norm(x[p], post_norm, config.rms_norm_eps);
    Row gate = gate_proj(h);
    const Row up = up_proj(h);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] = reference_silu(gate[i]) * up[i];
    add(x[p], down_proj(gate));
  }
}

}  // namespace

std::vector<double> reference_rms_norm(std::span<const double> x, std::span<const float> weight, double eps) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double factor = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  Row out(x.size());
  for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * factor * static_cast<double>(weight[i]);
  return out;
}

void reference_rotate(std::span<double> heads, int64_t head_dim, std::span<const float> cos,
                      std::span<const float> sin) {
  const auto dim = static_cast<size_t>(head_dim), half = dim / 2;
  for (size_t head = 0; head < heads.size(); head += dim) {
    for (size_t j = 0; j < half; ++j) {
      const double a = heads[head + j], b = heads[head + half + j];
      heads[head + j] = a * static_cast<double>(cos[j]) - b * static_cast<double>(sin[j]);
      heads[head + half + j] = b * static_cast<double>(cos[j]) + a * static_cast<double>(sin[j]);
    }
  }
}

std::vector<double> reference_attend(std::span<const double> query, std::span<const double> keys,
                                     std::span<const double> values, int64_t first, int64_t last) {
  const size_t dim = query.size();
  Row weights;
  double largest = -std::numeric_limits<double>::infinity();
  for (auto key = static_cast<size_t>(first); key <= static_cast<size_t>(last); ++key) {
    double score = 0;
    for (size_t d = 0; d < dim; ++d) score += query[d] * keys[key * dim + d];
    weights.push_back(score / std::sqrt(static_cast<double>(dim)));
    largest = std::max(largest, weights.back());
  }
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  Row out(dim);
  for (size_t i = 0; i < weights.size(); ++i) {
    const double* value = values.data() + (static_cast<size_t>(first) + i) * dim;
    for (size_t d = 0; d < dim; ++d) out[d] += weights[i] / total * value[d];
  }
  return out;
}

double reference_silu(double x) { return x / (1 + std::exp(-x)); }

std::vector<double> reference_product(std::span<const double> x, std::span<const float> weight, int64_t out_features) {
  Row y(static_cast<size_t>(out_features));
  for (size_t n = 0; n < y.size(); ++n) {
    for (size_t k = 0; k < x.size(); ++k) y[n] += x[k] * static_cast<double>(weight[n * x.size() + k]);
  }
  return y;
}

std::vector<double> reference_logprobs(std::span<const double> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const double logit : logits) total += std::exp(logit - largest);
  Row out(logits.begin(), logits.end());
  for (double& value : out) value -= largest + std::log(total);
  return out;
}

std::vector<float> reference_weight(const LinearWeight& linear) {
  if (!linear.is_quantized()) return to_floats(std::get<TensorView>(linear.weight)).value();
  const UnpackedLinear unpacked = unpack(std::get<PackedLinear>(linear.weight)).value();
  std::vector<uint16_t> bits(static_cast<size_t>(linear.out_features * linear.in_features));
  dequantize_rows_bf16(unpacked, 0, linear.out_features, bits.data());
  std::vector<float> weight(bits.size());
  std::transform(bits.begin(), bits.end(), weight.begin(), bf16_to_float);
  return weight;
}

std::vector<std::vector<double>> reference_logits(const ModelConfig& config, const ModelWeights& weights,
                                                  const std::vector<int32_t>& tokens) {
  const auto width = static_cast<size_t>(config.hidden_size);
  const RopeTable angles = make_rope_table(config.rope, config.head_dim, static_cast<int64_t>(tokens.size()));
  const std::vector<float> embedding = to_floats(weights.embed_tokens).value();
  const std::vector<float> final_norm = to_floats(weights.final_norm).value();
  std::vector<Row> x;
  for (const int32_t token : tokens) {
    const float* row = embedding.data() + static_cast<size_t>(token) * width;
    x.emplace_back(row, row + width);
  }
  for (const LayerWeights& layer : weights.layers) run_layer(config, layer, angles, x);
  const Dense lm_head(weights.lm_head);
  for (Row& row : x) row = lm_head(reference_rms_norm(row, final_norm, config.rms_norm_eps));
  return x;
}

}  // namespace assay::testing
