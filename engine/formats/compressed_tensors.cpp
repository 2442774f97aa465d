#include "engine/formats/compressed_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/regex.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr std::string_view kMethod = "compressed-tensors";
constexpr std::string_view kFormat = "pack-quantized";
constexpr std::string_view kPatternMark = "re:";
constexpr int64_t kMaxExtent = int64_t{1} << 31;
// A target names a module in well under this many steps; a hostile pattern would be tried on hundreds of modules.
constexpr uint32_t kPatternSteps = 100'000;

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ---- quantization_config, read -------------------------------------------------------------------------------------

Status unsupported_value(const JsonField& field, std::string_view expected) {
  return Status(Code::unsupported, field.error(expected).message());
}

// Null, empty, or an object whose members all are.
bool says_nothing(const Json& json) {
  if (json.is_null()) return true;
  if (json.is_array()) return json.size() == 0;
  if (!json.is_object()) return false;
  const auto& members = json.as_object();
  return std::all_of(members.begin(), members.end(), [](const Json::Member& m) { return says_nothing(m.second); });
}

Status require_absent(const JsonField& object, std::string_view key, std::string_view what) {
  const auto field = object.find(key);
  if (!field || says_nothing(field->json())) return ok_status();
  return unsupported_value(*field, fmt::format("null: {} are not supported", what));
}

Status require_text(const JsonField& object, std::string_view key, std::string_view wanted) {
  ASSAY_ASSIGN(const std::string text, object.get_string(key));
  if (text == wanted) return ok_status();
  ASSAY_ASSIGN(const JsonField field, object.get(key));
  return unsupported_value(field, fmt::format("\"{}\", the only one implemented", wanted));
}

// Sparsity of kind "dense" says that there is none.
Status require_no_sparsity(const JsonField& config) {
  if (const auto sparsity = config.find("sparsity_config"); sparsity && sparsity->json().is_object()) {
    const Json* format = sparsity->json().find("format");
    if (format != nullptr && *format == Json("dense")) return ok_status();
  }
  return require_absent(config, "sparsity_config", "sparse weights");
}

Result<std::vector<std::string>> read_names(const JsonField& object, std::string_view key) {
  std::vector<std::string> names;
  const auto field = object.find(key);
  if (!field) return names;
  ASSAY_ASSIGN(const auto items, field->items());
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(std::string name, item.as_string());
    names.push_back(std::move(name));
  }
  return names;
}

Result<int64_t> read_group_size(const JsonField& weights) {
  ASSAY_ASSIGN(const int64_t group_size, weights.int_or("group_size", -1, -1, kMaxExtent));
  ASSAY_ASSIGN(const std::string strategy, weights.string_or("strategy", group_size > 0 ? "group" : "channel"));
  if (strategy == "group") {
    if (group_size > 0) return group_size;
    return weights.error("a positive group_size beside strategy \"group\"");
  }
  if (strategy == "channel") {
    if (group_size == -1) return int64_t{0};
    return weights.error("no group_size beside strategy \"channel\"");
  }
  ASSAY_ASSIGN(const JsonField field, weights.get("strategy"));
  return unsupported_value(field, "\"group\" or \"channel\", the ones implemented");
}

Result<bool> read_activation_order(const JsonField& weights) {
  const auto field = weights.find("actorder");
  if (!field) return false;
  if (field->json().is_bool()) return field->json().as_bool();
  ASSAY_ASSIGN(const std::string order, field->as_string());
  if (order == "group" || order == "dynamic") return true;
  if (order == "weight" || order == "static") return false;
  return field->error("null, \"group\" or \"weight\"");
}

