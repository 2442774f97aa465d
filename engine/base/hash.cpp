#include "engine/base/hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <array>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/descriptor.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;

struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

struct Sha256::Impl {
  std::unique_ptr<EVP_MD_CTX, ContextDeleter> context{EVP_MD_CTX_new()};
};

uint64_t hash64(std::string_view bytes, uint64_t seed) { return XXH64(bytes.data(), bytes.size(), seed); }

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  ASSAY_CHECK(impl_->context != nullptr);
  ASSAY_CHECK_EQ(EVP_DigestInit_ex(impl_->context.get(), EVP_sha256(), nullptr), 1);
}

Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  ASSAY_CHECK_EQ(EVP_DigestUpdate(impl_->context.get(), bytes.data(), bytes.size()), 1);
}

std::string Sha256::finish_hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int length = 0;
  ASSAY_CHECK_EQ(EVP_DigestFinal_ex(impl_->context.get(), digest.data(), &length), 1);
  return to_hex({reinterpret_cast<const char*>(digest.data()), length});
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish_hex();
}

Result<std::string> sha256_file(const Path& path) {
  ASSAY_ASSIGN(Descriptor file, Descriptor::open_for_reading(path));
  std::vector<std::byte> piece(kPieceBytes);
  Sha256 hash;
  for (;;) {
    ASSAY_ASSIGN(const size_t count, file.read_some(piece));
    if (count == 0) return hash.finish_hex();
    hash.update(std::span(piece).first(count));
  }
}

}  // namespace assay
