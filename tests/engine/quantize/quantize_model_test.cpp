#include "engine/quantize/quantize_model.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "engine/model/tensor_table.h"
#include "engine/quantize/rtn.h"
#include "tests/engine/formats/format_files.h"
#include "tests/support/shared_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

using namespace assay;
using testing::check_refused;
using testing::TempFolder;
using testing::TinyModel;

namespace {

Path write_tiny(const TempFolder& folder, const TinyModel& tiny) {
  auto path = testing::write_tiny_checkpoint(folder.path() / "model", tiny);
  REQUIRE_MESSAGE(path.ok(), path.status().message());
  return *path;
}

QuantizeOptions options_for(const TempFolder& folder, int64_t group_size, bool symmetric = true) {
  QuantizeOptions options;
  options.model = folder.path() / "model";
  options.out = folder.path() / "out";
  options.scheme = {.bits = 4, .group_size = group_size, .symmetric = symmetric};
  return options;
}

QuantizeReport quantized(const QuantizeOptions& options) {
  auto report = quantize_model(options);
  REQUIRE_MESSAGE(report.ok(), report.status().message());
  return *report;
}

Checkpoint opened(const Path& folder) {
  auto checkpoint = Checkpoint::open(folder);
  REQUIRE_MESSAGE(checkpoint.ok(), checkpoint.status().message());
  return std::move(*checkpoint);
}

ModelWeights table_of(const Checkpoint& checkpoint) {
  auto config = read_model_config(checkpoint.config(), nullptr, "config.json");
  REQUIRE_MESSAGE(config.ok(), config.status().message());
  auto weights = build_tensor_table(checkpoint, *config);
  REQUIRE_MESSAGE(weights.ok(), weights.status().message());
  return std::move(*weights);
}

std::vector<std::string> ignored(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const Json& name : checkpoint.config().find("quantization_config")->find("ignore")->as_array()) {
    names.push_back(name.as_string());
  }
  return names;
}

std::string sha256_of(const TensorView& tensor) {
  return sha256_hex({reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()});
}

bool holds_only_the_model(const TempFolder& folder) {
  return *real_files().list(folder.path()) == std::vector<std::string>{"model"};
}

// Every packed linear of `out` unpacks to what round-to-nearest makes of the source's weight.
void check_codes(const Checkpoint& source, const Checkpoint& out, const QuantScheme& scheme) {
  const ModelWeights before = table_of(source), after = table_of(out);
  for (size_t layer = 0; layer < before.layers.size(); ++layer) {
    const auto dense = linears_of(before.layers[layer]), packed = linears_of(after.layers[layer]);
    for (size_t i = 0; i < dense.size(); ++i) {
      CAPTURE(dense[i].name);
      REQUIRE(packed[i].linear->is_quantized());
      auto weight = to_floats(std::get<TensorView>(dense[i].linear->weight));
      REQUIRE(weight.ok());
      for (float& value : *weight) value = bf16_to_float(float_to_bf16(value));
      const UnpackedLinear expected =
          quantize_rtn(*weight, dense[i].linear->out_features, dense[i].linear->in_features, scheme);
      const auto found = unpack(std::get<PackedLinear>(packed[i].linear->weight));
      REQUIRE(found.ok());
      CHECK(found->codes == expected.codes);
      CHECK(found->scales == expected.scales);
      CHECK(found->zero_points == expected.zero_points);
    }
  }
}

}  // namespace

