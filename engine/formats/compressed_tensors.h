#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/quant_scheme.h"

namespace assay {

// config.json's quantization_config as compressed-tensors writes it, pack-quantized format. Other formats, bit widths
// other than 4 and 8, quantized activations or KV caches, sparsity and transforms are `unsupported`, by name.
struct QuantizationConfig {
  struct Group {
    std::vector<std::string> targets;  // module names, class names ("Linear"), or "re:" patterns, start-anchored
    QuantScheme scheme;
  };
  std::vector<Group> groups;
  std::vector<std::string> ignore;  // as targets
  std::string version;              // writer's version, may be empty
};

// Reads the object; nullopt when config.json has none.
Result<std::optional<QuantizationConfig>> read_quantization_config(const Json& config, std::string_view source);
// The object to store in config.json; scheme of one group, target "Linear", in the layout of compressed-tensors 0.9.
Json write_quantization_config(const QuantizationConfig& config);

// Whether a target or ignore entry names the module: equality with its full name or class name, or a start-anchored
// match for "re:" entries. The module answers to each spelling that published layouts give it: a decoder layer to
// "layers.0...", "model.layers.0...", "language_model.model.layers.0..." and "model.language_model.layers.0...", the
// head to "lm_head" and "language_model.lm_head", anything else with and without "model." (model.md 1.4). Errors:
// bad_data for a pattern that does not compile, or that gives up on backtracking.
Result<bool> module_matches(const std::string& pattern, std::string_view module_name, std::string_view class_name);

// One quantized linear as it lies in the file. `zero_point` and `g_idx` are absent for symmetric / unordered weights.
// Views into the checkpoint's mapping.
struct PackedLinear {
  QuantScheme scheme;
  int64_t out_features = 0;
  int64_t in_features = 0;
  TensorView packed;  // i32 [out, ceil(in * bits / 32)], code c in bits (c % (32/bits)) * bits, offset 2^(bits-1)
  TensorView scale;   // bf16, f16 or f32 [out, groups]
  std::optional<TensorView> zero_point;  // i32 [ceil(out * bits / 32), groups] packed along rows, or i8 [out, groups]
  std::optional<TensorView> g_idx;       // i32 [in]
};

// Finds `<prefix>.weight_packed` and its companions and checks every shape against every other; nullopt when the
// checkpoint has no such tensor. `prefix` is the module's name as the file spells it. The scheme is that of the group
// whose targets name the module: by exact name, then by pattern, then by class; a lone group also serves modules it
// does not name, for the file is the better witness. A g_idx holding -1 was never set by its writer and counts as
// absent; zero points of a symmetric group must be zero and are then left out. Errors: bad_data naming the tensor, its
// shape and the expected shape.
Result<std::optional<PackedLinear>> find_packed_linear(const Checkpoint& checkpoint, const std::string& prefix,
                                                       const std::optional<QuantizationConfig>& config);

// A quantized linear, unpacked: what tests compare and what backends repack from.
struct UnpackedLinear {
  int64_t out_features = 0, in_features = 0;
  int64_t num_groups = 0;
  std::vector<int8_t> codes;             // [out, in], signed
  std::vector<float> scales;             // [out, groups], exactly the stored values
  std::vector<int8_t> zero_points;       // [out, groups], signed; empty when symmetric
  std::vector<int32_t> group_of_column;  // [in]
};
// REQUIRES: `linear` comes from find_packed_linear.
// Errors: bad_data for a scale that is not finite and for a zero point outside the code range.
Result<UnpackedLinear> unpack(const PackedLinear& linear);

// Rows [begin, end) of (q - z) * s as bf16 bits, [end - begin, in]: the weights that every backend multiplies with.
// Numerics: the product is formed in float32 and rounded to nearest even bf16. With bf16 and f16 scales that product is
// exact (at most 9 + 11 significant bits), so there is one rounding, and with bf16 scales the bits are those of the
// reference decompressor. With f32 scales they are those of its float32 weight cast to bf16. With f16 scales the
// reference first rounds to f16; that rounding is left out here.
void dequantize_rows_bf16(const UnpackedLinear& linear, int64_t begin, int64_t end, uint16_t* out);

// Packs signed codes [rows, cols] of `bits` bits along the last dimension, low bits first, offset 2^(bits-1), tail
// padded with zero bits: i32 words [rows, ceil(cols * bits / 32)].
std::vector<int32_t> pack_codes(const int8_t* codes, int64_t rows, int64_t cols, int bits);
// Packs zero points [out, groups] along dimension 0: i32 words [ceil(out * bits / 32), groups].
std::vector<int32_t> pack_zero_points(const int8_t* zero_points, int64_t out_features, int64_t groups, int bits);

}  // namespace assay
