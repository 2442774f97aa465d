#include "tasks/ifeval/sentences.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "engine/base/check.h"
#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "evals/data/table_reader.h"
#include "tasks/ifeval/patterns.h"
#include "tasks/resources.h"

namespace assay::ifeval {
namespace {

// Where and how a word type was seen in the training text.
constexpr int64_t kMiddleUpper = 1 << 2, kBeginLower = 1 << 4;
constexpr int64_t kUpper = (1 << 1) | kMiddleUpper | (1 << 3);
constexpr int64_t kLower = kBeginLower | (1 << 5) | (1 << 6);

struct Parameters {
  std::unordered_set<std::string> abbreviations, starters;
  std::set<std::pair<std::string, std::string>> collocations;
  std::unordered_map<std::string, int64_t> contexts;

  int64_t context_of(const std::string& type) const {
    const auto found = contexts.find(type);
    return found == contexts.end() ? 0 : found->second;
  }
};

Parameters load_parameters() {
  const Result<std::string> text = gunzip(ifeval_english_gz(), size_t{8} << 20, "ifeval_english.json.gz");
  ASSAY_CHECK_EQ(text.status().message(), std::string());
  const Result<Json> json = Json::parse(*text, "ifeval_english.json");
  ASSAY_CHECK_EQ(json.status().message(), std::string());
  Parameters parameters;
  for (const Json& word : json->find("abbreviations")->as_array()) parameters.abbreviations.insert(word.as_string());
  for (const Json& word : json->find("starters")->as_array()) parameters.starters.insert(word.as_string());
  for (const Json& pair : json->find("collocations")->as_array()) {
    parameters.collocations.emplace(pair.as_array()[0].as_string(), pair.as_array()[1].as_string());
  }
  for (const auto& [word, flags] : json->find("contexts")->as_object()) parameters.contexts[word] = flags.as_int();
  return parameters;
}

const Parameters& parameters() {
  static const Parameters kParameters = load_parameters();
  return kParameters;
}

// Characters that end a word, and runs that are a word of their own. Curly quotes and guillemets count as quotes.
constexpr std::string_view kNonWord = R"re([)";}\]*:@'({\[\x{2018}\x{2019}\x{201c}\x{201d}\x{ab}\x{bb}?!])re";
constexpr std::string_view kMultiChar = R"((?:-{2,}|\.{2,}|(?:\.\s){2,}\.))";

std::string with_classes(std::string_view text) {
  return replace_all(replace_all(text, "<NON>", kNonWord), "<MULTI>", kMultiChar);
}

