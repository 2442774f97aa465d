#pragma once

// Sixteen floats at a time, for whichever instruction set the including file targets. Such a file names its namespace
// in ASSAY_ISA, opens `#pragma GCC target`, and defines ASSAY_SIMD_LEVEL (0 portable, 2 AVX2, 3 AVX-512, 4 AVX-512
// BF16) before the include. Everything is inlined: no function of one instruction set is ever linked into another's
// place.

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#ifndef ASSAY_ISA
#define ASSAY_ISA portable
#define ASSAY_SIMD_LEVEL 0
#endif
#define ASSAY_INLINE __attribute__((always_inline)) inline

namespace assay::cpu::ASSAY_ISA {

inline constexpr int kLanes = 16;
using V16 = float __attribute__((vector_size(64)));
using I16 = int32_t __attribute__((vector_size(64)));
using U16 = uint32_t __attribute__((vector_size(64)));
using Half16 = uint16_t __attribute__((vector_size(32)));

ASSAY_INLINE V16 splat(float x) { return V16{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
ASSAY_INLINE V16 load16(const float* p) {
  V16 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
ASSAY_INLINE void store16(float* p, V16 v) { std::memcpy(p, &v, sizeof v); }

// a * b + c, fused wherever the instruction set can.
ASSAY_INLINE V16 madd(V16 a, V16 b, V16 c) {
#if ASSAY_SIMD_LEVEL >= 3
  return (V16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif ASSAY_SIMD_LEVEL == 2
  __m256 x[2], y[2], z[2];
  std::memcpy(x, &a, sizeof a);
  std::memcpy(y, &b, sizeof b);
  std::memcpy(z, &c, sizeof c);
  z[0] = _mm256_fmadd_ps(x[0], y[0], z[0]);
  z[1] = _mm256_fmadd_ps(x[1], y[1], z[1]);
  V16 v;
  std::memcpy(&v, z, sizeof v);
  return v;
#else
  return a * b + c;
#endif
}

ASSAY_INLINE V16 max16(V16 a, V16 b) {
#if ASSAY_SIMD_LEVEL >= 3
  return (V16)_mm512_max_ps((__m512)a, (__m512)b);
#else
  return a > b ? a : b;
#endif
}

ASSAY_INLINE float reduce_max(V16 v) {
#if ASSAY_SIMD_LEVEL >= 3
  return _mm512_reduce_max_ps((__m512)v);
#else
  float lane[kLanes];
  store16(lane, v);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
  }
  return lane[0];
#endif
}

// The sum of the lanes, halves added to halves: one order everywhere.
ASSAY_INLINE float reduce_add(V16 v) {
  float lane[kLanes];
  store16(lane, v);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

// bf16 -> float, exact.
ASSAY_INLINE V16 widen_bf16(const uint16_t* p) {
  Half16 half;
  std::memcpy(&half, p, sizeof half);
  return (V16)(__builtin_convertvector(half, U16) << 16);
}

// The bf16 nearest to each float, to even on ties, as a float. NaN stays NaN.
ASSAY_INLINE V16 round_bf16(V16 v) {
#if ASSAY_SIMD_LEVEL == 4
  return (V16)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)v)), 16);
#else
  const U16 bits = (U16)v;
  const U16 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
  return v == v ? (V16)rounded : v;
#endif
}

ASSAY_INLINE void store_bf16(uint16_t* p, V16 v) {
#if ASSAY_SIMD_LEVEL == 4
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh((__m512)v));
#else
  const Half16 half = __builtin_convertvector((U16)round_bf16(v) >> 16, Half16);
  std::memcpy(p, &half, sizeof half);
#endif
}

// 2^x for x in [-126, 126]: exact at whole x, elsewhere within 2 units in the last place. The integer part is found by
// adding 1.5 * 2^23; the polynomial is the minimax one of degree 5 for (2^r - 1) / r, r in [-0.5, 0.5].
ASSAY_INLINE V16 exp2_in_range(V16 x) {
  const V16 magic = splat(12582912.0f);
  const V16 shifted = x + magic;
  const V16 r = x - (shifted - magic);
  V16 p = splat(0.001326472731307149f);
  p = madd(p, r, splat(0.009671512991189957f));
  p = madd(p, r, splat(0.05550733581185341f));
  p = madd(p, r, splat(0.24022242426872253f));
  p = madd(p, r, splat(0.6931470036506653f));
  p = madd(p, r, splat(1.0f));
  return (V16)((I16)p + ((I16)shifted << 23));
}

// 2^x, zero below 2^-126; x at most 126. NaN stays NaN.
ASSAY_INLINE V16 exp2_flushed(V16 x) {
  const V16 floor = splat(-126.0f);
  const V16 p = exp2_in_range(max16(floor, x));
  return x < floor ? splat(0.0f) : p;
}

inline constexpr float kLog2E = 1.44269504088896341f;

// x / (1 + e^-x).
ASSAY_INLINE V16 silu(V16 x) {
  V16 exponent = x * splat(-kLog2E);
  exponent = exponent > splat(126.0f) ? splat(126.0f) : max16(splat(-126.0f), exponent);
  return x / (splat(1.0f) + exp2_in_range(exponent));
}

}  // namespace assay::cpu::ASSAY_ISA
