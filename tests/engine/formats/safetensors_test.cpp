#include "engine/formats/safetensors.h"

#include "tests/engine/formats/format_files.h"
#include "tests/support/shared_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

namespace assay {
namespace {

using testing::check_refused;
using testing::safetensors_with;
using testing::TempFolder;
using testing::write_file;

constexpr std::string_view kValidHeader =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
    R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"empty":{"dtype":"I64","shape":[0,9],"data_offsets":[16,16]}})";

TEST_CASE("tensors are found by name and listed in file order") {
  const TempFolder folder;
  const auto file =
      SafetensorsFile::open(write_file(folder.path() / "x.safetensors", safetensors_with(kValidHeader, 16)));
  REQUIRE(file.ok());
  REQUIRE(file->tensors().size() == 3);
  CHECK(file->tensors()[0].name == "a");
  CHECK(file->tensors()[1].name == "b");
  CHECK(file->tensors()[2].name == "empty");
  REQUIRE(file->find("b") != nullptr);
  CHECK(file->find("b")->dtype == DType::bf16);
  CHECK(file->find("b")->shape == Shape{2, 3});
  CHECK(file->find("b")->bytes.size() == 12);
  CHECK(file->find("b")->bytes.data() == file->find("a")->bytes.data() + 4);
  CHECK(file->find("c") == nullptr);
  CHECK(file->metadata().at("format") == "pt");
}

TEST_CASE("a written file reads back byte for byte and appears only when finished") {
  const TempFolder folder;
  const Path path = folder.path() / "w.safetensors";
  const std::vector<int8_t> codes = {1, -2, 3};
  const std::vector<float> scales = {0.5f, -1.25f};
  auto writer = SafetensorsWriter::create(path, {{"codes", DType::i8, {3}}, {"scales \"é\"", DType::f32, {1, 2}}},
                                          {{"made_by", "a test"}});
  REQUIRE(writer.ok());
  REQUIRE(writer->write(testing::as_bytes_of(codes)).ok());
  REQUIRE(writer->write(testing::as_bytes_of(scales)).ok());
  CHECK(!std::filesystem::exists(path));
  REQUIRE(writer->finish().ok());
  const auto file = SafetensorsFile::open(path);
  REQUIRE(file.ok());
  CHECK(testing::elements_of<int8_t>(*file->find("codes")) == codes);
  CHECK(testing::elements_of<float>(*file->find("scales \"é\"")) == scales);
  CHECK(file->metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"made_by", "a test"}});
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file->file().bytes().data(), sizeof(header_bytes));
  CHECK(header_bytes % 8 == 0);
}

TEST_CASE("a writer that is given up leaves nothing behind") {
  const TempFolder folder;
  {
    auto writer = SafetensorsWriter::create(folder.path() / "w.safetensors", {{"x", DType::u8, {1}}});
    REQUIRE(writer.ok());
  }
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("the writer refuses a name given twice and a shape without a size") {
  const TempFolder folder;
  const Path path = folder.path() / "w.safetensors";
  check_refused(SafetensorsWriter::create(path, {{"x", DType::u8, {1}}, {"x", DType::u8, {1}}}), Code::invalid_argument,
                "\"x\": named twice");
  check_refused(SafetensorsWriter::create(path, {{"x", DType::f64, {int64_t{1} << 60}}}), Code::invalid_argument,
                "no size");
}

TEST_CASE("a truncated header is refused, naming the byte and the remedy") {
  const TempFolder folder;
  const Path path = folder.path() / "x.safetensors";
  check_refused(SafetensorsFile::open(write_file(path, "")), Code::bad_data,
                "0 bytes, expected an 8-byte header length");
  check_refused(SafetensorsFile::open(write_file(path, "1234567")), Code::bad_data, "download it again");
  const std::string valid = safetensors_with(kValidHeader, 16);
  check_refused(SafetensorsFile::open(write_file(path, valid.substr(0, 60))), Code::bad_data,
                "the file ends at byte 60");
  check_refused(SafetensorsFile::open(folder.path() / "none.safetensors"), Code::not_found, "none.safetensors");
}

TEST_CASE("a lying header length is refused before anything is read") {
  const TempFolder folder;
  const Path path = folder.path() / "x.safetensors";
  for (const uint64_t length : {uint64_t{100'000'001}, uint64_t{1} << 63, UINT64_MAX}) {
    const auto bytes = testing::Bytes().add(length).raw("{}").str();
    check_refused(SafetensorsFile::open(write_file(path, bytes)), Code::bad_data, "this is no safetensors file");
  }
  check_refused(SafetensorsFile::open(write_file(path, testing::Bytes().add(uint64_t{3}).raw("{}").str())),
                Code::bad_data, "truncated");
}

TEST_CASE("every broken rule is refused with the file, the tensor and the rule") {
  struct Case {
    std::string_view header;
    size_t data_bytes;
    std::string_view fragment;
  };
  const Case cases[] = {
      {"", 0, "byte 8: expected '{'"},
      {"        ", 0, "byte 8: expected '{'"},
      {" {}", 0, "byte 8: expected '{'"},
      {"\xEF\xBB\xBF{}", 0, "byte 8: expected '{'"},
      {"[]", 0, "byte 8: expected '{'"},
      {"{} x", 0, "header"},
      {"{\"\xff\":1}", 0, "header"},
      {R"({"a":1,"a":1})", 0, "a"},
      {R"({"a":[]})", 0, "tensor \"a\""},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}})", 1, "dtype"},
      {R"({"__metadata__":{"a":1}})", 0, "__metadata__"},
      {R"({"__metadata__":[]})", 0, "__metadata__"},
      {R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1, "dtype"},
      {R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1, "shape"},
      {R"({"a":{"dtype":"U8","shape":[1]}})", 1, "data_offsets"},
      {R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1, "shape[0]"},
      {R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1, "shape[0]"},
      {R"({"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}})", 1, "shape[0]"},
      {R"({"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}})", 1, "shape[0]"},
      {R"({"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}})", 1, "shape[0]"},
      {R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1]}})", 1, "63 bits"},
      {R"({"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,1]}})", 1, "not the size of F64"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1, "begin <= end"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, "begin <= end"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}})", 1, "data_offsets[0]"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 1, "truncated"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}})", 1, "not the size of U8 [2]"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2, "begins at byte 1 of the data, expected 0"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "overlap"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
       2, "overlap"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
       3, "hole"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 22, "21 bytes follow the last tensor"},
      {"{}", 1, "1 bytes follow the last tensor"},
  };
  const TempFolder folder;
  const Path path = folder.path() / "x.safetensors";
  for (const Case& one : cases) {
    CAPTURE(one.header);
    const auto file = SafetensorsFile::open(write_file(path, safetensors_with(one.header, one.data_bytes)));
    check_refused(file, Code::bad_data, one.fragment);
    check_refused(file, Code::bad_data, "x.safetensors");
  }
}

