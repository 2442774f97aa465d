#include "evals/data/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <set>

#include "engine/base/check.h"
#include "engine/base/text_util.h"
#include "evals/data/embedded_manifests.h"

namespace assay {
namespace {

using Keys = std::initializer_list<std::string_view>;

Status refuse_unknown_keys(const JsonField& object, Keys known) {
  ASSAY_ASSIGN(auto members, object.members());
  for (const auto& [key, value] : members) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return value.error(fmt::format("one of the keys {}", fmt::join(known, ", ")));
    }
  }
  return ok_status();
}

// A path that stays where it is put: relative, without "..", empty or doubled parts.
bool stays_inside(std::string_view path) {
  if (path.empty() || path.find('\\') != std::string_view::npos || path.find('\0') != std::string_view::npos)
    return false;
  const std::vector<std::string> parts = split(path, "/");
  return std::all_of(parts.begin(), parts.end(),
                     [](const std::string& p) { return !p.empty() && p != "." && p != ".."; });
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<std::vector<std::string>> string_list(const JsonField& object, std::string_view key,
                                             std::vector<std::string> other) {
  std::optional<JsonField> list = object.find(key);
  if (!list) return other;
  ASSAY_ASSIGN(auto items, list->items());
  std::vector<std::string> strings;
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(std::string text, item.as_string());
    strings.push_back(std::move(text));
  }
  return strings;
}

// What a file may take over from its source.
Result<ManifestFile> read_shared(const JsonField& object, const ManifestFile& defaults) {
  ManifestFile file;
  ASSAY_ASSIGN(file.subset, object.string_or("subset", defaults.subset));
  ASSAY_ASSIGN(file.split, object.string_or("split", defaults.split));
  ASSAY_ASSIGN(file.format, object.string_or("format", defaults.format));
  ASSAY_ASSIGN(file.layout, object.string_or("layout", defaults.layout));
  ASSAY_ASSIGN(file.columns, string_list(object, "columns", defaults.columns));
  ASSAY_ASSIGN(file.raw_columns, string_list(object, "raw_columns", defaults.raw_columns));
  ASSAY_ASSIGN(file.canonical, object.bool_or("canonical", defaults.canonical));
  ASSAY_ASSIGN(file.label, object.string_or("label", defaults.label));
  return file;
}

Status check_file(const JsonField& object, const ManifestFile& file) {
  if (!stays_inside(file.path)) return object.error("a relative path without \"..\" under \"path\"");
  if (file.split.empty()) return object.error("the key \"split\"");
  if (!file.sha256.empty() && !is_sha256(file.sha256))
    return object.error("64 lower-case hexadecimal digits under \"sha256\"");
  static constexpr std::array<std::string_view, 7> kFormats = {"", "jsonl", "json", "csv", "lines", "parquet", "arrow"};
  if (std::find(kFormats.begin(), kFormats.end(), file.format) == kFormats.end()) {
    return object.error("jsonl, json, csv, lines, parquet or arrow under \"format\"");
  }
  if (file.canonical != file.label.empty()) return object.error("a \"label\" exactly where \"canonical\" is false");
  return ok_status();
}

Result<ManifestFile> read_file_entry(const JsonField& object, const ManifestFile& defaults) {
  ASSAY_TRY(refuse_unknown_keys(object, {"subset", "split", "path", "member", "password", "format", "layout", "columns",
                                         "raw_columns", "sha256", "bytes", "rows", "canonical", "label"}));
  ASSAY_ASSIGN(ManifestFile file, read_shared(object, defaults));
  ASSAY_ASSIGN(file.path, object.get_string("path"));
  ASSAY_ASSIGN(file.member, object.string_or("member", ""));
  ASSAY_ASSIGN(file.password, object.string_or("password", ""));
  ASSAY_ASSIGN(file.sha256, object.string_or("sha256", ""));
  ASSAY_ASSIGN(file.bytes, object.int_or("bytes", 0, 0));
  ASSAY_ASSIGN(file.rows, object.get_int("rows", 1));
  ASSAY_TRY(check_file(object, file));
  return file;
}

Status check_source(const JsonField& object, const ManifestSource& source) {
  static constexpr std::array<std::string_view, 3> kKinds = {"mirror", "package", "hub"};
  if (std::find(kKinds.begin(), kKinds.end(), source.kind) == kKinds.end()) {
    return object.error("mirror, package or hub under \"kind\"");
  }
  if (source.kind != "mirror" && (source.name.empty() || source.version.empty())) {
    return object.error("the keys \"name\" and \"version\"");
  }
  // Both become parts of paths.
  for (const std::string* part : {&source.name, &source.version, &source.root}) {
    if (!part->empty() && !stays_inside(*part))
      return object.error("name, version and root without \"..\" or a leading slash");
  }
  return ok_status();
}

