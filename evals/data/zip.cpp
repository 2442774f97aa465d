#include "evals/data/zip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <vector>

#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr size_t kEndBytes = 22, kEntryBytes = 46, kLocalBytes = 30, kCipherHeaderBytes = 12;

uint32_t read_u32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}
uint16_t read_u16(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(bytes[at]) | static_cast<uint8_t>(bytes[at + 1]) << 8);
}

bool has_signature(std::string_view bytes, size_t at, std::string_view last_two) {
  return bytes.substr(at, 2) == "PK" && bytes.substr(at + 2, 2) == last_two;
}

// What the central directory says about a member.
struct Entry {
  std::string name;
  uint16_t flags = 0, method = 0, time = 0;
  uint32_t crc = 0, packed_bytes = 0, bytes = 0, local_at = 0;
  bool encrypted() const { return flags & 1; }
  bool sizes_follow() const { return flags & 8; }
};

// The end record stands last, before a comment of at most 65,535 bytes.
std::optional<size_t> find_end_record(std::string_view archive) {
  if (archive.size() < kEndBytes) return std::nullopt;
  const size_t last = archive.size() - kEndBytes;
  const size_t first = last - std::min<size_t>(last, 65535);
  for (size_t at = last + 1; at-- > first;) {
    if (has_signature(archive, at, "\x05\x06")) return at;
  }
  return std::nullopt;
}

Result<std::vector<Entry>> read_directory(std::string_view archive, std::string_view source) {
  const auto damaged = [&](std::string_view what) { return bad_data(fmt::format("{}: zip: {}", source, what)); };
  const std::optional<size_t> end = find_end_record(archive);
  if (!end) return damaged("expected an end record, found none; is the file truncated?");
  size_t at = read_u32(archive, *end + 16);
  const size_t count = read_u16(archive, *end + 10);
  std::vector<Entry> entries;
  for (size_t i = 0; i < count; ++i) {
    if (at > *end || *end - at < kEntryBytes || !has_signature(archive, at, "\x01\x02"))
      return damaged(fmt::format("directory entry {} at byte {} is not there", i, at));
    const size_t name_bytes = read_u16(archive, at + 28);
    const size_t more_bytes = size_t{read_u16(archive, at + 30)} + read_u16(archive, at + 32);
    if (*end - at - kEntryBytes < name_bytes + more_bytes)
      return damaged(fmt::format("directory entry {} at byte {} leaves the directory", i, at));
    Entry entry;
    entry.flags = read_u16(archive, at + 8);
    entry.method = read_u16(archive, at + 10);
    entry.time = read_u16(archive, at + 12);
    entry.crc = read_u32(archive, at + 16);
    entry.packed_bytes = read_u32(archive, at + 20);
    entry.bytes = read_u32(archive, at + 24);
    entry.local_at = read_u32(archive, at + 42);
    entry.name = archive.substr(at + kEntryBytes, name_bytes);
    entries.push_back(std::move(entry));
    at += kEntryBytes + name_bytes + more_bytes;
  }
  return entries;
}

Result<std::string_view> packed_of(std::string_view archive, const Entry& entry, std::string_view source) {
  const size_t at = entry.local_at;
  const auto damaged = [&] { return bad_data(fmt::format("{}: zip: the member at byte {} is damaged", source, at)); };
  if (at > archive.size() || archive.size() - at < kLocalBytes || !has_signature(archive, at, "\x03\x04"))
    return damaged();
  const size_t skipped = kLocalBytes + read_u16(archive, at + 26) + read_u16(archive, at + 28);
  const size_t left = archive.size() - at;
  if (left < skipped || left - skipped < entry.packed_bytes) return damaged();
  return archive.substr(at + skipped, entry.packed_bytes);
}

// The traditional cipher: three keys, stirred by every byte of the plain text.
class Cipher {
 public:
  explicit Cipher(std::string_view password) {
    for (const char c : password) stir(static_cast<uint8_t>(c));
  }
  uint8_t decrypt(uint8_t byte) {
    const uint32_t mixed = (keys_[2] | 2) & 0xffff;
    const auto plain = static_cast<uint8_t>(byte ^ static_cast<uint8_t>(mixed * (mixed ^ 1) >> 8));
    stir(plain);
    return plain;
  }