Result<QuantScheme> read_weights(const JsonField& weights) {
  ASSAY_TRY(require_absent(weights, "block_structure", "block-wise scales"));
  if (weights.find("type")) ASSAY_TRY(require_text(weights, "type", "int"));
  if (const auto dynamic = weights.find("dynamic"); dynamic && !(dynamic->json() == Json(false))) {
    return unsupported_value(*dynamic, "false: weights quantized as they are used are not supported");
  }
  ASSAY_ASSIGN(const JsonField bits_field, weights.get("num_bits"));
  ASSAY_ASSIGN(const int64_t bits, bits_field.as_int());
  if (bits != 4 && bits != 8) return unsupported_value(bits_field, "4 or 8, the widths implemented");
  QuantScheme scheme;
  scheme.bits = static_cast<int>(bits);
  ASSAY_ASSIGN(scheme.symmetric, weights.bool_or("symmetric", true));
  ASSAY_ASSIGN(scheme.group_size, read_group_size(weights));
  ASSAY_ASSIGN(scheme.activation_order, read_activation_order(weights));
  return scheme;
}

Result<QuantizationConfig::Group> read_group(const JsonField& field) {
  ASSAY_TRY(require_absent(field, "input_activations", "quantized activations"));
  ASSAY_TRY(require_absent(field, "output_activations", "quantized activations"));
  if (field.find("format")) ASSAY_TRY(require_text(field, "format", kFormat));
  ASSAY_ASSIGN(const JsonField weights, field.get("weights"));
  QuantizationConfig::Group group;
  ASSAY_ASSIGN(group.scheme, read_weights(weights));
  ASSAY_ASSIGN(group.targets, read_names(field, "targets"));
  if (group.targets.empty()) return field.error("a non-empty list of targets");
  return group;
}

Result<QuantizationConfig> read_config(const JsonField& field) {
  ASSAY_TRY(require_text(field, "quant_method", kMethod));
  ASSAY_TRY(require_text(field, "format", kFormat));
  ASSAY_TRY(require_absent(field, "kv_cache_scheme", "quantized KV caches"));
  ASSAY_TRY(require_absent(field, "transform_config", "weight transforms"));
  ASSAY_TRY(require_no_sparsity(field));
  QuantizationConfig config;
  ASSAY_ASSIGN(config.version, field.string_or("version", ""));
  ASSAY_ASSIGN(config.ignore, read_names(field, "ignore"));
  ASSAY_ASSIGN(const JsonField groups, field.get("config_groups"));
  ASSAY_ASSIGN(const auto members, groups.members());
  if (members.empty()) return groups.error("at least one group");
  for (const auto& [name, member] : members) {
    ASSAY_ASSIGN(QuantizationConfig::Group group, read_group(member));
    config.groups.push_back(std::move(group));
  }
  return config;
}

// ---- quantization_config, written ----------------------------------------------------------------------------------

Json names_json(const std::vector<std::string>& names) { return Json(Json::Array(names.begin(), names.end())); }

Json weights_json(const QuantScheme& scheme) {
  const bool channel = scheme.group_size == 0;
  return Json(Json::Object{{"actorder", scheme.activation_order ? Json("group") : Json()},
                           {"block_structure", Json()},
                           {"dynamic", Json(false)},
                           {"group_size", channel ? Json() : Json(scheme.group_size)},
                           {"num_bits", Json(scheme.bits)},
                           {"observer", Json("minmax")},
                           {"observer_kwargs", Json::object()},
                           {"strategy", Json(channel ? "channel" : "group")},
                           {"symmetric", Json(scheme.symmetric)},
                           {"type", Json("int")}});
}

Json group_json(const QuantizationConfig::Group& group) {
  return Json(Json::Object{{"input_activations", Json()},
                           {"output_activations", Json()},
                           {"targets", names_json(group.targets)},
                           {"weights", weights_json(group.scheme)}});
}

// ---- names ---------------------------------------------------------------------------------------------------------

constexpr std::array<std::string_view, 2> kWrappers = {"model.", "language_model."};

std::string_view without_wrappers(std::string_view name) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view wrapper : kWrappers) {
      if (!starts_with(name, wrapper)) continue;
      name.remove_prefix(wrapper.size());
      again = true;
    }
  }
  return name;
}

