#include "evals/data/manifest.h"

#include <doctest/doctest.h>

#include "engine/base/text_util.h"
#include "tests/support/mangled.h"

namespace assay {
namespace {

constexpr std::string_view kManifest = R"({
  "name": "tiny", "hub_repository": "org/tiny", "hub_revision": "abc", "license": "MIT",
  "sources": [
    {"kind": "mirror", "root": "tiny", "layout": "csv", "columns": ["q", "a"], "split": "test", "files": [
      {"path": "a.csv", "sha256": "HASH", "bytes": 12, "rows": 2},
      {"path": "b.csv", "split": "dev", "rows": 1, "canonical": false, "label": "first row only"}]},
    {"kind": "package", "name": "carrier", "version": "1.0", "files": [{"split": "test", "path": "d/a.arrow", "rows": 2}]}
  ]})";

std::string with(std::string_view from, std::string_view to) {
  std::string text = replace_all(kManifest, "HASH", std::string(64, 'a'));
  REQUIRE(text.find(from) != std::string::npos);
  return replace_all(text, from, to);
}

std::string refusal(std::string_view from, std::string_view to) {
  Result<DatasetManifest> manifest = parse_manifest(with(from, to), "tiny.json");
  CHECK_FALSE(manifest.ok());
  return manifest.status().message();
}

TEST_CASE("a manifest's files take over what their source states once") {
  Result<DatasetManifest> manifest = parse_manifest(with("a", "a"), "tiny.json");
  REQUIRE_MESSAGE(manifest.ok(), manifest.status().message());
  REQUIRE(manifest->sources.size() == 2);
  const std::vector<ManifestFile>& files = manifest->sources[0].files;
  CHECK(files[0].split == "test");
  CHECK(files[0].layout == "csv");
  CHECK(files[0].columns == std::vector<std::string>{"q", "a"});
  CHECK(files[0].canonical);
  CHECK(files[1].split == "dev");
  CHECK_FALSE(files[1].canonical);
  CHECK(files[1].label == "first row only");
  CHECK(manifest->sources[1].files[0].layout == "hub");
}

TEST_CASE("a manifest that lies or is mistyped is refused, naming the field") {
  CHECK(refusal("a.csv", "../a.csv").find("sources[0].files[0]") != std::string::npos);
  CHECK(refusal("a.csv", "/a.csv").find("relative path") != std::string::npos);
  CHECK(refusal("\"carrier\"", "\"../carrier\"").find("sources[1]") != std::string::npos);
  CHECK(refusal("\"mirror\"", "\"magic\"").find("mirror, package or hub") != std::string::npos);
  CHECK(refusal(std::string(64, 'a'), "abc").find("64 lower-case hexadecimal digits") != std::string::npos);
  CHECK(refusal("\"rows\": 2}", "\"rwos\": 2}").find("one of the keys") != std::string::npos);
  CHECK(refusal("\"rows\": 1", "\"rows\": -1").find("rows") != std::string::npos);
  CHECK(refusal(", \"label\": \"first row only\"", "").find("label") != std::string::npos);
  CHECK(refusal("\"b.csv\", \"split\": \"dev\"", "\"a.csv\"").find("named once") != std::string::npos);
  CHECK(refusal("\"license\": \"MIT\",", "").find("license") != std::string::npos);
}

TEST_CASE("no damaged manifest crashes the reader") {
  testing::for_each_mangled(with("a", "a"), 1000, 1000,
                            [](std::string_view damaged) { (void)parse_manifest(damaged, "tiny.json"); });
}

TEST_CASE("every manifest in the program parses, and has the files that its tasks need") {
  const std::vector<DatasetManifest>& manifests = dataset_manifests();
  for (const char* name :
       {"arc", "gsm8k", "hellaswag", "mmlu", "winogrande", "humaneval", "mbpp", "humaneval_plus", "mbpp_plus"})
    CHECK(find_manifest(name).ok());
  for (const DatasetManifest& manifest : manifests) {
    CAPTURE(manifest.name);
    CHECK_FALSE(manifest.sources.empty());
    bool from_hub = false;
    for (const ManifestSource& source : manifest.sources) from_hub |= source.kind == "hub";
    CHECK(manifest.hub_revision.size() == (from_hub ? 40 : 0));
    CHECK_FALSE(manifest.license_url.empty());
    for (const ManifestSource& source : manifest.sources) {
      for (const ManifestFile& file : source.files) {
        CHECK(file.rows > 0);
        CHECK((source.kind == "hub" || !file.sha256.empty()));
      }
    }
  }
}

TEST_CASE("the MMLU manifest counts 57 subjects and 14042 test rows in every source") {
  Result<const DatasetManifest*> mmlu = find_manifest("mmlu");
  REQUIRE(mmlu.ok());
  for (const ManifestSource& source : (*mmlu)->sources) {
    int64_t subjects = 0, rows = 0;
    for (const ManifestFile& file : source.files) {
      if (file.split != "test") continue;
      ++subjects;
      rows += file.rows;
    }
    CHECK(subjects == 57);
    CHECK(rows == 14042);
  }
}

TEST_CASE("an unknown data set is refused, naming the nearest") {
  const Status status = find_manifest("gsm8").status();
  CHECK(status.code() == Code::not_found);
  CHECK(status.message().find("did you mean \"gsm8k\"") != std::string::npos);
}

}  // namespace
}  // namespace assay
