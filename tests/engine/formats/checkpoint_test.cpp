#include "engine/formats/checkpoint.h"

#include <chrono>
#include <cstdlib>

#include "engine/base/hash.h"
#include "tests/engine/formats/format_files.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

namespace assay {
namespace {

using testing::check_refused;
using testing::safetensors_with;
using testing::TempFolder;
using testing::write_file;

// One u8 tensor of one element by this name.
std::string one_tensor(std::string_view name) {
  return safetensors_with("{\"" + std::string(name) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1);
}

// A checkpoint of two shards, "a" in the first and "b" in the second, and an index holding `weight_map`.
void write_shards(const Path& folder, std::string_view weight_map) {
  write_file(folder / "config.json", R"({"model_type":"llama"})");
  write_file(folder / "one.safetensors", one_tensor("a"));
  write_file(folder / "two.safetensors", one_tensor("b"));
  write_file(folder / "model.safetensors.index.json",
             "{\"metadata\":{\"total_size\":99},\"weight_map\":" + std::string(weight_map) + "}");
}

// Gives the variable a value and takes it back in the end.
class EnvironmentGuard {
 public:
  EnvironmentGuard(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  ~EnvironmentGuard() {
    if (old_) ::setenv(name_, old_->c_str(), 1);
    if (!old_) ::unsetenv(name_);
  }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

void make_old(const Path& path) {
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
}

TEST_CASE("tensors of all shards are found by one name and listed sorted") {
  const TempFolder folder;
  write_shards(folder.path(), R"({"b":"two.safetensors","a":"one.safetensors"})");
  const auto opened = Checkpoint::open(folder.path());
  REQUIRE(opened.ok());
  CHECK(opened->tensors().size() == 2);
  CHECK(opened->tensors()[0]->name == "a");
  CHECK(opened->find("b") == opened->tensors()[1]);
  CHECK(opened->find("c") == nullptr);
  CHECK(opened->weight_files().size() == 2);
  CHECK(opened->total_bytes() == static_cast<int64_t>(one_tensor("a").size() * 2));
  CHECK(*opened->config().find("model_type") == Json("llama"));
  CHECK(!opened->generation_config());
  opened->drop(*opened->find("a"));
  CHECK(std::to_integer<int>(opened->find("a")->bytes[0]) == 1);
}

TEST_CASE("a single file wins over an index, and generation_config.json is read when there") {
  const TempFolder folder;
  write_shards(folder.path(), R"({"a":"gone.safetensors"})");
  write_file(folder.path() / "model.safetensors", one_tensor("whole"));
  write_file(folder.path() / "generation_config.json", R"({"eos_token_id":[1,2]})");
  const auto opened = Checkpoint::open(folder.path());
  REQUIRE(opened.ok());
  CHECK(opened->find("whole") != nullptr);
  REQUIRE(opened->generation_config());
  CHECK(opened->generation_config()->find("eos_token_id")->size() == 2);
}

TEST_CASE("a missing shard is named with the index and the remedy") {
  const TempFolder folder;
  write_shards(folder.path(), R"({"a":"one.safetensors","c":"three.safetensors"})");
  const auto opened = Checkpoint::open(folder.path());
  check_refused(opened, Code::not_found, "three.safetensors: missing shard");
  check_refused(opened, Code::not_found, "model.safetensors.index.json");
  check_refused(opened, Code::not_found, "the checkpoint is incomplete: download it again");
}

TEST_CASE("an index may name only files of its own folder") {
  const TempFolder folder;
  for (const std::string_view name : {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", "", "one.bin",
                                      "a\\\\b.safetensors", "a\\u0000.safetensors"}) {
    CAPTURE(name);
    write_shards(folder.path(), "{\"a\":\"" + std::string(name) + "\"}");
    check_refused(Checkpoint::open(folder.path()), Code::bad_data, "checkpoint's own folder");
  }
}

TEST_CASE("an index that disagrees with its shards is refused by tensor") {
  const TempFolder folder;
  write_shards(folder.path(), R"({"a":"two.safetensors","b":"two.safetensors"})");
  check_refused(Checkpoint::open(folder.path()), Code::bad_data, "tensor \"a\": said to be in two.safetensors");
  write_shards(folder.path(), R"({"a":"one.safetensors","b":"two.safetensors"})");
  write_file(folder.path() / "two.safetensors",
             safetensors_with(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                              R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                              2));
  check_refused(Checkpoint::open(folder.path()), Code::bad_data, "tensor \"a\": in two shards");
  write_shards(folder.path(), "{}");
  check_refused(Checkpoint::open(folder.path()), Code::bad_data, "weight_map is empty");
  write_shards(folder.path(), "[]");
  check_refused(Checkpoint::open(folder.path()), Code::bad_data, "weight_map");
  write_shards(folder.path(), R"({"a":1})");
  check_refused(Checkpoint::open(folder.path()), Code::bad_data, "weight_map.a");
}

TEST_CASE("what is missing or misplaced is said with what to do") {
  const TempFolder folder;
  check_refused(Checkpoint::open(folder.path() / "none"), Code::not_found, "no such folder");
  check_refused(Checkpoint::open(write_file(folder.path() / "m.gguf", "GGUF")), Code::bad_data, "assay import gguf");
  check_refused(Checkpoint::open(folder.path()), Code::not_found, "config.json");
  write_file(folder.path() / "config.json", "{}");
  check_refused(Checkpoint::open(folder.path()), Code::not_found, "no weights");
  write_file(folder.path() / "pytorch_model.bin", "");
  check_refused(Checkpoint::open(folder.path()), Code::not_found, "pickled");
  write_file(folder.path() / "model.safetensors", one_tensor("a").substr(0, 30));
  check_refused(Checkpoint::open(folder.path()), Code::bad_data, "truncated");
  write_file(folder.path() / "model.safetensors", one_tensor("a"));
  write_file(folder.path() / "generation_config.json", "[]");
  check_refused(Checkpoint::open(folder.path()), Code::bad_data, "generation_config.json");
  write_file(folder.path() / "config.json", "[]");
  check_refused(Checkpoint::open(folder.path()), Code::bad_data, "config.json");
}

TEST_CASE("symbolic links are followed, as the Hub's cache needs") {
  const TempFolder folder;
  std::filesystem::create_directories(folder.path() / "blobs");
  std::filesystem::create_directories(folder.path() / "snapshot");
  write_file(folder.path() / "blobs" / "123", one_tensor("a"));
  write_file(folder.path() / "snapshot" / "config.json", "{}");
  std::filesystem::create_symlink("../blobs/123", folder.path() / "snapshot" / "model.safetensors");
  const auto opened = Checkpoint::open(folder.path() / "snapshot");
  REQUIRE(opened.ok());
  CHECK(opened->find("a") != nullptr);
}

TEST_CASE("the digest is that of its lines, is remembered by identity, and follows the content") {
  const TempFolder folder, home;
  const EnvironmentGuard guard("ASSAY_HOME", home.path().string());
  const Path config = write_file(folder.path() / "config.json", "{}");
  const Path weights = write_file(folder.path() / "model.safetensors", one_tensor("a"));
  make_old(config);
  make_old(weights);
  const auto opened = Checkpoint::open(folder.path());
  REQUIRE(opened.ok());
  const auto lines = [&](std::string_view tensor) {
    const std::string bytes = one_tensor(tensor);
    return "config.json 2 " + sha256_hex("{}") + "\nmodel.safetensors " + std::to_string(bytes.size()) + " " +
           sha256_hex(bytes) + "\n";
  };
  CHECK(*opened->digest() == sha256_hex(lines("a")));
  const auto remembered = std::filesystem::directory_iterator(home.path() / "cache" / "digests");
  CHECK(std::distance(begin(remembered), end(remembered)) == 2);
  CHECK(*opened->digest() == sha256_hex(lines("a")));

  // Same size and another time: hashed anew. The file is replaced, as the first is still mapped.
  std::filesystem::remove(weights);
  write_file(weights, one_tensor("b"));
  CHECK(*opened->digest() == sha256_hex(lines("b")));

  // What is remembered counts only if it is whole and for this very file.
  make_old(weights);
  std::filesystem::remove_all(home.path() / "cache");
  REQUIRE(opened->digest().ok());
  for (const std::string_view damage : {"", "garbage", "digest", "key"}) {
    CAPTURE(damage);
    for (const auto& entry : std::filesystem::directory_iterator(home.path() / "cache" / "digests")) {
      std::string text = *real_files().read(entry.path());
      REQUIRE(text.size() > 65);
      if (damage == "digest") text[0] = 'z';
      if (damage == "key") text[0] = text[0] == '0' ? '1' : '0', text.back() ^= 1;
      if (damage.empty() || damage == "garbage") text = damage;
      write_file(entry.path(), text);
    }
    CHECK(*opened->digest() == sha256_hex(lines("b")));
  }
}

TEST_CASE("a file touched just now is not remembered, and a cache that cannot be written does no harm") {
  const TempFolder folder, home;
  write_file(folder.path() / "config.json", "{}");
  write_file(folder.path() / "model.safetensors", one_tensor("a"));
  const auto opened = Checkpoint::open(folder.path());
  REQUIRE(opened.ok());
  std::string fresh;
  {
    const EnvironmentGuard guard("ASSAY_HOME", home.path().string());
    fresh = *opened->digest();
    CHECK(!std::filesystem::exists(home.path() / "cache" / "digests"));
  }
  make_old(folder.path() / "model.safetensors");
  const EnvironmentGuard guard("ASSAY_HOME", write_file(folder.path() / "a file", "").string());
  CHECK(*opened->digest() == fresh);
  std::filesystem::remove(folder.path() / "model.safetensors");
  check_refused(opened->digest(), Code::io, "cannot be read any more");
}

}  // namespace
}  // namespace assay
