#include "engine/quantize/quantize_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include "engine/base/text_util.h"
#include "engine/base/threads.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/compressed_tensors.h"
#include "engine/formats/safetensors.h"
#include "engine/model/output_folder.h"
#include "engine/model/tensor_table.h"
#include "engine/quantize/rtn.h"

namespace assay {
namespace {

constexpr std::string_view kWeightSuffix = ".weight";
constexpr std::string_view kIndexName = "model.safetensors.index.json";

// Files that travel with a checkpoint, by how their names begin: vocabulary, templates, processors, license.
constexpr std::array<std::string_view, 12> kCompanions = {
    "tokenizer",     "special_tokens_map",     "added_tokens",  "vocab.",           "merges.", "tekken.json",
    "chat_template", "generation_config.json", "preprocessor_", "processor_config", "LICENSE", "NOTICE",
};

// Which linears
// --------------------------------------------------------------------------------------------------------

// A linear of the model, by the name that the files give it.
struct Module {
  std::string name;
  int64_t in_features = 0;
  bool can_quantize = false;  // false for the eyes and for a head that is a view of the embeddings
  bool quantize = false;
};

std::string module_name(const TensorView& weight) {
  return weight.name.substr(0, weight.name.size() - kWeightSuffix.size());
}

// "layers.2" before "layers.10".
bool natural_less(std::string_view a, std::string_view b) {
  size_t i = 0, j = 0;
  const auto digit = [](std::string_view text, size_t at) {
    return at < text.size() && text[at] >= '0' && text[at] <= '9';
  };
  while (i < a.size() && j < b.size()) {
    if (digit(a, i) && digit(b, j)) {
      size_t i_end = i, j_end = j;
      while (digit(a, i_end)) ++i_end;
      while (digit(b, j_end)) ++j_end;
      const std::string_view left = a.substr(i, i_end - i), right = b.substr(j, j_end - j);
      if (left != right) return left.size() != right.size() ? left.size() < right.size() : left < right;
      i = i_end;
      j = j_end;
    } else if (a[i] != b[j]) {
      return a[i] < b[j];
    } else {
      ++i;
      ++j;
    }
  }
  return a.size() - i < b.size() - j;
}

// Linears of the vision tower and the projector: their weights are the matrices.
std::vector<Module> eye_modules(const Checkpoint& checkpoint) {
  std::vector<Module> modules;
  for (const TensorView* tensor : checkpoint.tensors()) {
    const std::string canonical = canonical_tensor_name(tensor->name);
    const bool eye = starts_with(canonical, "vision_tower.") || starts_with(canonical, "multi_modal_projector.");
    if (!eye || tensor->shape.size() != 2 || !ends_with(canonical, kWeightSuffix)) continue;
    modules.push_back({.name = module_name(*tensor), .in_features = tensor->cols()});
  }
  const auto projector = [](const Module& module) {
    return starts_with(canonical_tensor_name(module.name + "."), "multi_modal_projector.");
  };
  std::sort(modules.begin(), modules.end(), [&](const Module& a, const Module& b) {
    return projector(a) != projector(b) ? projector(b) : natural_less(a.name, b.name);
  });
  return modules;
}

Module head_module(const ModelWeights& weights) {
  Module head{.name = "lm_head", .in_features = weights.lm_head.in_features};
  if (!weights.tied) {
    head.name = module_name(std::get<TensorView>(weights.lm_head.weight));
    head.can_quantize = true;
  } else if (starts_with(weights.embed_tokens.name, "language_model.")) {
    head.name = "language_model.lm_head";
  }
  return head;
}

std::vector<Module> list_modules(const Checkpoint& checkpoint, const ModelWeights& weights) {
  std::vector<Module> modules = eye_modules(checkpoint);
  for (const LayerWeights& layer : weights.layers) {
    for (const NamedLinear& named : linears_of(layer)) {
      modules.push_back({.name = module_name(std::get<TensorView>(named.linear->weight)),
                         .in_features = named.linear->in_features,
                         .can_quantize = true});
    }
  }
  modules.push_back(head_module(weights));
  return modules;
}

Status unmatched(const std::string& pattern, const std::vector<Module>& modules) {
  std::vector<std::string> names;
  for (const Module& module : modules) names.push_back(module.name);
  const auto near = nearest(pattern, names);
  return invalid_argument(
      fmt::format("ignore entry \"{}\" matches no linear of this model{}; names look like {}, patterns "
                  "begin with re:",
                  pattern, near ? fmt::format(", did you mean {}?", *near) : "", modules.front().name));
}

Status choose_modules(const std::vector<std::string>& ignore, std::vector<Module>& modules) {
  for (Module& module : modules) module.quantize = module.can_quantize;
  for (const std::string& pattern : ignore) {
    bool matched = false;
    for (Module& module : modules) {
      ASSAY_ASSIGN(const bool hit, module_matches(pattern, module.name, "Linear"));
      matched |= hit;
      if (hit) module.quantize = false;
    }
    if (!matched) return unmatched(pattern, modules);
  }
  const auto chosen = [](const Module& module) { return module.quantize; };
  if (std::any_of(modules.begin(), modules.end(), chosen)) return ok_status();
  return invalid_argument("the ignore list leaves no linear to quantize; shorten it");
}

bool all_divide(const std::vector<Module>& modules, int64_t group_size) {
  return std::all_of(modules.begin(), modules.end(), [group_size](const Module& module) {
    return !module.quantize || module.in_features % group_size == 0;
  });
}

Status check_widths(const std::vector<Module>& modules, int64_t group_size) {
  if (group_size == 0 || all_divide(modules, group_size)) return ok_status();
  const auto misfit = std::find_if(modules.begin(), modules.end(), [group_size](const Module& module) {
    return module.quantize && module.in_features % group_size != 0;
  });
  std::vector<std::string> fits;
  for (const int64_t size : {32, 64, 128}) {
    if (all_divide(modules, size)) fits.push_back(std::to_string(size));
  }
  fits.emplace_back("channel");
  return invalid_argument(
      fmt::format("group size {} does not divide the {} columns of {}; of 32, 64, 128 and channel "
                  "these fit every layer: {}",
                  group_size, misfit->in_features, misfit->name, join(fits, ", ")));
}

Status check_options(const QuantizeOptions& options) {
  if (options.method != "rtn") {
    return invalid_argument(fmt::format("quantization method \"{}\": supported is rtn", options.method));
  }
  if (options.scheme.bits != 4 && options.scheme.bits != 8) {
    return invalid_argument(fmt::format("{} bits: supported are 4 and 8", options.scheme.bits));
  }
  if (options.scheme.group_size < 0) {
    return invalid_argument(
        fmt::format("group size {}: expected 32, 64, 128 or another positive number of columns, or 0 "
                    "for one group a row",
                    options.scheme.group_size));
  }
  if (!options.scheme.activation_order) return ok_status();
  return invalid_argument("activation order needs calibration data, which round-to-nearest does not use");
}

// One linear ----------------------------------------------------------------------------------------------------------

// What a quantized linear is stored as.
struct PackedWeight {
  std::vector<int32_t> codes;       // [out, ceil(in * bits / 32)]
  std::vector<uint16_t> scales;     // bf16 [out, groups]
  std::vector<int8_t> zero_points;  // [out, groups]; empty when symmetric
  double relative_error = 0;
};

// Squares summed over some rows, added up in row order so that the number of threads does not show.
struct ErrorSums {
  double error = 0, weight = 0;
  bool finite = true;
};

Result<std::vector<float>> bf16_rows(const TensorView& weight, int64_t begin, int64_t end) {
  const size_t row_bytes = static_cast<size_t>(weight.cols()) * dtype_bytes(weight.dtype);
  TensorView rows = weight;
  rows.shape = {end - begin, weight.cols()};
  rows.bytes =
      weight.bytes.subspan(static_cast<size_t>(begin) * row_bytes, static_cast<size_t>(end - begin) * row_bytes);
  ASSAY_ASSIGN(std::vector<float> values, to_floats(rows));
  for (float& value : values) value = bf16_to_float(float_to_bf16(value));
  return values;
}

ErrorSums compare(const std::vector<float>& weight, const UnpackedLinear& linear) {
  std::vector<uint16_t> restored(weight.size());
  dequantize_rows_bf16(linear, 0, linear.out_features, restored.data());
  ErrorSums sums;
  for (size_t i = 0; i < weight.size(); ++i) {
    const double difference = static_cast<double>(weight[i]) - static_cast<double>(bf16_to_float(restored[i]));
    sums.error += difference * difference;
    sums.weight += static_cast<double>(weight[i]) * static_cast<double>(weight[i]);
  }
  return sums;
}

// Rows [begin, end) into their places of `packed`.
ErrorSums quantize_rows(const std::vector<float>& values, int64_t begin, int64_t end, int64_t in_features,
                        const QuantScheme& scheme, PackedWeight& packed) {
  if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }))
    return {.finite = false};
  const UnpackedLinear linear = quantize_rtn(values, end - begin, in_features, scheme);
  const std::vector<int32_t> words = pack_codes(linear.codes.data(), end - begin, in_features, scheme.bits);
  const auto words_a_row = static_cast<int64_t>(words.size()) / (end - begin);
  std::copy(words.begin(), words.end(), packed.codes.begin() + begin * words_a_row);
  std::transform(linear.scales.begin(), linear.scales.end(), packed.scales.begin() + begin * linear.num_groups,
                 float_to_bf16);
  if (!scheme.symmetric) {
    std::copy(linear.zero_points.begin(), linear.zero_points.end(),
              packed.zero_points.begin() + begin * linear.num_groups);
  }
  return compare(values, linear);
}