// The module's own name first, then every spelling of it in published layouts.
std::vector<std::string> spellings_of(std::string_view name) {
  const std::string_view core = without_wrappers(name);
  const bool in_decoder = starts_with(core, "layers.") || core == "embed_tokens" || core == "norm";
  std::vector<std::string_view> prefixes = {"", "model."};
  if (in_decoder) prefixes = {"", "model.", "language_model.model.", "model.language_model."};
  if (core == "lm_head") prefixes = {"", "language_model."};
  std::vector<std::string> spellings{std::string(name)};
  for (const std::string_view prefix : prefixes) spellings.push_back(fmt::format("{}{}", prefix, core));
  return spellings;
}

// How a target names a module; later is more telling.
enum class Match { none, by_class, by_pattern, by_name };

Result<Match> match_pattern(const std::string& target, const std::vector<std::string>& spellings) {
  const auto fail = [&target](const Status& status) {
    return bad_data(fmt::format("quantization_config: pattern {}: {}", quoted_name(target), status.message()));
  };
  const auto regex =
      Regex::compile(std::string_view(target).substr(kPatternMark.size()), {.match_limit = kPatternSteps});
  if (!regex.ok()) return fail(regex.status());
  for (const std::string& spelling : spellings) {
    const auto matched = regex->matches_prefix(spelling);
    if (!matched.ok()) return fail(matched.status());
    if (*matched) return Match::by_pattern;
  }
  return Match::none;
}

Result<Match> match_target(const std::string& target, const std::vector<std::string>& spellings,
                           std::string_view class_name) {
  if (starts_with(target, kPatternMark)) return match_pattern(target, spellings);
  if (std::find(spellings.begin(), spellings.end(), target) != spellings.end()) return Match::by_name;
  return target == class_name ? Match::by_class : Match::none;
}

Result<Match> best_match(const std::vector<std::string>& targets, const std::vector<std::string>& spellings) {
  Match best = Match::none;
  for (const std::string& target : targets) {
    ASSAY_ASSIGN(const Match match, match_target(target, spellings, "Linear"));
    best = std::max(best, match);
  }
  return best;
}

Result<QuantScheme> scheme_of(const QuantizationConfig& config, const std::string& prefix, const std::string& where) {
  const auto spellings = spellings_of(prefix);
  const QuantizationConfig::Group* chosen = nullptr;
  Match best = Match::none;
  for (const auto& group : config.groups) {
    ASSAY_ASSIGN(const Match match, best_match(group.targets, spellings));
    if (match != Match::none && match == best && group.scheme != chosen->scheme) {
      return bad_data(where + ": two groups of quantization_config name it with different schemes, expected one");
    }
    if (match <= best) continue;
    best = match;
    chosen = &group;
  }
  if (chosen == nullptr) {
    if (config.groups.size() != 1) return bad_data(where + ": packed, but no group of quantization_config names it");
    log_detail(where + ": packed, though quantization_config does not name it");
    chosen = &config.groups.front();
  }
  ASSAY_ASSIGN(const Match ignored, best_match(config.ignore, spellings));
  if (ignored != Match::none) log_detail(where + ": packed, though quantization_config says to ignore it");
  return chosen->scheme;
}

// ---- tensors of one linear -----------------------------------------------------------------------------------------

template <class Integer>
std::vector<int64_t> widen(const TensorView& tensor) {
  std::vector<int64_t> values(tensor.bytes.size() / sizeof(Integer));
  for (size_t i = 0; i < values.size(); ++i) {
    Integer value;
    std::memcpy(&value, tensor.bytes.data() + i * sizeof(Integer), sizeof(Integer));
    values[i] = value;
  }
  return values;
}

