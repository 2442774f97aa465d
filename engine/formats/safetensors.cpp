#include "engine/formats/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "engine/base/check.h"
#include "engine/base/json.h"

namespace assay {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
// Bounds the memory a parsed header takes: a value costs about a hundred bytes, however short its text.
constexpr size_t kMaxHeaderValues = size_t{1} << 20;
constexpr std::string_view kMetadataKey = "__metadata__";

// A tensor and where in the data section its bytes lie.
struct Placed {
  TensorView view;
  int64_t begin = 0;
  int64_t end = 0;
};

Result<std::string_view> header_text(const MappedFile& file) {
  const std::string source = file.path().string();
  if (file.size() < kLengthBytes) {
    return bad_data(
        fmt::format("{}: {} bytes, expected an 8-byte header length at byte 0: the file is truncated, "
                    "download it again",
                    source, file.size()));
  }
  uint64_t length = 0;
  std::memcpy(&length, file.bytes().data(), sizeof(length));
  if (length > kMaxHeaderBytes) {
    return bad_data(fmt::format("{}: byte 0: a header of {} bytes, expected at most {}: this is no safetensors file",
                                source, length, kMaxHeaderBytes));
  }
  if (length > file.size() - kLengthBytes) {
    return bad_data(
        fmt::format("{}: byte 8: a header of {} bytes, but the file ends at byte {}: the file is truncated, "
                    "download it again",
                    source, length, file.size()));
  }
  const std::string_view header = file.text().substr(kLengthBytes, length);
  if (header.empty() || header.front() != '{') {
    return bad_data(fmt::format("{}: byte 8: expected '{{', the start of a JSON header", source));
  }
  return header;
}

// An upper bound of the values in a JSON text, counted without building any.
size_t count_json_values(std::string_view text) {
  size_t values = 1;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == ',' || c == '[' || c == '{') {
      ++values;
    }
  }
  return values;
}

Result<Json> parse_header(std::string_view text, const std::string& source) {
  if (count_json_values(text) > kMaxHeaderValues) {
    return bad_data(fmt::format("{}: the header holds more than {} values: split the checkpoint into shards", source,
                                kMaxHeaderValues));
  }
  return Json::parse(text, source + ": header", JsonLimits{.max_depth = 8, .max_bytes = kMaxHeaderBytes});
}

Result<Shape> read_integers(const JsonField& field) {
  ASSAY_ASSIGN(const auto items, field.items());
  Shape integers;
  integers.reserve(items.size());
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(const int64_t integer, item.as_int(0));
    integers.push_back(integer);
  }
  return integers;
}

Result<Placed> read_entry(const std::string& name, const Json& value, const std::string& source, int64_t data_bytes) {
  const std::string where = fmt::format("{}: tensor {}", source, quoted_name(name));
  const JsonField field(value, where);
  ASSAY_ASSIGN(const std::string dtype_text, field.get_string("dtype"));
  ASSAY_ASSIGN(const DType dtype, parse_dtype(dtype_text).with_context(where));
  ASSAY_ASSIGN(const JsonField shape_field, field.get("shape"));
  ASSAY_ASSIGN(Shape shape, read_integers(shape_field));
  ASSAY_ASSIGN(const JsonField offsets_field, field.get("data_offsets"));
  ASSAY_ASSIGN(const Shape offsets, read_integers(offsets_field));
  if (offsets.size() != 2 || offsets[0] > offsets[1]) return offsets_field.error("[begin, end] with begin <= end");

  const int64_t begin = offsets[0], end = offsets[1];
  if (end > data_bytes) {
    return bad_data(
        fmt::format("{}: its bytes end at {} of the data, but the file holds {} data bytes: the file is "
                    "truncated, download it again",
                    where, end, data_bytes));
  }
  ASSAY_ASSIGN(const int64_t elements, num_elements(shape).with_context(where));
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements, static_cast<int64_t>(dtype_bytes(dtype)), &bytes) || bytes != end - begin) {
    return bad_data(fmt::format("{}: data_offsets span {} bytes, which is not the size of {} {}", where, end - begin,
                                dtype_name(dtype), shape_text(shape)));
  }
  return Placed{TensorView{name, dtype, std::move(shape), {}}, begin, end};
}

Status read_metadata(const Json& value, const std::string& source, std::map<std::string, std::string>& out) {
  const JsonField field(value, fmt::format("{}: {}", source, kMetadataKey));
  ASSAY_ASSIGN(const auto members, field.members());
  for (const auto& [key, member] : members) {
    ASSAY_ASSIGN(std::string text, member.as_string());
    out[key] = std::move(text);
  }
  return ok_status();
}

