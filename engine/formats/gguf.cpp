#include "engine/formats/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <type_traits>

#include "engine/formats/gguf_dequant.h"
#include "engine/formats/tensor.h"

namespace assay {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxKeys = uint64_t{1} << 16;
constexpr uint64_t kMaxTensors = uint64_t{1} << 17;
constexpr uint64_t kMaxArrayElements = uint64_t{1} << 22;  // over all arrays; the largest vocabularies need a tenth
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxNameBytes = 127;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 31;

// Bytes of the shortest possible entry, by which counts are bounded before anything is allocated.
constexpr uint64_t kLeastKeyValueBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kLeastTensorBytes = 8 + 1 + 4 + 4 + 8;

enum class ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

// Bytes an array element of the type takes, at least; 0 for a type unknown or not allowed in arrays.
uint64_t element_bytes(uint32_t type) {
  constexpr uint64_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}

// A place in the file that moves forward and never past the end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string source) : bytes_(bytes), source_(std::move(source)) {}

  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }

  Status error(uint64_t where, std::string_view what) const {
    return bad_data(fmt::format("{}: byte {}: {}", source_, where, what));
  }
  Status not_implemented(uint64_t where, std::string_view what) const {
    return unsupported(fmt::format("{}: byte {}: {}", source_, where, what));
  }

  Status need(uint64_t count, std::string_view what) const {
    if (count <= left()) return ok_status();
    return error(at_, fmt::format("{} needs {} bytes, but {} are left: the file is truncated, download it again", what,
                                  count, left()));
  }

  template <class T>
  Result<T> read(std::string_view what) {
    ASSAY_TRY(need(sizeof(T), what));
    return take<T>();
  }

  // REQUIRES: need(sizeof(T)) was asked for.
  template <class T>
  T take() {
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  Result<std::string> read_string(std::string_view what, uint64_t max_bytes = UINT64_MAX) {
    const uint64_t start = at_;
    ASSAY_ASSIGN(const uint64_t length, read<uint64_t>(what));
    if (length > max_bytes)
      return error(start, fmt::format("{} of {} bytes, expected at most {}", what, length, max_bytes));
    ASSAY_TRY(need(length, what));
    std::string text(reinterpret_cast<const char*>(bytes_.data() + at_), length);
    at_ += length;
    return text;
  }

  // A count of things that take at least `least_bytes` each.
  Result<uint64_t> read_count(std::string_view what, uint64_t least_bytes, uint64_t most, uint64_t reserved_bytes = 0) {
    const uint64_t start = at_;
    ASSAY_ASSIGN(const uint64_t count, read<uint64_t>(what));
    const uint64_t room = left() > reserved_bytes ? left() - reserved_bytes : 0;
    if (count > room / least_bytes) {
      return error(start, fmt::format("{} {}, but the {} bytes left hold at most {}: the file is truncated or damaged",
                                      what, count, room, room / least_bytes));
    }
    if (count > most) return error(start, fmt::format("{} {}, expected at most {}", what, count, most));
    return count;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string source_;
  uint64_t at_ = 0;
};

// ---- metadata ------------------------------------------------------------------------------------------------------

class MetadataReader {
 public:
  explicit MetadataReader(Cursor& cursor) : cursor_(cursor) {}

  Result<GgufValue> read_value() {
    const uint64_t start = cursor_.at();
    ASSAY_ASSIGN(const uint32_t type, cursor_.read<uint32_t>("value type"));
    switch (static_cast<ValueType>(type)) {
      case ValueType::u8: return scalar<uint8_t, uint64_t>();
      case ValueType::i8: return scalar<int8_t, int64_t>();
      case ValueType::u16: return scalar<uint16_t, uint64_t>();
      case ValueType::i16: return scalar<int16_t, int64_t>();
      case ValueType::u32: return scalar<uint32_t, uint64_t>();
      case ValueType::i32: return scalar<int32_t, int64_t>();
      case ValueType::u64: return scalar<uint64_t, uint64_t>();
      case ValueType::i64: return scalar<int64_t, int64_t>();
      case ValueType::f32: return scalar<float, double>();
      case ValueType::f64: return scalar<double, double>();
      case ValueType::boolean: return boolean();
      case ValueType::string: return string();
      case ValueType::array: return array();
    }
    return cursor_.error(start, fmt::format("value type {}, expected 0 to 12", type));
  }

 private:
  template <class Stored, class Wide>
  Result<GgufValue> scalar() {
    ASSAY_ASSIGN(const Stored stored, cursor_.read<Stored>("value"));
    return GgufValue{static_cast<Wide>(stored)};
  }

  Result<bool> read_bool() {
    const uint64_t start = cursor_.at();
    ASSAY_ASSIGN(const uint8_t stored, cursor_.read<uint8_t>("boolean"));
    if (stored > 1) return cursor_.error(start, fmt::format("boolean {}, expected 0 or 1", stored));
    return stored == 1;
  }

  Result<GgufValue> boolean() {
    ASSAY_ASSIGN(const bool value, read_bool());
    return GgufValue{value};
  }

  Result<GgufValue> string() {
    ASSAY_ASSIGN(std::string text, cursor_.read_string("string"));
    return GgufValue{std::move(text)};
  }

  Result<GgufValue> array() {
    const uint64_t start = cursor_.at();
    ASSAY_ASSIGN(const uint32_t type, cursor_.read<uint32_t>("array element type"));
    const uint64_t least_bytes = element_bytes(type);
    if (static_cast<ValueType>(type) == ValueType::array) {
      return cursor_.not_implemented(start, "an array of arrays, expected an array of numbers, strings or booleans");
    }
    if (least_bytes == 0) return cursor_.error(start, fmt::format("array element type {}, expected 0 to 12", type));
    ASSAY_ASSIGN(const uint64_t count, cursor_.read_count("array length", least_bytes, elements_left_));
    elements_left_ -= count;
    switch (static_cast<ValueType>(type)) {
      case ValueType::u8: return numbers<uint8_t, int64_t>(count);
      case ValueType::i8: return numbers<int8_t, int64_t>(count);
      case ValueType::u16: return numbers<uint16_t, int64_t>(count);
      case ValueType::i16: return numbers<int16_t, int64_t>(count);
      case ValueType::u32: return numbers<uint32_t, int64_t>(count);
      case ValueType::i32: return numbers<int32_t, int64_t>(count);
      case ValueType::u64: return numbers<uint64_t, int64_t>(count);
      case ValueType::i64: return numbers<int64_t, int64_t>(count);
      case ValueType::f32: return numbers<float, double>(count);
      case ValueType::f64: return numbers<double, double>(count);
      case ValueType::boolean: return booleans(count);
      default: return strings(count);
    }
  }

  template <class Stored, class Wide>
  Result<GgufValue> numbers(uint64_t count) {
    std::vector<Wide> values(count);
    for (Wide& value : values) {
      const Stored stored = cursor_.take<Stored>();
      if constexpr (std::is_same_v<Stored, uint64_t>) {
        if (stored > uint64_t{INT64_MAX}) return cursor_.error(cursor_.at() - 8, "an array element over 2^63 - 1");
      }
      value = static_cast<Wide>(stored);
    }
    return GgufValue{std::move(values)};
  }

  Result<GgufValue> booleans(uint64_t count) {
    std::vector<bool> values;
    values.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      ASSAY_ASSIGN(const bool value, read_bool());
      values.push_back(value);
    }
    return GgufValue{std::move(values)};
  }

  Result<GgufValue> strings(uint64_t count) {
    std::vector<std::string> values;
    values.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      ASSAY_ASSIGN(std::string text, cursor_.read_string("string"));
      values.push_back(std::move(text));
    }
    return GgufValue{std::move(values)};
  }

  Cursor& cursor_;
  uint64_t elements_left_ = kMaxArrayElements;
};

