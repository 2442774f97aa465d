#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "engine/base/hash.h"
#include "engine/formats/checkpoint.h"
#include "engine/model/import_gguf.h"
#include "tests/support/shared_folder.h"
#include "tests/support/source_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

namespace assay::testing {

// Imports a published GGUF file from the package folder and compares the SHA-256 of every tensor with the recorded one:
// {name: {sha256}}, or that under "tensors". Skips with a message where the file or the record is not at hand.
inline void check_recorded_import(const std::string& package_file, const std::string& record) {
  const auto shared = shared_folder();
  const Path file = testing::source_folder() / ".assay/packages" / package_file;
  if (!shared || !real_files().exists(file)) {
    MESSAGE("skipped: no ../shared, or no " << file.string());
    return;
  }
  const auto text = real_files().read(*shared / "oracle" / record);
  REQUIRE(text.ok());
  const auto recorded = Json::parse(*text, record);
  REQUIRE(recorded.ok());
  const auto gguf = GgufFile::open(file);
  REQUIRE_MESSAGE(gguf.ok(), gguf.status().message());
  const TempFolder folder;
  const auto report = import_gguf(*gguf, folder.path() / "out");
  REQUIRE_MESSAGE(report.ok(), report.status().message());
  const auto checkpoint = Checkpoint::open(folder.path() / "out");
  REQUIRE(checkpoint.ok());
  const Json* nested = recorded->find("tensors");
  const Json& tensors = nested != nullptr && nested->is_object() ? *nested : *recorded;
  CHECK(checkpoint->tensors().size() == tensors.size());
  for (const auto& [name, expected] : tensors.as_object()) {
    CAPTURE(name);
    const TensorView* tensor = checkpoint->find(name);
    REQUIRE(tensor != nullptr);
    const std::string_view bytes(reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size());
    CHECK(sha256_hex(bytes) == expected.find("sha256")->as_string());
  }
}

}  // namespace assay::testing