// The companions of one `<prefix>.weight_packed`, and the errors that name them.
class Companions {
 public:
  Companions(const Checkpoint& checkpoint, const std::string& prefix) : checkpoint_(checkpoint), prefix_(prefix) {}

  const TensorView* find(std::string_view suffix) const {
    return checkpoint_.find(fmt::format("{}.{}", prefix_, suffix));
  }

  std::string where(std::string_view suffix) const {
    return fmt::format("{}: tensor {}", checkpoint_.folder().string(),
                       quoted_name(fmt::format("{}.{}", prefix_, suffix)));
  }

  Result<TensorView> get(std::string_view suffix) const {
    const TensorView* tensor = find(suffix);
    if (tensor != nullptr) return *tensor;
    return bad_data(fmt::format("{}: missing beside weight_packed: the checkpoint is incomplete, download it again",
                                where(suffix)));
  }

  Status require(const TensorView& tensor, std::string_view suffix, std::initializer_list<DType> dtypes,
                 const Shape& shape, std::string_view why) const {
    const bool dtype_fits = std::find(dtypes.begin(), dtypes.end(), tensor.dtype) != dtypes.end();
    if (dtype_fits && tensor.shape == shape) return ok_status();
    std::vector<std::string_view> names;
    for (const DType dtype : dtypes) names.push_back(dtype_name(dtype));
    return bad_data(fmt::format("{}: {} {}, expected {} {} ({})", where(suffix), dtype_name(tensor.dtype),
                                shape_text(tensor.shape), fmt::join(names, " or "), shape_text(shape), why));
  }

 private:
  const Checkpoint& checkpoint_;
  const std::string& prefix_;
};

Status read_extents(const Companions& companions, PackedLinear& linear) {
  ASSAY_ASSIGN(const TensorView shape, companions.get("weight_shape"));
  ASSAY_TRY(companions.require(shape, "weight_shape", {DType::i64, DType::i32}, {2}, "rows and columns of the weight"));
  const auto extents = shape.dtype == DType::i64 ? widen<int64_t>(shape) : widen<int32_t>(shape);
  for (const int64_t extent : extents) {
    if (extent >= 1 && extent <= kMaxExtent) continue;
    return bad_data(fmt::format("{}: holds {}, expected extents from 1 to {}", companions.where("weight_shape"), extent,
                                kMaxExtent));
  }
  linear.out_features = extents[0];
  linear.in_features = extents[1];
  const Shape expected = {linear.out_features, ceil_divide(linear.in_features * linear.scheme.bits, 32)};
  const std::string why = fmt::format("int{} codes of a {} weight", linear.scheme.bits, shape_text(extents));
  return companions.require(linear.packed, "weight_packed", {DType::i32}, expected, why);
}

Status read_scale(const Companions& companions, PackedLinear& linear) {
  const QuantScheme& scheme = linear.scheme;
  if (scheme.group_size > 0 && linear.in_features > scheme.group_size && linear.in_features % scheme.group_size != 0) {
    return bad_data(fmt::format("{}: {} columns do not divide into groups of {}, as quantization_config says",
                                companions.where("weight_packed"), linear.in_features, scheme.group_size));
  }
  ASSAY_ASSIGN(linear.scale, companions.get("weight_scale"));
  const Shape expected = {linear.out_features, scheme.num_groups(linear.in_features)};
  const std::string why = fmt::format("{}, {} columns", scheme.text(), linear.in_features);
  return companions.require(linear.scale, "weight_scale", {DType::bf16, DType::f16, DType::f32}, expected, why);
}

