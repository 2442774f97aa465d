#include "engine/model/tensor_table.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/formats/safetensors.h"
#include "tests/engine/formats/format_files.h"
#include "tests/support/shared_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

using namespace assay;
using testing::check_refused;
using testing::TempFolder;
using testing::TinyModel;

namespace {

// A checkpoint, its config and its table, kept together because the table is a view.
struct Model {
  Checkpoint checkpoint;
  ModelConfig config;
  ModelWeights weights;
};

Result<Model> load(const Path& folder) {
  ASSAY_ASSIGN(Checkpoint checkpoint, Checkpoint::open(folder));
  ASSAY_ASSIGN(ModelConfig config, read_model_config(checkpoint.config(), nullptr, "config.json"));
  ASSAY_ASSIGN(ModelWeights weights, build_tensor_table(checkpoint, config));
  return Model{std::move(checkpoint), std::move(config), std::move(weights)};
}

Model loaded(const Path& folder) {
  auto model = load(folder);
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  return std::move(*model);
}

Path write_tiny(const TempFolder& folder, const TinyModel& tiny) {
  auto path = testing::write_tiny_checkpoint(folder.path() / "tiny", tiny);
  REQUIRE_MESSAGE(path.ok(), path.status().message());
  return *path;
}

struct Tensor {
  SafetensorsWriter::Entry entry;
  std::vector<std::byte> bytes;
};

// Rewrites model.safetensors with its tensors passed through `change`.
void rewrite(const Path& folder, const std::function<void(std::vector<Tensor>&)>& change) {
  std::vector<Tensor> tensors;
  {
    auto file = SafetensorsFile::open(folder / "model.safetensors");
    REQUIRE(file.ok());
    for (const TensorView& view : file->tensors()) {
      tensors.push_back({{view.name, view.dtype, view.shape}, {view.bytes.begin(), view.bytes.end()}});
    }
  }
  change(tensors);
  std::vector<SafetensorsWriter::Entry> entries;
  for (const Tensor& tensor : tensors) entries.push_back(tensor.entry);
  auto writer = SafetensorsWriter::create(folder / "model.safetensors", entries);
  REQUIRE(writer.ok());
  for (const Tensor& tensor : tensors) REQUIRE(writer->write(tensor.bytes).ok());
  REQUIRE(writer->finish().ok());
}

void change_config(const Path& folder, const std::function<void(Json&)>& change) {
  auto text = real_files().read(folder / "config.json");
  REQUIRE(text.ok());
  auto config = Json::parse(*text, "config.json");
  REQUIRE(config.ok());
  change(*config);
  REQUIRE(real_files().write_atomic(folder / "config.json", config->dump()).ok());
}

size_t find_index(const std::vector<Tensor>& tensors, std::string_view name) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].entry.name == name) return i;
  }
  FAIL("no tensor " << name);
  return 0;
}

Tensor zeros(const std::string& name, DType dtype, const Shape& shape) {
  auto count = num_elements(shape);
  return {{name, dtype, shape}, std::vector<std::byte>(static_cast<size_t>(*count) * dtype_bytes(dtype))};
}

// Puts int4 codes, group 32, in the place of a dense [out, in] weight.
void pack(std::vector<Tensor>& tensors, const std::string& prefix) {
  const size_t at = find_index(tensors, prefix + ".weight");
  const Shape shape = tensors[at].entry.shape;
  tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(at));
  tensors.push_back(zeros(prefix + ".weight_packed", DType::i32, {shape[0], shape[1] / 8}));
  tensors.push_back(zeros(prefix + ".weight_scale", DType::bf16, {shape[0], shape[1] / 32}));
  Tensor stored_shape = zeros(prefix + ".weight_shape", DType::i64, {2});
  std::memcpy(stored_shape.bytes.data(), shape.data(), 16);
  tensors.push_back(std::move(stored_shape));
}

void declare_int4(Json& config) {
  QuantizationConfig quantization;
  quantization.groups.push_back({.targets = {"Linear"}, .scheme = {.bits = 4, .group_size = 32}});
  quantization.ignore = {"lm_head"};
  config.set("quantization_config", write_quantization_config(quantization));
}

}  // namespace

