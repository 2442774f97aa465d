#include "engine/formats/checkpoint.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr size_t kMaxJsonBytes = size_t{64} << 20;
constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";

Result<Json> read_json_file(const Path& path) {
  ASSAY_ASSIGN(const std::string text, real_files().read(path, kMaxJsonBytes));
  return Json::parse(text, path.string());
}

Status check_is_folder(const Path& folder) {
  std::error_code error;
  const auto kind = std::filesystem::status(folder, error).type();
  if (kind == std::filesystem::file_type::directory) return ok_status();
  if (kind == std::filesystem::file_type::not_found) {
    return not_found(
        fmt::format("{}: no such folder, expected a checkpoint folder holding config.json", folder.string()));
  }
  const bool gguf = folder.extension() == ".gguf";
  return bad_data(fmt::format("{}: a file, expected a checkpoint folder holding config.json{}", folder.string(),
                              gguf ? ": convert it with `assay import gguf`" : ""));
}

Status no_weights(const Path& folder) {
  for (const std::string_view pickled : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (!real_files().exists(folder / pickled)) continue;
    return not_found(
        fmt::format("{}: only pickled weights ({}), which Assay never opens, expected {}: convert them to "
                    "safetensors",
                    folder.string(), pickled, kSingleFile));
  }
  return not_found(fmt::format("{}: no weights, expected {} or {}: the checkpoint is incomplete, download it again",
                               folder.string(), kSingleFile, kIndexFile));
}

bool is_plain_shard_name(std::string_view name) {
  return ends_with(name, ".safetensors") && name.find('/') == name.npos && name.find('\\') == name.npos &&
         name.find('\0') == name.npos;
}

// Tensor name -> shard name, as the index file says.
using WeightMap = std::map<std::string, std::string, std::less<>>;

Result<WeightMap> read_index(const Path& path) {
  ASSAY_ASSIGN(const Json json, read_json_file(path));
  ASSAY_ASSIGN(const JsonField field, JsonField(json, path.string()).get("weight_map"));
  ASSAY_ASSIGN(const auto members, field.members());
  WeightMap map;
  for (const auto& [tensor, shard] : members) {
    ASSAY_ASSIGN(std::string name, shard.as_string());
    if (!is_plain_shard_name(name))
      return shard.error("the name of a .safetensors file in the checkpoint's own folder");
    map.emplace(tensor, std::move(name));
  }
  return map;
}

// What a file's remembered digest is valid for.
struct FileIdentity {
  std::string key;
  uint64_t size = 0;
  bool settled = false;  // not touched for long enough that another change would show in its time
};

Result<FileIdentity> identify(const Path& path) {
  struct stat facts = {};
  if (::stat(path.c_str(), &facts) != 0) {
    return io_error(fmt::format("{}: cannot be read any more: the checkpoint changed while in use", path.string()));
  }
  std::error_code error;
  const Path canonical = std::filesystem::canonical(path, error);
  const int64_t mtime_ns = int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t age_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() - mtime_ns;
  FileIdentity identity;
  identity.size = static_cast<uint64_t>(facts.st_size);
  identity.settled = age_ns > 2'000'000'000;
  identity.key = fmt::format("{} {} {} {}", facts.st_size, mtime_ns, facts.st_ino, (error ? path : canonical).string());
  return identity;
}

// The digest remembered for exactly this key, or nothing.
std::optional<std::string> recall_digest(const Path& cached, const std::string& key) {
  constexpr size_t kHexDigits = 64;
  const auto text = real_files().read(cached, key.size() + kHexDigits + 1);
  if (!text.ok() || text->size() != key.size() + kHexDigits + 1 || !ends_with(*text, key)) return std::nullopt;
  const std::string digest = text->substr(0, kHexDigits);
  if (digest.find_first_not_of("0123456789abcdef") != digest.npos) return std::nullopt;
  return digest;
}

Result<std::string> digest_line(const Path& path) {
  ASSAY_ASSIGN(const FileIdentity identity, identify(path));
  const Path cached = cache_directory() / "digests" / sha256_hex(identity.key).substr(0, 32);
  auto digest = recall_digest(cached, identity.key);
  if (!digest) {
    ASSAY_ASSIGN(digest, sha256_file(path));
    ASSAY_ASSIGN(const FileIdentity after, identify(path));
    if (after.key != identity.key) return io_error(path.string() + ": changed while it was read: start again");
    if (after.settled && real_files().create_directories(cached.parent_path()).ok()) {
      (void)real_files().write_atomic(cached, *digest + " " + identity.key);
    }
  }
  return fmt::format("{} {} {}\n", path.filename().string(), identity.size, *digest);
}

}  // namespace