int64_t words_a_row(int64_t in_features, const QuantScheme& scheme) { return (in_features * scheme.bits + 31) / 32; }

Result<PackedWeight> quantize_weight(const TensorView& weight, const QuantScheme& scheme) {
  constexpr int64_t kRowsAJob = 64;
  const int64_t out = weight.rows(), in = weight.cols(), groups = scheme.num_groups(in);
  PackedWeight packed;
  packed.codes.resize(static_cast<size_t>(out * words_a_row(in, scheme)));
  packed.scales.resize(static_cast<size_t>(out * groups));
  if (!scheme.symmetric) packed.zero_points.resize(static_cast<size_t>(out * groups));
  std::vector<ErrorSums> sums(static_cast<size_t>((out + kRowsAJob - 1) / kRowsAJob));
  parallel_for(sums.size(), [&](size_t job) {
    const int64_t begin = static_cast<int64_t>(job) * kRowsAJob, end = std::min(out, begin + kRowsAJob);
    const auto values = bf16_rows(weight, begin, end);
    sums[job] = values.ok() ? quantize_rows(*values, begin, end, in, scheme, packed) : ErrorSums{.finite = false};
  });
  ErrorSums total;
  for (const ErrorSums& part : sums) {
    if (!part.finite) {
      return bad_data(fmt::format("tensor {}: holds NaN or infinity (or a number beyond bf16), expected finite weights",
                                  weight.name));
    }
    total.error += part.error;
    total.weight += part.weight;
  }
  packed.relative_error = total.weight > 0 ? std::sqrt(total.error / total.weight) : 0;
  return packed;
}

