#include "engine/base/json.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/base/file.h"
#include "engine/base/rng.h"
#include "tests/support/shared_folder.h"

namespace assay {
namespace {

Json must_parse(std::string_view text) {
  Result<Json> json = Json::parse(text, "test");
  REQUIRE_MESSAGE(json.ok(), json.status().message());
  return *std::move(json);
}

std::string error_of(std::string_view text, const JsonLimits& limits = {}) {
  const Result<Json> json = Json::parse(text, "f.json", limits);
  CAPTURE(text);
  CHECK(json.status().code() == Code::bad_data);
  return json.status().message();
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

TEST_CASE("each kind of value is read as itself") {
  CHECK(must_parse("null").is_null());
  CHECK(must_parse(" true ").as_bool());
  CHECK(must_parse("-5").as_int() == -5);
  CHECK(must_parse("5").is_int());
  CHECK(must_parse("5.0").is_real());
  CHECK(must_parse("5e0").is_real());
  CHECK(must_parse("-0.25").as_real() == -0.25);
  CHECK(must_parse("7").as_real() == 7.0);
  CHECK(must_parse(R"("a\n\u00e9\ud83d\ude00\/")").as_string() == "a\né\U0001F600/");
  CHECK(must_parse(R"("a\u0000b")").as_string() == std::string("a\0b", 3));
  CHECK(must_parse("[]").size() == 0);
  CHECK(must_parse("{}").is_object());
}

TEST_CASE("objects keep the order of their keys") {
  const Json json = must_parse(R"({"z": 1, "a": [1, {"k": null}], "m": {"x": "y"}})");
  REQUIRE(json.size() == 3);
  CHECK(json.as_object()[0].first == "z");
  CHECK(json.as_object()[2].first == "m");
  CHECK(json.find("a")->as_array()[1].find("k")->is_null());
  CHECK(json.find("nope") == nullptr);
  CHECK(json.dump() == R"({"z":1,"a":[1,{"k":null}],"m":{"x":"y"}})");
}

TEST_CASE("integers to 64 bits are exact, beyond they are reals") {
  CHECK(must_parse("9223372036854775807").as_int() == INT64_MAX);
  CHECK(must_parse("-9223372036854775808").as_int() == INT64_MIN);
  CHECK(must_parse("9223372036854775808").as_real() == 0x1p63);
  CHECK(must_parse("18446744073709551616").as_real() == 0x1p64);
  CHECK(must_parse("-9223372036854775809").as_real() == -0x1p63);
  CHECK(Json(uint64_t{1} << 63).as_real() == 0x1p63);
  CHECK(Json(uint64_t{7}).as_int() == 7);
  CHECK(Json(7u).as_int() == 7);
}

TEST_CASE("NaN and the infinities are read outside strings only") {
  const Json json = must_parse(R"([NaN, Infinity, -Infinity, null, "NaN", "a\"Infinity", {"NaN": NaN}])");
  const Json::Array& items = json.as_array();
  CHECK(std::isnan(items[0].as_real()));
  CHECK(items[1].as_real() == HUGE_VAL);
  CHECK(items[2].as_real() == -HUGE_VAL);
  CHECK(items[3].is_null());
  CHECK(items[4].as_string() == "NaN");
  CHECK(items[5].as_string() == "a\"Infinity");
  CHECK(std::isnan(items[6].find("NaN")->as_real()));
  CHECK(json.dump() == R"([NaN,Infinity,-Infinity,null,"NaN","a\"Infinity",{"NaN":NaN}])");
  CHECK(std::isnan(must_parse("NaN").as_real()));
}

TEST_CASE("near misses of NaN and Infinity are refused where they stand") {
  for (const char* text : {"[-NaN]", "[nan]", "[NaNs]", "[+Infinity]", "[Infinit]", "[--Infinity]", "[1NaN]",
                           "[NaN NaN]", "{NaN: 1}", "[Infinity5]", "[nullNaN]", "[NaN"}) {
    error_of(text);
  }
  CHECK(contains(error_of("[NaN, Infinity,\n -Infinity, x]"), "f.json: line 2, column 13: "));
  CHECK(contains(error_of("[NaN, y, Infinity]"), "f.json: line 1, column 7: "));
}

TEST_CASE("a syntax error names the source, the line and the column") {
  CHECK(contains(error_of("{\"a\": 1,\n  \"b\": }"), "f.json: line 2, column 8: "));
  CHECK(contains(error_of("[1, 2"), "f.json: line 1, column 6: "));
  CHECK(contains(error_of("é"), "line 1, column 1: "));
  CHECK(contains(error_of("[\"éé\", x]"), "line 1, column 8: "));
  CHECK(contains(error_of(""), "line 1, column 1: found no text"));
  CHECK(contains(error_of("1 2"), "line 1, column 3: "));
}

TEST_CASE("what RFC 8259 forbids is refused") {
  for (const char* text :
       {"[1,]", "{\"a\":1,}", "{'a':1}",   "{a:1}",       "01",          "1.",       ".5",
        "+1",   "\"\t\"",     "\"\\x\"",   "\"\\ud800\"", "\"\\udc00\"", "\"\xff\"", "\"\xed\xa0\x80\"",
        "tru",  "[1 2]",      "{\"a\" 1}", "// c\n1",     "\"open",      "]",        "}",
        "{]",   "[}",         "nul",       "1e400",       "-",           "1e",       "\"a\nb\""}) {
    error_of(text);
  }
}

TEST_CASE("duplicate keys are refused in small and large objects") {
  CHECK(contains(error_of(R"({"a": 1, "b": {"c": 1, "c": 2}})"), "the key \"c\" twice"));
  CHECK(contains(error_of("{\"a\": 1,\n\"a\": 1}"), "line 2, column 7: "));
  std::string text = "{";
  for (int i = 0; i < 1000; ++i) text += "\"k" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  CHECK(must_parse(text + "\"k\":1}").size() == 1001);
  CHECK(contains(error_of(text + "\"k500\":1}"), "the key \"k500\" twice"));
}

TEST_CASE("depth and size are bounded") {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(must_parse(nested(256)).is_array());
  CHECK(contains(error_of(nested(257)), "f.json: line 1, column 257: values are nested deeper than 256 levels"));
  CHECK(contains(error_of(std::string(1'000'000, '[')), "deeper"));
  CHECK(contains(error_of("{\"a\":{\"b\":1}}", {.max_depth = 1}), "deeper than 1"));
  CHECK(must_parse("1").is_int());
  CHECK(contains(error_of("[1234]", {.max_bytes = 5}), "found 6 bytes of JSON, at most 5"));
}

TEST_CASE("an error about a long token stays one short line") {
  const std::string message = error_of("[1, \"" + std::string(100'000, 'x') + "\x01\"]");
  CHECK(message.size() < 400);
  CHECK_FALSE(contains(message, "\n"));
  CHECK(error_of("[" + std::string(100'000, '9') + "]").size() < 400);
}

TEST_CASE("every prefix of a document is refused and no mutation crashes") {
  const std::string text =
      R"({"a": [1, -2.5e3, true, null, "é\u00e9\n"], "b": {"c": NaN, "d": [[], {}]}, "e": -Infinity})";
  CHECK(must_parse(text).size() == 3);
  for (size_t length = 0; length < text.size(); ++length) error_of(text.substr(0, length));
  for (uint64_t round = 0; round < 20'000; ++round) {
    std::string mutated = text;
    for (uint64_t i = 0; i <= round % 3; ++i) {
      const uint64_t bits = random_bits(5, round, i);
      mutated[bits % mutated.size()] = static_cast<char>(bits >> 32);
    }
    const Result<Json> json = Json::parse(mutated, "f");
    if (!json.ok()) continue;
    const Result<Json> again = Json::parse(json->dump(), "f");
    REQUIRE_MESSAGE(again.ok(), again.status().message());
    REQUIRE(again->dump() == json->dump());
  }
}

// The expected texts are what Python 3.11's json.dumps gives.
TEST_CASE("every style writes what Python's json.dumps writes") {
  const Json json = must_parse(R"({"b":[1,2.0,[],{}],"a":"é\u007f\ud83d\ude00\u0001\"\\\b\f\n\r\t/"})");
  CHECK(json.dump() == "{\"b\":[1,2.0,[],{}],\"a\":\"é\x7f\U0001F600\\u0001\\\"\\\\\\b\\f\\n\\r\\t/\"}");
  CHECK(json.dump({.ensure_ascii = true, .python_separators = true, .sort_keys = true}) ==
        R"({"a": "\u00e9\u007f\ud83d\ude00\u0001\"\\\b\f\n\r\t/", "b": [1, 2.0, [], {}]})");
  CHECK(must_parse(R"({"b":[1,[],{}],"a":{"c":2}})").dump({.indent = 2}) ==
        "{\n  \"b\": [\n    1,\n    [],\n    {}\n  ],\n  \"a\": {\n    \"c\": 2\n  }\n}");
  CHECK(must_parse("[1,2]").dump({.indent = 0, .python_separators = true}) == "[\n1,\n2\n]");
  CHECK(must_parse("[1e-5,1e16,0.1,100.0,-0.0,-0]").dump() == "[1e-05,1e+16,0.1,100.0,-0.0,0]");
}

TEST_CASE("invalid UTF-8 is written as the replacement character") {
  CHECK(Json("a\xff").dump() == "\"a\uFFFD\"");
  CHECK(Json("a\xff").dump({.ensure_ascii = true}) == "\"a\\ufffd\"");
}

TEST_CASE("values are built, replaced and copied deeply") {
  Json json;
  json.set("a", 1).set("b", "two").set("a", 3);
  json.set("list", Json::array().push_back(1.5).push_back(nullptr));
  CHECK(json.dump() == R"({"a":3,"b":"two","list":[1.5,null]})");
  Json copy = json;
  copy.find("list")->push_back(true);
  CHECK(json.find("list")->size() == 2);
  CHECK(copy.find("list")->size() == 3);
  json = json.as_object()[2].second;
  CHECK(json.dump() == "[1.5,null]");
  json = json.as_array()[0];
  CHECK(json.as_real() == 1.5);
  Json moved = std::move(copy);
  CHECK(moved.size() == 3);
}

TEST_CASE("equality is deep, ignores key order and knows that 1 is 1.0") {
  CHECK(must_parse(R"({"a":1,"b":[2.0]})") == must_parse(R"({"b":[2],"a":1.0})"));
  CHECK_FALSE(must_parse("[1]") == must_parse("[1,2]"));
  CHECK_FALSE(must_parse(R"({"a":1})") == must_parse(R"({"b":1})"));
  CHECK_FALSE(must_parse("true") == must_parse("1"));
  CHECK_FALSE(must_parse("null") == must_parse("false"));
  CHECK_FALSE(must_parse("9223372036854775807") == must_parse("9223372036854775808.0"));
  CHECK_FALSE(must_parse("9007199254740993") == must_parse("9007199254740992.0"));
  CHECK_FALSE(must_parse("NaN") == must_parse("NaN"));
}

TEST_CASE("a field error names the source, the whole path, what was found and what was expected") {
  const Json json =
      must_parse(R"({"text_config": {"num_hidden_layers": "forty", "list": [1, {"x": 2.5}], "odd key": []}})");
  const JsonField root(json, "config.json");
  const JsonField config = *root.get("text_config");
  CHECK(config.get_int("num_hidden_layers", 1, 1000).status().message() ==
        "config.json: text_config.num_hidden_layers: expected an integer from 1 to 1000, found \"forty\"");
  CHECK(config.get("gone").status().message() == "config.json: text_config.gone: expected a value, found none");
  const auto items = config.get("list")->items();
  REQUIRE(items.ok());
  CHECK((*items)[1].get_int("x").status().message() ==
        "config.json: text_config.list[1].x: expected an integer, found 2.5");
  CHECK((*items)[1].get_string("x").status().message() ==
        "config.json: text_config.list[1].x: expected a string, found 2.5");
  CHECK(config.get_bool("odd key").status().message() ==
        "config.json: text_config[\"odd key\"]: expected true or false, found a list of 0");
  CHECK(root.as_bool().status().message() == "config.json: expected true or false, found an object of 1 members");
  CHECK((*items)[0].get("y").status().message() ==
        "config.json: text_config.list[0]: expected an object with the member \"y\", found 1");
  CHECK(root.items().status().code() == Code::bad_data);
  CHECK((*items)[0].members().status().code() == Code::bad_data);
}

TEST_CASE("bounds on an integer are part of what is expected") {
  const Json json = must_parse("5");
  const JsonField field(json, "f");
  CHECK(*field.as_int(5, 5) == 5);
  CHECK(field.as_int(6).status().message() == "f: expected an integer of at least 6, found 5");
  CHECK(field.as_int(INT64_MIN, 4).status().message() == "f: expected an integer of at most 4, found 5");
  CHECK(*field.as_real() == 5.0);
}

TEST_CASE("optional members fall back when missing or null, and only then") {
  const Json json = must_parse(R"({"n": null, "i": 3, "r": 2.5, "s": "t", "b": true})");
  const JsonField root(json, "f");
  CHECK(*root.int_or("gone", 9) == 9);
  CHECK(*root.int_or("n", 9) == 9);
  CHECK(*root.int_or("i", 9) == 3);
  CHECK(*root.real_or("i", 9) == 3.0);
  CHECK(*root.real_or("gone", 0.5) == 0.5);
  CHECK(*root.string_or("s", "u") == "t");
  CHECK(*root.string_or("n", "u") == "u");
  CHECK(*root.bool_or("b", false));
  CHECK(root.int_or("s", 9).status().code() == Code::bad_data);
  CHECK(root.int_or("i", 9, 4, 5).status().code() == Code::bad_data);
  CHECK(root.bool_or("i", true).status().code() == Code::bad_data);
  const Json list = must_parse("[]");
  CHECK(JsonField(list, "f").int_or("i", 9).status().message() == "f: expected an object, found a list of 0");
  CHECK_FALSE(root.find("n"));
  CHECK(root.find("s")->path() == "s");
  CHECK(root.members()->size() == 5);
  CHECK(root.get("n")->is_null());
}

TEST_CASE("every recorded JSON file of a few megabytes reads and writes back to an equal value") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  int num_files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*shared / "oracle")) {
    if (entry.path().extension() != ".json" || entry.file_size() > 2'000'000) continue;
    const auto text = real_files().read(entry.path());
    REQUIRE(text.ok());
    const Result<Json> json = Json::parse(*text, entry.path().string());
    REQUIRE_MESSAGE(json.ok(), json.status().message());
    const bool has_nan = contains(*text, "NaN");
    const bool equal = *Json::parse(json->dump({.indent = 1, .ensure_ascii = true}), "again") == *json;
    CHECK((has_nan || equal));
    ++num_files;
  }
  CHECK(num_files > 0);
}

}  // namespace
}  // namespace assay
