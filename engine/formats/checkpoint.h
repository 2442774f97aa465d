#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/formats/safetensors.h"

namespace assay {

// A Hugging Face style checkpoint folder: config.json, optional generation_config.json, and either model.safetensors or
// shards named by model.safetensors.index.json. Tensors of all shards are found by one name. Only files of the folder
// itself are opened: an index entry with a path in it is refused. Immutable, thread-safe.
class Checkpoint {
 public:
  // Errors: not_found names the missing file or shard and what to do; bad_data names file and rule.
  static Result<Checkpoint> open(const Path& folder);

  const Path& folder() const { return folder_; }
  const Json& config() const { return config_; }                                    // config.json
  const std::optional<Json>& generation_config() const { return generation_config_; }  // generation_config.json

  const TensorView* find(std::string_view name) const;
  const std::vector<const TensorView*>& tensors() const { return tensors_; }  // sorted by name
  int64_t total_bytes() const { return total_bytes_; }                          // of the weight files
  const std::vector<Path>& weight_files() const { return weight_files_; }       // sorted by name

  // SHA-256 over the lines "name size sha256" of config.json and the weight files. Reads all bytes; the result for each
  // file is remembered in the cache folder by (path, size, mtime, inode), so a second call takes milliseconds.
  Result<std::string> digest() const;

 private:
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
