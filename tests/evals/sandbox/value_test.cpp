#include "evals/sandbox/value.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace assay;

namespace {

Value from_json(const char* text) {
  const auto value = value_from_json(text);
  REQUIRE_MESSAGE(value.ok(), value.status().message());
  return *value;
}

}  // namespace

TEST_CASE("values survive the wire") {
  const Value big = *Value::integer_from_decimal("-123456789012345678901234567890");
  const Value all =
      Value::list({Value::none(), Value::boolean(true), Value::integer(INT64_MIN), big, Value::real(0.1),
                   Value::complex({1, -2}), Value::text("\xed\xa0\x80"), Value::bytes(std::string("\0\xff", 2)),
                   Value::tuple({Value::set({Value::integer(1)}), Value::frozenset({})}),
                   Value::dict({{Value::text("k"), Value::integer(1).as_subclass()}})});
  const auto back = decode_value(encode_value(all));
  REQUIRE(back.ok());
  CHECK(python_equal(*back, all));
  CHECK(back->items()[9].members()[0].second.is_subclass());
  CHECK(big.repr() == "-123456789012345678901234567890");
}

TEST_CASE("lists of numbers are packed on the wire and come back as they were") {
  const Value one = Value::integer(1), half = Value::real(0.5), zero = Value::real(-0.0),
              least = Value::integer(INT64_MIN);
  const Value big = *Value::integer_from_hex("10000000000000000");
  struct {
    Value::Items items;
    bool packed;
  } const cases[] = {{{one, one, least, one}, true},
                     {{half, zero, half, half}, true},
                     {{half, one, zero, least, half}, true},
                     {{one, one, one}, false},
                     {{one, one, one, big}, false},
                     {{one, one, one, one.as_subclass()}, false},
                     {{one, one, one, Value::boolean(true)}, false},
                     {{half, half, half, Value::none()}, false}};
  for (const auto& [items, packed] : cases) {
    for (const Value& value : {Value::list(items), Value::tuple(items)}) {
      const std::string bytes = encode_value(value);
      INFO(value.repr());
      CHECK((bytes[0] == 'p') == packed);
      const auto back = decode_value(bytes);
      REQUIRE(back.ok());
      CHECK(back->kind() == value.kind());
      CHECK(back->repr() == value.repr());
      for (size_t i = 0; i < items.size(); ++i) CHECK(back->items()[i].kind() == items[i].kind());
    }
  }
}

TEST_CASE("equality is Python's") {
  CHECK(python_equal(Value::integer(1), Value::real(1.0)));
  CHECK(python_equal(Value::boolean(true), Value::integer(1)));
  CHECK(python_equal(Value::real(-0.0), Value::integer(0)));
  CHECK(python_equal(Value::complex({2, 0}), Value::integer(2)));
  CHECK(python_equal(Value::real(std::ldexp(1.0, 100)), *Value::integer_from_hex("10000000000000000000000000")));
  CHECK_FALSE(python_equal(Value::real(std::ldexp(1.0, 100)), *Value::integer_from_hex("10000000000000000000000001")));
  CHECK_FALSE(python_equal(Value::integer((int64_t{1} << 53) + 1), Value::real(9007199254740992.0)));
  CHECK_FALSE(python_equal(Value::list({}), Value::tuple({})));
  CHECK_FALSE(python_equal(Value::text("a"), Value::bytes("a")));
  CHECK(python_equal(Value::set({Value::integer(1), Value::integer(2)}),
                     Value::frozenset({Value::real(2), Value::integer(1)})));
  CHECK(python_equal(from_json(R"({"a":1,"b":[2]})"), from_json(R"({"b":[2.0],"a":1})")));
  CHECK_FALSE(python_equal(Value::list({Value::real(NAN)}), Value::list({Value::real(NAN)})));
  CHECK(python_equal(from_json("[[1, 2.5], \"a\", null, true]"), from_json("[[1.0, 2.5], \"a\", null, 1]")));
  CHECK_FALSE(python_equal(from_json("[1, [2, 3]]"), from_json("[1, [2]]")));
  CHECK_FALSE(python_equal(Value::opaque("A", 1), Value::opaque("A", 1)));
  CHECK_FALSE(python_equal(Value::list({Value::text("a"), Value::text("b")}), Value::list({Value::text("ab")})));
}

TEST_CASE("closeness is numpy's, after types") {
  CHECK(all_close(Value::real(1.0 + 1e-8), Value::real(1.0), 1e-7, 1e-9));
  CHECK_FALSE(all_close(Value::integer(1), Value::real(1.0), 1e-7, 1e-6));
  CHECK_FALSE(all_close(Value::real(NAN), Value::real(NAN), 1e-7, 1e-6));
  CHECK(all_close(Value::real(INFINITY), Value::real(INFINITY), 1e-7, 1e-6));
  CHECK(all_close(from_json("[1.0, [2, 3.0000001]]"), from_json("[1, [2.0, 3]]"), 1e-6, 1e-6));
  CHECK_FALSE(all_close(from_json("[1.0]"), from_json("[1.0, 1.0]"), 1, 1));
  CHECK_FALSE(all_close(Value::text("a"), Value::text("a"), 1, 1));
}

TEST_CASE("JSON reads as Python's json reads it") {
  CHECK(from_json("12345678901234567890123").integer_hex() == "29d42b64e76714244cb");
  CHECK(from_json("-9223372036854775808").as_int64() == INT64_MIN);
  CHECK(std::isnan(from_json("NaN").as_real()));
  CHECK(from_json("-Infinity").as_real() == -INFINITY);
  CHECK(from_json("1E5").kind() == Value::Kind::real);
  CHECK(from_json(R"("\ud83d\ude00\ud800x")").as_text() == "\xf0\x9f\x98\x80\xed\xa0\x80x");
  CHECK(from_json(R"({"a":1,"a":2})").members().size() == 1);
  for (const char* bad : {"", "[", "[1,]", "01", "1.", "\"a", "nul", "{1:2}", "[1] 2", "\"\\x\"", "\"\n\""})
    CHECK_FALSE(value_from_json(bad).ok());
  CHECK_FALSE(value_from_json(std::string(1000, '[')).ok());
}

TEST_CASE("hostile bytes on the wire end in an error and allocate nothing large") {
  using namespace std::string_literals;
  for (const std::string& bytes :
       {""s, "l\xff\xff\xff\xff"s, "s\x05\0\0\0abc"s, "i\0\0"s, "?"s, "xx"s, "NN"s, "I\x01\0\0\0z"s, "I\0\0\0\0"s,
        "d\x01\0\0\0N"s, "p"s, "pl\xff\xff\xff\xff\0\0\0\0"s, "pd\0\0\0\0\0\0\0\0"s, "pl\x01\0\0\0\x02\0\0\0........"s,
        "pl\x02\0\0\0\x01\0\0\0\0\0................"s}) {
    CHECK_FALSE(decode_value(bytes).ok());
  }
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "l\x01\0\0\0"s;
  CHECK_FALSE(decode_value(deep).ok());
}
