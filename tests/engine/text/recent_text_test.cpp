#include "engine/text/recent_text.h"

#include <doctest/doctest.h>

#include <random>

#include "engine/base/file.h"
#include "engine/text/tokenizer.h"
#include "tests/support/shared_folder.h"

using namespace assay;

namespace {

// A byte-level vocabulary with nothing but bytes, a few merges, and special tokens.
std::string vocabulary(const std::string& pre_tokenizer, const std::string& normalizer) {
  std::string text =
      R"({"version":"1.0","added_tokens":[{"id":0,"content":"<|a|>","special":true,"lstrip":false,"rstrip":false,"normalized":false,"single_word":false}],)";
  text += R"("normalizer":)" + normalizer + R"(,"pre_tokenizer":)" + pre_tokenizer +
          R"(,"post_processor":null,"decoder":{"type":"ByteLevel"},)";
  text += R"("model":{"type":"BPE","vocab":{)";
  const std::string letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'-<>|";
  int id = 1;
  for (const char c : letters) text += "\"" + std::string(1, c) + "\":" + std::to_string(id++) + ",";
  for (const char* token : {"\u0120", "\u010A", "th", "\u0120t", "\u0120th"}) {
    text += (token == std::string("\u0120") ? "\"" : ",\"") + std::string(token) + "\":" + std::to_string(id++);
  }
  text += R"(},"merges":["t h","Ġ t","Ġt h"]}})";
  return text;
}

std::string random_text(std::mt19937& random, size_t pieces) {
  static const char* kPieces[] = {
      "the",   " the", " cat", "s ", "  ",  "\n",         "\n\n", "'s",       "'re ", "12", " 3",   ".",    ", ",
      "<|a|>", "<|a",  "|>",   "A",  " B:", "that this ", "é",    " \u00e9t", "-",    "'",  " ' t", "x y z"};
  std::string text;
  for (size_t i = 0; i < pieces; ++i) text += kPieces[random() % std::size(kPieces)];
  return text;
}

Tokens plainly(const Tokenizer& tokenizer, const std::string& text, bool special) {
  TokenizeOptions options;
  options.parse_special_tokens = special;
  options.reuse = false;
  return tokenizer.encode(text, options).value();
}

void compare(const Tokenizer& tokenizer, uint32_t seed, int rounds) {
  std::mt19937 random(seed);
  std::string text = random_text(random, 300);
  for (int i = 0; i < rounds; ++i) {
    // Mostly a beginning of the last text with another end, as prompts come.
    const size_t keep = random() % 4 ? random() % (text.size() + 1) : 0;
    size_t cut = std::min(keep, text.size());
    while (cut > 0 && cut < text.size() && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
    text = text.substr(0, cut) + random_text(random, random() % 200);
    const bool special = random() % 3 != 0;
    TokenizeOptions options;
    options.parse_special_tokens = special;
    const Tokens reused = tokenizer.encode(text, options).value();
    REQUIRE(reused == plainly(tokenizer, text, special));
  }
}

}  // namespace

TEST_CASE("a cut is a space between two ASCII letters") {
  CHECK(next_word_cut("ab cd", 0) == 2);
  CHECK(next_word_cut("ab cd ef", 3) == 5);
  CHECK(next_word_cut("ab  cd. Ef 1", 0) == std::string_view::npos);
  CHECK(next_word_cut(" ab ", 0) == std::string_view::npos);
  CHECK(next_word_cut("", 0) == std::string_view::npos);
}

TEST_CASE("texts that share beginnings encode as they do alone, for every pre-tokenizer") {
  const std::string byte_level =
      R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
  const std::string digits =
      R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)" + byte_level + "]}";
  const std::string prefixed = R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
  uint32_t seed = 1;
  for (const std::string& pre_tokenizer : {byte_level, digits, prefixed}) {
    for (const char* normalizer : {"null", R"({"type":"NFC"})", R"({"type":"Lowercase"})"}) {
      auto tokenizer = Tokenizer::from_json(vocabulary(pre_tokenizer, normalizer), "", "test");
      REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().message());
      compare(*tokenizer, seed++, 300);
    }
  }
}

TEST_CASE("two vocabularies in turn do not mix") {
  const std::string a = R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
  std::string other = vocabulary(a, "null");
  other.replace(other.find(R"("merges":["t h","Ġ t","Ġt h"])"), std::string(R"("merges":["t h","Ġ t","Ġt h"])").size(),
                R"("merges":[])");
  const Tokenizer first = Tokenizer::from_json(vocabulary(a, "null"), "", "first").value();
  const Tokenizer second = Tokenizer::from_json(other, "", "second").value();
  std::string text;
  for (int i = 0; i < 60; ++i) text += "the cat that sat ";
  for (int i = 0; i < 3; ++i) {
    CHECK(first.encode(text).value() == plainly(first, text, true));
    CHECK(second.encode(text).value() == plainly(second, text, true));
    text += "on the mat ";
  }
  CHECK(first.encode(text).value() != second.encode(text).value());
}

TEST_CASE("a text that is not UTF-8 is refused with the byte it is at, and leaves no trace") {
  const Tokenizer tokenizer =
      Tokenizer::from_json(vocabulary(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})", "null"), "",
                           "t")
          .value();
  std::string text;
  for (int i = 0; i < 60; ++i) text += "the cat that sat ";
  const Tokens before = tokenizer.encode(text).value();
  const Status bad = tokenizer.encode(text + "\xff").status();
  CHECK(bad.code() == Code::bad_data);
  CHECK(bad.message().find("byte " + std::to_string(text.size())) != std::string::npos);
  CHECK(tokenizer.encode(text).value() == before);
}

TEST_CASE("the real tekken vocabulary gives the same ids either way") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const auto files = *shared / "oracle/tokenizer_files";
  compare(Tokenizer::from_tekken(real_files().read(files / "tekken_240911.json").value(), "tekken").value(), 91, 400);
  const std::string json = real_files().read(files / "tekken_240911.hf_as_shipped.tokenizer.json").value();
  compare(Tokenizer::from_json(json, "", "json").value(), 92, 400);
}
