#include "engine/base/text_util.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "engine/base/rng.h"

namespace assay {
namespace {

using Texts = std::vector<std::string>;

// UTF-8 ---------------------------------------------------------------------------------------------------------------

TEST_CASE("every code point but surrogates is written and read back") {
  std::vector<char32_t> wrong;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string bytes;
    append_utf8(bytes, c);
    size_t index = 0;
    const bool same = is_valid_utf8(bytes) && next_code_point(bytes, index) == c && index == bytes.size();
    if (!same) wrong.push_back(c);
  }
  CHECK(wrong.empty());
}

TEST_CASE("surrogates and numbers beyond Unicode are written as the replacement character") {
  for (const char32_t c : {0xD800u, 0xDFFFu, 0x110000u, 0xFFFFFFFFu}) {
    std::string bytes;
    append_utf8(bytes, c);
    CHECK(bytes == "\uFFFD");
  }
}

TEST_CASE("invalid bytes are replaced by maximal parts, as Python does with errors=replace") {
  const struct {
    std::string_view bytes;
    std::string_view text;
  } cases[] = {
      {"a\xff"
       "b",
       "a\uFFFDb"},
      {"\xc3", "\uFFFD"},
      {"\xc0\xaf", "\uFFFD\uFFFD"},
      {"\xe2\x82", "\uFFFD"},
      {"\xe2\x82"
       "x",
       "\uFFFDx"},
      {"\xe2\x28\xa1", "\uFFFD(\uFFFD"},
      {"\xe0\x80\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xf0\x9f\x98", "\uFFFD"},
      {"\xf0\x9f\x98\x80\xf0\x9f", "\U0001F600\uFFFD"},
      {"\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xf8\x88\x80\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"},
  };
  for (const auto& c : cases) {
    CHECK(replace_invalid_utf8(c.bytes) == c.text);
    CHECK_FALSE(is_valid_utf8(c.bytes));
    CHECK(is_valid_utf8(c.text));
  }
}

TEST_CASE("random bytes decode to valid text that decodes to itself") {
  for (uint64_t round = 0; round < 5000; ++round) {
    std::string bytes;
    for (uint64_t i = 0; i < random_bits(1, round, 0) % 12; ++i) {
      const uint64_t bits = random_bits(2, round, i);
      bytes += static_cast<char>(bits & 1 ? bits >> 8 : 0x80 | bits >> 8);
    }
    const std::string text = replace_invalid_utf8(bytes);
    REQUIRE(is_valid_utf8(text));
    REQUIRE(replace_invalid_utf8(text) == text);
    REQUIRE(count_code_points(bytes) == count_code_points(text));
    REQUIRE(to_utf8(to_utf32(text)) == text);
    if (is_valid_utf8(bytes)) REQUIRE(text == bytes);
  }
}

TEST_CASE("code points are counted, not bytes") {
  CHECK(count_code_points("") == 0);
  CHECK(count_code_points("aé東\U0001F600") == 4);
}

TEST_CASE("a stream holds back exactly the bytes of an unfinished character") {
  const std::string text = "a\U0001F600";
  CHECK(incomplete_utf8_suffix("") == 0);
  CHECK(incomplete_utf8_suffix(text.substr(0, 1)) == 0);
  CHECK(incomplete_utf8_suffix(text.substr(0, 2)) == 1);
  CHECK(incomplete_utf8_suffix(text.substr(0, 3)) == 2);
  CHECK(incomplete_utf8_suffix(text.substr(0, 4)) == 3);
  CHECK(incomplete_utf8_suffix(text) == 0);
  CHECK(incomplete_utf8_suffix("\xff") == 0);
  CHECK(incomplete_utf8_suffix("\x80\x80") == 0);
  CHECK(incomplete_utf8_suffix("\xed\xa0") == 0);
  CHECK(incomplete_utf8_suffix("\xe2\x82\xe2") == 1);
}

TEST_CASE("control characters and stray bytes are shown by their numbers") {
  CHECK(escape_controls("a\tb\x1b\x7f") == "a\\x09b\\x1b\\x7f");
  CHECK(escape_controls("\xc2\x85\xc2\xa0") == "\\xc2\\x85\xc2\xa0");
  CHECK(escape_controls("\xff\xe2\x82") == "\\xff\\xe2\\x82");
  CHECK(escape_controls("naïve\uFFFD") == "naïve\uFFFD");
  CHECK(escape_controls(std::string_view("\0", 1)) == "\\x00");
}

TEST_CASE("an excerpt is cut between characters and says that it goes on") {
  CHECK(excerpt("short\n") == "short\\x0a");
  CHECK(excerpt("abcdef", 4) == "abcd...");
  CHECK(excerpt("abcé", 4) == "abc...");
  CHECK(excerpt(std::string(80, 'x')) == std::string(80, 'x'));
}

// Unicode properties --------------------------------------------------------------------------------------------------

TEST_CASE("spaces are those of Python's isspace") {
  std::u32string spaces;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (is_unicode_space(c)) spaces += c;
  }
  CHECK(spaces ==
        U"\t\n\v\f\r\x1c\x1d\x1e\x1f \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
        U"\u200a\u2028\u2029\u202f\u205f\u3000");
}