TEST_CASE("every decoder linear is packed, the rest is copied, and the folder loads again") {
  for (const bool symmetric : {true, false}) {
    for (const int64_t size : {int64_t{32}, int64_t{0}}) {
      CAPTURE(symmetric);
      CAPTURE(size);
      const TempFolder folder;
      write_tiny(folder, {.tie = false});
      const QuantizeOptions options = options_for(folder, size, symmetric);
      const QuantizeReport report = quantized(options);
      CHECK(report.num_quantized == 14);
      CHECK(report.num_ignored == 1);
      CHECK(report.bytes_after < report.bytes_before * 6 / 10);  // embedding and head stay dense
      CHECK(report.mean_relative_error > 0.05);
      CHECK(report.mean_relative_error < 0.15);
      const Checkpoint source = opened(options.model), out = opened(options.out);
      check_codes(source, out, options.scheme);
      CHECK(table_of(out).quantization == options.scheme.text());
      CHECK(ignored(out) == std::vector<std::string>{"lm_head"});
      for (const char* name : {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"}) {
        CHECK(sha256_of(*out.find(name)) == sha256_of(*source.find(name)));
      }
      const TensorView& shape = *out.find("model.layers.0.mlp.down_proj.weight_shape");
      CHECK(shape.dtype == DType::i64);
      CHECK(testing::elements_of<int64_t>(shape) == std::vector<int64_t>{64, 128});
    }
  }
}

TEST_CASE("biases, shards, tied embeddings and eight bits are carried through") {
  const TempFolder folder;
  write_tiny(folder, {.architecture = "Qwen2ForCausalLM", .shards = 2});
  QuantizeOptions options = options_for(folder, 64);
  options.scheme.bits = 8;
  const QuantizeReport report = quantized(options);
  CHECK(report.mean_relative_error < 0.02);
  const Checkpoint source = opened(options.model), out = opened(options.out);
  check_codes(source, out, options.scheme);
  CHECK(out.weight_files().size() == 2);
  CHECK(real_files().exists(options.out / "model.safetensors.index.json"));
  CHECK(table_of(out).tied);
  CHECK(ignored(out) == std::vector<std::string>{"lm_head"});
  CHECK(table_of(out).layers[0].q_proj.bias.has_value());
}

TEST_CASE("config.json says how, recipe.yaml how it was asked for, and the vocabulary travels along") {
  const TempFolder folder;
  const Path model = write_tiny(folder, {});
  REQUIRE(real_files().write_atomic(model / "chat_template.jinja", "{{ x }}").ok());
  REQUIRE(real_files().write_atomic(model / "special_tokens_map.json", "{}").ok());
  REQUIRE(real_files().write_atomic(model / "optimizer.bin", "heavy").ok());
  QuantizeOptions options = options_for(folder, 32);
  options.ignore = {"lm_head", "re:.*it's.*|.*down_proj"};
  const QuantizeReport report = quantized(options);
  CHECK(report.num_quantized == 12);
  const Checkpoint out = opened(options.out);
  const Json& quantization = *out.config().find("quantization_config");
  CHECK(*quantization.find("format") == Json("pack-quantized"));
  const Json& weights = *quantization.find("config_groups")->find("group_0")->find("weights");
  CHECK(*weights.find("group_size") == Json(32));
  CHECK(*weights.find("num_bits") == Json(4));
  CHECK(*weights.find("strategy") == Json("group"));
  CHECK(ignored(out) ==
        std::vector<std::string>{"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", "lm_head"});
  const auto recipe = real_files().read(options.out / "recipe.yaml");
  REQUIRE(recipe.ok());
  CHECK(recipe->find("ignore: ['lm_head', 're:.*it''s.*|.*down_proj']") != std::string::npos);
  CHECK(recipe->find("strategy: group, group_size: 32") != std::string::npos);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja",
                           "special_tokens_map.json"}) {
    CHECK(*real_files().read(options.out / name) == *real_files().read(model / name));
  }
  CHECK_FALSE(real_files().exists(options.out / "optimizer.bin"));
}

TEST_CASE("eyes and projector stay dense, and every linear left alone is listed by its full name") {
  const TempFolder folder;
  write_tiny(folder, {.architecture = "Mistral3ForConditionalGeneration", .tie = false});
  const QuantizeOptions options = options_for(folder, 32);
  CHECK(quantized(options).num_quantized == 14);
  const Checkpoint out = opened(options.out);
  CHECK(ignored(out) == std::vector<std::string>{"vision_tower.transformer.layers.0.attention.q_proj",
                                                 "multi_modal_projector.linear_1", "multi_modal_projector.linear_2",
                                                 "language_model.lm_head"});
  CHECK(out.find("vision_tower.patch_conv.weight")->dtype == DType::bf16);
  CHECK(out.find("language_model.model.layers.1.mlp.up_proj.weight_packed") != nullptr);
}

TEST_CASE("a head that is not ignored is quantized too, a tied one never") {
  const TempFolder untied, tied;
  write_tiny(untied, {.tie = false});
  write_tiny(tied, {});
  QuantizeOptions options = options_for(untied, 32);
  options.ignore = {"re:.*self_attn.*"};
  CHECK(quantized(options).num_quantized == 7);
  CHECK(table_of(opened(options.out)).lm_head.is_quantized());
  options = options_for(tied, 32);
  options.ignore = {};
  CHECK(quantized(options).num_quantized == 14);
  CHECK(ignored(opened(options.out)) == std::vector<std::string>{"lm_head"});
}

TEST_CASE("wider floats are rounded to bf16, in the weights and in the config") {
  for (const DType dtype : {DType::f32, DType::f16}) {
    const TempFolder folder;
    write_tiny(folder, {.dtype = dtype});
    const QuantizeOptions options = options_for(folder, 32, false);
    quantized(options);
    const Checkpoint source = opened(options.model), out = opened(options.out);
    check_codes(source, out, options.scheme);
    CHECK(out.find("model.norm.weight")->dtype == DType::bf16);
    CHECK(*out.config().find("torch_dtype") == Json("bfloat16"));
  }
}

TEST_CASE("the same input gives the same bytes") {
  const TempFolder folder;
  write_tiny(folder, {});
  QuantizeOptions options = options_for(folder, 32, false);
  quantized(options);
  const Path first = options.out;
  options.out = folder.path() / "again";
  quantized(options);
  for (const char* name : {"model.safetensors", "config.json", "recipe.yaml"}) {
    CHECK(*sha256_file(first / name) == *sha256_file(options.out / name));
  }
}