// Zero points [out, groups] from either layout, as signed numbers.
std::vector<int8_t> decode_zero_points(const TensorView& stored, const QuantScheme& scheme, int64_t rows,
                                       int64_t groups) {
  std::vector<int8_t> zero_points(static_cast<size_t>(rows * groups));
  if (stored.dtype == DType::i8) {
    std::memcpy(zero_points.data(), stored.bytes.data(), zero_points.size());
    return zero_points;
  }
  const int64_t per_word = 32 / scheme.bits;
  const uint32_t mask = (1u << scheme.bits) - 1u;
  const int offset = 1 << (scheme.bits - 1);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      uint32_t word;
      std::memcpy(&word, stored.bytes.data() + ((row / per_word) * groups + group) * 4, sizeof(word));
      const uint32_t code = (word >> ((row % per_word) * scheme.bits)) & mask;
      zero_points[static_cast<size_t>(row * groups + group)] = static_cast<int8_t>(static_cast<int>(code) - offset);
    }
  }
  return zero_points;
}

Status read_zero_point(const Companions& companions, PackedLinear& linear) {
  constexpr std::string_view kSuffix = "weight_zero_point";
  const TensorView* stored = companions.find(kSuffix);
  if (stored == nullptr) return linear.scheme.symmetric ? ok_status() : companions.get(kSuffix).status();
  const int64_t rows = linear.out_features, groups = linear.scheme.num_groups(linear.in_features);
  const bool packed = stored->dtype == DType::i32;
  const Shape expected = {packed ? ceil_divide(rows * linear.scheme.bits, 32) : rows, groups};
  ASSAY_TRY(companions.require(*stored, kSuffix, {DType::i32, DType::i8}, expected,
                               packed ? "zero points packed along the rows" : "unpacked zero points"));
  if (!linear.scheme.symmetric) {
    linear.zero_point = *stored;
    return ok_status();
  }
  const auto zero_points = decode_zero_points(*stored, linear.scheme, rows, groups);
  if (std::all_of(zero_points.begin(), zero_points.end(), [](int8_t z) { return z == 0; })) return ok_status();
  return bad_data(fmt::format("{}: not all zero, but quantization_config says symmetric", companions.where(kSuffix)));
}

Status read_group_index(const Companions& companions, PackedLinear& linear) {
  constexpr std::string_view kSuffix = "weight_g_idx";
  const bool expected = linear.scheme.activation_order;
  linear.scheme.activation_order = false;
  const TensorView* stored = companions.find(kSuffix);
  if (stored == nullptr) return expected ? companions.get(kSuffix).status() : ok_status();
  ASSAY_TRY(companions.require(*stored, kSuffix, {DType::i32}, {linear.in_features}, "the group of each column"));
  const auto group_of_column = widen<int32_t>(*stored);
  if (std::find(group_of_column.begin(), group_of_column.end(), -1) != group_of_column.end()) return ok_status();

  const int64_t num_groups = linear.scheme.num_groups(linear.in_features);
  std::vector<int64_t> columns_in(static_cast<size_t>(num_groups));
  for (const int64_t group : group_of_column) {
    if (group < 0 || group >= num_groups) {
      return bad_data(
          fmt::format("{}: holds group {}, expected 0 to {}", companions.where(kSuffix), group, num_groups - 1));
    }
    ++columns_in[static_cast<size_t>(group)];
  }
  const int64_t group_columns = linear.in_features / num_groups;
  for (size_t group = 0; group < columns_in.size(); ++group) {
    if (columns_in[group] == group_columns) continue;
    return bad_data(fmt::format("{}: {} columns in group {}, expected {} in each", companions.where(kSuffix),
                                columns_in[group], group, group_columns));
  }
  linear.g_idx = *stored;
  linear.scheme.activation_order = true;
  return ok_status();
}

// ---- codes ---------------------------------------------------------------------------------------------------------

// In a little-endian word the low codes are in the first byte, so a row of words is a plain run of bytes.
void unpack_row(const std::byte* packed, int64_t columns, int bits, int8_t* codes) {
  if (bits == 8) {
    for (int64_t c = 0; c < columns; ++c) codes[c] = static_cast<int8_t>(std::to_integer<int>(packed[c]) - 128);
    return;
  }
  for (int64_t pair = 0; pair < columns / 2; ++pair) {
    const int two = std::to_integer<int>(packed[pair]);
    codes[2 * pair] = static_cast<int8_t>((two & 15) - 8);
    codes[2 * pair + 1] = static_cast<int8_t>((two >> 4) - 8);
  }
  if (columns % 2 != 0) codes[columns - 1] = static_cast<int8_t>((std::to_integer<int>(packed[columns / 2]) & 15) - 8);
}