TEST_CASE("canonical names drop the wrappers of every published layout") {
  const std::pair<const char*, const char*> names[] = {
      {"model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"},
      {"language_model.model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"},
      {"model.language_model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"},
      {"language_model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"},
      {"language_model.lm_head.weight", "lm_head.weight"},
      {"lm_head.weight", "lm_head.weight"},
      {"model.vision_tower.ln_pre.weight", "vision_tower.ln_pre.weight"},
      {"vision_tower.ln_pre.weight", "vision_tower.ln_pre.weight"},
      {"model.multi_modal_projector.norm.weight", "multi_modal_projector.norm.weight"},
  };
  for (const auto& [name, canonical] : names) CHECK(canonical_tensor_name(name) == canonical);
}

TEST_CASE("a tiny Llama's tensors are all found, with shapes and parameter count") {
  const TempFolder folder;
  const Model model = loaded(write_tiny(folder, {.layers = 3, .heads = 6}));
  const ModelWeights& weights = model.weights;
  REQUIRE(weights.layers.size() == 3);
  CHECK(weights.embed_tokens.shape == Shape{300, 64});
  CHECK(weights.layers[2].q_proj.name == "model.layers.2.self_attn.q_proj");
  CHECK(weights.layers[2].q_proj.out_features == 96);
  CHECK(weights.layers[2].o_proj.in_features == 96);
  CHECK(weights.layers[2].down_proj.in_features == 128);
  CHECK_FALSE(weights.layers[0].q_proj.bias.has_value());
  CHECK(weights.tied);
  CHECK(std::get<TensorView>(weights.lm_head.weight).bytes.data() == weights.embed_tokens.bytes.data());
  CHECK(weights.lm_head.out_features == 300);
  CHECK(weights.quantization == "none");
  CHECK(weights.num_parameters == 300 * 64 + 64 + 3 * (2 * 64 + 2 * 96 * 64 + 2 * 32 * 64 + 3 * 128 * 64));
}

TEST_CASE("a head in the file is used even where the config says tied") {
  const TempFolder folder;
  const Path path = write_tiny(folder, {.tie = false});
  change_config(path, [](Json& config) { config.set("tie_word_embeddings", true); });
  const Model model = loaded(path);
  CHECK_FALSE(model.weights.tied);
  CHECK(std::get<TensorView>(model.weights.lm_head.weight).name == "lm_head.weight");
}

TEST_CASE("shards, biases and the multimodal layout give the same table") {
  const TempFolder llama_folder, qwen_folder, mistral_folder;
  const Model llama = loaded(write_tiny(llama_folder, {.attention_bias = true, .mlp_bias = true, .shards = 2}));
  CHECK(llama.weights.layers[0].o_proj.bias->shape == Shape{64});
  CHECK(llama.weights.layers[1].down_proj.bias->shape == Shape{64});
  const Model qwen = loaded(write_tiny(qwen_folder, {.architecture = "Qwen2ForCausalLM"}));
  CHECK(qwen.weights.layers[0].k_proj.bias->shape == Shape{32});
  CHECK_FALSE(qwen.weights.layers[0].o_proj.bias.has_value());
  const Model mistral =
      loaded(write_tiny(mistral_folder, {.architecture = "Mistral3ForConditionalGeneration", .tie = false}));
  CHECK(mistral.weights.layers[0].q_proj.name == "model.layers.0.self_attn.q_proj");
  CHECK(std::get<TensorView>(mistral.weights.layers[0].q_proj.weight).name ==
        "language_model.model.layers.0.self_attn.q_proj.weight");
  CHECK_FALSE(mistral.weights.tied);
}

TEST_CASE("linears come in the order in which a layer is walked") {
  const TempFolder folder;
  const Model model = loaded(write_tiny(folder, {}));
  std::string order;
  for (const NamedLinear& named : linears_of(model.weights.layers[1]))
    order += named.name.substr(named.name.rfind('.') + 1) + " ";
  CHECK(order == "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj ");
}

