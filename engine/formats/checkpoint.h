#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/formats/safetensors.h"

namespace assay {

// A Hugging Face style checkpoint folder: config.json, optional generation_config.json, and either model.safetensors or
// shards named by model.safetensors.index.json (the single file wins where both exist, as in Transformers). Tensors of
// all shards are found by one name. Only files of the folder itself are opened: an index entry with a path in it is
// refused. Symbolic links in the folder are followed: the Hub's cache is made of them. Immutable, thread-safe;
// move-only.
class Checkpoint {
 public:
  // Errors: not_found names the missing file or shard and what to do; bad_data names file and rule.
  static Result<Checkpoint> open(const Path& folder);

  Checkpoint(Checkpoint&&) = default;
  Checkpoint& operator=(Checkpoint&&) = default;

  const Path& folder() const { return folder_; }
  const Json& config() const { return config_; }                                       // config.json
  const std::optional<Json>& generation_config() const { return generation_config_; }  // generation_config.json

  const TensorView* find(std::string_view name) const;
  const std::vector<const TensorView*>& tensors() const { return tensors_; }  // sorted by name
  int64_t total_bytes() const { return total_bytes_; }                        // of the weight files
  const std::vector<Path>& weight_files() const { return weight_files_; }     // sorted by name

  // SHA-256 over the lines "name size sha256" of config.json and then the weight files, sorted by name. Reads all
  // bytes; each file's result is remembered in cache_directory()/digests by (path, size, mtime, inode), so a second
  // call takes milliseconds; a file touched in the last two seconds is not remembered, as it may change again within
  // one clock tick. A cache that cannot be written costs time only. Errors: io when a weight file cannot be read any
  // more.
  Result<std::string> digest() const;

  // Tells the kernel that this tensor's bytes, a view of this checkpoint, will not be read again soon
  // (MappedFile::drop).
  void drop(const TensorView& tensor) const;

 private:
  Checkpoint() = default;
  Status read_config();
  Status open_weights();
  Status open_shards(const Path& index_path);
  Status add_file(const Path& path);
  Status name_tensors();

  Path folder_;
  Json config_;
  std::optional<Json> generation_config_;
  std::vector<SafetensorsFile> files_;
  std::vector<Path> weight_files_;
  std::vector<const TensorView*> tensors_;
  std::map<std::string, const TensorView*, std::less<>> index_;
  int64_t total_bytes_ = 0;
};

}  // namespace assay