TEST_CASE("general categories tell letters, numbers and punctuation apart") {
  for (const char32_t c : U"aÉªʰ東ǅ") {
    if (c != 0) CHECK(is_unicode_letter(c));
  }
  for (const char32_t c : U"1٢Ⅷ½²") {
    if (c != 0) CHECK(is_unicode_number(c));
  }
  for (const char32_t c : U"!_-()«»。‿") {
    if (c != 0) CHECK(is_unicode_punctuation(c));
  }
  for (const char32_t c : U"+$^`|~<=>€ \u0301") {
    CHECK_FALSE(is_unicode_letter(c));
    CHECK_FALSE(is_unicode_number(c));
    CHECK_FALSE(is_unicode_punctuation(c));
  }
  CHECK_FALSE(is_unicode_letter(0x110000));
}

TEST_CASE("normal forms compose, and the compatible one folds look-alikes") {
  CHECK(nfc("e\u0301") == "\u00e9");
  CHECK(nfc("\u212b") == "\u00c5");
  CHECK(nfc("\u1100\u1161\u11a8") == "\uac01");
  CHECK(nfc("q\u0307\u0323") == "q\u0323\u0307");
  CHECK(nfc("\ufb01\u00b2") == "\ufb01\u00b2");
  CHECK(nfkc("\ufb01\u00b2\uff21") == "fi2A");
  CHECK(nfc("plain") == "plain");
  CHECK(nfc("") == "");
  CHECK(nfc(std::string_view("\0\u00e9", 3)) == std::string_view("\0\u00e9", 3));
  CHECK(nfc("\xff\u0301") == "\uFFFD\u0301");
}

// Python's str methods ------------------------------------------------------------------------------------------------

TEST_CASE("strip removes every kind of space at the ends and none inside") {
  CHECK(py_strip(" \t\u3000a b\u00a0\x1f\n") == "a b");
  CHECK(py_lstrip("\u2003 a ") == "a ");
  CHECK(py_rstrip(" a \u2029") == " a");
  CHECK(py_strip("") == "");
  CHECK(py_strip(" \u3000 ") == "");
  CHECK(py_strip("\u200b") == "\u200b");
  CHECK(py_rstrip("a\xff") == "a\xff");
  CHECK(py_rstrip(" \x80") == " \x80");
}