 private:
  static uint32_t crc(uint32_t value, uint8_t byte) {
    return static_cast<uint32_t>(get_crc_table()[(value ^ byte) & 0xff]) ^ value >> 8;
  }
  void stir(uint8_t byte) {
    keys_[0] = crc(keys_[0], byte);
    keys_[1] = (keys_[1] + (keys_[0] & 0xff)) * 134775813u + 1;
    keys_[2] = crc(keys_[2], static_cast<uint8_t>(keys_[1] >> 24));
  }
  std::array<uint32_t, 3> keys_ = {0x12345678u, 0x23456789u, 0x34567890u};
};

Result<std::string> decrypted(std::string_view packed, const Entry& entry, std::string_view password,
                              std::string_view source) {
  if (packed.size() < kCipherHeaderBytes)
    return bad_data(fmt::format("{}: zip: the member at byte {} is damaged", source, entry.local_at));
  Cipher cipher(password);
  std::string plain;
  plain.reserve(packed.size());
  for (const char c : packed) plain.push_back(static_cast<char>(cipher.decrypt(static_cast<uint8_t>(c))));
  const auto check = static_cast<uint8_t>(entry.sizes_follow() ? entry.time >> 8 : entry.crc >> 24);
  if (static_cast<uint8_t>(plain[kCipherHeaderBytes - 1]) != check)
    return bad_data(fmt::format("{}: zip: the password does not fit", source));
  plain.erase(0, kCipherHeaderBytes);
  return plain;
}

Result<std::string> inflated(std::string_view packed, const Entry& entry, std::string_view source) {
  std::string text(entry.bytes, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -15) != Z_OK) return out_of_memory(fmt::format("{}: zip: no memory to inflate", source));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));  // zlib only reads from it
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  const int code = inflate(&stream, Z_FINISH);
  const bool whole = code == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  if (!whole) return bad_data(fmt::format("{}: zip: the member at byte {} does not inflate", source, entry.local_at));
  return text;
}

Status check_entry(const Entry& entry, size_t max_bytes, std::string_view source) {
  constexpr uint16_t kStored = 0, kDeflated = 8;
  const bool strong = entry.flags & 0x40;
  if ((entry.method != kStored && entry.method != kDeflated) || strong) {
    return unsupported(fmt::format("{}: zip: method {}{}; expected stored or deflated, at most a plain password",
                                   source, entry.method, strong ? " under strong encryption" : ""));
  }
  // Deflate shrinks a thousandfold at most, so a small archive cannot ask for much memory.
  const bool plausible = entry.bytes / 1032 <= entry.packed_bytes;
  if (entry.bytes > max_bytes || !plausible)
    return bad_data(
        fmt::format("{}: zip: the member is said to have {} bytes, more than {} packed ones or the limit of {} allow",
                    source, entry.bytes, entry.packed_bytes, max_bytes));
  return ok_status();
}

}  // namespace

Result<std::string> read_zip_member(std::string_view archive, std::string_view member, std::string_view password,
                                    size_t max_bytes, std::string_view source) {
  ASSAY_ASSIGN(const std::vector<Entry> entries, read_directory(archive, source));
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.name == member; });
  if (found == entries.end()) {
    std::vector<std::string> names;
    for (const Entry& entry : entries) names.push_back(escape_controls(entry.name));
    return not_found(fmt::format("{}: zip: no member {}; there are: {}", source, member, join(names, ", ")));
  }
  ASSAY_TRY(check_entry(*found, max_bytes, source));
  ASSAY_ASSIGN(std::string_view packed, packed_of(archive, *found, source));
  std::string plain;
  if (found->encrypted()) {
    ASSAY_ASSIGN(plain, decrypted(packed, *found, password, source));
    packed = plain;
  }
  std::string text;
  if (found->method == 0) {
    text = packed;
  } else {
    ASSAY_ASSIGN(text, inflated(packed, *found, source));
  }
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size()));
  if (text.size() != found->bytes || static_cast<uint32_t>(crc) != found->crc)
    return bad_data(fmt::format("{}: zip: {}: the CRC-32 differs; the archive is damaged", source, member));
  return text;
}

}  // namespace assay
