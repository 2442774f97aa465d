#include "engine/formats/compressed_tensors.h"

#include <cmath>
#include <limits>

#include "engine/base/hash.h"
#include "tests/engine/formats/format_files.h"
#include "tests/support/shared_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

namespace assay {
namespace {

using testing::as_bytes_of;
using testing::check_refused;
using testing::Numbers;
using testing::TempFolder;
using testing::write_file;

constexpr std::string_view kName = "model.layers.0.mlp.down_proj";

QuantizationConfig config_of(const QuantScheme& scheme) { return {{{{"Linear"}, scheme}}, {"lm_head"}, ""}; }

// A checkpoint with one packed linear whose parts a test may bend before it is written.
struct LinearOnDisk {
  int64_t rows = 0, cols = 0;
  QuantScheme scheme;
  UnpackedLinear truth;

  struct Part {
    DType dtype;
    Shape shape;
    std::string bytes;
  };
  std::map<std::string, Part> parts;

  template <class T>
  void set(const std::string& suffix, DType dtype, Shape shape, const std::vector<T>& values) {
    parts[suffix] = {dtype, std::move(shape),
                     std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
  }

  // Writes the folder and finds the linear in it.
  Result<std::optional<PackedLinear>> find(const std::optional<QuantizationConfig>& config) {
    folder_ = std::make_unique<TempFolder>();
    write_file(folder_->path() / "config.json", "{}");
    std::vector<SafetensorsWriter::Entry> entries;
    for (const auto& [suffix, part] : parts)
      entries.push_back({std::string(kName) + "." + suffix, part.dtype, part.shape});
    auto writer = SafetensorsWriter::create(folder_->path() / "model.safetensors", entries);
    REQUIRE(writer.ok());
    for (const auto& [suffix, part] : parts) REQUIRE(writer->write(std::as_bytes(std::span(part.bytes))).ok());
    REQUIRE(writer->finish().ok());
    auto opened = Checkpoint::open(folder_->path());
    REQUIRE(opened.ok());
    checkpoint_ = std::make_unique<Checkpoint>(std::move(*opened));
    return find_packed_linear(*checkpoint_, std::string(kName), config);
  }
  Result<std::optional<PackedLinear>> find() { return find(config_of(scheme)); }

 private:
  std::unique_ptr<TempFolder> folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

// A random linear; every code, zero point and scale fresh.
LinearOnDisk random_linear(int64_t rows, int64_t cols, const QuantScheme& scheme, uint64_t seed) {
  LinearOnDisk linear;
  linear.rows = rows, linear.cols = cols, linear.scheme = scheme;
  Numbers numbers(seed);
  const int64_t groups = scheme.num_groups(cols);
  const auto code = [&] {
    return static_cast<int8_t>(static_cast<int>(numbers.below(1u << scheme.bits)) - (1 << (scheme.bits - 1)));
  };
  UnpackedLinear& truth = linear.truth;
  truth.out_features = rows, truth.in_features = cols, truth.num_groups = groups;
  std::vector<uint16_t> scale_bits;
  for (int64_t i = 0; i < rows * cols; ++i) truth.codes.push_back(code());
  for (int64_t i = 0; i < rows * groups; ++i) {
    scale_bits.push_back(float_to_bf16(0.001f + static_cast<float>(numbers.below(1000)) * 0.0007f));
    truth.scales.push_back(bf16_to_float(scale_bits.back()));
    if (!scheme.symmetric) truth.zero_points.push_back(code());
  }
  for (int64_t c = 0; c < cols; ++c) {
    truth.group_of_column.push_back(static_cast<int32_t>(scheme.activation_order  ? c % groups
                                                         : scheme.group_size == 0 ? 0
                                                                                  : c / scheme.group_size));
  }
  const int64_t per_word = 32 / scheme.bits;
  linear.set("weight_packed", DType::i32, {rows, (cols + per_word - 1) / per_word},
             pack_codes(truth.codes.data(), rows, cols, scheme.bits));
  linear.set("weight_scale", DType::bf16, {rows, groups}, scale_bits);
  linear.set("weight_shape", DType::i64, {2}, std::vector<int64_t>{rows, cols});
  if (!scheme.symmetric) {
    linear.set("weight_zero_point", DType::i32, {(rows + per_word - 1) / per_word, groups},
               pack_zero_points(truth.zero_points.data(), rows, groups, scheme.bits));
  }
  if (scheme.activation_order) linear.set("weight_g_idx", DType::i32, {cols}, truth.group_of_column);
  return linear;
}

LinearOnDisk small_linear(bool symmetric = true) {
  return random_linear(6, 64, {.bits = 4, .group_size = 32, .symmetric = symmetric}, 3);
}

// (q - z) * s by the definition, one element at a time.
std::vector<uint16_t> dequantized_by_definition(const UnpackedLinear& linear) {
  std::vector<uint16_t> out;
  for (int64_t row = 0; row < linear.out_features; ++row) {
    for (int64_t c = 0; c < linear.in_features; ++c) {
      const auto group = static_cast<size_t>(row * linear.num_groups + linear.group_of_column[static_cast<size_t>(c)]);
      const double z = linear.zero_points.empty() ? 0 : linear.zero_points[group];
      const double q = linear.codes[static_cast<size_t>(row * linear.in_features + c)];
      out.push_back(float_to_bf16(static_cast<float>((q - z) * double{linear.scales[group]})));
    }
  }
  return out;
}

std::vector<uint16_t> dequantized(const UnpackedLinear& linear) {
  std::vector<uint16_t> out(static_cast<size_t>(linear.out_features * linear.in_features));
  dequantize_rows_bf16(linear, 0, linear.out_features, out.data());
  return out;
}

template <class T>
std::string sha256_of(const std::vector<T>& values) {
  return sha256_hex({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

TEST_CASE("codes pack into the words that the format's authors give") {
  const std::vector<int8_t> rising = {1, 2, 3, 4, 5, 6, 7, 0}, falling = {-1, -2, -3, -4, -5, -6, -7, -8};
  CHECK(pack_codes(rising.data(), 1, 8, 4) == std::vector<int32_t>{-1880241239});
  CHECK(pack_codes(falling.data(), 1, 8, 4) == std::vector<int32_t>{19088743});
  CHECK(pack_codes(rising.data(), 1, 3, 4) == std::vector<int32_t>{0xBA9});
  CHECK(pack_codes(falling.data(), 1, 2, 8) == std::vector<int32_t>{0x7E7F});
  CHECK(pack_zero_points(rising.data(), 4, 2, 4) == std::vector<int32_t>{0xFDB9, 0x8ECA});
}

TEST_CASE("what is packed unpacks to the same codes, zero points, scales and groups") {
  const QuantScheme schemes[] = {{.bits = 4, .group_size = 32},
                                 {.bits = 4, .group_size = 32, .symmetric = false},
                                 {.bits = 4, .group_size = 0},
                                 {.bits = 4, .group_size = 0, .symmetric = false},
                                 {.bits = 8, .group_size = 32, .symmetric = false},
                                 {.bits = 8, .group_size = 0},
                                 {.bits = 4, .group_size = 32, .symmetric = false, .activation_order = true}};
  for (const QuantScheme& scheme : schemes) {
    for (const int64_t rows : {1, 7, 16, 21}) {
      const int64_t cols = scheme.group_size == 0 ? 37 : 96;
      CAPTURE(scheme.text());
      CAPTURE(rows);
      LinearOnDisk linear = random_linear(rows, cols, scheme, static_cast<uint64_t>(rows));
      const auto found = linear.find();
      REQUIRE(found.ok());
      REQUIRE(found->has_value());
      CHECK((*found)->scheme == scheme);
      const auto unpacked = unpack(**found);
      REQUIRE(unpacked.ok());
      CHECK(unpacked->codes == linear.truth.codes);
      CHECK(unpacked->scales == linear.truth.scales);
      CHECK(unpacked->zero_points == linear.truth.zero_points);
      CHECK(unpacked->group_of_column == linear.truth.group_of_column);
      CHECK(dequantized(*unpacked) == dequantized_by_definition(linear.truth));
    }
  }
}

TEST_CASE("a range of rows dequantizes to the same bits as the whole") {
  LinearOnDisk linear = random_linear(9, 64, {.bits = 4, .group_size = 32, .symmetric = false}, 5);
  const auto all = dequantized(linear.truth);
  std::vector<uint16_t> rows(3 * 64);
  dequantize_rows_bf16(linear.truth, 4, 7, rows.data());
  CHECK(std::equal(rows.begin(), rows.end(), all.begin() + 4 * 64));
}

TEST_CASE("f16 and f32 scales multiply in float32 and round once to bf16") {
  const float scale = 0.1f;
  UnpackedLinear linear{
      .out_features = 1, .in_features = 4, .num_groups = 1, .codes = {-8, 3, 7, 5}, .scales = {scale}};
  linear.group_of_column = {0, 0, 0, 0};
  CHECK(dequantized(linear) == std::vector<uint16_t>{float_to_bf16(-8 * scale), float_to_bf16(3 * scale),
                                                     float_to_bf16(7 * scale), float_to_bf16(5 * scale)});
}

TEST_CASE("shapes may be 32-bit and zero points unpacked, as older writers have them") {
  LinearOnDisk linear = small_linear(false);
  linear.set("weight_shape", DType::i32, {2}, std::vector<int32_t>{6, 64});
  linear.set("weight_zero_point", DType::i8, {6, 2}, linear.truth.zero_points);
  const auto found = linear.find();
  REQUIRE(found.ok());
  CHECK(unpack(**found)->zero_points == linear.truth.zero_points);
  linear.set("weight_zero_point", DType::i8, {6, 2}, std::vector<int8_t>(12, 8));
  const auto outside = linear.find();
  REQUIRE(outside.ok());
  check_refused(unpack(**outside), Code::bad_data, "zero point 8, expected -8 to 7");
}

TEST_CASE("zero points of a symmetric weight must be zero and are left out") {
  LinearOnDisk linear = small_linear();
  const std::vector<int8_t> zeros(12, 0), ones(12, 1);
  linear.set("weight_zero_point", DType::i32, {1, 2}, pack_zero_points(zeros.data(), 6, 2, 4));
  const auto found = linear.find();
  REQUIRE(found.ok());
  CHECK(!(*found)->zero_point);
  linear.set("weight_zero_point", DType::i32, {1, 2}, pack_zero_points(ones.data(), 6, 2, 4));
  check_refused(linear.find(), Code::bad_data, "weight_zero_point\": not all zero");
}

TEST_CASE("a g_idx holding -1 counts as absent, and one that is not a grouping is refused") {
  LinearOnDisk linear = small_linear();
  std::vector<int32_t> groups(64, -1);
  linear.set("weight_g_idx", DType::i32, {64}, groups);
  auto found = linear.find();
  REQUIRE(found.ok());
  CHECK(!(*found)->g_idx);
  CHECK(!(*found)->scheme.activation_order);

  for (size_t c = 0; c < 64; ++c) groups[c] = c % 2 == 0 ? 1 : 0;
  linear.set("weight_g_idx", DType::i32, {64}, groups);
  found = linear.find();
  REQUIRE(found.ok());
  CHECK((*found)->scheme.activation_order);
  CHECK(unpack(**found)->group_of_column == groups);

  groups[5] = 2;
  linear.set("weight_g_idx", DType::i32, {64}, groups);
  check_refused(linear.find(), Code::bad_data, "holds group 2, expected 0 to 1");
  groups[5] = 1;
  linear.set("weight_g_idx", DType::i32, {64}, groups);
  check_refused(linear.find(), Code::bad_data, "31 columns in group 0, expected 32 in each");

  linear.parts.erase("weight_g_idx");
  linear.scheme.activation_order = true;
  check_refused(linear.find(), Code::bad_data, "weight_g_idx\": missing");
}

TEST_CASE("every part that is missing or misshapen is refused by name") {
  struct Case {
    std::string suffix;
    DType dtype;
    Shape shape;
    std::string_view fragment;
  };
  const Case cases[] = {
      {"weight_packed",
       DType::i32,
       {6, 7},
       "weight_packed\": I32 [6, 7], expected I32 [6, 8] (int4 codes of a [6, 64] weight)"},
      {"weight_packed", DType::i64, {6, 8}, "I64 [6, 8], expected I32 [6, 8]"},
      {"weight_packed", DType::i32, {48}, "I32 [48], expected I32 [6, 8]"},
      {"weight_scale", DType::bf16, {6, 3}, "weight_scale\": BF16 [6, 3], expected BF16 or F16 or F32 [6, 2]"},
      {"weight_scale", DType::i8, {6, 2}, "I8 [6, 2]"},
      {"weight_scale", DType::bf16, {2, 6}, "expected BF16 or F16 or F32 [6, 2]"},
      {"weight_shape", DType::i64, {3}, "weight_shape\": I64 [3], expected I64 or I32 [2]"},
      {"weight_shape", DType::f32, {2}, "F32 [2], expected I64 or I32 [2]"},
      {"weight_shape", DType::i64, {2}, "holds 0, expected extents from 1"},
      {"weight_zero_point", DType::i32, {2, 2}, "I32 [2, 2], expected I32 or I8 [1, 2]"},
      {"weight_zero_point", DType::i8, {1, 2}, "I8 [1, 2], expected I32 or I8 [6, 2]"},
      {"weight_zero_point", DType::bf16, {6, 2}, "BF16 [6, 2]"},
      {"weight_g_idx", DType::i32, {63}, "weight_g_idx\": I32 [63], expected I32 [64]"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.fragment);
    LinearOnDisk linear = small_linear(false);
    linear.parts[one.suffix] = {
        one.dtype, one.shape,
        std::string(static_cast<size_t>(*num_elements(one.shape)) * dtype_bytes(one.dtype), '\0')};
    check_refused(linear.find(), Code::bad_data, one.fragment);
  }
  for (const std::string suffix : {"weight_scale", "weight_shape", "weight_zero_point"}) {
    LinearOnDisk linear = small_linear(false);
    linear.parts.erase(suffix);
    check_refused(linear.find(), Code::bad_data,
                  std::string(kName) + "." + suffix + "\": missing beside weight_packed");
  }
}

TEST_CASE("shapes that lie are refused before they are believed") {
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{7, 64}, {6, 65}, {6, -64}, {6, INT64_MAX}}) {
    LinearOnDisk linear = small_linear();
    linear.set("weight_shape", DType::i64, {2}, shape);
    CHECK(linear.find().status().code() == Code::bad_data);
  }
  LinearOnDisk linear = random_linear(4, 96, {.bits = 4, .group_size = 32}, 1);
  linear.scheme.group_size = 64;
  check_refused(linear.find(), Code::bad_data, "96 columns do not divide into groups of 64");
}

TEST_CASE("a scale that is not finite is refused") {
  LinearOnDisk linear = small_linear();
  std::vector<float> scales(12, 1.0f);
  scales[7] = std::numeric_limits<float>::infinity();
  linear.set("weight_scale", DType::f32, {6, 2}, scales);
  const auto found = linear.find();
  REQUIRE(found.ok());
  check_refused(unpack(**found), Code::bad_data, "not finite");
}

TEST_CASE("a dense linear is no packed linear, and packed weights need a config") {
  LinearOnDisk linear = small_linear();
  check_refused(linear.find(std::nullopt), Code::bad_data, "no quantization_config");
  linear.parts = {{"weight", {DType::f32, {1}, std::string(4, '\0')}}};
  const auto found = linear.find(std::nullopt);
  REQUIRE(found.ok());
  CHECK(!found->has_value());
}

TEST_CASE("the group of a linear is chosen by name, then pattern, then class") {
  LinearOnDisk linear = small_linear();
  const QuantScheme right = linear.scheme, wrong = {.bits = 8};
  const auto chosen = [&](std::vector<QuantizationConfig::Group> groups) {
    return linear.find(QuantizationConfig{std::move(groups), {}, ""});
  };
  CHECK(chosen({{{"Linear"}, wrong}, {{"re:.*down_proj"}, right}}).ok());
  CHECK(chosen({{{"re:.*down_proj"}, wrong}, {{"model.layers.0.mlp.down_proj"}, right}}).ok());
  CHECK(chosen({{{"Linear"}, right}, {{"re:.*up_proj"}, wrong}}).ok());
  CHECK(chosen({{{"nobody"}, right}}).ok());
  check_refused(chosen({{{"nobody"}, right}, {{"no one"}, wrong}}), Code::bad_data,
                "no group of quantization_config names it");
  check_refused(chosen({{{"Linear"}, right}, {{"Linear"}, wrong}}), Code::bad_data, "two groups");
  CHECK(chosen({{{"Linear"}, right}, {{"Linear"}, right}}).ok());
  check_refused(chosen({{{"re:(("}, right}}), Code::bad_data, "\"re:((\"");
}

TEST_CASE("module names match with and without the wrappers of multimodal layouts") {
  struct Case {
    std::string pattern;
    std::string_view module;
    bool expected;
  };
  const Case cases[] = {
      {"lm_head", "lm_head", true},
      {"language_model.lm_head", "lm_head", true},
      {"lm_head", "language_model.lm_head", true},
      {"lm_head", "model.embed_tokens", false},
      {"model.layers.0.mlp.up_proj", "language_model.model.layers.0.mlp.up_proj", true},
      {"language_model.model.layers.0.mlp.up_proj", "model.language_model.layers.0.mlp.up_proj", true},
      {"model.layers.0.mlp.up_proj", "model.layers.10.mlp.up_proj", false},
      {"vision_tower.transformer.layers.0.attention.q_proj", "model.vision_tower.transformer.layers.0.attention.q_proj",
       true},
      {"multi_modal_projector.linear_1", "model.multi_modal_projector.linear_1", true},
      {"Linear", "model.layers.0.mlp.up_proj", true},
      {"Conv2d", "model.layers.0.mlp.up_proj", false},
      {"up_proj", "model.layers.0.mlp.up_proj", false},
      {"re:.*up_proj", "model.layers.0.mlp.up_proj", true},
      {"re:.*up_pro$", "model.layers.0.mlp.up_proj", false},
      {"re:up_proj", "model.layers.0.mlp.up_proj", false},
      {"re:vision_tower.", "model.vision_tower.transformer.layers.0.attention.q_proj", true},
      {"re:vision_tower.", "model.layers.0.mlp.up_proj", false},
      {"re:model\\.layers\\.0\\.", "language_model.model.layers.0.mlp.up_proj", true},
      {"re:model\\.layers\\.0\\.", "model.layers.10.mlp.up_proj", false},
      {"re:model\\..*", "lm_head", false},
      {"re:language_model.*lm_head", "lm_head", true},
  };
  for (const Case& one : cases) {
    CAPTURE(one.pattern);
    CAPTURE(one.module);
    const auto matched = module_matches(one.pattern, one.module, "Linear");
    REQUIRE(matched.ok());
    CHECK(*matched == one.expected);
  }
  check_refused(module_matches("re:[", "lm_head", "Linear"), Code::bad_data, "pattern \"re:[\"");
  check_refused(module_matches("re:(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "Linear"), Code::bad_data,
                "pattern");
}

constexpr std::string_view kConfig = R"({"quantization_config": {
  "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
  "global_compression_ratio": 1.4, "kv_cache_scheme": null, "sparsity_config": {}, "transform_config": {},
  "ignore": ["lm_head", "re:vision_tower.*"], "version": "0.9.4",
  "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": null, "output_activations": null,
    "weights": {"actorder": null, "block_structure": null, "dynamic": false, "group_size": 128, "strategy": "group",
      "num_bits": 4, "observer": "minmax", "observer_kwargs": {}, "symmetric": true, "type": "int"}}}}})";

Result<std::optional<QuantizationConfig>> read_text(std::string text) {
  const auto json = Json::parse(text, "config.json");
  CAPTURE(text);
  REQUIRE(json.ok());
  return read_quantization_config(*json, "config.json");
}

// kConfig with one piece of text replaced.
Result<std::optional<QuantizationConfig>> read_with(std::string_view from, std::string_view to) {
  std::string text(kConfig);
  const size_t at = text.find(from);
  REQUIRE(at != text.npos);
  return read_text(text.replace(at, from.size(), to));
}

TEST_CASE("a published quantization_config is read whole") {
  const auto config = read_text(std::string(kConfig));
  REQUIRE(config.ok());
  REQUIRE(config->has_value());
  REQUIRE((*config)->groups.size() == 1);
  CHECK((*config)->groups[0].targets == std::vector<std::string>{"Linear"});
  CHECK((*config)->groups[0].scheme == QuantScheme{.bits = 4, .group_size = 128});
  CHECK((*config)->ignore == std::vector<std::string>{"lm_head", "re:vision_tower.*"});
  CHECK((*config)->version == "0.9.4");
  const auto none = read_text("{}");
  REQUIRE(none.ok());
  CHECK(!none->has_value());
}

TEST_CASE("the settings that change the arithmetic are read") {
  const auto scheme = [](std::string_view from, std::string_view to) {
    const auto config = read_with(from, to);
    REQUIRE(config.ok());
    return (*config)->groups[0].scheme;
  };
  CHECK(scheme("\"num_bits\": 4", "\"num_bits\": 8").bits == 8);
  CHECK(!scheme("\"symmetric\": true", "\"symmetric\": false").symmetric);
  constexpr std::string_view kGrouping = "\"group_size\": 128, \"strategy\": \"group\"";
  CHECK(scheme(kGrouping, "\"strategy\": \"channel\"").group_size == 0);
  CHECK(scheme(kGrouping, "\"group_size\": -1").group_size == 0);
  CHECK(scheme(kGrouping, "\"group_size\": 64").group_size == 64);
  CHECK(scheme("\"actorder\": null", "\"actorder\": \"group\"").activation_order);
  CHECK(scheme("\"actorder\": null", "\"actorder\": true").activation_order);
  CHECK(!scheme("\"actorder\": null", "\"actorder\": \"weight\"").activation_order);
  CHECK(!scheme("\"sparsity_config\": {}", "\"sparsity_config\": {\"format\": \"dense\"}").activation_order);
}

TEST_CASE("what is not implemented is unsupported by field path, never ignored") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"\"compressed-tensors\"", "\"gptq\""},
      {"\"pack-quantized\"", "\"int-quantized\""},
      {"\"kv_cache_scheme\": null", "\"kv_cache_scheme\": {\"num_bits\": 8}"},
      {"\"sparsity_config\": {}", "\"sparsity_config\": {\"format\": \"sparse-24-bitmask\"}"},
      {"\"transform_config\": {}", "\"transform_config\": {\"config_groups\": {\"u\": {\"type\": \"hadamard\"}}}"},
      {"\"input_activations\": null", "\"input_activations\": {\"num_bits\": 8}"},
      {"\"output_activations\": null", "\"output_activations\": {\"num_bits\": 8}"},
      {"\"num_bits\": 4", "\"num_bits\": 3"},
      {"\"num_bits\": 4", "\"num_bits\": 0"},
      {"\"num_bits\": 4", "\"num_bits\": 64"},
      {"\"type\": \"int\"", "\"type\": \"float\""},
      {"\"dynamic\": false", "\"dynamic\": true"},
      {"\"block_structure\": null", "\"block_structure\": [128, 128]"},
      {"\"strategy\": \"group\"", "\"strategy\": \"block\""},
      {"\"targets\": [\"Linear\"]", "\"targets\": [\"Linear\"], \"format\": \"nvfp4-pack-quantized\""},
  };
  for (const auto& [from, to] : cases) {
    CAPTURE(to);
    check_refused(read_with(from, to), Code::unsupported, "config.json: quantization_config.");
  }
}

