#include "evals/data/fetch.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include "engine/base/hash.h"
#include "tests/support/temp_folder.h"

namespace assay {
namespace {

constexpr std::string_view kTest = "{\"q\":\"1\"}\n{\"q\":\"2\"}\n", kTrain = "{\"q\":\"3\"}\n",
                           kMore = "{\"q\":\"4\"}\n";

class DataFolder : public testing::TempFolder {
 public:
  void write(const Path& name, std::string_view bytes) const {
    std::filesystem::create_directories((path() / name).parent_path());
    REQUIRE(real_files().write_atomic(path() / name, bytes).ok());
  }
};

ManifestFile file(std::string split, std::string path, std::string_view bytes, int64_t rows) {
  return {.split = std::move(split),
          .path = std::move(path),
          .layout = "hub",
          .sha256 = sha256_hex(bytes),
          .bytes = static_cast<int64_t>(bytes.size()),
          .rows = rows};
}

// test in all three sources, train as two shards in the package and the Hub cache.
DatasetManifest tiny() {
  DatasetManifest manifest;
  manifest.name = "tiny";
  ManifestSource mirror{.kind = "mirror", .root = "tiny", .files = {file("test", "test.jsonl", kTest, 2)}};
  mirror.files[0].canonical = false;
  mirror.files[0].label = "text normalised upstream";
  ManifestSource package{.kind = "package", .name = "carrier", .version = "1.0", .root = "data", .files = {}};
  package.files = {file("test", "test.jsonl", kTest, 2), file("train", "a.jsonl", kTrain, 1),
                   file("train", "b.jsonl", kMore, 1)};
  ManifestSource hub{.kind = "hub", .name = "org/tiny", .version = "pinned", .files = package.files};
  for (ManifestFile& entry : hub.files) entry.sha256.clear();
  manifest.sources = {mirror, package, hub};
  return manifest;
}

DataLocations locations_in(const DataFolder& folder) {
  return {.mirror = folder.path() / "mirror", .packages = folder.path() / "packages", .hub = folder.path() / "hub"};
}

TEST_CASE("the mirror is preferred, and its label is kept") {
  DataFolder folder;
  folder.write("mirror/tiny/test.jsonl", kTest);
  folder.write("packages/carrier-1.0/data/test.jsonl", kTest);
  Result<LoadedSplit> split = load_split(locations_in(folder), tiny(), "", "test");
  REQUIRE_MESSAGE(split.ok(), split.status().message());
  CHECK(split->rows.size() == 2);
  CHECK(split->source == "mirror tiny/test.jsonl");
  CHECK(split->sha256 == sha256_hex(kTest));
  CHECK_FALSE(split->canonical);
  CHECK(split->label == "text normalised upstream");
}

TEST_CASE("the package serves where no mirror is set, and shards come in order") {
  DataFolder folder;
  for (auto [name, bytes] : {std::pair{"test", kTest}, {"a", kTrain}, {"b", kMore}}) {
    folder.write(std::string("packages/carrier-1.0/data/") + name + ".jsonl", bytes);
  }
  DataLocations locations = locations_in(folder);
  locations.mirror.clear();
  Result<LoadedSplit> test = load_split(locations, tiny(), "", "test");
  REQUIRE_MESSAGE(test.ok(), test.status().message());
  CHECK(test->source == "package carrier 1.0 data/test.jsonl");
  CHECK(test->canonical);
  Result<LoadedSplit> train = load_split(locations, tiny(), "", "train");
  REQUIRE_MESSAGE(train.ok(), train.status().message());
  REQUIRE(train->rows.size() == 2);
  CHECK(train->rows[1].find("q")->as_string() == "4");
  CHECK(train->sha256 == sha256_hex(sha256_hex(kTrain) + "\n" + sha256_hex(kMore)));
  CHECK(available_splits(locations, tiny(), "") == std::vector<std::string>{"test", "train"});
  CHECK(available_splits(locations, tiny(), "other").empty());
}

TEST_CASE("a changed byte, a changed length and a wrong row count are refused, naming the file") {
  DataFolder folder;
  const DataLocations locations = locations_in(folder);
  std::string changed(kTest);
  changed[6] = '9';
  folder.write("mirror/tiny/test.jsonl", changed);
  // A good copy elsewhere does not hide a bad one.
  folder.write("packages/carrier-1.0/data/test.jsonl", kTest);
  Status status = load_split(locations, tiny(), "", "test").status();
  CHECK(status.code() == Code::bad_data);
  CHECK(status.message().find("tiny/test.jsonl: expected SHA-256 " + sha256_hex(kTest)) != std::string::npos);

  folder.write("mirror/tiny/test.jsonl", kTest.substr(0, 10));
  status = load_split(locations, tiny(), "", "test").status();
  CHECK(status.message().find("expected 20 bytes, found 10") != std::string::npos);

  folder.write("mirror/tiny/test.jsonl", kTest);
  DatasetManifest manifest = tiny();
  manifest.sources[0].files[0].rows = 3;
  status = load_split(locations, manifest, "", "test").status();
  CHECK(status.code() == Code::bad_data);
  CHECK(status.message().find("expected 3 rows, found 2") != std::string::npos);
}

TEST_CASE("a split that is not here says where it was looked for and how to get it") {
  DataFolder folder;
  DataLocations locations = locations_in(folder);
  locations.mirror.clear();
  Status status = load_split(locations, tiny(), "", "test").status();
  CHECK(status.code() == Code::not_found);
  for (const char* part :
       {"ASSAY_DATA_MIRROR is not set", "package carrier 1.0", "datasets--org--tiny", "assay fetch --data-set tiny"}) {
    CHECK_MESSAGE(status.message().find(part) != std::string::npos, part);
  }
  status = load_split(locations, tiny(), "", "validation").status();
  CHECK(status.message().find("no such split; it has test, train") != std::string::npos);
}

// The layout that the Hub's own clients write: snapshots of symbolic links into blobs named by content.
void write_hub(const DataFolder& folder, const std::string& revision, std::string_view bytes) {
  const Path root = "hub/datasets--org--tiny";
  folder.write(root / "refs" / "main", revision);
  folder.write(root / "blobs" / sha256_hex(kTest), bytes);
  const Path snapshot = folder.path() / root / "snapshots" / revision;
  std::filesystem::create_directories(snapshot);
  std::filesystem::create_symlink(Path("../../blobs") / sha256_hex(kTest), snapshot / "test.jsonl");
}

TEST_CASE("the Hub cache's pinned snapshot is read, another revision is labelled") {
  DataFolder pinned, moved;
  write_hub(pinned, "pinned", kTest);
  Result<LoadedSplit> split = load_split(locations_in(pinned), tiny(), "", "test");
  REQUIRE_MESSAGE(split.ok(), split.status().message());
  CHECK(split->source == "hub org/tiny@pinned test.jsonl");
  CHECK(split->canonical);
  write_hub(moved, "0123456789abcdef0123", kTest);
  split = load_split(locations_in(moved), tiny(), "", "test");
  REQUIRE_MESSAGE(split.ok(), split.status().message());
  CHECK_FALSE(split->canonical);
  CHECK(split->label == "Hub revision 0123456789ab, not the pinned pinned");
}

TEST_CASE("a Hub blob that does not match its own name is refused") {
  DataFolder folder;
  std::string changed(kTest);
  changed[6] = '9';
  write_hub(folder, "pinned", changed);
  CHECK(load_split(locations_in(folder), tiny(), "", "test").status().code() == Code::bad_data);
}

TEST_CASE("a ref that points outside the cache is not followed") {
  DataFolder folder;
  folder.write("hub/datasets--org--tiny/refs/main", "../../../../escape");
  folder.write("escape/test.jsonl", kTest);
  CHECK(load_split(locations_in(folder), tiny(), "", "test").status().code() == Code::not_found);
}

TEST_CASE("locations come from the environment") {
  setenv("ASSAY_DATA_MIRROR", "file:///some/mirror", 1);
  setenv("ASSAY_PACKAGES", "/some/packages", 1);
  setenv("HF_HUB_CACHE", "/some/hub", 1);
  setenv("HF_HUB_OFFLINE", "Yes", 1);
  DataLocations locations = DataLocations::from_environment();
  CHECK(locations.mirror == "/some/mirror");
  CHECK(locations.packages == "/some/packages");
  CHECK(locations.hub == "/some/hub");
  CHECK(locations.offline);
  for (const char* name : {"ASSAY_DATA_MIRROR", "ASSAY_PACKAGES", "HF_HUB_CACHE", "HF_HUB_OFFLINE"}) unsetenv(name);
  setenv("HF_HOME", "/hf", 1);
  locations = DataLocations::from_environment();
  CHECK(locations.mirror.empty());
  CHECK(locations.hub == "/hf/hub");
  CHECK_FALSE(locations.offline);
  unsetenv("HF_HOME");
}

}  // namespace
}  // namespace assay