// The expected texts are what Python 3.11 gives.
TEST_CASE("case is mapped fully, as Python maps it") {
  CHECK(py_upper("stra\u00dfe \u0149 \ufb01 \u0390") == "STRASSE \u02bcN FI \u0399\u0308\u0301");
  CHECK(py_upper("ᾳ ᾼ") == "ΑΙ ΑΙ");
  CHECK(py_lower("İSTANBUL É") == "i̇stanbul é");
  CHECK(py_lower("ΟΔΥΣΣΕΥΣ ΣΑΣ Σ") == "οδυσσευς σας σ");
  CHECK(py_lower("ΑΣ' ΑΣ'Α ΑΣ\u00ad.Α") == "ας' ασ'α ασ\u00ad.α");
  CHECK(py_lower("\u0345Σ Aʰ\u0301Σ") == "\u0345σ aʰ\u0301ς");
  CHECK(py_capitalize("ǆABC") == "ǅabc");
  CHECK(py_capitalize("ßA") == "Ssa");
  CHECK(py_capitalize("hELLO wORLD") == "Hello world");
  CHECK(py_capitalize("ΑΣ") == "Ας");
  CHECK(py_capitalize("") == "");
  CHECK(py_title("they're bill's ﬁne ΑΣ") == "They'Re Bill'S Fine Ας");
  CHECK(py_title("x2y ⅷa") == "X2Y Ⅷa");
}

TEST_CASE("a float is written as Python's repr writes it") {
  const struct {
    double value;
    const char* text;
  } cases[] = {{0.0, "0.0"},
               {-0.0, "-0.0"},
               {1.0, "1.0"},
               {-1.5, "-1.5"},
               {100.0, "100.0"},
               {0.1, "0.1"},
               {0.0001, "0.0001"},
               {0.00012345, "0.00012345"},
               {0.00001, "1e-05"},
               {-1.25e-7, "-1.25e-07"},
               {1e15, "1000000000000000.0"},
               {1234567890123456.0, "1234567890123456.0"},
               {1e16, "1e+16"},
               {123456789012345680.0, "1.2345678901234568e+17"},
               {9007199254740993.0, "9007199254740992.0"},
               {1e22, "1e+22"},
               {1e100, "1e+100"},
               {5e-324, "5e-324"},
               {1.7976931348623157e308, "1.7976931348623157e+308"},
               {3.141592653589793, "3.141592653589793"},
               {1.0 / 3, "0.3333333333333333"},
               {2.0 / 3 * 100, "66.66666666666666"},
               {std::numeric_limits<double>::infinity(), "inf"},
               {-std::numeric_limits<double>::infinity(), "-inf"},
               {std::nan(""), "nan"}};
  for (const auto& c : cases) CHECK(py_float_repr(c.value) == c.text);
}

TEST_CASE("a written float reads back to the same bits") {
  for (uint64_t i = 0; i < 20'000; ++i) {
    const double value = std::bit_cast<double>(random_bits(3, 0, i));
    if (!std::isfinite(value)) continue;
    const auto read = parse_double(py_float_repr(value));
    if (!read) continue;  // from_chars refuses what underflows
    REQUIRE(std::bit_cast<uint64_t>(*read) == std::bit_cast<uint64_t>(value));
  }
}

// Bytes ---------------------------------------------------------------------------------------------------------------

TEST_CASE("split keeps empty pieces, split_any drops them, join puts them together") {
  CHECK(split("a,,b,", ",") == Texts{"a", "", "b", ""});
  CHECK(split("", ",") == Texts{""});
  CHECK(split("a--b", "--") == Texts{"a", "b"});
  CHECK(split("ab", "") == Texts{"ab"});
  CHECK(split_any(" a\tb  c ", " \t") == Texts{"a", "b", "c"});
  CHECK(split_any("", " ").empty());
  CHECK(join({"a", "", "b"}, ", ") == "a, , b");
  CHECK(join({}, ",") == "");
}

TEST_CASE("replace_all goes left to right and does not look at what it wrote") {
  CHECK(replace_all("aaa", "aa", "a") == "aa");
  CHECK(replace_all("a.b.c", ".", "..") == "a..b..c");
  CHECK(replace_all("abc", "", "x") == "abc");
}