TEST_CASE("a missing tensor, a wrong shape and a wrong dtype are refused by name") {
  const TempFolder missing, shape, dtype;
  const Path missing_path = write_tiny(missing, {}), shape_path = write_tiny(shape, {}),
             dtype_path = write_tiny(dtype, {});
  rewrite(missing_path, [](auto& tensors) {
    tensors.erase(tensors.begin() +
                  static_cast<std::ptrdiff_t>(find_index(tensors, "model.layers.1.mlp.up_proj.weight")));
  });
  check_refused(load(missing_path), Code::bad_data, "model.layers.1.mlp.up_proj.weight [128, 64] is missing");
  rewrite(shape_path, [](auto& tensors) { tensors[find_index(tensors, "model.norm.weight")].entry.shape = {8, 8}; });
  check_refused(load(shape_path), Code::bad_data, "model.norm.weight: found shape [8, 8], config.json calls for [64]");
  rewrite(dtype_path,
          [](auto& tensors) { tensors[find_index(tensors, "model.norm.weight")].entry.dtype = DType::i16; });
  check_refused(load(dtype_path), Code::unsupported, "I16");
}

TEST_CASE("a config that lies about the number of layers is one clear error") {
  const TempFolder folder;
  const Path path = write_tiny(folder, {});
  change_config(path, [](Json& config) { config.set("num_hidden_layers", 999); });
  check_refused(load(path), Code::bad_data, "model.layers.2.input_layernorm.weight");
}

TEST_CASE("two layouts of one tensor in a folder are refused") {
  const TempFolder folder;
  const Path path = write_tiny(folder, {});
  rewrite(path, [](auto& tensors) { tensors.push_back(zeros("language_model.model.norm.weight", DType::bf16, {64})); });
  check_refused(load(path), Code::bad_data, "two layouts");
}

TEST_CASE("a linear is quantized where its packed weight is") {
  const TempFolder folder;
  const Path path = write_tiny(folder, {});
  rewrite(path, [](auto& tensors) { pack(tensors, "model.layers.0.self_attn.k_proj"); });
  change_config(path, declare_int4);
  const Model model = loaded(path);
  CHECK(model.weights.layers[0].k_proj.is_quantized());
  CHECK_FALSE(model.weights.layers[0].q_proj.is_quantized());
  CHECK(std::get<PackedLinear>(model.weights.layers[0].k_proj.weight).scheme.group_size == 32);
  CHECK(model.weights.quantization == "mixed: int4 group 32 symmetric (1 linears), none (13 linears)");
}

TEST_CASE("a packed weight of another shape than the config's is refused") {
  const TempFolder folder;
  const Path path = write_tiny(folder, {});
  rewrite(path, [](auto& tensors) {
    pack(tensors, "model.layers.0.self_attn.k_proj");
    Tensor wide = zeros("model.layers.0.self_attn.k_proj.weight", DType::bf16, {64, 64});
    for (const char* suffix : {"_packed", "_scale", "_shape"}) {
      tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(find_index(tensors, wide.entry.name + suffix)));
    }
    tensors.push_back(std::move(wide));
    pack(tensors, "model.layers.0.self_attn.k_proj");
  });
  change_config(path, declare_int4);
  check_refused(load(path), Code::bad_data, "holds a weight of shape [64, 64], config.json calls for [32, 64]");
}

TEST_CASE("the recorded quantized checkpoints have every decoder linear packed") {
  auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const Path models = *shared / "oracle/model/model";
  const Model dense = loaded(models / "bf16");
  CHECK(dense.weights.quantization == "none");
  CHECK_FALSE(dense.weights.tied);
  for (const char* name : {"w4a16_rtn", "w4a16_gptq"}) {
    const Model packed = loaded(models / name);
    CHECK(packed.weights.quantization == "int4 group 128 symmetric");
    CHECK_FALSE(packed.weights.lm_head.is_quantized());
    CHECK(packed.weights.num_parameters == dense.weights.num_parameters);
  }
}
