#include "evals/data/table_reader.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include "engine/base/text_util.h"
#include "tests/support/mangled.h"

namespace assay {
namespace {

std::string message_of(const Result<Rows>& rows) {
  CHECK_FALSE(rows.ok());
  return rows.status().message();
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::string gzip(std::string_view text) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string bytes(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  bytes.resize(stream.total_out);
  deflateEnd(&stream);
  return bytes;
}

const std::vector<std::string> kThree = {"q", "a", "b"};

TEST_CASE("an array of objects is rows, anything else in it is refused by number") {
  Result<Rows> rows = parse_table("[{\"a\":1},\n {\"b\":2}]", "x.json");
  REQUIRE_MESSAGE(rows.ok(), rows.status().message());
  CHECK(rows->size() == 2);
  CHECK(message_of(parse_json_array("[{},3]", "x.json")) == "x.json: row 2: expected a JSON object");
  CHECK(contains(message_of(parse_json_array("{}", "x.json")), "expected an array of objects"));
}

TEST_CASE("lines are rows of one text, spaces and empty lines kept") {
  Result<Rows> rows = parse_table(" a \n\nb", "wiki.raw", {.kind = "lines", .csv_columns = {}});
  REQUIRE_MESSAGE(rows.ok(), rows.status().message());
  REQUIRE(rows->size() == 3);
  CHECK((*rows)[0].dump() == R"({"text":" a "})");
  CHECK((*rows)[1].find("text")->as_string().empty());
  CHECK(parse_lines("a\n", "x")->size() == 1);
  CHECK(contains(message_of(parse_lines("a\n\xff", "x")), "row 2: expected UTF-8"));
}

TEST_CASE("JSON lines are rows, blank lines are not, and a byte order mark is skipped") {
  Result<Rows> rows = parse_jsonl("\xEF\xBB\xBF{\"a\":1}\n\n  \r\n{\"a\":\"\\u00e9\"}\r\n{\"b\":null}", "x.jsonl");
  REQUIRE_MESSAGE(rows.ok(), rows.status().message());
  REQUIRE(rows->size() == 3);
  CHECK((*rows)[1].find("a")->as_string() == "\xC3\xA9");
  CHECK(parse_jsonl("", "x")->empty());
}

TEST_CASE("a broken JSON line is refused, naming file, row and line") {
  const std::string message = message_of(parse_jsonl("{\"a\":1}\n\n{\"a\":", "x.jsonl"));
  CHECK(contains(message, "x.jsonl: row 2 (line 3)"));
  CHECK(contains(message_of(parse_jsonl("[1]\n", "x.jsonl")), "expected a JSON object"));
}

TEST_CASE("an array of objects is rows, bare or as the one array of an object") {
  CHECK(parse_table(R"([{"a":1},{"a":2}])", "x.json")->size() == 2);
  CHECK(parse_table(R"({"canary":"c","examples":[{"a":1}]})", "x.json")->size() == 1);
  CHECK(contains(message_of(parse_table(R"([{"a":1},2])", "x.json")), "x.json: row 2: expected a JSON object"));
  CHECK(contains(message_of(parse_table(R"({"a":[],"b":[]})", "x.json")), "found another under \"b\""));
  CHECK(contains(message_of(parse_table(R"({"a":1})", "x.json")), "expected an array of objects"));
}

TEST_CASE("CSV follows RFC 4180: quotes, doubled quotes, commas and line ends inside them, CRLF") {
  Result<Rows> rows = parse_csv("one,\"a, \"\"b\"\"\",\"two\nlines\"\r\n\r\nx\"y,,\n\"\",p,q", kThree, "x.csv");
  REQUIRE_MESSAGE(rows.ok(), rows.status().message());
  REQUIRE(rows->size() == 3);
  CHECK((*rows)[0].dump() == R"({"q":"one","a":"a, \"b\"","b":"two\nlines"})");
  CHECK((*rows)[1].dump() == R"({"q":"x\"y","a":"","b":""})");
  CHECK((*rows)[2].dump() == R"({"q":"","a":"p","b":"q"})");
}

TEST_CASE("a CSV without given columns is named by its first line") {
  Result<Rows> rows = parse_csv("\nq,a\n1,2\n", {}, "x.csv");
  REQUIRE_MESSAGE(rows.ok(), rows.status().message());
  CHECK(rows->front().dump() == R"({"q":"1","a":"2"})");
  CHECK(contains(message_of(parse_csv("", {}, "x.csv")), "header line"));
  CHECK(contains(message_of(parse_csv("a,b,a\n", {}, "x.csv")), "\"a\" is named twice"));
}

TEST_CASE("a CSV row that does not fit is refused, naming file and row") {
  CHECK(contains(message_of(parse_csv("1,2,3\n1,2\n", kThree, "x.csv")),
                 "x.csv: row 2: expected 3 columns (q, a, b), found 2"));
  CHECK(contains(message_of(parse_csv("1,2,3,4\n", kThree, "x.csv")), "found 4"));
  CHECK(contains(message_of(parse_csv("1,2,\"3\n", kThree, "x.csv")), "byte 4 is never closed"));
  CHECK(contains(message_of(parse_csv("1,\"2\"x,3\n", kThree, "x.csv")), "after the closing quote at byte 4"));
  CHECK(contains(message_of(parse_csv("1,2,\xff\n", kThree, "x.csv")), "expected UTF-8"));
}

TEST_CASE("gzipped text is read, of several members too") {
  const std::string bytes = gzip("{\"a\":1}\n") + gzip("{\"a\":2}\n");
  Result<Rows> rows = parse_table(bytes, "rows.jsonl.gz");
  REQUIRE_MESSAGE(rows.ok(), rows.status().message());
  CHECK(rows->size() == 2);
}

TEST_CASE("a gzip file that is cut, followed by junk, or too large when unpacked is refused") {
  const std::string bytes = gzip(std::string(100000, 'x'));
  CHECK(contains(gunzip(std::string_view(bytes).substr(0, bytes.size() - 1), 1 << 20, "x.gz").status().message(),
                 "truncated"));
  CHECK_FALSE(gunzip(bytes + "junk", 1 << 20, "x.gz").ok());
  CHECK(contains(gunzip(bytes, 99999, "x.gz").status().message(), "exceeds 99999 bytes"));
  CHECK(gunzip(bytes, 100000, "x.gz")->size() == 100000);
  CHECK_FALSE(gunzip("", 10, "x.gz").ok());
}

TEST_CASE("a file's ending chooses the reader, and an unknown one is refused") {
  CHECK(parse_table("{}", "x.jsonl").ok());
  CHECK(parse_table("a\n1\n", "x.csv")->size() == 1);
  CHECK(parse_table("{}", "x.txt", {.kind = "jsonl"}).ok());
  CHECK(parse_table("{}", "x.txt").status().code() == Code::unsupported);
  CHECK(read_table("/nonexistent/x.csv").status().code() == Code::not_found);
}

TEST_CASE("no damaged text crashes a reader, and none gives a row without its columns") {
  const std::string csv = "one,\"a, \"\"b\"\"\",\"two\nlines\"\r\n\r\nx\"y,,\n\"\",p,q";
  testing::for_each_mangled(csv, 100, 2000, [](std::string_view damaged) {
    Result<Rows> rows = parse_csv(damaged, kThree, "x.csv");
    if (!rows.ok()) return;
    for (const Json& row : *rows) REQUIRE(row.size() == 3);
  });
  const std::string jsonl = "{\"a\":1,\"b\":[true,null,\"\\u00e9\"]}\n{\"c\":{\"d\":-1.5e3}}\n";
  testing::for_each_mangled(jsonl, 100, 2000, [](std::string_view damaged) { (void)parse_jsonl(damaged, "x.jsonl"); });
  testing::for_each_mangled(gzip(jsonl), 200, 1000,
                            [](std::string_view damaged) { (void)gunzip(damaged, 1 << 20, "x.gz"); });
}

}  // namespace
}  // namespace assay