TEST_CASE("prefixes, suffixes and hexadecimal digits") {
  CHECK(starts_with("abc", "ab"));
  CHECK_FALSE(starts_with("a", "ab"));
  CHECK(ends_with("abc", "bc"));
  CHECK(to_hex(std::string_view("\x00\xff\x1a", 3)) == "00ff1a");
}

TEST_CASE("base64 gives the vectors of RFC 4648") {
  CHECK(*decode_base64("") == "");
  CHECK(*decode_base64("Zg==") == "f");
  CHECK(*decode_base64("Zm8=") == "fo");
  CHECK(*decode_base64("Zm9v") == "foo");
  CHECK(*decode_base64("Zm9vYmE=") == "fooba");
  CHECK(*decode_base64("/+8=") == "\xff\xef");
}

TEST_CASE("base64 that is cut, padded wrongly or altered is refused") {
  for (const char* text :
       {"Z", "Zg", "Zg=", "Zg=a", "=", "====", "Z===", "Zm9v!A==", "Zm 9", "Zh==", "Zm9=", "Zg==Zg=="}) {
    CAPTURE(text);
    CHECK(decode_base64(text).status().code() == Code::bad_data);
  }
}

// Numbers -------------------------------------------------------------------------------------------------------------

TEST_CASE("an integer is the whole text or nothing") {
  CHECK(parse_int("42") == 42);
  CHECK(parse_int("-7") == -7);
  CHECK(parse_int("+7") == 7);
  CHECK(parse_int("9223372036854775807") == INT64_MAX);
  CHECK(parse_int("-9223372036854775808") == INT64_MIN);
  for (const char* text : {"", "+", "-", "+-1", "++1", " 1", "1 ", "1.0", "0x1", "1e3", "9223372036854775808"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_int(text));
  }
}

TEST_CASE("a real is the whole text or nothing") {
  CHECK(parse_double("1.5") == 1.5);
  CHECK(parse_double("+.5") == 0.5);
  CHECK(parse_double("-1e-3") == -0.001);
  CHECK(parse_double("inf") == std::numeric_limits<double>::infinity());
  CHECK(std::isnan(*parse_double("nan")));
  for (const char* text : {"", ".", "+", "1.5x", " 1", "1,5", "0x1p3", "1e999", "e5", "--1"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_double(text));
  }
}

TEST_CASE("a text is in capitals, or in small letters, when every cased character is") {
  CHECK(py_isupper("ABC 1! \u00c9\u2160"));
  CHECK_FALSE(py_isupper("ABc"));
  CHECK_FALSE(py_isupper("12"));
  CHECK_FALSE(py_isupper("A\u01c5"));  // a title-case letter is neither
  CHECK(py_islower("abc \u00df\u00aa\u24d0"));
  CHECK_FALSE(py_islower("abC"));
  CHECK_FALSE(py_islower(""));
}

TEST_CASE("the nearest name is offered when it is near enough") {
  const Texts tasks = {"gsm8k", "mmlu", "hellaswag", "arc_easy"};
  CHECK(nearest("helaswag", tasks) == "hellaswag");
  CHECK(nearest("hellasawg", tasks) == "hellaswag");
  CHECK(nearest("arc_esay", tasks) == "arc_easy");
  CHECK(nearest("mmlu", tasks) == "mmlu");
  CHECK_FALSE(nearest("winogrande", tasks));
  CHECK_FALSE(nearest("mm", tasks));
  CHECK_FALSE(nearest("", tasks));
  CHECK_FALSE(nearest("gsm8k", {}));
  CHECK(nearest("aaaaaa", {"aabbaa", "aaabaa", "aaaaab"}) == "aaabaa");
}

TEST_CASE("large numbers are grouped by thousands") {
  CHECK(with_thousands(0) == "0");
  CHECK(with_thousands(999) == "999");
  CHECK(with_thousands(1000) == "1,000");
  CHECK(with_thousands(1234567) == "1,234,567");
  CHECK(with_thousands(-123456) == "-123,456");
  CHECK(with_thousands(INT64_MIN) == "-9,223,372,036,854,775,808");
}

}  // namespace
}  // namespace assay
