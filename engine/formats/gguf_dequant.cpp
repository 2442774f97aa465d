#include "engine/formats/gguf_dequant.h"

#include <array>
#include <cstring>

#include "engine/base/check.h"
#include "engine/formats/tensor.h"

// A code times its scale has at most 22 significant bits (f16 scale 11, part scale 6, code 5), so every product is
// exact and a compiler that fuses it with the addition of a minimum changes no bit.

namespace assay {
namespace {

constexpr int kSmallBlock = 32;
constexpr int kSuperBlock = 256;

float read_f16(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return f16_to_float(bits);
}

uint32_t read_u32(const uint8_t* bytes) {
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

void decode_f32(const uint8_t* block, float* out) { std::memcpy(out, block, sizeof(float)); }

void decode_f16(const uint8_t* block, float* out) { *out = read_f16(block); }

void decode_bf16(const uint8_t* block, float* out) {
  uint16_t bits;
  std::memcpy(&bits, block, sizeof(bits));
  *out = bf16_to_float(bits);
}

void decode_q4_0(const uint8_t* block, float* out) {
  const float scale = read_f16(block);
  const uint8_t* codes = block + 2;
  for (int j = 0; j < 16; ++j) {
    out[j] = static_cast<float>((codes[j] & 15) - 8) * scale;
    out[j + 16] = static_cast<float>((codes[j] >> 4) - 8) * scale;
  }
}

void decode_q4_1(const uint8_t* block, float* out) {
  const float scale = read_f16(block), minimum = read_f16(block + 2);
  const uint8_t* codes = block + 4;
  for (int j = 0; j < 16; ++j) {
    out[j] = static_cast<float>(codes[j] & 15) * scale + minimum;
    out[j + 16] = static_cast<float>(codes[j] >> 4) * scale + minimum;
  }
}

// Value j of a Q5 block: four bits of `codes`, the fifth from bit j of `high`.
int low_five_bits(const uint8_t* codes, uint32_t high, int j) {
  return (codes[j] & 15) | static_cast<int>(((high >> j) << 4) & 16u);
}
int high_five_bits(const uint8_t* codes, uint32_t high, int j) {
  return (codes[j] >> 4) | static_cast<int>((high >> (j + 12)) & 16u);
}

void decode_q5_0(const uint8_t* block, float* out) {
  const float scale = read_f16(block);
  const uint32_t high = read_u32(block + 2);
  const uint8_t* codes = block + 6;
  for (int j = 0; j < 16; ++j) {
    out[j] = static_cast<float>(low_five_bits(codes, high, j) - 16) * scale;
    out[j + 16] = static_cast<float>(high_five_bits(codes, high, j) - 16) * scale;
  }
}

void decode_q5_1(const uint8_t* block, float* out) {
  const float scale = read_f16(block), minimum = read_f16(block + 2);
  const uint32_t high = read_u32(block + 4);
  const uint8_t* codes = block + 8;
  for (int j = 0; j < 16; ++j) {
    out[j] = static_cast<float>(low_five_bits(codes, high, j)) * scale + minimum;
    out[j + 16] = static_cast<float>(high_five_bits(codes, high, j)) * scale + minimum;
  }
}

void decode_q8_0(const uint8_t* block, float* out) {
  const float scale = read_f16(block);
  for (int j = 0; j < kSmallBlock; ++j) out[j] = static_cast<float>(static_cast<int8_t>(block[2 + j])) * scale;
}

void decode_iq4_nl(const uint8_t* block, float* out) {
  constexpr std::array<float, 16> kValues = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  const float scale = read_f16(block);
  const uint8_t* codes = block + 2;
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * kValues[codes[j] & 15];
    out[j + 16] = scale * kValues[codes[j] >> 4];
  }
}

// Scale and minimum of one 32-value part of a Q4_K or Q5_K block, in real numbers.
struct PartScale {
  float scale;
  float minimum;
};

// Twelve bytes hold eight 6-bit scales and eight 6-bit minima; the upper bits of the last four of each lie in the bytes
// of the first four.
PartScale part_scale(const uint8_t* block, int part) {
  const float scale = read_f16(block), minimum = read_f16(block + 2);
  const uint8_t* packed = block + 4;
  if (part < 4) {
    return {scale * static_cast<float>(packed[part] & 63), minimum * static_cast<float>(packed[part + 4] & 63)};
  }
  const int scale_code = (packed[part + 4] & 15) | ((packed[part - 4] >> 6) << 4);
  const int minimum_code = (packed[part + 4] >> 4) | ((packed[part] >> 6) << 4);
  return {scale * static_cast<float>(scale_code), minimum * static_cast<float>(minimum_code)};
}

void decode_q4_k(const uint8_t* block, float* out) {
  const uint8_t* codes = block + 16;
  for (int chunk = 0; chunk < 4; ++chunk, codes += 32, out += 64) {
    const PartScale low = part_scale(block, 2 * chunk), high = part_scale(block, 2 * chunk + 1);
    for (int l = 0; l < 32; ++l) {
      out[l] = low.scale * static_cast<float>(codes[l] & 15) - low.minimum;
      out[l + 32] = high.scale * static_cast<float>(codes[l] >> 4) - high.minimum;
    }
  }
}

void decode_q5_k(const uint8_t* block, float* out) {
  const uint8_t* fifth_bits = block + 16;
  const uint8_t* codes = block + 48;
  for (int chunk = 0; chunk < 4; ++chunk, codes += 32, out += 64) {
    const PartScale low = part_scale(block, 2 * chunk), high = part_scale(block, 2 * chunk + 1);
    for (int l = 0; l < 32; ++l) {
      const int bits = fifth_bits[l] >> (2 * chunk);
      out[l] = low.scale * static_cast<float>((codes[l] & 15) + ((bits & 1) << 4)) - low.minimum;
      out[l + 32] = high.scale * static_cast<float>((codes[l] >> 4) + ((bits & 2) << 3)) - high.minimum;
    }
  }
}

void decode_q6_k(const uint8_t* block, float* out) {
  const float scale = read_f16(block + 208);
  for (int half = 0; half < 2; ++half, out += 128) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    const uint8_t* part_codes = block + 192 + 8 * half;
    float part[8];
    for (int i = 0; i < 8; ++i) part[i] = scale * static_cast<float>(static_cast<int8_t>(part_codes[i]));
    for (int l = 0; l < 32; ++l) {
      const int at = l / 16;
      out[l] = part[at] * static_cast<float>(((low[l] & 15) | ((high[l] & 3) << 4)) - 32);
      out[l + 32] = part[at + 2] * static_cast<float>(((low[l + 32] & 15) | ((high[l] & 12) << 2)) - 32);
      out[l + 64] = part[at + 4] * static_cast<float>(((low[l] >> 4) | (high[l] & 48)) - 32);
      out[l + 96] = part[at + 6] * static_cast<float>(((low[l + 32] >> 4) | ((high[l] & 192) >> 2)) - 32);
    }
  }
}

template <int kValues, int kBytes, void (*kDecode)(const uint8_t*, float*)>
void decode_all(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count / kValues; ++i) kDecode(blocks + i * kBytes, out + i * kValues);
}

}  // namespace

