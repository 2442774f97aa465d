#include <doctest/doctest.h>

#include "evals/data/table_reader.h"
#include "tests/support/mangled.h"
#include "tests/support/recorded.h"

namespace assay {
namespace {

// A build without Apache Arrow refuses these files by design; then there is nothing more to test here.
bool built_with_arrow() { return parse_arrow_ipc("", "probe").status().code() != Code::unsupported; }

#define SKIP_WITHOUT_ARROW()                          \
  do {                                                \
    if (!built_with_arrow()) {                        \
      MESSAGE("skipped: built without Apache Arrow"); \
      return;                                         \
    }                                                 \
  } while (false)

std::string bytes_of(std::string_view name) {
  Result<std::string> bytes = real_files().read(testing::recorded_path(name));
  REQUIRE_MESSAGE(bytes.ok(), bytes.status().message());
  return std::move(bytes).value();
}

TEST_CASE("a build without Apache Arrow says how to get it") {
  if (built_with_arrow()) return;
  for (const Result<Rows>& rows : {parse_arrow_ipc("", "x.arrow"), parse_parquet("", "x.parquet")}) {
    CHECK(rows.status().code() == Code::unsupported);
    CHECK(rows.status().message().find("ASSAY_PYARROW_DIR") != std::string::npos);
  }
}

TEST_CASE("Arrow streams, Arrow files and Parquet hold the same rows") {
  SKIP_WITHOUT_ARROW();
  const Json expected = testing::recorded_json("tables/rows.json");
  for (const char* name :
       {"tables/stream.arrow", "tables/file.arrow", "tables/snappy.parquet", "tables/zstd.parquet"}) {
    CAPTURE(name);
    Result<Rows> rows = read_table(testing::recorded_path(name));
    REQUIRE_MESSAGE(rows.ok(), rows.status().message());
    REQUIRE(rows->size() == expected.size());
    for (size_t i = 0; i < rows->size(); ++i) CHECK((*rows)[i].dump() == expected.as_array()[i].dump());
  }
}

TEST_CASE("dictionary columns give their words, unsigned columns their numbers") {
  SKIP_WITHOUT_ARROW();
  Result<Rows> rows = read_table(testing::recorded_path("tables/dictionary.arrow"));
  REQUIRE_MESSAGE(rows.ok(), rows.status().message());
  CHECK((*rows)[1].dump() == R"({"text":"blue","n":2})");
  CHECK((*rows)[2].dump() == R"({"text":null,"n":3})");
}

TEST_CASE("a column type that no data set here has is refused, naming column and type") {
  SKIP_WITHOUT_ARROW();
  const Status status = read_table(testing::recorded_path("tables/timestamp.arrow")).status();
  CHECK(status.code() == Code::unsupported);
  CHECK(status.message().find("column when: values of type timestamp") != std::string::npos);
}

TEST_CASE("bytes that are no table are refused, naming the file") {
  SKIP_WITHOUT_ARROW();
  for (const char* text : {"", "PAR1", "ARROW1", "not a table at all, but long enough to be looked at twice"}) {
    CHECK(parse_parquet(text, "x.parquet").status().message().find("x.parquet") != std::string::npos);
    // No bytes at all are an empty stream without a schema.
    CHECK_FALSE(parse_arrow_ipc(text, "x.arrow").ok());
  }
}

TEST_CASE("no damaged Arrow or Parquet file crashes the reader") {
  SKIP_WITHOUT_ARROW();
  for (const char* name : {"tables/stream.arrow", "tables/file.arrow", "tables/dictionary.arrow"}) {
    testing::for_each_mangled(bytes_of(name), 300, 1500,
                              [](std::string_view damaged) { (void)parse_arrow_ipc(damaged, "x.arrow"); });
  }
  for (const char* name : {"tables/snappy.parquet", "tables/zstd.parquet"}) {
    testing::for_each_mangled(bytes_of(name), 200, 1000,
                              [](std::string_view damaged) { (void)parse_parquet(damaged, "x.parquet"); });
  }
}

}  // namespace
}  // namespace assay