Status check_contiguous(const std::vector<Placed>& tensors, const std::string& source, int64_t data_bytes) {
  int64_t covered = 0;
  for (const Placed& tensor : tensors) {
    if (tensor.begin != covered) {
      return bad_data(fmt::format("{}: tensor {}: begins at byte {} of the data, expected {}: tensors may not {}",
                                  source, quoted_name(tensor.view.name), tensor.begin, covered,
                                  tensor.begin < covered ? "overlap" : "leave a hole"));
    }
    covered = tensor.end;
  }
  if (covered == data_bytes) return ok_status();
  return bad_data(
      fmt::format("{}: {} bytes follow the last tensor, expected the file to end with it: download it again", source,
                  data_bytes - covered));
}

Result<std::string> header_of(const std::vector<SafetensorsWriter::Entry>& entries,
                              const std::map<std::string, std::string>& metadata) {
  Json::Object all_metadata{{"format", Json("pt")}};
  for (const auto& [key, value] : metadata) {
    if (key != "format") all_metadata.emplace_back(key, Json(value));
  }
  Json::Object header{{std::string(kMetadataKey), Json(std::move(all_metadata))}};
  std::unordered_set<std::string_view> names{kMetadataKey};
  int64_t offset = 0;
  for (const auto& entry : entries) {
    const std::string where = fmt::format("tensor {}", quoted_name(entry.name));
    if (!names.insert(entry.name).second) return invalid_argument(where + ": named twice in one safetensors file");
    int64_t end = 0;
    const auto elements = num_elements(entry.shape);
    if (!elements.ok() || __builtin_mul_overflow(*elements, static_cast<int64_t>(dtype_bytes(entry.dtype)), &end) ||
        __builtin_add_overflow(end, offset, &end)) {
      return invalid_argument(fmt::format("{}: shape {} has no size in bytes", where, shape_text(entry.shape)));
    }
    Json::Array shape(entry.shape.begin(), entry.shape.end());
    Json::Object facts{{"dtype", Json(dtype_name(entry.dtype))},
                       {"shape", Json(std::move(shape))},
                       {"data_offsets", Json(Json::Array{Json(offset), Json(end)})}};
    header.emplace_back(entry.name, Json(std::move(facts)));
    offset = end;
  }
  std::string text = Json(std::move(header)).dump();
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');  // so that the data starts aligned
  if (text.size() > kMaxHeaderBytes) return invalid_argument("safetensors header over 100 MB: write several shards");
  return text;
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::open(const Path& path) {
  ASSAY_ASSIGN(MappedFile mapped, MappedFile::open(path));
  SafetensorsFile file;
  file.file_ = std::make_shared<MappedFile>(std::move(mapped));
  const std::string source = path.string();
  ASSAY_ASSIGN(const std::string_view text, header_text(*file.file_));
  const auto data = file.file_->bytes().subspan(kLengthBytes + text.size());
  const auto data_bytes = static_cast<int64_t>(data.size());
  ASSAY_ASSIGN(const Json header, parse_header(text, source));

  std::vector<Placed> placed;
  for (const auto& [name, value] : header.as_object()) {
    if (name == kMetadataKey) {
      ASSAY_TRY(read_metadata(value, source, file.metadata_));
      continue;
    }
    ASSAY_ASSIGN(Placed tensor, read_entry(name, value, source, data_bytes));
    tensor.view.bytes = data.subspan(static_cast<size_t>(tensor.begin), static_cast<size_t>(tensor.end - tensor.begin));
    placed.push_back(std::move(tensor));
  }
  std::stable_sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  ASSAY_TRY(check_contiguous(placed, source, data_bytes));

  file.tensors_.reserve(placed.size());
  for (Placed& tensor : placed) {
    file.index_.emplace(tensor.view.name, file.tensors_.size());
    file.tensors_.push_back(std::move(tensor.view));
  }
  return file;
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

Result<SafetensorsWriter> SafetensorsWriter::create(const Path& path, std::vector<Entry> entries,
                                                    const std::map<std::string, std::string>& metadata) {
  ASSAY_ASSIGN(const std::string header, header_of(entries, metadata).with_context(path.string()));
  ASSAY_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(path));
  const auto length = static_cast<uint64_t>(header.size());
  ASSAY_TRY(writer.write(std::as_bytes(std::span(&length, 1))));
  ASSAY_TRY(writer.write(header));
  return SafetensorsWriter(std::move(writer), std::move(entries));
}

Status SafetensorsWriter::write(std::span<const std::byte> bytes) {
  ASSAY_CHECK_LT(next_, entries_.size());
  const Entry& entry = entries_[next_++];
  ASSAY_CHECK_EQ(bytes.size(), static_cast<size_t>(*num_elements(entry.shape)) * dtype_bytes(entry.dtype));
  return writer_.write(bytes);
}

Status SafetensorsWriter::finish() {
  ASSAY_CHECK_EQ(next_, entries_.size());
  return writer_.commit();
}

}  // namespace assay