TEST_CASE("fields of the wrong kind or in conflict are refused by field path") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"\"num_bits\": 4", "\"num_bits\": \"4\""},
      {"\"num_bits\": 4", "\"num_bits\": 4.0"},
      {"\"group_size\": 128", "\"group_size\": 0"},
      {"\"group_size\": 128", "\"group_size\": -1"},
      {"\"group_size\": 128", "\"group_size\": -7"},
      {"\"group_size\": 128", "\"group_size\": 99999999999"},
      {"\"group_size\": 128", "\"group_size\": null"},
      {"\"strategy\": \"group\"", "\"strategy\": \"channel\""},
      {"\"strategy\": \"group\"", "\"strategy\": 4"},
      {"\"symmetric\": true", "\"symmetric\": \"yes\""},
      {"\"actorder\": null", "\"actorder\": \"random\""},
      {"\"ignore\": [\"lm_head\"", "\"ignore\": [7"},
      {"\"targets\": [\"Linear\"]", "\"targets\": []"},
      {"\"targets\": [\"Linear\"]", "\"targets\": \"Linear\""},
      {"\"version\": \"0.9.4\"", "\"version\": 9"},
      {"\"quant_method\": \"compressed-tensors\"", "\"quant_method\": null"},
  };
  for (const auto& [from, to] : cases) {
    CAPTURE(to);
    check_refused(read_with(from, to), Code::bad_data, "config.json: quantization_config");
  }
  check_refused(read_text(R"({"quantization_config": []})"), Code::bad_data, "quantization_config");
  check_refused(
      read_text(
          R"({"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {}}})"),
      Code::bad_data, "at least one group");
}