// Files
// -----------------------------------------------------------------------------------------------------------------

using Entry = SafetensorsWriter::Entry;

bool is_wider_than_bf16(DType dtype) { return dtype == DType::f16 || dtype == DType::f32; }

std::vector<Entry> packed_entries(const TensorView& weight, const QuantScheme& scheme) {
  const int64_t out = weight.rows(), in = weight.cols(), groups = scheme.num_groups(in);
  std::vector<Entry> entries = {{weight.name + "_packed", DType::i32, {out, words_a_row(in, scheme)}},
                                {weight.name + "_scale", DType::bf16, {out, groups}},
                                {weight.name + "_shape", DType::i64, {2}}};
  if (!scheme.symmetric) {
    entries.push_back({weight.name + "_zero_point", DType::i32, {words_a_row(out, scheme), groups}});
  }
  return entries;
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// Writes the shards of one model and counts as it goes.
class ShardWriter {
 public:
  ShardWriter(const QuantizeOptions& options, const std::vector<Module>& modules,
              const std::function<void(int64_t, int64_t)>& progress)
      : scheme_(options.scheme), progress_(progress) {
    for (const Module& module : modules) {
      if (module.quantize) chosen_.emplace(module.name + std::string(kWeightSuffix), &module);
    }
  }

  Status write(const Path& source, const Path& target) {
    ASSAY_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(source));
    std::vector<Entry> entries;
    for (const TensorView& tensor : file.tensors()) {
      for (Entry& entry : entries_for(tensor)) entries.push_back(std::move(entry));
    }
    for (const Entry& entry : entries) ASSAY_TRY(note(entry, target.filename().string()));
    ASSAY_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(target, std::move(entries)));
    for (const TensorView& tensor : file.tensors()) {
      ASSAY_TRY((chosen_.contains(tensor.name) ? write_quantized(tensor, writer) : write_dense(tensor, writer))
                    .with_context(source.string()));
    }
    return writer.finish();
  }

  Status write_index(const Path& path) const {
    Json index = Json::object().set("metadata", Json::object().set("total_size", bytes_written_));
    Json::Object map;
    for (const auto& [name, shard] : shard_of_) map.emplace_back(name, shard);
    index.set("weight_map", Json(std::move(map)));
    return real_files().write_atomic(path, index.dump({.indent = 2}) + "\n");
  }

  int64_t bytes_written() const { return bytes_written_; }
  int64_t num_quantized() const { return done_; }
  double mean_relative_error() const { return done_ == 0 ? 0 : error_sum_ / static_cast<double>(done_); }

 private:
  std::vector<Entry> entries_for(const TensorView& tensor) const {
    if (chosen_.contains(tensor.name)) return packed_entries(tensor, scheme_);
    return {{tensor.name, is_wider_than_bf16(tensor.dtype) ? DType::bf16 : tensor.dtype, tensor.shape}};
  }

  Status note(const Entry& entry, const std::string& shard) {
    ASSAY_ASSIGN(const int64_t count, num_elements(entry.shape));
    bytes_written_ += count * static_cast<int64_t>(dtype_bytes(entry.dtype));
    shard_of_[entry.name] = shard;
    return ok_status();
  }

  Status write_quantized(const TensorView& tensor, SafetensorsWriter& writer) {
    ASSAY_ASSIGN(const PackedWeight packed, quantize_weight(tensor, scheme_));
    const std::vector<int64_t> shape = {tensor.rows(), tensor.cols()};
    ASSAY_TRY(writer.write(bytes_of(packed.codes)));
    ASSAY_TRY(writer.write(bytes_of(packed.scales)));
    ASSAY_TRY(writer.write(bytes_of(shape)));
    if (!scheme_.symmetric) {
      ASSAY_TRY(writer.write(bytes_of(pack_zero_points(packed.zero_points.data(), tensor.rows(),
                                                       scheme_.num_groups(tensor.cols()), scheme_.bits))));
    }
    error_sum_ += packed.relative_error;
    ++done_;
    if (progress_) progress_(done_, static_cast<int64_t>(chosen_.size()));
    return ok_status();
  }

  // Scales are bf16, and Transformers computes in one dtype: what is wider is rounded too.
  Status write_dense(const TensorView& tensor, SafetensorsWriter& writer) {
    if (!is_wider_than_bf16(tensor.dtype)) return writer.write(tensor.bytes);
    ASSAY_ASSIGN(const std::vector<float> values, to_floats(tensor));
    std::vector<uint16_t> rounded(values.size());
    std::transform(values.begin(), values.end(), rounded.begin(), float_to_bf16);
    return writer.write(bytes_of(rounded));
  }

  QuantScheme scheme_;
  const std::function<void(int64_t, int64_t)>& progress_;
  std::map<std::string, const Module*, std::less<>> chosen_;  // by weight name
  std::map<std::string, std::string> shard_of_;
  int64_t bytes_written_ = 0;
  int64_t done_ = 0;
  double error_sum_ = 0;
};

