#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/file.h"
#include "engine/base/status.h"

namespace assay {

// xxHash 64 of the bytes: for keys inside one process or one database, never for provenance.
uint64_t hash64(std::string_view bytes, uint64_t seed = 0);

// SHA-256 as 64 lower-case hexadecimal digits (FIPS 180-4): for provenance.
std::string sha256_hex(std::string_view bytes);

// SHA-256 of a file's contents, read in pieces. Errors: not_found, io.
Result<std::string> sha256_file(const Path& path);

// SHA-256 of bytes that arrive in pieces. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  std::string finish_hex();  // once

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