TEST_CASE("a written config reads back equal, its keys sorted as the reference writer sorts them") {
  const QuantScheme schemes[] = {{.bits = 4, .group_size = 64},
                                 {.bits = 8, .group_size = 0, .symmetric = false},
                                 {.bits = 4, .group_size = 32, .activation_order = true}};
  for (const QuantScheme& scheme : schemes) {
    const QuantizationConfig config = {{{{"Linear"}, scheme}}, {"lm_head"}, "0.9.4"};
    const Json written = write_quantization_config(config);
    const auto read = read_quantization_config(Json::object().set("quantization_config", written), "config.json");
    REQUIRE(read.ok());
    CHECK((*read)->groups[0].scheme == scheme);
    CHECK((*read)->groups[0].targets == config.groups[0].targets);
    CHECK((*read)->ignore == config.ignore);
    CHECK((*read)->version == config.version);
    CHECK(written.dump() == written.dump({.sort_keys = true}));
  }
}

// ---- against the records of the real libraries
// -----------------------------------------------------------------------

// One variant of the record: what its meta.json entry says, as a config of one group.
Json config_from_meta(const Json& meta) {
  Json weights = Json::object();
  for (const std::string_view key : {"num_bits", "symmetric", "strategy", "group_size", "actorder"})
    weights.set(key, *meta.find(key));
  Json group = Json::object();
  group.set("targets", Json(Json::Array{"Linear"})).set("weights", std::move(weights));
  Json config = Json::object();
  config.set("quant_method", "compressed-tensors").set("format", "pack-quantized");
  config.set("config_groups", Json::object().set("group_0", std::move(group)));
  return Json::object().set("quantization_config", std::move(config));
}

