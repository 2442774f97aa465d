#include "engine/formats/gguf.h"

#include "engine/formats/gguf_dequant.h"
#include "tests/engine/formats/format_files.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

namespace assay {
namespace {

using testing::Bytes;
using testing::check_refused;
using testing::TempFolder;
using testing::write_file;

enum : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

// A tensor's entry in the header; `dims` fastest first, as the file has them.
std::string tensor_entry(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
  Bytes entry;
  entry.text(name).add(static_cast<uint32_t>(dims.size()));
  for (const uint64_t extent : dims) entry.add(extent);
  return entry.add(type).add(offset).str();
}

// A whole file from its parts, aligned to 32.
std::string gguf_file(const std::vector<std::string>& metadata, const std::vector<std::string>& tensors,
                      size_t data_bytes, uint32_t version = 3) {
  Bytes file;
  file.raw("GGUF").add(version).add(static_cast<uint64_t>(tensors.size())).add(static_cast<uint64_t>(metadata.size()));
  for (const auto& part : metadata) file.raw(part);
  for (const auto& part : tensors) file.raw(part);
  return file.align(32).raw(std::string(data_bytes, '\x02')).str();
}

template <class T>
std::string entry(std::string_view key, uint32_t type, T value) {
  return Bytes().text(key).add(type).add(value).str();
}

std::string string_entry(std::string_view key, std::string_view value) {
  return Bytes().text(key).add(uint32_t{kString}).text(value).str();
}

Bytes array_head(std::string_view key, uint32_t element_type, uint64_t count) {
  Bytes bytes;
  bytes.text(key).add(uint32_t{kArray}).add(element_type).add(count);
  return bytes;
}

std::string valid_file() {
  return gguf_file(
      {string_entry("general.architecture", "llama"), entry("llama.block_count", kU32, uint32_t{2}),
       array_head("tokens", kString, 2).text("a").text("").str(),
       array_head("types", kI32, 2).add(int32_t{1}).add(int32_t{-3}).str(), entry("flag", kBool, uint8_t{1})},
      {tensor_entry("blk.0.attn_q.weight", {32, 3}, 2, 64), tensor_entry("norm", {5}, 0, 0)}, 64 + 3 * 18);
}

class Opened {
 public:
  Result<GgufFile> operator()(const std::string& bytes) const {
    return GgufFile::open(write_file(folder_.path() / "x.gguf", bytes));
  }