uint32_t offset_code(int8_t code, int bits) {
  const int offset = 1 << (bits - 1);
  ASSAY_CHECK_LE(-offset, int{code});
  ASSAY_CHECK_LT(int{code}, offset);
  return static_cast<uint32_t>(code + offset);
}

std::vector<int32_t> groups_of_columns(const PackedLinear& linear) {
  std::vector<int32_t> groups(static_cast<size_t>(linear.in_features));
  if (linear.g_idx) {
    std::memcpy(groups.data(), linear.g_idx->bytes.data(), linear.g_idx->bytes.size());
  } else if (linear.scheme.group_size > 0) {
    for (size_t c = 0; c < groups.size(); ++c)
      groups[c] = static_cast<int32_t>(static_cast<int64_t>(c) / linear.scheme.group_size);
  }
  return groups;
}

// Neighboring columns of one group.
struct ColumnRun {
  int64_t begin = 0;
  int64_t end = 0;
  int32_t group = 0;
};

std::vector<ColumnRun> runs_of(const std::vector<int32_t>& group_of_column) {
  std::vector<ColumnRun> runs;
  for (size_t c = 0; c < group_of_column.size(); ++c) {
    if (runs.empty() || runs.back().group != group_of_column[c]) {
      runs.push_back({static_cast<int64_t>(c), static_cast<int64_t>(c), group_of_column[c]});
    }
    ++runs.back().end;
  }
  return runs;
}

}  // namespace

Result<std::optional<QuantizationConfig>> read_quantization_config(const Json& config, std::string_view source) {
  const auto field = JsonField(config, source).find("quantization_config");
  if (!field) return std::optional<QuantizationConfig>();
  ASSAY_ASSIGN(QuantizationConfig read, read_config(*field));
  return std::optional(std::move(read));
}

Json write_quantization_config(const QuantizationConfig& config) {
  Json::Object groups;
  for (size_t i = 0; i < config.groups.size(); ++i) {
    groups.emplace_back(fmt::format("group_{}", i), group_json(config.groups[i]));
  }
  Json::Object members{
      {"config_groups", Json(std::move(groups))}, {"format", Json(kFormat)},   {"global_compression_ratio", Json()},
      {"ignore", names_json(config.ignore)},      {"kv_cache_scheme", Json()}, {"quant_method", Json(kMethod)},
      {"quantization_status", Json("compressed")}};
  if (!config.version.empty()) members.emplace_back("version", Json(config.version));
  return Json(std::move(members));
}

Result<bool> module_matches(const std::string& pattern, std::string_view module_name, std::string_view class_name) {
  ASSAY_ASSIGN(const Match match, match_target(pattern, spellings_of(module_name), class_name));
  return match != Match::none;
}

Result<std::optional<PackedLinear>> find_packed_linear(const Checkpoint& checkpoint, const std::string& prefix,
                                                       const std::optional<QuantizationConfig>& config) {
  const Companions companions(checkpoint, prefix);
  const TensorView* packed = companions.find("weight_packed");
  if (packed == nullptr) return std::optional<PackedLinear>();
  const std::string where = companions.where("weight_packed");
  if (!config) return bad_data(where + ": packed, but config.json has no quantization_config to say how");
  PackedLinear linear;
  linear.packed = *packed;
  ASSAY_ASSIGN(linear.scheme, scheme_of(*config, prefix, where));
  ASSAY_TRY(read_extents(companions, linear));
  ASSAY_TRY(read_scale(companions, linear));
  ASSAY_TRY(read_zero_point(companions, linear));
  ASSAY_TRY(read_group_index(companions, linear));
  return std::optional(std::move(linear));
}