TEST_CASE("progress counts every linear once") {
  const TempFolder folder;
  write_tiny(folder, {});
  std::vector<int64_t> seen;
  const auto report = quantize_model(options_for(folder, 32), [&](int64_t done, int64_t total) {
    CHECK(total == 14);
    seen.push_back(done);
  });
  REQUIRE(report.ok());
  REQUIRE(seen.size() == 14);
  CHECK(seen.front() == 1);
  CHECK(seen.back() == 14);
}

TEST_CASE("a group size that does not divide a width names the layer and the sizes that fit") {
  const TempFolder folder;
  write_tiny(folder, {.hidden = 96, .intermediate = 192});
  const auto result = quantize_model(options_for(folder, 128));
  check_refused(result, Code::invalid_argument,
                "group size 128 does not divide the 96 columns of model.layers.0.self_attn.q_proj");
  check_refused(result, Code::invalid_argument, "these fit every layer: 32, channel");
  CHECK(holds_only_the_model(folder));
}

TEST_CASE("impossible requests are refused and leave nothing behind") {
  const TempFolder folder;
  write_tiny(folder, {});
  const auto refused = [&](auto change, Code code, const char* fragment) {
    QuantizeOptions options = options_for(folder, 32);
    change(options);
    check_refused(quantize_model(options), code, fragment);
    CHECK(holds_only_the_model(folder));
  };
  refused([](auto& o) { o.method = "awq"; }, Code::invalid_argument, "\"awq\": supported is rtn");
  refused([](auto& o) { o.scheme.bits = 3; }, Code::invalid_argument, "3 bits");
  refused([](auto& o) { o.scheme.group_size = -1; }, Code::invalid_argument, "group size -1");
  refused([](auto& o) { o.scheme.activation_order = true; }, Code::invalid_argument, "activation order");
  refused([](auto& o) { o.ignore = {"lm_haed"}; }, Code::invalid_argument, "did you mean lm_head?");
  refused([](auto& o) { o.ignore = {"re:("}; }, Code::bad_data, "re:(");
  refused([](auto& o) { o.ignore = {"Linear"}; }, Code::invalid_argument, "leaves no linear");
  refused([](auto& o) { o.model = o.model / "nowhere"; }, Code::not_found, "nowhere");
  refused([](auto& o) { o.out = o.model; }, Code::invalid_argument, "not an empty folder");
}

TEST_CASE("a quantized folder is not quantized again") {
  const TempFolder folder;
  write_tiny(folder, {});
  QuantizeOptions options = options_for(folder, 32);
  quantized(options);
  options.model = options.out;
  options.out = folder.path() / "twice";
  check_refused(quantize_model(options), Code::invalid_argument, "already quantized (int4 group 32 symmetric)");
}

TEST_CASE("a weight that is not finite is refused by name") {
  const TempFolder folder;
  const Path model = write_tiny(folder, {});
  auto bytes = real_files().read(model / "model.safetensors");
  REQUIRE(bytes.ok());
  {
    const Checkpoint source = opened(model);
    const TensorView& weight = *source.find("model.layers.1.mlp.up_proj.weight");
    const std::string_view pattern(reinterpret_cast<const char*>(weight.bytes.data()), 64);
    const size_t at = bytes->find(pattern);
    REQUIRE(at != std::string::npos);
    const uint16_t infinity = float_to_bf16(std::numeric_limits<float>::infinity());
    std::memcpy(bytes->data() + at, &infinity, 2);
  }
  REQUIRE(real_files().write_atomic(model / "model.safetensors", *bytes).ok());
  check_refused(quantize_model(options_for(folder, 32)), Code::bad_data,
                "model.layers.1.mlp.up_proj.weight: holds NaN");
  CHECK(holds_only_the_model(folder));
}

TEST_CASE("the recorded checkpoint is quantized to the recorded bytes") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const Path models = *shared / "oracle/model/model";
  const TempFolder folder;
  QuantizeOptions options = options_for(folder, 128);
  options.model = models / "bf16";
  CHECK(quantized(options).num_quantized == 21);
  const Checkpoint out = opened(options.out), recorded = opened(models / "w4a16_rtn");
  REQUIRE(out.tensors().size() == recorded.tensors().size());
  for (const TensorView* tensor : recorded.tensors()) {
    CAPTURE(tensor->name);
    const TensorView* ours = out.find(tensor->name);
    REQUIRE(ours != nullptr);
    CHECK(ours->dtype == tensor->dtype);
    CHECK(ours->shape == tensor->shape);
    CHECK(sha256_of(*ours) == sha256_of(*tensor));
  }
  std::vector<std::string> ours = ignored(out), theirs = ignored(recorded);
  std::sort(ours.begin(), ours.end());
  std::sort(theirs.begin(), theirs.end());
  CHECK(ours == theirs);
  const Json& weights = *out.config().find("quantization_config")->find("config_groups");
  CHECK(weights == *recorded.config().find("quantization_config")->find("config_groups"));
}
