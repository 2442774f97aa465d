#pragma once

// Int4 strips to bf16, for AVX-512 BF16 (see simd.h).

#include <immintrin.h>

#include "engine/cpu/packed_matrix.h"
#include "engine/cpu/simd.h"

namespace assay::cpu::ASSAY_ISA {

// Up to so many rows int4 weights are unpacked in registers, once for each pass over the strip.
// Tuned by bench_cpu_kernels.
inline constexpr int64_t kFusedRows = 4;

ASSAY_INLINE __m512bh broadcast_pair(const uint16_t* pair) {
  int bits;
  std::memcpy(&bits, pair, sizeof bits);
  return (__m512bh)_mm512_set1_epi32(bits);
}

// What turns the codes of 16 columns of one group into weights. Lanes of `low` belong to the first 8 columns, two each.
struct ColumnScales {
  __m512 low, high;            // scales
  __m512 zero_low, zero_high;  // zeros, where the matrix has them
};

// Each of 8 lanes twice: lanes 0-7 give the first vector, 8-15 the second.
ASSAY_INLINE void spread_pairs(__m512 columns, __m512& low, __m512& high) {
  const __m512i first = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  low = _mm512_permutexvar_ps(first, columns);
  high = _mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(8)), columns);
}

ASSAY_INLINE ColumnScales load_scales(const PackedMatrix& matrix, int64_t first) {
  ColumnScales scales{};
  __m512 columns;
  if (matrix.scales_are_bf16) {
    const auto bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(matrix.scales.as<uint16_t>() + first));
    columns = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  } else {
    columns = _mm512_loadu_ps(matrix.scales.as<float>() + first);
  }
  spread_pairs(columns, scales.low, scales.high);
  if (matrix.asymmetric) {
    const auto zeros = _mm_loadu_si128(reinterpret_cast<const __m128i*>(matrix.zeros.as<int8_t>() + first));
    spread_pairs(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(zeros)), scales.zero_low, scales.zero_high);
  }
  return scales;
}

// Nibble 0 of every lane as a weight, in float32. permutexvar looks at the low four bits of an index only, so that the
// other nibbles of the lane need not be masked away.
template <bool Asymmetric>
ASSAY_INLINE __m512 weigh(__m512i codes, __m512 scale, __m512 zero) {
  const __m512 values = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
  __m512 value = _mm512_permutexvar_ps(codes, values);
  if constexpr (Asymmetric) value = _mm512_sub_ps(value, zero);
  return _mm512_mul_ps(value, scale);
}

// Two neighboring k of 16 columns, in the order of a bf16 strip.
template <bool Asymmetric>
ASSAY_INLINE __m512bh weigh_pair(__m512i low, __m512i high, const ColumnScales& scales) {
  return _mm512_cvtne2ps_pbh(weigh<Asymmetric>(high, scales.high, scales.zero_high),
                             weigh<Asymmetric>(low, scales.low, scales.zero_low));
}

// Calls use(k, half, weights) for each pair of k and each half of the strip, k ascending.
template <bool Asymmetric, class Use>
ASSAY_INLINE void for_each_pair(const PackedMatrix& matrix, int64_t strip, Use&& use) {
  const auto* codes = matrix.weights.as<uint32_t>() + strip * (matrix.k_padded * 4);
  const int64_t first_scale = strip * matrix.num_groups * kStripColumns;
  int64_t k = 0;
  for (int64_t group = 0; group < matrix.num_groups; ++group) {
    const ColumnScales scales[2] = {load_scales(matrix, first_scale + group * kStripColumns),
                                    load_scales(matrix, first_scale + group * kStripColumns + kLanes)};
    const int64_t end = std::min(matrix.k_padded, (group + 1) * matrix.group_size);
    for (; k < end; k += 16, codes += 4 * kLanes) {
      __m512i lanes[4];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) lanes[v] = _mm512_loadu_si512(codes + v * kLanes);
#pragma GCC unroll 8
      for (int pair = 0; pair < 8; ++pair) {
        use(k + 2 * pair, 0, weigh_pair<Asymmetric>(lanes[0], lanes[1], scales[0]));
        use(k + 2 * pair, 1, weigh_pair<Asymmetric>(lanes[2], lanes[3], scales[1]));
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) lanes[v] = _mm512_srli_epi32(lanes[v], 4);
      }
    }
  }
}

// A strip as bf16: out [k_padded / 2, 32, 2].
inline void unpack_int4_strip(const PackedMatrix& matrix, int64_t strip, uint16_t* out) {
  const auto store = [&](int64_t k, int half, __m512bh weights) __attribute__((always_inline)) {
    _mm512_storeu_si512(out + k * kStripColumns + half * kStripColumns, (__m512i)weights);
  };
  if (matrix.asymmetric) {
    for_each_pair<true>(matrix, strip, store);
  } else {
    for_each_pair<false>(matrix, strip, store);
  }
}

// Rows x a strip, weights unpacked on the way: the sums that bf16 weights from unpack_int4_strip give, to the bit.
template <int Rows>
void multiply_int4_strip(const PackedMatrix& matrix, int64_t strip, const uint16_t* x, int64_t ld, float* sums) {
  __m512 acc[Rows][2];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
  const auto multiply = [&](int64_t k, int half, __m512bh weights) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      acc[r][half] = _mm512_dpbf16_ps(acc[r][half], broadcast_pair(x + r * ld + k), weights);
    }
  };
  if (matrix.asymmetric) {
    for_each_pair<true>(matrix, strip, multiply);
  } else {
    for_each_pair<false>(matrix, strip, multiply);
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    _mm512_store_ps(sums + r * kStripColumns, acc[r][0]);
    _mm512_store_ps(sums + r * kStripColumns + kLanes, acc[r][1]);
  }
}

}  // namespace assay::cpu::ASSAY_ISA