Result<UnpackedLinear> unpack(const PackedLinear& linear) {
  UnpackedLinear unpacked;
  unpacked.out_features = linear.out_features;
  unpacked.in_features = linear.in_features;
  unpacked.num_groups = linear.scheme.num_groups(linear.in_features);
  ASSAY_ASSIGN(unpacked.scales, to_floats(linear.scale));
  if (!std::all_of(unpacked.scales.begin(), unpacked.scales.end(), [](float s) { return std::isfinite(s); })) {
    return bad_data(fmt::format("tensor {}: holds a scale that is not finite: the checkpoint is damaged",
                                quoted_name(linear.scale.name)));
  }
  if (linear.zero_point) {
    unpacked.zero_points =
        decode_zero_points(*linear.zero_point, linear.scheme, linear.out_features, unpacked.num_groups);
    const int bound = 1 << (linear.scheme.bits - 1);
    for (const int z : unpacked.zero_points) {
      if (z >= -bound && z < bound) continue;
      return bad_data(fmt::format("tensor {}: holds zero point {}, expected {} to {}",
                                  quoted_name(linear.zero_point->name), z, -bound, bound - 1));
    }
  }
  unpacked.group_of_column = groups_of_columns(linear);
  const int64_t row_bytes = linear.packed.cols() * 4;
  unpacked.codes.resize(static_cast<size_t>(linear.out_features * linear.in_features));
  for (int64_t row = 0; row < linear.out_features; ++row) {
    unpack_row(linear.packed.bytes.data() + row * row_bytes, linear.in_features, linear.scheme.bits,
               unpacked.codes.data() + row * linear.in_features);
  }
  return unpacked;
}

void dequantize_rows_bf16(const UnpackedLinear& linear, int64_t begin, int64_t end, uint16_t* out) {
  const auto runs = runs_of(linear.group_of_column);
  for (int64_t row = begin; row < end; ++row) {
    const int8_t* codes = linear.codes.data() + row * linear.in_features;
    uint16_t* weights = out + (row - begin) * linear.in_features;
    for (const ColumnRun& run : runs) {
      const auto at = static_cast<size_t>(row * linear.num_groups + run.group);
      const float scale = linear.scales[at];
      const int zero_point = linear.zero_points.empty() ? 0 : linear.zero_points[at];
      for (int64_t c = run.begin; c < run.end; ++c) {
        weights[c] = float_to_bf16(static_cast<float>(codes[c] - zero_point) * scale);
      }
    }
  }
}

std::vector<int32_t> pack_codes(const int8_t* codes, int64_t rows, int64_t cols, int bits) {
  const int64_t per_word = 32 / bits, words = ceil_divide(cols, per_word);
  std::vector<int32_t> packed(static_cast<size_t>(rows * words));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < cols; ++c) {
      auto& word = packed[static_cast<size_t>(row * words + c / per_word)];
      const uint32_t code = offset_code(codes[row * cols + c], bits) << ((c % per_word) * bits);
      word = static_cast<int32_t>(static_cast<uint32_t>(word) | code);
    }
  }
  return packed;
}

std::vector<int32_t> pack_zero_points(const int8_t* zero_points, int64_t out_features, int64_t groups, int bits) {
  const int64_t per_word = 32 / bits;
  std::vector<int32_t> packed(static_cast<size_t>(ceil_divide(out_features, per_word) * groups));
  for (int64_t row = 0; row < out_features; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      auto& word = packed[static_cast<size_t>((row / per_word) * groups + group)];
      const uint32_t code = offset_code(zero_points[row * groups + group], bits) << ((row % per_word) * bits);
      word = static_cast<int32_t>(static_cast<uint32_t>(word) | code);
    }
  }
  return packed;
}

}  // namespace assay