TEST_CASE("a dtype that is not read is unsupported, naming tensor and dtype") {
  const TempFolder folder;
  const auto bytes = safetensors_with(R"({"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", 1);
  const auto file = SafetensorsFile::open(write_file(folder.path() / "x.safetensors", bytes));
  check_refused(file, Code::unsupported, "F8_E4M3");
  check_refused(file, Code::unsupported, "tensor \"w\"");
}

TEST_CASE("headers that would cost much memory or depth are refused") {
  const TempFolder folder;
  const Path path = folder.path() / "x.safetensors";
  std::string deep = "{\"a\":" + std::string(1'000'000, '[');
  check_refused(SafetensorsFile::open(write_file(path, safetensors_with(deep, 0))), Code::bad_data, "header");
  std::string wide = "{\"a\":[0";
  for (int i = 0; i < 1'100'000; ++i) wide += ",0";
  wide += "]}";
  check_refused(SafetensorsFile::open(write_file(path, safetensors_with(wide, 0))), Code::bad_data,
                "more than 1048576 values");
}

TEST_CASE("odd but lawful names are kept as they are") {
  const TempFolder folder;
  const auto bytes = safetensors_with(R"({"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                      R"("../\u0000\n":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                                      2);
  const auto file = SafetensorsFile::open(write_file(folder.path() / "x.safetensors", bytes));
  REQUIRE(file.ok());
  CHECK(file->find("") != nullptr);
  CHECK(file->find(std::string_view("../\0\n", 5)) != nullptr);
}

TEST_CASE("damaged files are refused or give views that stay inside the file") {
  const TempFolder folder;
  const Path path = folder.path() / "x.safetensors";
  const std::string valid = safetensors_with(kValidHeader, 16);
  testing::for_each_damaged(valid, 3000, [&](const std::string& bytes, bool truncated) {
    const auto file = SafetensorsFile::open(write_file(path, bytes));
    if (truncated) REQUIRE(!file.ok());
    if (!file.ok()) return;
    const auto all = file->file().bytes();
    for (const TensorView& tensor : file->tensors()) {
      REQUIRE(static_cast<size_t>(*num_elements(tensor.shape)) * dtype_bytes(tensor.dtype) == tensor.bytes.size());
      REQUIRE(tensor.bytes.data() >= all.data());
      REQUIRE(tensor.bytes.data() + tensor.bytes.size() <= all.data() + all.size());
    }
  });
}

TEST_CASE("a file written by the reference library opens, all tensors in it") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const auto file = SafetensorsFile::open(*shared / "oracle/model/packed/packed.safetensors");
  REQUIRE(file.ok());
  REQUIRE(file->find("channel_sym_ragged_cols.weight_packed") != nullptr);
  CHECK(file->find("channel_sym_ragged_cols.weight_packed")->shape == Shape{10, 13});
  CHECK(file->find("g128_sym_fp16.weight_scale")->dtype == DType::f16);
  CHECK(file->find("g32_sym.weight_shape")->dtype == DType::i64);
}

}  // namespace
}  // namespace assay