using Metadata = std::map<std::string, GgufValue, std::less<>>;

Result<Metadata> read_metadata(Cursor& cursor, uint64_t count) {
  Metadata metadata;
  MetadataReader reader(cursor);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t start = cursor.at();
    ASSAY_ASSIGN(std::string key, cursor.read_string("metadata key", kMaxKeyBytes));
    if (key.empty()) return cursor.error(start, "an empty metadata key");
    ASSAY_ASSIGN(GgufValue value, reader.read_value());
    const auto [entry, added] = metadata.emplace(std::move(key), std::move(value));
    if (!added) return cursor.error(start, fmt::format("metadata key {} is there twice", quoted_name(entry->first)));
  }
  return metadata;
}

std::string kind_of(const GgufValue& value) {
  constexpr std::string_view kKinds[] = {
      "an integer",           "an integer",        "a real number",       "a boolean",           "a string",
      "an array of integers", "an array of reals", "an array of strings", "an array of booleans"};
  return std::string(kKinds[value.value.index()]);
}

// ---- tensors -------------------------------------------------------------------------------------------------------

std::optional<GgmlType> known_type(uint32_t type) {
  switch (static_cast<GgmlType>(type)) {
    case GgmlType::f32:
    case GgmlType::f16:
    case GgmlType::q4_0:
    case GgmlType::q4_1:
    case GgmlType::q5_0:
    case GgmlType::q5_1:
    case GgmlType::q8_0:
    case GgmlType::q4_k:
    case GgmlType::q5_k:
    case GgmlType::q6_k:
    case GgmlType::iq4_nl:
    case GgmlType::bf16: return static_cast<GgmlType>(type);
  }
  return std::nullopt;
}