struct Patterns {
  Regex word = pattern(
      with_classes(R"(<MULTI>|(?=[^("`{\[:;&#*@)}\]\-,])\S+?(?=\s|\z|<NON>|<MULTI>|,(?=\z|\s|<NON>|<MULTI>))|\S)"));
  Regex end = pattern(with_classes(R"([.?!](?=(<NON>|\s+(\S+))))"));
  Regex realign = pattern(R"((?m)\A["')\]}\x{2018}\x{2019}\x{201c}\x{201d}\x{ab}\x{bb}]+?(?:\s+|(?=--)|$))");
  Regex number = pattern(R"(^-?[.,]?\d[\d,.\-]*\.?$)");
  Regex initial = pattern(R"(^[^\W\d]\.$)");
};

const Patterns& patterns() {
  static const Patterns kPatterns;
  return kPatterns;
}

struct Token {
  std::string text, type;
  bool period_final = false, ellipsis = false, initial = false;
  bool breaks = false, abbreviation = false;

  std::string type_without_period() const {
    return type.size() > 1 && type.back() == '.' ? type.substr(0, type.size() - 1) : type;
  }
  std::string type_without_break() const { return breaks ? type_without_period() : type; }
  bool first_upper() const { return is_unicode_upper(first()); }
  bool first_lower() const { return is_unicode_lower(first()); }

 private:
  char32_t first() const {
    size_t index = 0;
    return next_code_point(text, index);
  }
};

bool is_abbreviation(std::string_view text) {
  const std::string word = py_lower(text.substr(0, text.size() - 1));
  const size_t hyphen = word.rfind('-');
  const auto& known = parameters().abbreviations;
  return known.contains(word) || (hyphen != std::string::npos && known.contains(word.substr(hyphen + 1)));
}

// A token with what its type alone tells.
Token make_token(std::string text) {
  Token token;
  token.type = substituted(patterns().number, py_lower(text), "##number##");
  token.period_final = text.back() == '.';
  token.ellipsis = text.size() > 1 && text.find_first_not_of('.') == std::string::npos;
  token.initial = !matches_in(patterns().initial, text).empty();
  if (text == "." || text == "?" || text == "!") {
    token.breaks = true;
  } else if (!token.ellipsis && token.period_final && !ends_with(text, "..")) {
    token.abbreviation = is_abbreviation(text);
    token.breaks = !token.abbreviation;
  }
  token.text = std::move(text);
  return token;
}

std::vector<Token> tokens_of(std::string_view text) {
  std::vector<Token> tokens;
  for (const std::string& line : split(text, "\n")) {
    if (py_strip(line).empty()) continue;
    for (std::string& word : found_in(patterns().word, line)) tokens.push_back(make_token(std::move(word)));
  }
  return tokens;
}

// Whether a token starts a sentence, from how its type was seen to be written; nullopt where that does not tell.
std::optional<bool> starts_sentence(const Token& token) {
  if (token.text.size() == 1 && std::string_view(";:,.!?").find(token.text[0]) != std::string_view::npos) return false;
  const int64_t seen = parameters().context_of(token.type_without_break());
  if (token.first_upper() && (seen & kLower) && !(seen & kMiddleUpper)) return true;
  if (token.first_lower() && ((seen & kUpper) || !(seen & kBeginLower))) return false;
  return std::nullopt;
}

// Reconsiders a token that ends in a period in the light of the one after it.
void reconsider(Token& token, const Token& next) {
  if (!token.period_final) return;
  const Parameters& known = parameters();
  const std::string type = token.type_without_period(), next_type = next.type_without_break();
  if (known.collocations.contains({type, next_type})) {
    token.breaks = false;
    token.abbreviation = true;
    return;
  }
  if ((token.abbreviation || token.ellipsis) && !token.initial) {
    if (starts_sentence(next) == std::optional<bool>(true) ||
        (next.first_upper() && known.starters.contains(next_type))) {
      token.breaks = true;
      return;
    }
  }
  if (!token.initial && type != "##number##") return;
  const std::optional<bool> starter = starts_sentence(next);
  const bool always_upper = !starter && token.initial && next.first_upper() && !(known.context_of(next_type) & kLower);
  if (starter == std::optional<bool>(false) || always_upper) {
    token.breaks = false;
    token.abbreviation = true;
  }
}

bool holds_break(std::string_view context) {
  std::vector<Token> tokens = tokens_of(context);
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    reconsider(tokens[i], tokens[i + 1]);
    if (tokens[i].breaks) return true;
  }
  return false;
}

struct Span {
  size_t begin = 0, end = 0;
};

// A place where a sentence may end, with the word before it.
struct Candidate {
  const RegexMatch* match = nullptr;
  Span word;
};

size_t last_ascii_space(std::string_view text) {
  const size_t at = text.find_last_of(" \t\n\r\v\f");
  return at == std::string_view::npos ? 0 : at;
}

// Of marks in a row ("!!!") only the last counts: it is where the word before the next mark no longer overlaps.
std::vector<Candidate> candidates_in(std::string_view text, const std::vector<RegexMatch>& marks) {
  std::vector<Candidate> candidates;
  Candidate previous;
  for (const RegexMatch& mark : marks) {
    const size_t space = last_ascii_space(text.substr(previous.word.end, mark.begin() - previous.word.end));
    const Span word = {space ? previous.word.end + space + 1 : previous.word.begin, mark.begin()};
    if (previous.match && previous.word.end <= word.begin) candidates.push_back(previous);
    previous = {&mark, word};
  }
  if (previous.match) candidates.push_back(previous);
  return candidates;
}

std::vector<Span> cut(std::string_view text) {
  const std::vector<RegexMatch> marks = matches_in(patterns().end, text);
  std::vector<Span> spans;
  size_t begin = 0;
  for (const Candidate& candidate : candidates_in(text, marks)) {
    const RegexMatch& mark = *candidate.match;
    if (!holds_break(text.substr(candidate.word.begin, mark.groups[1].end - candidate.word.begin))) continue;
    spans.push_back({begin, mark.end()});
    begin = mark.groups[2].matched() ? mark.groups[2].begin : mark.end();
  }
  spans.push_back({begin, py_rstrip(text).size()});
  return spans;
}

}  // namespace

std::vector<std::string_view> sentences_of(std::string_view text) {
  const std::vector<Span> spans = cut(text);
  std::vector<std::string_view> sentences;
  size_t moved = 0;  // bytes of closing punctuation given to the sentence before
  for (size_t i = 0; i < spans.size(); ++i) {
    Span span = {spans[i].begin + moved, spans[i].end};
    moved = 0;
    if (i + 1 < spans.size() && spans[i + 1].begin < spans[i + 1].end) {
      const std::string_view next = text.substr(spans[i + 1].begin, spans[i + 1].end - spans[i + 1].begin);
      const std::vector<RegexMatch> closing = matches_in(patterns().realign, next);
      if (!closing.empty()) {
        moved = closing[0].end();
        span.end = spans[i + 1].begin + py_rstrip(next.substr(0, moved)).size();
      }
    }
    if (span.begin < span.end) sentences.push_back(text.substr(span.begin, span.end - span.begin));
  }
  return sentences;
}

namespace {

struct Rule {
  Regex regex;
  std::string_view form;
};

const std::vector<Rule>& treebank_rules() {
  static const std::vector<Rule> kRules = [] {
    std::vector<Rule> rules;
    const auto add = [&](std::string_view text, std::string_view form) { rules.push_back({pattern(text), form}); };
    add(R"(([\x{ab}\x{201c}\x{2018}\x{201e}]|`+))", R"( \1 )");
    add(R"(^")", "``");
    add(R"((``))", R"( \1 )");
    add(R"(([ (\[{<])("|'{2}))", R"(\1 `` )");
    add(R"((?i)(?<!\w)(')(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w))", R"(\1 )");
    add(R"(([^.])(\.)([\])}>"'\x{bb}\x{201d}\x{2019} ]*+)\s*$)", R"(\1 \2 \3 )");
    add(R"(([:,])([^\d]))", R"( \1 \2)");
    add(R"(([:,])$)", R"( \1 )");
    add(R"(\.{2,})", R"( \0 )");
    add(R"([;@#$%&])", R"( \0 )");
    add(R"([\x{2012}-\x{2015}])", R"( \0 )");
    add(R"(([^.])(\.)([\])}>"']*)\s*$)", R"(\1 \2\3 )");
    add(R"([?!])", R"( \0 )");
    add(R"(([^'])' )", R"(\1 ' )");
    add(R"([*])", R"( \0 )");
    add(R"([\]\[(){}<>])", R"( \0 )");
    add("--", " -- ");
    add(R"(\A|\z)", " ");
    add(R"(([\x{bb}\x{201d}\x{2019}]))", R"( \1 )");
    add("''", " '' ");
    add("\"", " '' ");
    add(R"(\s+)", " ");
    add(R"(([^' ])('[sS]|'[mM]|'[dD]|') )", R"(\1 \2 )");
    add(R"(([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) )", R"(\1 \2 )");
    for (std::string_view both :
         {R"((?i)\b(can)(not)\b)", R"((?i)\b(d)('ye)\b)", R"((?i)\b(gim)(me)\b)", R"((?i)\b(gon)(na)\b)",
          R"((?i)\b(got)(ta)\b)", R"((?i)\b(lem)(me)\b)", R"((?i)\b(more)('n)\b)", R"((?i)\b(wan)(na)(?=\s))",
          R"((?i) ('t)(is)\b)", R"((?i) ('t)(was)\b)"}) {
      add(both, R"( \1 \2 )");
    }
    return rules;
  }();
  return kRules;
}

}  // namespace

std::vector<std::string> treebank_words(std::string_view text) {
  std::vector<std::string> words;
  for (const std::string_view sentence : sentences_of(text)) {
    std::string spaced(sentence);
    for (const Rule& rule : treebank_rules()) spaced = substituted(rule.regex, spaced, rule.form);
    for (const std::string_view word : words_of(spaced)) words.emplace_back(word);
  }
  return words;
}

size_t count_words(std::string_view text) {
  static const Regex kWord =
      pattern(R"([\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200c}\x{200d}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149})"
              R"(\x{1f150}-\x{1f169}\x{1f170}-\x{1f189}]+)");
  return matches_in(kWord, text).size();
}

}  // namespace assay::ifeval