 private:
  TempFolder folder_;
};

TEST_CASE("tensors have their shape slowest first and their bytes by offset") {
  const Opened open;
  for (const uint32_t version : {2u, 3u}) {
    std::string bytes = valid_file();
    bytes[4] = static_cast<char>(version);
    const auto file = open(bytes);
    REQUIRE(file.ok());
    REQUIRE(file->tensors().size() == 2);
    const GgufTensor* weight = file->find("blk.0.attn_q.weight");
    REQUIRE(weight == &file->tensors()[0]);
    CHECK(weight->type == GgmlType::q4_0);
    CHECK(weight->shape == Shape{3, 32});
    CHECK(weight->bytes.size() == 3 * 18);
    CHECK(weight->bytes.data() == file->find("norm")->bytes.data() + 64);
    CHECK(file->find("norm")->shape == Shape{5});
    CHECK(file->find("norm")->bytes.size() == 20);
    CHECK(file->find("none") == nullptr);
  }
}

TEST_CASE("metadata of every kind is read and widened") {
  const Opened open;
  const auto file = open(gguf_file(
      {entry("u8", kU8, uint8_t{200}), entry("i8", kI8, int8_t{-3}), entry("u16", kU16, uint16_t{60000}),
       entry("i16", kI16, int16_t{-300}), entry("u32", kU32, uint32_t{4000000000}), entry("i32", kI32, int32_t{-70000}),
       entry("f32", kF32, 0.5f), entry("bool", kBool, uint8_t{1}), string_entry("string", std::string_view("a\0b", 3)),
       entry("u64", kU64, UINT64_MAX), entry("i64", kI64, INT64_MIN), entry("f64", kF64, 1e300),
       array_head("u8s", kU8, 3).add(uint8_t{1}).add(uint8_t{2}).add(uint8_t{255}).str(),
       array_head("u64s", kU64, 1).add(uint64_t{7}).str(), array_head("f32s", kF32, 1).add(2.5f).str(),
       array_head("bools", kBool, 2).add(uint8_t{0}).add(uint8_t{1}).str(), array_head("none", kString, 0).str()},
      {}, 0));
  REQUIRE(file.ok());
  CHECK(*file->get_int("u8") == 200);
  CHECK(*file->get_int("i8") == -3);
  CHECK(*file->get_int("u16") == 60000);
  CHECK(*file->get_int("i16") == -300);
  CHECK(*file->get_int("u32") == 4000000000);
  CHECK(*file->get_int("i32") == -70000);
  CHECK(*file->get_int("i64") == INT64_MIN);
  CHECK(*file->get_real("f32") == 0.5);
  CHECK(*file->get_real("f64") == 1e300);
  CHECK(*file->get_real("u8") == 200.0);
  CHECK(*file->get_bool("bool"));
  CHECK(*file->get_string("string") == std::string("a\0b", 3));
  CHECK(*file->get_ints("u8s") == std::vector<int64_t>{1, 2, 255});
  CHECK(*file->get_ints("u64s") == std::vector<int64_t>{7});
  CHECK(std::get<std::vector<double>>(file->metadata().at("f32s").value) == std::vector<double>{2.5});
  CHECK(std::get<std::vector<bool>>(file->metadata().at("bools").value) == std::vector<bool>{false, true});
  CHECK(file->get_strings("none")->empty());
  CHECK(file->has("u8"));
  CHECK(!file->has("u9"));
  check_refused(file->get_int("u64"), Code::bad_data, "18446744073709551615");
  check_refused(file->get_int("string"), Code::bad_data, "\"string\": found a string, expected an integer");
  check_refused(file->get_string("missing"), Code::bad_data, "\"missing\": found nothing, expected a string");
  check_refused(file->get_real("bool"), Code::bad_data, "found a boolean, expected a real number");
  check_refused(file->get_bool("u8"), Code::bad_data, "found an integer, expected a boolean");
  check_refused(file->get_strings("u8s"), Code::bad_data, "found an array of integers, expected an array of strings");
  check_refused(file->get_ints("bools"), Code::bad_data, "found an array of booleans");
}

TEST_CASE("magic and version are checked first") {
  const Opened open;
  check_refused(open(""), Code::bad_data, "byte 0: magic needs 4 bytes");
  check_refused(open("GGML1234567890123456789012345"), Code::bad_data, "this is no GGUF file");
  for (const uint32_t version : {0u, 1u, 4u}) {
    check_refused(open(gguf_file({}, {}, 0, version)), Code::unsupported, "byte 4: GGUF version");
  }
  check_refused(open(gguf_file({}, {}, 0, 0x03000000)), Code::unsupported, "big-endian");
}

TEST_CASE("counts beyond what the file can hold are refused before anything is allocated") {
  const Opened open;
  for (const uint64_t count : {uint64_t{1} << 31, uint64_t{1} << 63, UINT64_MAX}) {
    check_refused(open(Bytes().raw("GGUF").add(3u).add(count).add(uint64_t{0}).str()), Code::bad_data,
                  "byte 8: tensor count");
    check_refused(open(Bytes().raw("GGUF").add(3u).add(uint64_t{0}).add(count).str()), Code::bad_data,
                  "byte 16: metadata count");
    for (const uint32_t type : {kU8, kU64, kString, kBool}) {
      check_refused(open(gguf_file({array_head("a", type, count).str()}, {}, 64)), Code::bad_data, "array length");
    }
    check_refused(open(gguf_file({Bytes().text("a").add(uint32_t{kString}).add(count).str()}, {}, 64)), Code::bad_data,
                  "string needs");
    check_refused(open(gguf_file({Bytes().add(count).str()}, {}, 64)), Code::bad_data, "expected at most 65535");
  }
}

TEST_CASE("arrays hold at most four million elements in all, and thousands of keys cost linear time") {
  const Opened open;
  const std::string million = array_head("", kU8, 2'500'000).raw(std::string(2'500'000, 'x')).str();
  const auto keyed = [&million](std::string_view key) { return Bytes().text(key).raw(million.substr(8)).str(); };
  CHECK(open(gguf_file({keyed("a")}, {}, 0)).ok());
  check_refused(open(gguf_file({keyed("a"), keyed("b")}, {}, 0)), Code::bad_data,
                "array length 2500000, expected at most");
  std::vector<std::string> keys;
  for (int i = 0; i < 60'000; ++i) keys.push_back(entry("k" + std::to_string(i), kBool, uint8_t{0}));
  CHECK(open(gguf_file(keys, {}, 0)).ok());
  for (int i = 0; i < 6'000; ++i) keys.push_back(entry("l" + std::to_string(i), kBool, uint8_t{0}));
  check_refused(open(gguf_file(keys, {}, 0)), Code::bad_data, "metadata count 66000, expected at most 65536");
}

TEST_CASE("malformed metadata is refused with its byte") {
  const Opened open;
  check_refused(open(gguf_file({entry("a", 13, uint32_t{0})}, {}, 64)), Code::bad_data, "value type 13");
  check_refused(open(gguf_file({array_head("a", 13, 0).str()}, {}, 64)), Code::bad_data, "array element type 13");
  check_refused(open(gguf_file({array_head("a", kArray, 0).str()}, {}, 64)), Code::unsupported, "array of arrays");
  check_refused(open(gguf_file({entry("a", kBool, uint8_t{2})}, {}, 64)), Code::bad_data, "boolean 2");
  check_refused(open(gguf_file({array_head("a", kBool, 1).add(uint8_t{9}).str()}, {}, 64)), Code::bad_data,
                "boolean 9");
  check_refused(open(gguf_file({array_head("a", kU64, 1).add(UINT64_MAX).str()}, {}, 64)), Code::bad_data, "2^63");
  check_refused(open(gguf_file({entry("", kBool, uint8_t{1})}, {}, 64)), Code::bad_data, "empty metadata key");
  const std::string flag = entry("a", kBool, uint8_t{1});
  check_refused(open(gguf_file({flag, flag}, {}, 64)), Code::bad_data, "byte 38: metadata key \"a\" is there twice");
}

TEST_CASE("the alignment must be a power of two and moves the data") {
  const Opened open;
  const auto with = [](uint32_t type, auto value) {
    return gguf_file({entry("general.alignment", type, value)}, {tensor_entry("a", {1}, 0, 0)}, 256);
  };
  for (const uint32_t alignment : {0u, 3u, 48u})
    check_refused(open(with(kU32, alignment)), Code::bad_data, "power of two");
  check_refused(open(with(kU64, uint64_t{1} << 62)), Code::bad_data, "power of two");
  check_refused(open(with(kU64, uint64_t{1} << 63)), Code::bad_data, "general.alignment");
  check_refused(open(with(kI32, int32_t{-32})), Code::bad_data, "power of two");
  check_refused(open(with(kF32, 32.0f)), Code::bad_data, "expected an integer");
  check_refused(open(with(kU32, uint32_t{1} << 31)), Code::bad_data, "truncated");
  const auto file = open(with(kU32, 128u));
  REQUIRE(file.ok());
  const auto whole = reinterpret_cast<uintptr_t>(file->find("a")->bytes.data());
  CHECK(whole % 128 == 0);
}

TEST_CASE("tensors that lie about themselves are refused by name") {
  const Opened open;
  const auto one = [&open](const std::string& tensor, size_t data = 256) {
    return open(gguf_file({}, {tensor}, data));
  };
  check_refused(one(tensor_entry("a", {1, 1, 1, 1, 1}, 0, 0)), Code::bad_data, "\"a\": 5 dimensions");
  check_refused(one(tensor_entry("a", {0}, 0, 0)), Code::bad_data, "not positive");
  check_refused(one(tensor_entry("a", {UINT64_MAX}, 0, 0)), Code::bad_data, "not positive");
  check_refused(one(tensor_entry("a", {uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0)), Code::bad_data, "63 bits");
  check_refused(one(tensor_entry("a", {uint64_t{1} << 61}, 0, 0)), Code::bad_data, "63 bits");
  check_refused(one(tensor_entry("a", {uint64_t{1} << 60}, 2, 0)), Code::bad_data, "truncated");
  check_refused(one(tensor_entry("a", {48}, 2, 0)), Code::bad_data, "no whole number of Q4_0 blocks of 32");
  check_refused(one(tensor_entry("a", {16, 2}, 2, 0)), Code::bad_data, "no whole number");
  check_refused(one(tensor_entry("a", {576}, 12, 0)), Code::bad_data, "Q4_K blocks of 256");
  check_refused(one(tensor_entry("a", {1}, 0, 4)), Code::bad_data, "multiple of 32");
  check_refused(one(tensor_entry("a", {1}, 0, 256)), Code::bad_data, "download it again");
  check_refused(one(tensor_entry("a", {65}, 0, 0)), Code::bad_data, "260 bytes at offset 0");
  check_refused(one(tensor_entry("a", {1}, 0, UINT64_MAX - 31)), Code::bad_data, "truncated");
  check_refused(one(tensor_entry("", {1}, 0, 0)), Code::bad_data, "empty tensor name");
  check_refused(one(tensor_entry(std::string(128, 'n'), {1}, 0, 0)), Code::bad_data, "expected at most 127");
  CHECK(one(tensor_entry(std::string(127, 'n'), {1}, 0, 0)).ok());
  CHECK(one(tensor_entry("a", {64}, 0, 0)).ok());
}

TEST_CASE("a tensor type that is not decoded is unsupported by name and number") {
  const Opened open;
  const auto with_type = [&open](uint32_t type) {
    return open(gguf_file({}, {tensor_entry("a", {256}, type, 0)}, 2048));
  };
  check_refused(with_type(10), Code::unsupported, "tensor \"a\": type Q2_K");
  check_refused(with_type(4), Code::unsupported, "type Q4_2");
  check_refused(with_type(39), Code::unsupported, "type MXFP4");
  check_refused(with_type(UINT32_MAX), Code::unsupported, "number 4294967295");
  CHECK(ggml_type_name(14) == "Q6_K");
}

TEST_CASE("overlapping and repeated tensors and parts of split files are refused") {
  const Opened open;
  check_refused(open(gguf_file({}, {tensor_entry("a", {16}, 0, 0), tensor_entry("b", {16}, 0, 32)}, 256)),
                Code::bad_data, "tensors \"a\" and \"b\" overlap");
  check_refused(open(gguf_file({}, {tensor_entry("a", {8}, 0, 0), tensor_entry("b", {8}, 0, 0)}, 256)), Code::bad_data,
                "overlap");
  check_refused(open(gguf_file({}, {tensor_entry("a", {8}, 0, 0), tensor_entry("a", {8}, 0, 32)}, 256)), Code::bad_data,
                "\"a\" is there twice");
  check_refused(open(gguf_file({entry("split.count", kU16, uint16_t{2})}, {}, 0)), Code::unsupported, "one of 2 parts");
  CHECK(open(gguf_file({entry("split.count", kU16, uint16_t{1})}, {}, 0)).ok());
}

TEST_CASE("damaged files are refused or give tensors that decode inside the file") {
  const Opened open;
  testing::for_each_damaged(valid_file(), 3000, [&open](const std::string& bytes, bool truncated) {
    const auto file = open(bytes);
    if (truncated) REQUIRE(!file.ok());
    if (!file.ok()) return;
    for (const GgufTensor& tensor : file->tensors()) {
      const auto count = num_elements(tensor.shape);
      REQUIRE(count.ok());
      std::vector<float> values(static_cast<size_t>(*count));
      gguf_dequantize(tensor.type, tensor.bytes, *count, values.data());
    }
  });
}

TEST_CASE("a file that is not there is not found") {
  check_refused(GgufFile::open("/nonexistent/x.gguf"), Code::not_found, "x.gguf");
}

}  // namespace
}  // namespace assay
