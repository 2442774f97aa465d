#include "engine/base/regex.h"

#include <doctest/doctest.h>

#include <thread>

namespace assay {
namespace {

Regex must_compile(std::string_view pattern, const RegexOptions& options = {}) {
  Result<Regex> regex = Regex::compile(pattern, options);
  REQUIRE_MESSAGE(regex.ok(), regex.status().message());
  return *std::move(regex);
}

std::vector<std::string> all_texts(std::string_view pattern, std::string_view subject,
                                   const RegexOptions& options = {}) {
  std::vector<std::string> texts;
  const Result<std::vector<RegexMatch>> matches = must_compile(pattern, options).find_all(subject);
  REQUIRE_MESSAGE(matches.ok(), matches.status().message());
  for (const RegexMatch& match : *matches)
    texts.emplace_back(subject.substr(match.begin(), match.end() - match.begin()));
  return texts;
}

using Texts = std::vector<std::string>;
using Spans = std::vector<std::pair<size_t, size_t>>;

Spans all_spans(std::string_view pattern, std::string_view subject) {
  Spans spans;
  const Result<std::vector<RegexMatch>> matches = must_compile(pattern).find_all(subject);
  REQUIRE(matches.ok());
  for (const RegexMatch& match : *matches) spans.emplace_back(match.begin(), match.end());
  return spans;
}

TEST_CASE("a search gives the leftmost match with its groups") {
  const Regex regex = must_compile(R"((\w+)@(\w+)(\.\w+)?)");
  const auto match = regex.search("to: ada@home now");
  REQUIRE(match.ok());
  REQUIRE(match->has_value());
  CHECK((*match)->begin() == 4);
  CHECK((*match)->end() == 12);
  REQUIRE((*match)->groups.size() == 4);
  CHECK((*match)->groups[2].begin == 8);
  CHECK_FALSE((*match)->groups[3].matched());
}

TEST_CASE("a search starts where it is told and still sees what lies before") {
  const Regex regex = must_compile(R"((?<=a)b)");
  CHECK((*regex.search("abab", 1))->begin() == 1);
  CHECK((*regex.search("abab", 2))->begin() == 3);
  CHECK_FALSE(regex.search("abab", 4)->has_value());
}

TEST_CASE("a search from past the end or from inside a character is refused") {
  const Regex regex = must_compile("x");
  CHECK(regex.search("ab", 3).status().code() == Code::invalid_argument);
  CHECK(regex.search("é", 1).status().code() == Code::invalid_argument);
}

// The expected spans are what Python 3.11's re.finditer gives.
TEST_CASE("all matches are found as Python finds them, empty ones included") {
  CHECK(all_spans("a*", "baac") == Spans{{0, 0}, {1, 3}, {3, 3}, {4, 4}});
  CHECK(all_spans("", "ab") == Spans{{0, 0}, {1, 1}, {2, 2}});
  CHECK(all_spans("x*|b", "abc") == Spans{{0, 0}, {1, 1}, {1, 2}, {2, 2}, {3, 3}});
  CHECK(all_spans(R"(\b|\w+)", "ab c") == Spans{{0, 0}, {0, 2}, {2, 2}, {3, 3}, {3, 4}, {4, 4}});
  CHECK(all_spans("", "é") == Spans{{0, 0}, {2, 2}});
  CHECK(all_spans("", "") == Spans{{0, 0}});
  CHECK(all_spans("a", "").empty());
  CHECK(all_spans("^", "a\nb") == Spans{{0, 0}});
  CHECK(all_spans("$", "a\n") == Spans{{1, 1}, {2, 2}});
}

TEST_CASE("no match is lost to a shortcut of the library") {
  CHECK(all_spans("(?=a)a*a", "ba") == Spans{{1, 2}});
  CHECK(all_spans(R"((b|)a*\S+a*)", "b\naaAA") == Spans{{0, 1}, {2, 6}});
  CHECK(all_spans("(?=a)a?a*(?i:A)", "bxa") == Spans{{2, 3}});
}

TEST_CASE("a null subject is the empty text") { CHECK(must_compile("^$").search(std::string_view())->has_value()); }

TEST_CASE("the dot stops at line feeds alone, unless told otherwise") {
  CHECK(all_texts(".+", "a\rb\nc") == Texts{"a\rb", "c"});
  CHECK(all_texts(".+", "a\nb", {.dot_all = true}) == Texts{"a\nb"});
}

TEST_CASE("classes follow Unicode by default and ASCII on request") {
  CHECK(all_texts(R"(\w+)", "naïve Ελλάδα 東京") == Texts{"naïve", "Ελλάδα", "東京"});
  CHECK(all_texts(R"(\w+)", "naïve", {.ascii_classes = true}) == Texts{"na", "ve"});
  CHECK(all_texts(R"(\d)", "1٢") == Texts{"1", "٢"});
  CHECK(all_texts(R"(\d)", "1٢", {.ascii_classes = true}) == Texts{"1"});
  CHECK(all_texts(R"(\s)", "a\u00a0b\u3000c").size() == 2);
  CHECK(all_texts(R"(\p{Lu})", "aÉ", {.ascii_classes = true}) == Texts{"É"});
}

TEST_CASE("letter case can be ignored beyond ASCII") {
  CHECK(all_texts("straße|É", "STRASSE Straße é", {.ignore_case = true}) == Texts{"Straße", "é"});
}

TEST_CASE("the split pattern of byte-level tokenizers works") {
  const char* pattern = R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  CHECK(all_texts(pattern, "I'll pay 42  euros!") == Texts{"I", "'ll", " pay", " 42", " ", " euros", "!"});
}

TEST_CASE("a prefix match must begin at the first byte") {
  const Regex regex = must_compile("b+");
  CHECK(*regex.matches_prefix("bba"));
  CHECK_FALSE(*regex.matches_prefix("abb"));
}

TEST_CASE("replacement is literal and covers every match") {
  CHECK(*must_compile(R"(\d+)").replace_all("a1b22c", "<$0\\1>") == "a<$0\\1>b<$0\\1>c");
  CHECK(*must_compile("x*").replace_all("abxd", "-") == "-a-b--d-");
  CHECK(*must_compile("z").replace_all("abc", "-") == "abc");
}

TEST_CASE("a bad pattern is refused with the place and the reason") {
  const Status status = Regex::compile("a(b").status();
  CHECK(status.code() == Code::invalid_argument);
  CHECK(status.message().find("regex 'a(b': at byte 3: ") == 0);
  CHECK(Regex::compile("\xff").status().code() == Code::invalid_argument);
}

TEST_CASE("text that is not UTF-8 is refused by every kind of search") {
  const Regex regex = must_compile("a");
  for (const char* text : {"a\xff", "\xc3", "\xed\xa0\x80", "\xf5\x80\x80\x80"}) {
    CHECK(regex.search(text).status().code() == Code::bad_data);
    CHECK(regex.find_all(text).status().code() == Code::bad_data);
    CHECK(regex.matches_prefix(text).status().code() == Code::bad_data);
    CHECK(regex.replace_all(text, "").status().code() == Code::bad_data);
  }
}

TEST_CASE("a catastrophic pattern gives up instead of hanging") {
  const std::string subject = std::string(40, 'a') + "b";
  const Regex regex = must_compile("(?:a|aa|a+)+$", {.match_limit = 100'000});
  const Status status = regex.search(subject).status();
  CHECK(status.code() == Code::bad_data);
  CHECK(status.message().find("gave up") != std::string::npos);
}

TEST_CASE("deep backtracking beyond the compiled code's stack still finds the match") {
  const std::string subject = std::string(30'000, 'a') + "b";
  const auto match = must_compile("(?:(a)|(c))*b").search(subject);
  REQUIRE_MESSAGE(match.ok(), match.status().message());
  REQUIRE(match->has_value());
  CHECK((*match)->end() == subject.size());
}

TEST_CASE("backtracking that would take all memory gives up") {
  const std::string subject = std::string(3'000'000, 'a') + "b";
  const Status status = must_compile("(?:(a)|(c))*b").search(subject).status();
  CHECK(status.code() == Code::bad_data);
  CHECK(status.message().find("64 MiB") != std::string::npos);
}

TEST_CASE("any text matches its own escape and nothing else") {
  std::string every;
  for (int c = 0; c < 128; ++c) every += static_cast<char>(c);
  every += "é東\U0001F600";
  const Regex regex = must_compile("\\A" + regex_escape(every) + "\\z");
  CHECK(regex.search(every)->has_value());
  for (int c = 0; c < 128; ++c) {
    const std::string one(1, static_cast<char>(c));
    const Regex single = must_compile("\\A" + regex_escape(one) + "\\z");
    CHECK(single.search(one)->has_value());
    CHECK_FALSE(single.search(one + "x")->has_value());
  }
}

TEST_CASE("one pattern serves several threads at once") {
  const Regex regex = must_compile(R"((\w+) (\w+))");
  std::vector<std::thread> threads;
  std::vector<size_t> counts(4);
  for (size_t t = 0; t < counts.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) counts[t] += regex.find_all("ab cd ef gh").value().size();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const size_t count : counts) CHECK(count == 400);
}

TEST_CASE("random patterns and texts never crash") {
  uint32_t state = 12345;
  const auto next = [&](uint32_t bound) { return ((state = state * 1664525u + 1013904223u) >> 8) % bound; };
  const std::string alphabet = "ab(|)*+?[]{}\\^$.,12\xc3\xa9 dws<>:=!P";
  for (int round = 0; round < 3000; ++round) {
    std::string pattern, subject;
    for (uint32_t i = next(15); i > 0; --i) pattern += alphabet[next(static_cast<uint32_t>(alphabet.size()))];
    for (uint32_t i = next(15); i > 0; --i) subject += alphabet[next(static_cast<uint32_t>(alphabet.size()))];
    const Result<Regex> regex = Regex::compile(pattern, {.match_limit = 10'000});
    if (!regex.ok()) continue;
    const auto matches = regex->find_all(subject);
    if (!matches.ok()) continue;
    for (const RegexMatch& match : *matches) REQUIRE(match.end() <= subject.size());
  }
}

}  // namespace
}  // namespace assay
