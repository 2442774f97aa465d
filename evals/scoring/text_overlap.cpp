#include "evals/scoring/text_overlap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/base/regex.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

using Words = std::vector<std::string>;
using Counts = std::map<Words, int64_t>;

Counts count_ngrams(const Words& words, size_t n) {
  Counts counts;
  for (size_t i = 0; i + n <= words.size(); ++i) ++counts[Words(words.begin() + i, words.begin() + i + n)];
  return counts;
}

int64_t count_common(const Counts& a, const Counts& b) {
  int64_t common = 0;
  for (const auto& [ngram, count] : a) {
    if (const auto found = b.find(ngram); found != b.end()) common += std::min(count, found->second);
  }
  return common;
}

// BLEU ----------------------------------------------------------------------------------------------------------------

// Puts spaces around punctuation and its neighbor where the pair of characters fits: one pass, left to right, over
// pairs that do not overlap.
template <class Fits>
std::u32string spaced(const std::u32string& text, const Fits& fits, bool space_before) {
  std::u32string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i + 1 == text.size() || !fits(text[i], text[i + 1])) {
      out += text[i];
      continue;
    }
    if (space_before) out += U' ';
    out += text[i];
    out += U' ';
    out += text[++i];
    if (!space_before) out += U' ';
  }
  return out;
}

Result<Words> tokenize_internationally(std::string_view text) {
  std::u32string points = to_utf32(py_rstrip(text));
  points = spaced(
      points, [](char32_t a, char32_t b) { return !is_unicode_number(a) && is_unicode_punctuation(b); }, false);
  points = spaced(
      points, [](char32_t a, char32_t b) { return is_unicode_punctuation(a) && !is_unicode_number(b); }, true);
  const std::string line = to_utf8(points);
  ASSAY_ASSIGN(const Regex symbol, Regex::compile("\\p{S}"));
  ASSAY_ASSIGN(const std::vector<RegexMatch> symbols, symbol.find_all(line));
  std::string split_line;
  size_t at = 0;
  for (const RegexMatch& match : symbols) {
    split_line +=
        line.substr(at, match.begin() - at) + " " + line.substr(match.begin(), match.end() - match.begin()) + " ";
    at = match.end();
  }
  split_line += line.substr(at);
  Words words;
  std::string word;
  for (size_t i = 0; i < split_line.size();) {
    const size_t begin = i;
    const bool space = is_unicode_space(next_code_point(split_line, i));
    if (!space) word += split_line.substr(begin, i - begin);
    if ((space || i == split_line.size()) && !word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words;
}

// ROUGE ---------------------------------------------------------------------------------------------------------------

Words tokenize_plainly(std::string_view text) {
  Words words;
  std::string word;
  for (const char c : py_lower(text) + " ") {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (kept) word += c;
    if (!kept && !word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words;
}

double f_measure(int64_t hits, size_t predicted, size_t expected) {
  const double precision = static_cast<double>(hits) / static_cast<double>(std::max<size_t>(predicted, 1));
  const double recall = static_cast<double>(hits) / static_cast<double>(std::max<size_t>(expected, 1));
  return precision + recall > 0 ? 100 * (2 * precision * recall / (precision + recall)) : 0;
}

double rouge_n(const Words& predicted, const Words& expected, size_t n) {
  const Counts a = count_ngrams(predicted, n), b = count_ngrams(expected, n);
  const auto total = [n](const Words& words) { return words.size() >= n ? words.size() - n + 1 : 0; };
  return f_measure(count_common(a, b), total(predicted), total(expected));
}

// Positions in `expected` of one longest common subsequence with `predicted`.
void add_common_positions(const Words& expected, const Words& predicted, std::set<size_t>& positions) {
  const size_t rows = expected.size(), columns = predicted.size();
  std::vector<std::vector<int>> longest(rows + 1, std::vector<int>(columns + 1, 0));
  for (size_t i = 1; i <= rows; ++i) {
    for (size_t j = 1; j <= columns; ++j) {
      longest[i][j] = expected[i - 1] == predicted[j - 1] ? longest[i - 1][j - 1] + 1
                                                          : std::max(longest[i - 1][j], longest[i][j - 1]);
    }
  }
  for (size_t i = rows, j = columns; i > 0 && j > 0;) {
    if (expected[i - 1] == predicted[j - 1]) {
      positions.insert(i - 1);
      --i;
      --j;
    } else if (longest[i][j - 1] > longest[i - 1][j]) {
      --j;
    } else {
      --i;
    }
  }
}

std::vector<Words> tokenized_lines(std::string_view text) {
  std::vector<Words> lines;
  for (const std::string& line : split_any(text, "\n")) lines.push_back(tokenize_plainly(line));
  return lines;
}

std::map<std::string, int64_t> count_words_of(const std::vector<Words>& lines, size_t& total) {
  std::map<std::string, int64_t> counts;
  for (const Words& line : lines) {
    for (const std::string& word : line) ++counts[word];
    total += line.size();
  }
  return counts;
}

// Of every expected line the union of what it shares, in order, with each predicted line; no word counts twice.
double rouge_lsum(std::string_view prediction, std::string_view reference) {
  const std::vector<Words> predicted = tokenized_lines(prediction), expected = tokenized_lines(reference);
  size_t num_predicted = 0, num_expected = 0;
  std::map<std::string, int64_t> left_predicted = count_words_of(predicted, num_predicted);
  std::map<std::string, int64_t> left_expected = count_words_of(expected, num_expected);
  int64_t hits = 0;
  for (const Words& line : expected) {
    std::set<size_t> positions;
    for (const Words& other : predicted) add_common_positions(line, other, positions);
    for (const size_t position : positions) {
      int64_t &a = left_predicted[line[position]], &b = left_expected[line[position]];
      if (a <= 0 || b <= 0) continue;
      ++hits;
      --a;
      --b;
    }
  }
  return f_measure(hits, num_predicted, num_expected);
}

}  // namespace

Result<double> sentence_bleu(std::string_view prediction, std::string_view reference) {
  constexpr size_t kMaxOrder = 4;
  ASSAY_ASSIGN(const Words predicted, tokenize_internationally(prediction));
  ASSAY_ASSIGN(const Words expected, tokenize_internationally(reference));
  double logs = 0, smoothing = 1;
  bool any = false;
  for (size_t n = 1; n <= kMaxOrder; ++n) {
    if (predicted.size() < n) return 0.0;
    const auto total = static_cast<double>(predicted.size() - n + 1);
    const int64_t common = count_common(count_ngrams(predicted, n), count_ngrams(expected, n));
    any |= common > 0;
    if (common == 0) smoothing *= 2;
    logs += std::log(100 * (common > 0 ? static_cast<double>(common) : 1 / smoothing) / total);
  }
  if (!any) return 0.0;
  const double ratio = static_cast<double>(expected.size()) / static_cast<double>(predicted.size());
  return (ratio > 1 ? std::exp(1 - ratio) : 1.0) * std::exp(logs / kMaxOrder);
}

Rouge rouge(std::string_view prediction, std::string_view reference) {
  const std::string left = replace_all(prediction, " . ", ".\n"), right = replace_all(reference, " . ", ".\n");
  const Words predicted = tokenize_plainly(left), expected = tokenize_plainly(right);
  return {rouge_n(predicted, expected, 1), rouge_n(predicted, expected, 2), rouge_lsum(left, right)};
}

}  // namespace assay