// A tensor as the header tells of it, before its bytes are looked for.
struct TensorInfo {
  GgufTensor tensor;
  uint64_t offset = 0;  // in the data section
  uint64_t size_bytes = 0;
  uint64_t described_at = 0;  // byte of its entry, for errors
};

Result<std::vector<int64_t>> read_shape(Cursor& cursor, const std::string& where) {
  const uint64_t start = cursor.at();
  ASSAY_ASSIGN(const uint32_t dimensions, cursor.read<uint32_t>("number of dimensions"));
  if (dimensions > kMaxDimensions) {
    return cursor.error(start,
                        fmt::format("{}: {} dimensions, expected at most {}", where, dimensions, kMaxDimensions));
  }
  std::vector<int64_t> shape(dimensions);
  for (auto extent = shape.rbegin(); extent != shape.rend(); ++extent) {
    ASSAY_ASSIGN(*extent, cursor.read<int64_t>("dimension"));
    if (*extent < 1) return cursor.error(cursor.at() - 8, where + ": a dimension is not positive");
  }
  return shape;
}

Result<uint64_t> size_in_bytes(const Cursor& cursor, const GgufTensor& tensor, uint64_t start,
                               const std::string& where) {
  const GgmlBlock block = ggml_block(tensor.type);
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (row % block.values != 0) {
    return cursor.error(start, fmt::format("{}: rows of {} values are no whole number of {} blocks of {}", where, row,
                                           ggml_type_name(static_cast<uint32_t>(tensor.type)), block.values));
  }
  const auto elements = num_elements(tensor.shape);
  int64_t bytes = 0;
  if (!elements.ok() || __builtin_mul_overflow(*elements / block.values, block.bytes, &bytes)) {
    return cursor.error(start,
                        fmt::format("{}: the size of shape {} does not fit 63 bits", where, shape_text(tensor.shape)));
  }
  return static_cast<uint64_t>(bytes);
}

Result<TensorInfo> read_tensor_info(Cursor& cursor) {
  TensorInfo info;
  info.described_at = cursor.at();
  ASSAY_ASSIGN(info.tensor.name, cursor.read_string("tensor name", kMaxNameBytes));
  if (info.tensor.name.empty()) return cursor.error(info.described_at, "an empty tensor name");
  const std::string where = "tensor " + quoted_name(info.tensor.name);
  ASSAY_ASSIGN(info.tensor.shape, read_shape(cursor, where));
  const uint64_t type_at = cursor.at();
  ASSAY_ASSIGN(const uint32_t type, cursor.read<uint32_t>("tensor type"));
  const auto known = known_type(type);
  if (!known) {
    return cursor.not_implemented(type_at,
                                  fmt::format("{}: type {}, expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, "
                                              "Q4_K, Q5_K, Q6_K or IQ4_NL",
                                              where, ggml_type_name(type)));
  }
  info.tensor.type = *known;
  ASSAY_ASSIGN(info.offset, cursor.read<uint64_t>("tensor offset"));
  ASSAY_ASSIGN(info.size_bytes, size_in_bytes(cursor, info.tensor, info.described_at, where));
  return info;
}

