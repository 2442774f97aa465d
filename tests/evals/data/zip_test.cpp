#include "evals/data/zip.h"

#include <doctest/doctest.h>

#include "engine/base/file.h"
#include "tests/support/mangled.h"
#include "tests/support/source_folder.h"

namespace assay {
namespace {

constexpr size_t kLimit = 1 << 20;

// The archives of the fuzz target's corpus hold rows.csv: "question,answer" and 20 times "why,because".
std::string archive(const std::string& name) {
  Result<std::string> bytes = real_files().read(testing::source_folder() / "tests/fuzz/corpus/zip" / name);
  REQUIRE_MESSAGE(bytes.ok(), bytes.status().message());
  return std::move(bytes).value();
}

std::string expected_rows() {
  std::string text = "question,answer\n";
  for (int i = 0; i < 20; ++i) text += "why,because\n";
  return text;
}

std::string message_of(const Result<std::string>& text, Code code) {
  CHECK_FALSE(text.ok());
  CHECK(text.status().code() == code);
  return text.status().message();
}

TEST_CASE("stored and deflated members are read, plain and under a password") {
  const std::string plain = archive("plain.zip");
  CHECK(*read_zip_member(plain, "a/rows.csv", "", kLimit, "x.zip") == expected_rows());
  CHECK(*read_zip_member(plain, "a/readme.txt", "", kLimit, "x.zip") == "stored");
  // One archive checks the password against the CRC, the other against the time.
  for (const char* name : {"secret.zip", "secret_stored.zip"})
    CHECK(*read_zip_member(archive(name), "rows.csv", "open sesame", kLimit, "x.zip") == expected_rows());
}

TEST_CASE("a wrong password, a missing member and a member that is too large are told apart") {
  const std::string secret = archive("secret.zip");
  CHECK(message_of(read_zip_member(secret, "rows.csv", "sesame", kLimit, "x.zip"), Code::bad_data) ==
        "x.zip: zip: the password does not fit");
  CHECK(message_of(read_zip_member(secret, "more.csv", "", kLimit, "x.zip"), Code::not_found) ==
        "x.zip: zip: no member more.csv; there are: rows.csv");
  CHECK(message_of(read_zip_member(secret, "rows.csv", "open sesame", 99, "x.zip"), Code::bad_data).find("256 bytes") !=
        std::string::npos);
}

TEST_CASE("a member said to be absurdly large is refused before memory is taken") {
  std::string plain = archive("plain.zip");
  const size_t entry = plain.rfind("PK\x01\x02");
  REQUIRE(entry != std::string::npos);
  plain.replace(entry + 24, 4, "\xff\xff\xff\x0f", 4);
  CHECK(message_of(read_zip_member(plain, "a/rows.csv", "", size_t{1} << 40, "x.zip"), Code::bad_data)
            .find("is said to have") != std::string::npos);
}

TEST_CASE("a flipped byte in the text is caught by its CRC, a cut archive by its missing end") {
  std::string plain = archive("plain.zip");
  const size_t text = plain.find("stored");
  REQUIRE(text != std::string::npos);
  plain[text] = 'S';
  CHECK(message_of(read_zip_member(plain, "a/readme.txt", "", kLimit, "x.zip"), Code::bad_data).find("CRC-32") !=
        std::string::npos);
  plain.resize(plain.size() / 2);
  CHECK(message_of(read_zip_member(plain, "a/readme.txt", "", kLimit, "x.zip"), Code::bad_data).find("end record") !=
        std::string::npos);
}

TEST_CASE("damaged archives give a member or an error") {
  for (const char* name : {"plain.zip", "secret.zip"}) {
    testing::for_each_mangled(archive(name), 400, 3000, [](std::string_view damaged) {
      const Result<std::string> text = read_zip_member(damaged, "rows.csv", "open sesame", kLimit, "x.zip");
      if (text.ok()) CHECK(text->size() <= kLimit);
    });
  }
}

}  // namespace
}  // namespace assay
