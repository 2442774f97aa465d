#include "tasks/ifeval/language.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "evals/data/table_reader.h"
#include "evals/prompt/few_shot.h"
#include "tasks/ifeval/patterns.h"
#include "tasks/resources.h"

namespace assay::ifeval {
namespace {

constexpr size_t kMaxTextLength = 10000;
constexpr int kTrials = 7;
constexpr int kMaxDraws = 1000;
constexpr double kAlpha = 0.5, kAlphaWidth = 0.05, kBaseFrequency = 10000;
constexpr double kConverged = 0.99999, kLikely = 0.1;

// One to three code points in one number.
using Gram = uint64_t;
constexpr Gram kBlank = U' ';
Gram joined(Gram gram, char32_t c) { return (gram << 21) | c; }

struct LanguageShare {
  size_t language = 0;
  double probability = 0;
};

struct Profiles {
  std::vector<std::string> languages;
  std::unordered_map<Gram, std::vector<LanguageShare>> grams;
  std::unordered_map<char32_t, char32_t> kanji;  // an ideograph's representative
  std::u32string latin1_excluded;
};

void add_profile(Profiles& profiles, const std::string& name, const Json& profile) {
  const size_t language = profiles.languages.size();
  profiles.languages.push_back(name);
  const Json::Array& totals = profile.find("totals")->as_array();
  for (const auto& [text, count] : profile.find("counts")->as_object()) {
    const std::u32string points = to_utf32(text);
    Gram gram = 0;
    for (const char32_t c : points) gram = joined(gram, c);
    profiles.grams[gram].push_back({language, count.as_real() / totals[points.size() - 1].as_real()});
  }
}

Profiles load_profiles() {
  const Result<std::string> text = gunzip(ifeval_languages_gz(), size_t{32} << 20, "ifeval_languages.json.gz");
  ASSAY_CHECK_EQ(text.status().message(), std::string());
  const Result<Json> json = Json::parse(*text, "ifeval_languages.json");
  ASSAY_CHECK_EQ(json.status().message(), std::string());
  Profiles profiles;
  profiles.latin1_excluded = to_utf32(json->find("latin1_excluded")->as_string());
  for (const Json& kind : json->find("kanji")->as_array()) {
    const std::u32string members = to_utf32(kind.as_string());
    for (const char32_t c : members) profiles.kanji[c] = members[0];
  }
  for (const auto& [name, profile] : json->find("profiles")->as_object()) add_profile(profiles, name, profile);
  return profiles;
}

const Profiles& profiles() {
  static const Profiles kProfiles = load_profiles();
  return kProfiles;
}

bool within(char32_t c, char32_t first, char32_t last) { return first <= c && c <= last; }

// A character as the profiles count it: scripts with many signs become one, what is no letter a blank.
char32_t normalized(char32_t c) {
  if (c < 0x80) return within(c, 'A', 'Z') || within(c, 'a', 'z') ? c : U' ';
  if (c < 0x100) return profiles().latin1_excluded.find(c) == std::u32string::npos ? c : U' ';
  if (c == 0x219) return 0x15F;  // Romanian: comma below as cedilla
  if (c == 0x21B) return 0x163;
  if (within(c, 0x2000, 0x206F)) return U' ';
  if (c == 0x6CC) return 0x64A;  // Farsi yeh as Arabic yeh
  if (within(c, 0x1EA0, 0x1EFF)) return 0x1EC3;
  if (within(c, 0x3040, 0x309F)) return 0x3042;
  if (within(c, 0x30A0, 0x30FF)) return 0x30A2;
  if (within(c, 0x3100, 0x312F) || within(c, 0x31A0, 0x31BF)) return 0x3105;
  if (within(c, 0x4E00, 0x9FFF)) {
    const auto kind = profiles().kanji.find(c);
    return kind == profiles().kanji.end() ? c : kind->second;
  }
  return within(c, 0xAC00, 0xD7AF) ? 0xAC00 : c;
}

// Vietnamese letters written as letter and tone mark become one character.
std::u32string composed(const std::u32string& text) {
  static const std::u32string kLetters =
      U"AEIOUYaeiouy\u00c2\u00ca\u00d4\u00e2\u00ea\u00f4\u0102\u0103\u01a0\u01a1\u01af\u01b0";
  static const std::u32string kMarks = U"\u0300\u0301\u0303\u0309\u0323";
  std::u32string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool toned = i + 1 < text.size() && kLetters.find(text[i]) != std::u32string::npos &&
                       kMarks.find(text[i + 1]) != std::u32string::npos;
    out += toned ? to_utf32(nfc(to_utf8(text.substr(i, 2)))) : text.substr(i, 1);
    i += toned;
  }
  return out;
}

// The beginning of the text without addresses and doubled blanks.
std::u32string readable(std::string_view text) {
  static const Regex kUrl = pattern("https?://[-_.?&~;+=/#0-9A-Za-z]{1,2076}");
  static const Regex kMail = pattern("[-_.0-9A-Za-z]{1,64}@[-_0-9A-Za-z]{1,255}[-_.0-9A-Za-z]{1,255}");
  const std::u32string points = composed(to_utf32(substituted(kMail, substituted(kUrl, text, " "), " ")));
  std::u32string out;
  char32_t previous = 0;
  for (size_t i = 0; i < std::min(points.size(), kMaxTextLength); ++i) {
    if (points[i] != U' ' || previous != U' ') out.push_back(points[i]);
    previous = points[i];
  }
  return out;
}

// Latin words say nothing about a text that is mostly in another script.
std::u32string without_minor_latin(std::u32string text) {
  const auto is_latin = [](char32_t c) { return within(c, 'A', 'z'); };
  const auto latin = std::count_if(text.begin(), text.end(), is_latin);
  const auto other = std::count_if(text.begin(), text.end(), [](char32_t c) { return c >= 0x300; });
  if (latin * 2 < other) std::erase_if(text, is_latin);
  return text;
}

// The last three characters, with a blank before a word and none after; words in capitals are left out.
class GramWindow {
 public:
  void add(char32_t raw) {
    const char32_t c = normalized(raw);
    const char32_t last = window_.back();
    if (last == U' ') {
      window_ = U" ";
      capitals_ = false;
      if (c == U' ') return;
    } else if (window_.size() >= 3) {
      window_.erase(0, 1);
    }
    window_.push_back(c);
    if (!is_unicode_upper(c)) {
      capitals_ = false;
    } else if (is_unicode_upper(last)) {
      capitals_ = true;
    }
  }