// The library's own weight, rounded to bf16 where it is wider.
std::vector<uint16_t> as_bf16(const TensorView& tensor) {
  std::vector<uint16_t> out;
  const auto values = to_floats(tensor);
  REQUIRE(values.ok());
  for (const float value : *values) out.push_back(float_to_bf16(value));
  return out;
}

// Code times scale rounded to f16: the record of f16 scales, which bf16 weights are not rounded through.
std::vector<uint16_t> as_f16_products(const UnpackedLinear& linear) {
  std::vector<uint16_t> out;
  for (size_t i = 0; i < linear.codes.size(); ++i) {
    const size_t row = i / static_cast<size_t>(linear.in_features),
                 column = i % static_cast<size_t>(linear.in_features);
    const auto group = static_cast<size_t>(linear.group_of_column[column]);
    const float scale = linear.scales[row * static_cast<size_t>(linear.num_groups) + group];
    out.push_back(float_to_f16(static_cast<float>(linear.codes[i]) * scale));
  }
  return out;
}

TEST_CASE("every variant that the reference library packed unpacks and dequantizes to its record") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const Path packed = *shared / "oracle/model/packed";
  const TempFolder folder;
  write_file(folder.path() / "config.json", "{}");
  std::filesystem::create_symlink(std::filesystem::absolute(packed / "packed.safetensors"),
                                  folder.path() / "model.safetensors");
  const auto checkpoint = Checkpoint::open(folder.path());
  REQUIRE(checkpoint.ok());
  const auto meta = Json::parse(*real_files().read(packed / "meta.json"), "meta.json");
  REQUIRE(meta.ok());
  int exact = 0;
  for (const auto& [variant, facts] : meta->as_object()) {
    CAPTURE(variant);
    const auto config = read_quantization_config(config_from_meta(facts), variant);
    if (*facts.find("num_bits") == Json(3)) {
      check_refused(config, Code::unsupported, "num_bits");
      continue;
    }
    REQUIRE(config.ok());
    const auto found = find_packed_linear(*checkpoint, variant, *config);
    REQUIRE(found.ok());
    const auto unpacked = unpack(**found);
    REQUIRE(unpacked.ok());
    const TensorView& codes = *checkpoint->find(variant + ".codes");
    CHECK(unpacked->codes == testing::elements_of<int8_t>(codes));
    if (const TensorView* zero_points = checkpoint->find(variant + ".zero_point_unpacked")) {
      CHECK(unpacked->zero_points == testing::elements_of<int8_t>(*zero_points));
    }
    const TensorView& expected = *checkpoint->find(variant + ".dequant");
    if (expected.dtype == DType::f16) {
      CHECK(as_f16_products(*unpacked) == testing::elements_of<uint16_t>(expected));
    } else {
      CHECK(dequantized(*unpacked) == as_bf16(expected));
    }
    ++exact;
    const auto repacked =
        pack_codes(unpacked->codes.data(), unpacked->out_features, unpacked->in_features, (*found)->scheme.bits);
    CHECK(repacked == testing::elements_of<int32_t>((*found)->packed));
    if ((*found)->zero_point && (*found)->zero_point->dtype == DType::i32) {
      const auto zero_words = pack_zero_points(unpacked->zero_points.data(), unpacked->out_features,
                                               unpacked->num_groups, (*found)->scheme.bits);
      CHECK(zero_words == testing::elements_of<int32_t>(*(*found)->zero_point));
    }
  }
  CHECK(exact == 16);
}