GgmlBlock ggml_block(GgmlType type) {
  switch (type) {
    case GgmlType::f32: return {1, 4};
    case GgmlType::f16: return {1, 2};
    case GgmlType::bf16: return {1, 2};
    case GgmlType::q4_0: return {kSmallBlock, 18};
    case GgmlType::q4_1: return {kSmallBlock, 20};
    case GgmlType::q5_0: return {kSmallBlock, 22};
    case GgmlType::q5_1: return {kSmallBlock, 24};
    case GgmlType::q8_0: return {kSmallBlock, 34};
    case GgmlType::iq4_nl: return {kSmallBlock, 18};
    case GgmlType::q4_k: return {kSuperBlock, 144};
    case GgmlType::q5_k: return {kSuperBlock, 176};
    case GgmlType::q6_k: return {kSuperBlock, 210};
  }
  ASSAY_CHECK(!"a GgmlType without a block");
  return {};
}

void gguf_dequantize(GgmlType type, std::span<const std::byte> blocks, int64_t count, float* out) {
  const GgmlBlock block = ggml_block(type);
  ASSAY_CHECK_EQ(count % block.values, 0);
  ASSAY_CHECK_EQ(static_cast<int64_t>(blocks.size()), count / block.values * block.bytes);
  const auto* bytes = reinterpret_cast<const uint8_t*>(blocks.data());
  switch (type) {
    case GgmlType::f32: return decode_all<1, 4, decode_f32>(bytes, count, out);
    case GgmlType::f16: return decode_all<1, 2, decode_f16>(bytes, count, out);
    case GgmlType::bf16: return decode_all<1, 2, decode_bf16>(bytes, count, out);
    case GgmlType::q4_0: return decode_all<32, 18, decode_q4_0>(bytes, count, out);
    case GgmlType::q4_1: return decode_all<32, 20, decode_q4_1>(bytes, count, out);
    case GgmlType::q5_0: return decode_all<32, 22, decode_q5_0>(bytes, count, out);
    case GgmlType::q5_1: return decode_all<32, 24, decode_q5_1>(bytes, count, out);
    case GgmlType::q8_0: return decode_all<32, 34, decode_q8_0>(bytes, count, out);
    case GgmlType::iq4_nl: return decode_all<32, 18, decode_iq4_nl>(bytes, count, out);
    case GgmlType::q4_k: return decode_all<256, 144, decode_q4_k>(bytes, count, out);
    case GgmlType::q5_k: return decode_all<256, 176, decode_q5_k>(bytes, count, out);
    case GgmlType::q6_k: return decode_all<256, 210, decode_q6_k>(bytes, count, out);
  }
}

}  // namespace assay