Result<std::vector<TensorInfo>> read_tensor_infos(Cursor& cursor, uint64_t count) {
  std::vector<TensorInfo> infos;
  infos.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    ASSAY_ASSIGN(TensorInfo info, read_tensor_info(cursor));
    infos.push_back(std::move(info));
  }
  return infos;
}

// Gives each tensor its bytes in the data section that starts `cursor.at()` rounded up to `alignment`.
Status place_tensors(const Cursor& cursor, std::span<const std::byte> file, uint64_t alignment,
                     std::vector<TensorInfo>& infos) {
  const uint64_t data_at = std::min<uint64_t>((cursor.at() + alignment - 1) / alignment * alignment, file.size());
  const auto data = file.subspan(data_at);
  for (TensorInfo& info : infos) {
    const auto fail = [&](std::string_view rule) {
      return cursor.error(info.described_at,
                          fmt::format("tensor {}: {} bytes at offset {} of the data section: {}",
                                      quoted_name(info.tensor.name), info.size_bytes, info.offset, rule));
    };
    if (info.offset % alignment != 0)
      return fail(fmt::format("expected an offset that is a multiple of {}", alignment));
    if (info.offset > data.size() || info.size_bytes > data.size() - info.offset) {
      return fail(fmt::format("the section holds {}: the file is truncated, download it again", data.size()));
    }
    info.tensor.bytes = data.subspan(info.offset, info.size_bytes);
  }
  return ok_status();
}

Status check_no_overlap(const Cursor& cursor, const std::vector<TensorInfo>& infos) {
  std::vector<const TensorInfo*> by_offset;
  by_offset.reserve(infos.size());
  for (const TensorInfo& info : infos) by_offset.push_back(&info);
  std::sort(by_offset.begin(), by_offset.end(), [](const auto* a, const auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const TensorInfo &before = *by_offset[i - 1], &after = *by_offset[i];
    if (before.offset + before.size_bytes <= after.offset) continue;
    return cursor.error(after.described_at, fmt::format("tensors {} and {} overlap", quoted_name(before.tensor.name),
                                                        quoted_name(after.tensor.name)));
  }
  return ok_status();
}

// ---- header --------------------------------------------------------------------------------------------------------

Status read_magic_and_version(Cursor& cursor) {
  ASSAY_ASSIGN(const uint32_t magic, cursor.read<uint32_t>("magic"));
  if (magic != kMagic) return cursor.error(0, "expected the letters GGUF: this is no GGUF file");
  ASSAY_ASSIGN(const uint32_t version, cursor.read<uint32_t>("version"));
  if (version == 2 || version == 3) return ok_status();
  const bool big_endian = (version & 0xffffu) == 0 && version != 0;
  return cursor.not_implemented(
      4, fmt::format("GGUF version {}, expected 2 or 3{}", version, big_endian ? ": this is a big-endian file" : ""));
}

// A part of a split file lacks the tensors of the others.
Status check_whole(const GgufFile& file) {
  if (!file.has("split.count")) return ok_status();
  ASSAY_ASSIGN(const int64_t parts, file.get_int("split.count"));
  if (parts <= 1) return ok_status();
  return unsupported(fmt::format("{}: one of {} parts, expected a whole file: join them with llama-gguf-split --merge",
                                 file.path().string(), parts));
}

Result<uint64_t> alignment_of(const GgufFile& file) {
  if (!file.has("general.alignment")) return kDefaultAlignment;
  ASSAY_ASSIGN(const int64_t alignment, file.get_int("general.alignment"));
  const auto unsigned_alignment = static_cast<uint64_t>(alignment);
  if (alignment > 0 && unsigned_alignment <= kMaxAlignment && std::has_single_bit(unsigned_alignment)) {
    return unsigned_alignment;
  }
  return bad_data(fmt::format("{}: general.alignment {}, expected a power of two up to {}", file.path().string(),
                              alignment, kMaxAlignment));
}

}  // namespace

std::string ggml_type_name(uint32_t type) {
  constexpr std::string_view kNames[] = {
      "F32",      "F16",      "Q4_0",    "Q4_1",  "Q4_2",       "Q4_3",       "Q5_0",       "Q5_1",
      "Q8_0",     "Q8_1",     "Q2_K",    "Q3_K",  "Q4_K",       "Q5_K",       "Q6_K",       "Q8_K",
      "IQ2_XXS",  "IQ2_XS",   "IQ3_XXS", "IQ1_S", "IQ4_NL",     "IQ3_S",      "IQ2_S",      "IQ4_XS",
      "I8",       "I16",      "I32",     "I64",   "F64",        "IQ1_M",      "BF16",       "Q4_0_4_4",
      "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",   "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4"};
  return type < std::size(kNames) ? std::string(kNames[type]) : fmt::format("number {}", type);
}