// "torch_dtype", or "dtype" as newer writers spell it, where the object has one.
void set_dtype(Json& config) {
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (config.find(key) != nullptr) config.set(key, "bfloat16");
  }
}

Json quantized_config(const Json& source, const QuantScheme& scheme, const std::vector<Module>& modules) {
  QuantizationConfig quantization;
  quantization.groups.push_back({.targets = {"Linear"}, .scheme = scheme});
  for (const Module& module : modules) {
    if (!module.quantize) quantization.ignore.push_back(module.name);
  }
  Json config = source;
  set_dtype(config);
  for (const char* part : {"text_config", "vision_config"}) {
    if (Json* nested = config.find(part); nested != nullptr && nested->is_object()) set_dtype(*nested);
  }
  if (config.find("torch_dtype") == nullptr && config.find("dtype") == nullptr) config.set("torch_dtype", "bfloat16");
  return config.set("quantization_config", write_quantization_config(quantization));
}

// The recipe in the layout of llm-compressor, so that a reader of the folder sees how it was made.
std::string recipe_yaml(const QuantizeOptions& options, bool has_eyes) {
  std::vector<std::string> ignore;
  for (const std::string& entry : options.ignore) ignore.push_back("'" + replace_all(entry, "'", "''") + "'");
  if (has_eyes) ignore.insert(ignore.end(), {"'re:.*vision_tower.*'", "'re:.*multi_modal_projector.*'"});
  const QuantScheme& scheme = options.scheme;
  const std::string strategy =
      scheme.group_size == 0 ? "channel" : fmt::format("group, group_size: {}", scheme.group_size);
  return fmt::format(
      "default_stage:\n"
      "  default_modifiers:\n"
      "    QuantizationModifier:\n"
      "      ignore: [{}]\n"
      "      config_groups:\n"
      "        group_0:\n"
      "          targets: [Linear]\n"
      "          weights: {{num_bits: {}, type: int, symmetric: {}, strategy: {}}}\n",
      join(ignore, ", "), scheme.bits, scheme.symmetric, strategy);
}