TEST_CASE("every linear of the tiny W4A16 checkpoints has the recorded codes and weights") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const Path models = *shared / "oracle/model/model";
  for (const std::string name : {"w4a16_gptq", "w4a16_rtn"}) {
    const auto checkpoint = Checkpoint::open(models / name);
    REQUIRE(checkpoint.ok());
    const auto config = read_quantization_config(checkpoint->config(), "config.json");
    REQUIRE(config.ok());
    const auto record = Json::parse(*real_files().read(models / "expected" / (name + "_dequant_checksums.json")), name);
    REQUIRE(record.ok());
    CHECK(record->size() == 21);
    for (const auto& [prefix, facts] : record->as_object()) {
      CAPTURE(prefix);
      const auto found = find_packed_linear(*checkpoint, prefix, *config);
      REQUIRE(found.ok());
      REQUIRE(found->has_value());
      const auto unpacked = unpack(**found);
      REQUIRE(unpacked.ok());
      CHECK(sha256_of(dequantized(*unpacked)) == facts.find("sha256_dequant_bf16")->as_string());
      CHECK(sha256_of(unpacked->codes) == facts.find("sha256_codes_int8")->as_string());
      CHECK(sha256_of(testing::elements_of<int32_t>((*found)->packed)) == facts.find("sha256_packed_i32")->as_string());
      CHECK(sha256_of(testing::elements_of<uint16_t>((*found)->scale)) == facts.find("sha256_scale_bf16")->as_string());
    }
  }
}

}  // namespace
}  // namespace assay
