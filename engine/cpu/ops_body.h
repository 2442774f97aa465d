#pragma once

// Bodies of the row operations of kernels.h, compiled once for every instruction set (see simd.h).

#include <cfloat>
#include <cmath>

#include "engine/cpu/kernels.h"
#include "engine/cpu/simd.h"

namespace assay::cpu::ASSAY_ISA {

// How activations are stored and rounded: the element type and how 16 of them are read and written.
struct Bf16Storage {
  using Element = uint16_t;
  static ASSAY_INLINE V16 load(const Element* p) { return widen_bf16(p); }
  static ASSAY_INLINE void store(Element* p, V16 v) { store_bf16(p, v); }
};
struct F32Storage {
  using Element = float;
  static ASSAY_INLINE V16 load(const Element* p) { return load16(p); }
  static ASSAY_INLINE void store(Element* p, V16 v) { store16(p, v); }
};
struct RoundedStorage {
  using Element = float;
  static ASSAY_INLINE V16 load(const Element* p) { return load16(p); }
  static ASSAY_INLINE void store(Element* p, V16 v) { store16(p, round_bf16(v)); }
};

template <class Storage>
void rms_norm(const float* x, const float* weight, int64_t width, float eps, void* out) {
  using Element = typename Storage::Element;
  auto* to = static_cast<Element*>(out);
  V16 sums = splat(0.0f);
  for (int64_t i = 0; i < width; i += kLanes) {  // the padding is zero
    const V16 v = load16(x + i);
    sums = madd(v, v, sums);
  }
  const V16 factor = splat(1.0f / __builtin_sqrtf(reduce_add(sums) / static_cast<float>(width) + eps));
  for (int64_t i = 0; i < padded_width(width); i += kLanes) {
    Storage::store(to + i, load16(x + i) * factor * load16(weight + i));
  }
}

// One head; pairs that do not fill a vector go through one that is filled up with zeros.
template <class Storage>
ASSAY_INLINE void rotate_head(typename Storage::Element* head, int64_t half, const float* cos, const float* sin) {
  using Element = typename Storage::Element;
  for (int64_t j = 0; j < half; j += kLanes) {
    const auto pairs = static_cast<size_t>(half - j < kLanes ? half - j : kLanes);
    alignas(64) Element first[kLanes] = {}, second[kLanes] = {};
    alignas(64) float c[kLanes] = {}, s[kLanes] = {};
    std::memcpy(first, head + j, pairs * sizeof(Element));
    std::memcpy(second, head + half + j, pairs * sizeof(Element));
    std::memcpy(c, cos + j, pairs * sizeof(float));
    std::memcpy(s, sin + j, pairs * sizeof(float));
    const V16 a = Storage::load(first), b = Storage::load(second), vc = load16(c), vs = load16(s);
    Storage::store(first, a * vc - b * vs);
    Storage::store(second, b * vc + a * vs);
    std::memcpy(head + j, first, pairs * sizeof(Element));
    std::memcpy(head + half + j, second, pairs * sizeof(Element));
  }
}

template <class Storage>
void rotate(void* heads, int64_t num_heads, int64_t head_dim, const float* cos, const float* sin) {
  auto* first = static_cast<typename Storage::Element*>(heads);
  for (int64_t h = 0; h < num_heads; ++h) rotate_head<Storage>(first + h * head_dim, head_dim / 2, cos, sin);
}

// Elements that one step of a dot product takes: pairs in bf16, single floats else.
template <class Storage>
inline constexpr int64_t kPack = 4 / sizeof(typename Storage::Element);

template <class Storage>
void write_kv(const void* keys, const void* values, int64_t num_kv_heads, int64_t head_dim, int slot,
              std::byte* block) {
  using Element = typename Storage::Element;
  constexpr int64_t pack = kPack<Storage>;
  const auto* key = static_cast<const Element*>(keys);
  const auto* value = static_cast<const Element*>(values);
  auto* key_block = reinterpret_cast<Element*>(block);
  for (int64_t h = 0; h < num_kv_heads; ++h) {
    Element* value_block = key_block + kKvBlockTokens * head_dim;
    for (int64_t d = 0; d < head_dim; d += pack) {
      std::memcpy(key_block + d * kKvBlockTokens + slot * pack, key + d, sizeof(float));
    }
    Element* row = value_block + slot / pack * head_dim * pack + slot % pack;
    for (int64_t d = 0; d < head_dim; ++d) row[d * pack] = value[d];
    key += head_dim;
    value += head_dim;
    key_block += 2 * kKvBlockTokens * head_dim;
  }
}

template <class Storage>
ASSAY_INLINE void finish_row(const Epilogue& epilogue, int64_t row, int64_t strip, V16 low, V16 high) {
  using Element = typename Storage::Element;
  Element* out = static_cast<Element*>(epilogue.out) + row * epilogue.ld + strip * kStripColumns;
  switch (epilogue.kind) {
    case Epilogue::Kind::store:
      Storage::store(out, low);
      Storage::store(out + kLanes, high);
      break;
    case Epilogue::Kind::add: {
      float* stream = static_cast<float*>(epilogue.out) + row * epilogue.ld + strip * kStripColumns;
      store16(stream, load16(stream) + low);
      store16(stream + kLanes, load16(stream + kLanes) + high);
      break;
    }
    case Epilogue::Kind::swiglu: Storage::store(out - strip * kLanes, silu(low) * high); break;
    case Epilogue::Kind::float32: {
      float* sums = static_cast<float*>(epilogue.out) + row * epilogue.ld + strip * kStripColumns;
      store16(sums, low);
      store16(sums + kLanes, high);
      break;
    }
  }
}

template <class Storage>
ASSAY_INLINE void finish_rows(const Epilogue& epilogue, int64_t row, int64_t num_rows, int64_t strip, const float* sums,
                              int64_t sums_ld) {
  V16 bias_low = splat(0.0f), bias_high = splat(0.0f);
  if (epilogue.bias) {
    bias_low = load16(epilogue.bias + strip * kStripColumns);
    bias_high = load16(epilogue.bias + strip * kStripColumns + kLanes);
  }
  for (int64_t r = 0; r < num_rows; ++r) {
    const float* row_sums = sums + r * sums_ld;
    finish_row<Storage>(epilogue, row + r, strip, load16(row_sums) + bias_low, load16(row_sums + kLanes) + bias_high);
  }
}

template <class Storage>
void finish(const Epilogue& epilogue, int64_t row, int64_t num_rows, int64_t strip, const float* sums,
            int64_t sums_ld) {
  finish_rows<Storage>(epilogue, row, num_rows, strip, sums, sums_ld);
}

ASSAY_INLINE void expand_bf16(const uint16_t* pairs, int64_t k, float* out, int64_t ld) {
  for (int64_t step = 0; step < k / 2; ++step) {
    for (int half = 0; half < 2; ++half) {
      U16 both;
      std::memcpy(&both, pairs + step * 2 * kStripColumns + half * 2 * kLanes, sizeof both);
      store16(out + 2 * step * ld + half * kLanes, (V16)(both << 16));
      store16(out + (2 * step + 1) * ld + half * kLanes, (V16)(both & 0xffff0000u));
    }
  }
}

// What turns a strip's codes of one group into weights; lane i of vector v belongs to column 8 v + i / 2.
struct GroupScales {
  V16 scale[4];
  V16 zero[4];
};

ASSAY_INLINE GroupScales load_group(const PackedMatrix& matrix, int64_t strip, int64_t group) {
  alignas(64) float scale[2 * kStripColumns], zero[2 * kStripColumns];
  const int64_t first = (strip * matrix.num_groups + group) * kStripColumns;
  for (int64_t c = 0; c < kStripColumns; ++c) {
    float s;
    if (matrix.scales_are_bf16) {
      const uint32_t bits = static_cast<uint32_t>(matrix.scales.as<uint16_t>()[first + c]) << 16;
      std::memcpy(&s, &bits, sizeof s);
    } else {
      s = matrix.scales.as<float>()[first + c];
    }
    scale[2 * c] = scale[2 * c + 1] = s;
    zero[2 * c] = zero[2 * c + 1] = matrix.asymmetric ? static_cast<float>(matrix.zeros.as<int8_t>()[first + c]) : 0.0f;
  }
  GroupScales scales;
  for (int v = 0; v < 4; ++v) {
    scales.scale[v] = load16(scale + v * kLanes);
    scales.zero[v] = load16(zero + v * kLanes);
  }
  return scales;
}

ASSAY_INLINE void expand_int4(const PackedMatrix& matrix, int64_t strip, float* out, int64_t ld) {
  const auto* codes = matrix.weights.as<uint32_t>() + strip * (matrix.strip_bytes() / 4);
  GroupScales group{};
  for (int64_t k = 0; k < matrix.k_padded; k += 16) {
    if (k % matrix.group_size == 0) group = load_group(matrix, strip, k / matrix.group_size);
    for (int v = 0; v < 4; ++v, codes += kLanes) {
      U16 lanes;
      std::memcpy(&lanes, codes, sizeof lanes);
      for (int j = 0; j < 8; ++j) {
        const V16 code = __builtin_convertvector((I16)((lanes >> (4 * j)) & 15u), V16) - splat(8.0f);
        alignas(64) float weights[kLanes];
        store16(weights, round_bf16((code - group.zero[v]) * group.scale[v]));
        float* even = out + (k + 2 * j) * ld + v * 8;
        for (int i = 0; i < 8; ++i) {
          even[i] = weights[2 * i];
          even[ld + i] = weights[2 * i + 1];
        }
      }
    }
  }
}

inline void expand_strip(const PackedMatrix& matrix, int64_t strip, float* out, int64_t ld) {
  switch (matrix.format) {
    case PackedMatrix::Format::bf16:
      expand_bf16(matrix.weights.as<uint16_t>() + strip * matrix.k_padded * kStripColumns, matrix.k_padded, out, ld);
      break;
    case PackedMatrix::Format::f32: {
      const float* strip_weights = matrix.weights.as<float>() + strip * matrix.k_padded * kStripColumns;
      for (int64_t k = 0; k < matrix.k_padded; ++k) {
        std::memcpy(out + k * ld, strip_weights + k * kStripColumns, kStripColumns * sizeof(float));
      }
      break;
    }
    case PackedMatrix::Format::int4: expand_int4(matrix, strip, out, ld); break;
  }
}

// Ids that one float sum of exponentials covers.
inline constexpr int64_t kLogitBlock = 4096;

// Sixteen logits; past the end the lowest finite number, which adds nothing.
ASSAY_INLINE V16 load_logits(const float* logits, int64_t i, int64_t count) {
  if (i + kLanes <= count) return load16(logits + i);
  alignas(64) float lanes[kLanes];
  store16(lanes, splat(-FLT_MAX));
  std::memcpy(lanes, logits + i, static_cast<size_t>(count - i) * sizeof(float));
  return load16(lanes);
}

// Largest logit and its lowest id; a NaN or infinity anywhere makes `poison` NaN.
ASSAY_INLINE void find_max(const float* logits, int64_t count, LogitStats& stats, V16& poison) {
  stats.max = -FLT_MAX;
  int64_t best_block = 0;
  for (int64_t block = 0; block < count; block += kLogitBlock) {
    const int64_t end = block + kLogitBlock < count ? block + kLogitBlock : count;
    V16 largest = splat(-FLT_MAX);
    for (int64_t i = block; i < end; i += kLanes) {
      const V16 v = load_logits(logits, i, count);
      largest = max16(v, largest);
      poison = madd(v, splat(0.0f), poison);
    }
    const float block_max = reduce_max(largest);
    if (block_max > stats.max) {
      stats.max = block_max;
      best_block = block;
    }
  }
  while (best_block < count - 1 && logits[best_block] != stats.max) ++best_block;
  stats.argmax = static_cast<TokenId>(best_block);
}

inline LogitStats logit_stats(const float* logits, int64_t count) {
  LogitStats stats;
  V16 poison = splat(0.0f);
  find_max(logits, count, stats, poison);
  const V16 shift = splat(-stats.max * kLog2E);
  double total = 0;
  for (int64_t block = 0; block < count; block += kLogitBlock) {
    const int64_t end = block + kLogitBlock < count ? block + kLogitBlock : count;
    V16 sums = splat(0.0f);
    for (int64_t i = block; i < end; i += kLanes) {
      sums = sums + exp2_flushed(madd(load_logits(logits, i, count), splat(kLog2E), shift));
    }
    total += static_cast<double>(reduce_add(sums));
  }
  stats.log_sum = static_cast<double>(stats.max) + std::log(total);
  stats.finite = reduce_add(poison) == 0.0f;
  return stats;
}

}  // namespace assay::cpu::ASSAY_ISA
