#include "evals/data/raw_json.h"

#include <doctest/doctest.h>

#include "evals/data/table_reader.h"

using namespace assay;

namespace {
constexpr std::string_view kLine =
    R"({"a": "x, \"}[", "wanted" : [[123456789012345678901234567890, 1.0], {"k":"]"}], "b": {"wanted": 1}, "last":-2})";
}

TEST_CASE("raw columns keep their text, whatever stands around them, and other columns are values") {
  const Rows rows = parse_jsonl(kLine, "x", {"wanted", "last"}).value();
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].find("wanted")->as_string() == R"([[123456789012345678901234567890, 1.0], {"k":"]"}])");
  CHECK(rows[0].find("last")->as_string() == "-2");
  CHECK(rows[0].find("a")->as_string() == "x, \"}[");
  CHECK(rows[0].find("b")->is_object());
}

TEST_CASE("a raw column that is missing is named") {
  const auto rows = parse_jsonl(R"({"a": 1})", "f.jsonl", {"wanted"});
  CHECK(rows.status().code() == Code::bad_data);
  CHECK(rows.status().message().find("wanted") != std::string::npos);
}

TEST_CASE("a raw column that is found parses to what the row held") {
  const std::string line = R"({"x":[1,{"y":"\\"}],"z":"é"})";
  Json row = Json::parse(line, "x").value();
  const Json before = row;
  REQUIRE(keep_raw_columns(row, line, {"x", "z"}, "x").ok());
  CHECK(Json::parse(row.find("x")->as_string(), "x").value() == *before.find("x"));
  CHECK(Json::parse(row.find("z")->as_string(), "x").value() == *before.find("z"));
}