Result<Checkpoint> Checkpoint::open(const Path& folder) {
  ASSAY_TRY(check_is_folder(folder));
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  ASSAY_TRY(checkpoint.read_config());
  ASSAY_TRY(checkpoint.open_weights());
  ASSAY_TRY(checkpoint.name_tensors());
  return checkpoint;
}

Status Checkpoint::read_config() {
  const Path path = folder_ / "config.json";
  if (!real_files().exists(path)) {
    return not_found(
        fmt::format("{}: not found, expected the model's configuration: the checkpoint is incomplete, "
                    "download it again",
                    path.string()));
  }
  ASSAY_ASSIGN(config_, read_json_file(path));
  if (!config_.is_object()) return JsonField(config_, path.string()).error("an object");
  const Path generation = folder_ / "generation_config.json";
  if (!real_files().exists(generation)) return ok_status();
  ASSAY_ASSIGN(generation_config_, read_json_file(generation));
  if (!generation_config_->is_object()) return JsonField(*generation_config_, generation.string()).error("an object");
  return ok_status();
}

Status Checkpoint::open_weights() {
  if (real_files().exists(folder_ / kSingleFile)) return add_file(folder_ / kSingleFile);
  const Path index_path = folder_ / kIndexFile;
  if (real_files().exists(index_path)) return open_shards(index_path);
  return no_weights(folder_);
}

Status Checkpoint::open_shards(const Path& index_path) {
  ASSAY_ASSIGN(const WeightMap map, read_index(index_path));
  std::set<std::string_view> shards;
  for (const auto& [tensor, shard] : map) shards.insert(shard);
  if (shards.empty()) return bad_data(index_path.string() + ": weight_map is empty, expected tensors and their shards");
  for (const std::string_view shard : shards) {
    if (!real_files().exists(folder_ / shard)) {
      return not_found(fmt::format("{}: missing shard, named by {}: the checkpoint is incomplete: download it again",
                                   (folder_ / shard).string(), kIndexFile));
    }
    ASSAY_TRY(add_file(folder_ / shard));
  }
  for (const auto& [tensor, shard] : map) {
    const auto in_shard = [&shard](const SafetensorsFile& file) { return file.file().path().filename() == shard; };
    if (std::find_if(files_.begin(), files_.end(), in_shard)->find(tensor) != nullptr) continue;
    return bad_data(fmt::format("{}: tensor {}: said to be in {}, which does not hold it: download both again",
                                index_path.string(), quoted_name(tensor), shard));
  }
  return ok_status();
}

Status Checkpoint::add_file(const Path& path) {
  ASSAY_ASSIGN(SafetensorsFile file, SafetensorsFile::open(path));
  total_bytes_ += static_cast<int64_t>(file.file().size());
  weight_files_.push_back(path);
  files_.push_back(std::move(file));
  return ok_status();
}

Status Checkpoint::name_tensors() {
  for (const SafetensorsFile& file : files_) {
    for (const TensorView& tensor : file.tensors()) {
      if (index_.emplace(tensor.name, &tensor).second) continue;
      return bad_data(fmt::format("{}: tensor {}: in two shards, the second is {}: download the checkpoint again",
                                  folder_.string(), quoted_name(tensor.name), file.file().path().filename().string()));
    }
  }
  tensors_.reserve(index_.size());
  for (const auto& [name, tensor] : index_) tensors_.push_back(tensor);
  return ok_status();
}

const TensorView* Checkpoint::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : found->second;
}

Result<std::string> Checkpoint::digest() const {
  ASSAY_ASSIGN(std::string lines, digest_line(folder_ / "config.json"));
  for (const Path& path : weight_files_) {
    ASSAY_ASSIGN(const std::string line, digest_line(path));
    lines += line;
  }
  return sha256_hex(lines);
}

void Checkpoint::drop(const TensorView& tensor) const {
  const std::less<> before;
  for (const SafetensorsFile& file : files_) {
    const auto bytes = file.file().bytes();
    if (before(tensor.bytes.data(), bytes.data()) || !before(tensor.bytes.data(), bytes.data() + bytes.size()))
      continue;
    file.file().drop(static_cast<size_t>(tensor.bytes.data() - bytes.data()), tensor.bytes.size());
  }
}

}  // namespace assay