  void append_known(std::vector<const std::vector<LanguageShare>*>& grams) const {
    if (capitals_) return;
    for (size_t n = 1; n <= window_.size(); ++n) {
      Gram gram = 0;
      for (const char32_t c : window_.substr(window_.size() - n)) gram = joined(gram, c);
      const auto found = profiles().grams.find(gram);
      if (gram != kBlank && found != profiles().grams.end()) grams.push_back(&found->second);
    }
  }

 private:
  std::u32string window_ = U" ";
  bool capitals_ = false;
};

// Divides by the sum; returns the largest share.
double normalize(std::vector<double>& shares) {
  double sum = 0, largest = 0;
  for (const double share : shares) sum += share;
  for (double& share : shares) {
    share /= sum;
    largest = std::max(largest, share);
  }
  return largest;
}

// CPython's random.gauss(0, 1): values come in pairs.
class Gauss {
 public:
  double next(PythonRandom& random) {
    if (spare_) return *std::exchange(spare_, std::nullopt);
    const double angle = random.random_unit() * (2 * std::numbers::pi);
    const double radius = std::sqrt(-2.0 * std::log(1.0 - random.random_unit()));
    spare_ = std::sin(angle) * radius;
    return std::cos(angle) * radius;
  }

 private:
  std::optional<double> spare_;
};

}  // namespace

std::optional<std::string> detect_language(std::string_view text) {
  std::vector<const std::vector<LanguageShare>*> grams;
  GramWindow window;
  for (const char32_t c : without_minor_latin(readable(text))) {
    window.add(c);
    window.append_known(grams);
  }
  if (grams.empty()) return std::nullopt;
  const size_t count = profiles().languages.size();
  std::vector<double> total(count, 0.0), shares;
  PythonRandom random(0);
  Gauss gauss;
  for (int trial = 0; trial < kTrials; ++trial) {
    shares.assign(count, 1.0 / static_cast<double>(count));
    const double weight = (kAlpha + gauss.next(random) * kAlphaWidth) / kBaseFrequency;
    for (int i = 0;; ++i) {
      std::vector<double> factors(count, weight);
      for (const LanguageShare& share : *grams[random.random_below(grams.size())]) {
        factors[share.language] = weight + share.probability;
      }
      for (size_t j = 0; j < count; ++j) shares[j] *= factors[j];
      if (i % 5 == 0 && (normalize(shares) > kConverged || i >= kMaxDraws)) break;
    }
    for (size_t j = 0; j < count; ++j) total[j] += shares[j] / kTrials;
  }
  const auto best = std::max_element(total.begin(), total.end());
  return *best > kLikely ? profiles().languages[static_cast<size_t>(best - total.begin())] : "unknown";
}

}  // namespace assay::ifeval
