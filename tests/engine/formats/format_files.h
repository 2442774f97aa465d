#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/file.h"
#include "engine/formats/tensor.h"

namespace assay::testing {

// A small generator with the same numbers everywhere: the golden vectors were recorded with it.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed) {}
  uint8_t byte() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint8_t>(state_ >> 56);
  }
  uint32_t below(uint32_t bound) { return ((uint32_t{byte()} << 16) | (uint32_t{byte()} << 8) | byte()) % bound; }

 private:
  uint64_t state_;
};

// Little-endian bytes, appended piece by piece.
class Bytes {
 public:
  template <class T>
  Bytes& add(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Bytes& raw(std::string_view text) {
    text_.append(text);
    return *this;
  }
  Bytes& text(std::string_view text) { return add(static_cast<uint64_t>(text.size())).raw(text); }  // as GGUF writes it
  Bytes& align(size_t to) {
    text_.append((to - text_.size() % to) % to, '\0');
    return *this;
  }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

// A safetensors file with this header, whatever it says, and `data_bytes` bytes of data.
inline std::string safetensors_with(std::string_view header, size_t data_bytes) {
  return Bytes().add(static_cast<uint64_t>(header.size())).raw(header).raw(std::string(data_bytes, '\x01')).str();
}

// A new file each time: one that is still mapped keeps its bytes.
inline Path write_file(const Path& path, std::string_view bytes) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

template <class T>
std::span<const std::byte> as_bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

template <class T>
std::vector<T> elements_of(const TensorView& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

// Checks that `result` failed with `code` and that its message holds `fragment`.
template <class R>
void check_refused(const R& result, Code code, std::string_view fragment) {
  const Status& status = detail::status_of(result);
  CAPTURE(fragment);
  CAPTURE(status.message());
  REQUIRE(!status.ok());
  CHECK(code_name(status.code()) == code_name(code));
  CHECK(status.message().find(fragment) != std::string::npos);
}

// Every prefix of a valid file, then `rounds` copies with one to four bytes changed. `visit` gets each.
template <class Visit>
void for_each_damaged(const std::string& valid, int rounds, Visit visit) {
  for (size_t length = 0; length < valid.size(); ++length) visit(valid.substr(0, length), true);
  Numbers numbers(7);
  for (int round = 0; round < rounds; ++round) {
    std::string damaged = valid;
    for (uint32_t change = 0; change <= numbers.below(4); ++change) {
      damaged[numbers.below(static_cast<uint32_t>(damaged.size()))] = static_cast<char>(numbers.byte());
    }
    visit(damaged, false);
  }
}

}  // namespace assay::testing
