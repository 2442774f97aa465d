#include "engine/base/hash.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>

namespace assay {
namespace {

TEST_CASE("hash64 gives the published xxHash answers and depends on its seed") {
  CHECK(hash64("") == 0xef46db3751d8e999);
  CHECK(hash64("a") == 0xd24ec4f1a98c6e5b);
  CHECK(hash64("abc") == 0x44bc2cf5ad770999);
  CHECK(hash64("abc", 1) != hash64("abc"));
}

TEST_CASE("sha256 gives the answers of FIPS 180-4") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("bytes that arrive in pieces hash as one") {
  const std::string text(100'000, 'x');
  for (const size_t piece : {size_t{1000}, size_t{63}, size_t{99'999}}) {
    Sha256 hash;
    for (size_t at = 0; at < text.size(); at += piece) hash.update(std::string_view(text).substr(at, piece));
    CHECK(hash.finish_hex() == sha256_hex(text));
  }
}

TEST_CASE("a file hashes as its bytes do, over several pieces too") {
  const Path path = std::filesystem::temp_directory_path() / ("assay-hash-" + std::to_string(::getpid()));
  for (const size_t size : {size_t{0}, size_t{5}, size_t{3} << 20}) {
    const std::string bytes(size, 'q');
    REQUIRE(real_files().write_atomic(path, bytes).ok());
    CHECK(*sha256_file(path) == sha256_hex(bytes));
  }
  std::filesystem::remove(path);
}

TEST_CASE("a missing file and a directory are told apart") {
  const Path folder = std::filesystem::temp_directory_path();
  CHECK(sha256_file(folder / "assay-no-such-file").status().code() == Code::not_found);
  CHECK(sha256_file(folder).status().code() == Code::bad_data);
}

}  // namespace
}  // namespace assay