Status copy_companions(const Path& from, const Path& to) {
  ASSAY_ASSIGN(const std::vector<std::string> names, real_files().list(from));
  for (const std::string& name : names) {
    const bool travels = std::any_of(kCompanions.begin(), kCompanions.end(),
                                     [&](std::string_view prefix) { return starts_with(name, prefix); });
    std::error_code error;
    if (!travels || !std::filesystem::is_regular_file(from / name, error)) continue;
    ASSAY_ASSIGN(const std::string bytes, real_files().read(from / name));
    ASSAY_TRY(real_files().write_atomic(to / name, bytes));
  }
  return ok_status();
}

Result<ModelWeights> read_model(const Checkpoint& checkpoint) {
  const std::string source = (checkpoint.folder() / "config.json").string();
  const auto& generation = checkpoint.generation_config();
  ASSAY_ASSIGN(const ModelConfig config,
               read_model_config(checkpoint.config(), generation ? &*generation : nullptr, source));
  return build_tensor_table(checkpoint, config);
}

}  // namespace

Result<QuantizeReport> quantize_model(const QuantizeOptions& options,
                                      const std::function<void(int64_t, int64_t)>& progress) {
  ASSAY_TRY(check_options(options));
  ASSAY_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(options.model));
  ASSAY_ASSIGN(const ModelWeights weights, read_model(checkpoint));
  if (weights.quantization != "none" || weights.lm_head.is_quantized()) {
    return invalid_argument(fmt::format("{}: already quantized ({}); give the folder of the original weights",
                                        options.model.string(), weights.quantization));
  }
  std::vector<Module> modules = list_modules(checkpoint, weights);
  ASSAY_TRY(choose_modules(options.ignore, modules));
  ASSAY_TRY(check_widths(modules, options.scheme.group_size));

  ASSAY_ASSIGN(OutputFolder folder, OutputFolder::create(options.out, checkpoint.total_bytes()));
  ShardWriter shards(options, modules, progress);
  for (const Path& file : checkpoint.weight_files()) ASSAY_TRY(shards.write(file, folder.path() / file.filename()));
  if (real_files().exists(checkpoint.folder() / kIndexName)) ASSAY_TRY(shards.write_index(folder.path() / kIndexName));
  const Json config = quantized_config(checkpoint.config(), options.scheme, modules);
  ASSAY_TRY(real_files().write_atomic(folder.path() / "config.json", config.dump({.indent = 2}) + "\n"));
  ASSAY_TRY(
      real_files().write_atomic(folder.path() / "recipe.yaml", recipe_yaml(options, !eye_modules(checkpoint).empty())));
  ASSAY_TRY(copy_companions(checkpoint.folder(), folder.path()));
  ASSAY_ASSIGN(const Checkpoint written, Checkpoint::open(folder.path()));
  ASSAY_TRY(read_model(written));
  ASSAY_TRY(folder.commit());

  QuantizeReport report;
  report.num_quantized = shards.num_quantized();
  report.num_ignored =
      std::count_if(modules.begin(), modules.end(), [](const Module& module) { return !module.quantize; });
  report.bytes_before = checkpoint.total_bytes();
  report.bytes_after = written.total_bytes();
  report.mean_relative_error = shards.mean_relative_error();
  return report;
}

}  // namespace assay