Result<GgufFile> GgufFile::open(const Path& path) {
  ASSAY_ASSIGN(MappedFile mapped, MappedFile::open(path));
  GgufFile file;
  file.file_ = std::make_shared<MappedFile>(std::move(mapped));
  Cursor cursor(file.file_->bytes(), path.string());
  ASSAY_TRY(read_magic_and_version(cursor));
  ASSAY_ASSIGN(const uint64_t num_tensors, cursor.read_count("tensor count", kLeastTensorBytes, kMaxTensors, 8));
  ASSAY_ASSIGN(const uint64_t num_keys, cursor.read_count("metadata count", kLeastKeyValueBytes, kMaxKeys));
  ASSAY_ASSIGN(file.metadata_, read_metadata(cursor, num_keys));

  ASSAY_TRY(check_whole(file));
  ASSAY_ASSIGN(const uint64_t alignment, alignment_of(file));

  ASSAY_ASSIGN(auto infos, read_tensor_infos(cursor, num_tensors));
  ASSAY_TRY(place_tensors(cursor, file.file_->bytes(), alignment, infos));
  ASSAY_TRY(check_no_overlap(cursor, infos));
  file.tensors_.reserve(infos.size());
  for (TensorInfo& info : infos) {
    if (!file.index_.emplace(info.tensor.name, file.tensors_.size()).second) {
      return cursor.error(info.described_at, fmt::format("tensor {} is there twice", quoted_name(info.tensor.name)));
    }
    file.tensors_.push_back(std::move(info.tensor));
  }
  return file;
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

namespace {

Status wrong_kind(const Path& path, std::string_view key, std::string_view found, std::string_view expected) {
  return bad_data(
      fmt::format("{}: metadata key {}: found {}, expected {}", path.string(), quoted_name(key), found, expected));
}

template <class T>
Result<T> get_as(const Metadata& metadata, const Path& path, std::string_view key, std::string_view expected) {
  const auto entry = metadata.find(key);
  if (entry == metadata.end()) return wrong_kind(path, key, "nothing", expected);
  if (const T* value = std::get_if<T>(&entry->second.value)) return *value;
  return wrong_kind(path, key, kind_of(entry->second), expected);
}

}  // namespace

Result<int64_t> GgufFile::get_int(std::string_view key) const {
  const auto entry = metadata_.find(key);
  const auto* bits = entry == metadata_.end() ? nullptr : std::get_if<uint64_t>(&entry->second.value);
  if (bits == nullptr) return get_as<int64_t>(metadata_, path(), key, "an integer");
  if (*bits <= uint64_t{INT64_MAX}) return static_cast<int64_t>(*bits);
  return wrong_kind(path(), key, std::to_string(*bits), "an integer below 2^63");
}

Result<double> GgufFile::get_real(std::string_view key) const {
  const auto entry = metadata_.find(key);
  if (entry != metadata_.end()) {
    if (const auto* integer = std::get_if<int64_t>(&entry->second.value)) return static_cast<double>(*integer);
    if (const auto* integer = std::get_if<uint64_t>(&entry->second.value)) return static_cast<double>(*integer);
  }
  return get_as<double>(metadata_, path(), key, "a real number");
}

Result<std::string> GgufFile::get_string(std::string_view key) const {
  return get_as<std::string>(metadata_, path(), key, "a string");
}

Result<bool> GgufFile::get_bool(std::string_view key) const {
  return get_as<bool>(metadata_, path(), key, "a boolean");
}

Result<std::vector<std::string>> GgufFile::get_strings(std::string_view key) const {
  return get_as<std::vector<std::string>>(metadata_, path(), key, "an array of strings");
}

Result<std::vector<int64_t>> GgufFile::get_ints(std::string_view key) const {
  return get_as<std::vector<int64_t>>(metadata_, path(), key, "an array of integers");
}

}  // namespace assay