Result<ManifestSource> read_source(const JsonField& object) {
  ASSAY_TRY(refuse_unknown_keys(object, {"kind", "name", "version", "root", "subset", "split", "format", "layout",
                                         "columns", "raw_columns", "canonical", "label", "files"}));
  ManifestSource source;
  ASSAY_ASSIGN(source.kind, object.get_string("kind"));
  ASSAY_ASSIGN(source.name, object.string_or("name", ""));
  ASSAY_ASSIGN(source.version, object.string_or("version", ""));
  ASSAY_ASSIGN(source.root, object.string_or("root", ""));
  ASSAY_TRY(check_source(object, source));
  ManifestFile defaults;
  defaults.layout = "hub";
  ASSAY_ASSIGN(defaults, read_shared(object, defaults));
  ASSAY_ASSIGN(JsonField list, object.get("files"));
  ASSAY_ASSIGN(auto items, list.items());
  std::set<std::string> paths;
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(ManifestFile file, read_file_entry(item, defaults));
    // One file may hold several splits; a split lists no file twice.
    const std::string key = fmt::format("{}\n{}\n{}\n{}", file.path, file.member, file.subset, file.split);
    if (!paths.insert(key).second) return item.error("a path named once");
    source.files.push_back(std::move(file));
  }
  return source;
}

std::vector<DatasetManifest> read_embedded() {
  std::vector<DatasetManifest> manifests;
  for (const EmbeddedManifest& embedded : embedded_manifests()) {
    Result<DatasetManifest> manifest =
        parse_manifest(embedded.text, fmt::format("data-manifests/datasets/{}.json", embedded.name));
    ASSAY_CHECK_EQ(manifest.status().message(), std::string());  // the program carries them; a test parses every one
    ASSAY_CHECK_EQ(manifest->name, embedded.name);
    manifests.push_back(std::move(manifest).value());
  }
  std::sort(manifests.begin(), manifests.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return manifests;
}

// A deque, so that pointers to its elements stay good.
std::deque<DatasetManifest>& added_manifests() {
  static std::deque<DatasetManifest> manifests;
  return manifests;
}

}  // namespace

const std::vector<DatasetManifest>& dataset_manifests() {
  static const std::vector<DatasetManifest> manifests = read_embedded();
  return manifests;
}

Result<const DatasetManifest*> find_manifest(std::string_view name) {
  std::vector<std::string> names;
  for (const DatasetManifest& manifest : dataset_manifests()) {
    if (manifest.name == name) return &manifest;
    names.push_back(manifest.name);
  }
  for (const DatasetManifest& manifest : added_manifests()) {
    if (manifest.name == name) return &manifest;
    names.push_back(manifest.name);
  }
  std::optional<std::string> near = nearest(name, names);
  return not_found(fmt::format("no data set is named \"{}\"; {}there are {}", name,
                               near ? fmt::format("did you mean \"{}\"? ", *near) : "", join(names, ", ")));
}

Status add_manifest(DatasetManifest manifest) {
  if (find_manifest(manifest.name).ok()) {
    return invalid_argument(fmt::format("a data set named \"{}\" is there already", manifest.name));
  }
  added_manifests().push_back(std::move(manifest));
  return ok_status();
}

Result<DatasetManifest> parse_manifest(std::string_view text, std::string_view source) {
  ASSAY_ASSIGN(Json json, Json::parse(text, source));
  const JsonField root(json, source);
  ASSAY_TRY(refuse_unknown_keys(root, {"name", "hub_repository", "hub_revision", "license", "license_url", "citation",
                                       "gated", "terms_url", "sources"}));
  DatasetManifest manifest;
  ASSAY_ASSIGN(manifest.name, root.get_string("name"));
  ASSAY_ASSIGN(manifest.hub_repository, root.get_string("hub_repository"));
  ASSAY_ASSIGN(manifest.hub_revision, root.string_or("hub_revision", ""));
  ASSAY_ASSIGN(manifest.license, root.get_string("license"));
  ASSAY_ASSIGN(manifest.license_url, root.string_or("license_url", ""));
  ASSAY_ASSIGN(manifest.citation, root.string_or("citation", ""));
  ASSAY_ASSIGN(manifest.gated, root.bool_or("gated", false));
  ASSAY_ASSIGN(manifest.terms_url, root.string_or("terms_url", ""));
  ASSAY_ASSIGN(JsonField sources, root.get("sources"));
  ASSAY_ASSIGN(auto items, sources.items());
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(ManifestSource entry, read_source(item));
    manifest.sources.push_back(std::move(entry));
  }
  return manifest;
}

}  // namespace assay
