#include "engine/text/regex_dialect.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace assay {
namespace {

// Oniguruma's \w in a character class, and by itself: then Latin-1's superscripts and fractions count too.
constexpr std::string_view kOnigurumaWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kOnigurumaLoneWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
constexpr std::string_view kHexDigits = "0-9A-Fa-f";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_alphanumeric(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A bounded repetition {low,high}; high is empty in {low,}.
struct Interval {
  std::string low;
  std::optional<std::string> high;
  size_t end = 0;  // past the brace
};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> run() {
    while (!at_end()) ASSAY_TRY(translate_one());
    return std::move(out_);
  }

 private:
  bool at_end() const { return at_ >= pattern_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  bool take(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  Status refuse(std::string_view what) const {
    return unsupported(fmt::format("regex '{}': at byte {}: {} is not supported", pattern_.substr(0, 120), at_, what));
  }
  void atom(std::string_view text) {
    atom_begin_ = out_.size();
    out_ += text;
  }

  Status translate_one();
  Status translate_group();
  Status translate_group_options();
  Status translate_quantifier();
  Status translate_escape(bool in_class);
  Status translate_named_escape(char name, bool in_class);
  Status translate_property();
  Status translate_code_point(size_t num_digits);
  Status translate_class();
  std::optional<Interval> read_interval() const;
  void open_group(std::string_view text) {
    groups_.push_back(out_.size());
    out_ += text;
    group_content_ = out_.size();
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_begin_ = 0;       // what a quantifier would repeat, in out_
  size_t group_content_ = 0;    // where the content of the group opened last begins
  std::vector<size_t> groups_;  // where the open groups begin
};

Status Translator::translate_one() {
  const char c = peek();
  switch (c) {
    case '\\': atom(""); return translate_escape(false);
    case '[': return translate_class();
    case '(': return translate_group();
    case ')':
      if (groups_.empty()) return refuse("a closing parenthesis without its opening one");
      atom_begin_ = groups_.back();
      groups_.pop_back();
      out_ += c;
      break;
    case '*':
    case '+':
    case '?':
    case '{': return translate_quantifier();
    case '^': atom("(?m:^)"); break;
    case '$': atom("(?m:$)"); break;
    default:
      if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) atom_begin_ = out_.size();
      out_ += c;
  }
  ++at_;
  return ok_status();
}

Status Translator::translate_group() {
  for (const std::string_view opening : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}) {
    if (!take(opening)) continue;
    open_group(opening);
    return ok_status();
  }
  if (peek(1) == '*') return refuse("a callout");
  if (peek(1) == '?') return translate_group_options();
  ++at_;
  open_group("(");
  return ok_status();
}

// (?i-m:...) and, at the start of a group, (?i): elsewhere the two engines let it reach differently far.
Status Translator::translate_group_options() {
  const size_t begin = at_;
  at_ += 2;
  std::string options = "(?";
  for (; peek() == 'i' || peek() == 'm' || peek() == '-'; ++at_) options += peek() == 'm' ? 's' : peek();
  if (take(":")) {
    open_group(options + ":");
    return ok_status();
  }
  if (peek() == ')' && out_.size() == group_content_) {
    ++at_;
    out_ += options + ")";
    group_content_ = out_.size();
    return ok_status();
  }
  at_ = begin;
  return refuse("this kind of group");
}

std::optional<Interval> Translator::read_interval() const {
  size_t i = at_ + 1;
  const auto digits = [&] {
    const size_t begin = i;
    while (i < pattern_.size() && is_digit(pattern_[i])) ++i;
    return std::string(pattern_.substr(begin, i - begin));
  };
  Interval interval;
  interval.low = digits();
  interval.high = interval.low;
  if (i < pattern_.size() && pattern_[i] == ',') {
    ++i;
    interval.high = digits();
    if (interval.high->empty()) interval.high.reset();
  }
  const bool bounded = !interval.low.empty() || (interval.high && !interval.high->empty());
  if (!bounded || i >= pattern_.size() || pattern_[i] != '}') return std::nullopt;
  interval.end = i + 1;
  return interval;
}

Status Translator::translate_quantifier() {
  if (peek() != '{') {  // greedy, reluctant and possessive forms agree
    out_ += pattern_[at_++];
    if (peek() == '?' || peek() == '+') out_ += pattern_[at_++];
    return ok_status();
  }
  const std::optional<Interval> interval = read_interval();
  if (!interval) {
    atom("\\{");
    ++at_;
    return ok_status();
  }
  const std::string low = interval->low.empty() ? "0" : interval->low;
  const bool exact = interval->high == interval->low;
  at_ = interval->end;
  if (exact && peek() == '?') return refuse("{n}? (an optional repetition in Ruby's syntax)");
  out_ += exact ? fmt::format("{{{}}}", low) : fmt::format("{{{},{}}}", low, interval->high.value_or(""));
  if (peek() == '?') {
    out_ += pattern_[at_++];
  } else if (peek() == '+' || peek() == '*') {  // repeats the repetition; PCRE2 would read a possessive one
    out_.insert(atom_begin_, "(?:");
    out_ += ")";
    out_ += pattern_[at_++];
  }
  return ok_status();
}

Status Translator::translate_escape(bool in_class) {
  const char name = peek(1);
  if (at_ + 1 >= pattern_.size()) return refuse("a backslash at the end");
  if (name == 'p' || name == 'P') return translate_property();
  if (name == 'u') return translate_code_point(4);
  if (name == 'x' && peek(2) != '{') return translate_code_point(2);
  if (name == 'x') {
    const size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) return refuse("\\x{ without its closing brace");
    out_ += pattern_.substr(at_, end + 1 - at_);
    at_ = end + 1;
    return ok_status();
  }
  if (is_alphanumeric(name)) return translate_named_escape(name, in_class);
  out_ += pattern_.substr(at_, 2);
  at_ += 2;
  return ok_status();
}

Status Translator::translate_named_escape(char name, bool in_class) {
  const auto bracketed = [&](std::string_view members, bool negated) {
    return in_class ? std::string(members) : fmt::format("[{}{}]", negated ? "^" : "", members);
  };
  const std::string_view same_everywhere = "dDntrfae";
  if (same_everywhere.find(name) != std::string_view::npos) {
    out_ += pattern_.substr(at_, 2);
  } else if (name == 's' || name == 'S') {
    out_ += name == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
  } else if (name == 'v') {
    out_ += "\\x{0B}";
  } else if (name == 'w' || (name == 'W' && !in_class)) {
    out_ += bracketed(in_class ? kOnigurumaWord : kOnigurumaLoneWord, name == 'W');
  } else if (name == 'h' || (name == 'H' && !in_class)) {
    out_ += bracketed(kHexDigits, name == 'H');
  } else if (!in_class && (name == 'A' || name == 'z' || name == 'Z')) {
    out_ += pattern_.substr(at_, 2);
  } else {
    return refuse(fmt::format("\\{}", name));
  }
  at_ += 2;
  return ok_status();
}

// General categories are spelled alike; a longer name is a script, which PCRE2 would widen to Script_Extensions.
Status Translator::translate_property() {
  const char kind = peek(1);
  const size_t end = pattern_.find('}', at_);
  if (peek(2) != '{' || end == std::string_view::npos) return refuse("a property without braces");
  std::string_view name = pattern_.substr(at_ + 3, end - at_ - 3);
  const bool negated = !name.empty() && name.front() == '^';
  if (negated) name.remove_prefix(1);
  for (const char c : name) {
    if (!is_alphanumeric(c) && c != '_') return refuse("this property name");
  }
  const bool complement = (kind == 'P') != negated;
  out_ += fmt::format("\\{}{{{}{}}}", complement ? 'P' : 'p', name.size() > 2 ? "sc:" : "", name);
  at_ = end + 1;
  return ok_status();
}

Status Translator::translate_code_point(size_t num_digits) {
  const std::string_view digits = pattern_.substr(std::min(at_ + 2, pattern_.size()), num_digits);
  size_t length = 0;
  while (length < digits.size() && is_hex(digits[length])) ++length;
  // A byte above 7F would be a piece of a UTF-8 sequence to Oniguruma.
  const bool whole = length == num_digits && (num_digits == 4 || digits.front() < '8');
  if (!whole) return refuse("this code point escape");
  out_ += fmt::format("\\x{{{}}}", digits);
  at_ += 2 + num_digits;
  return ok_status();
}

Status Translator::translate_class() {
  atom("[");
  ++at_;
  if (take("^")) out_ += '^';
  if (peek() == ']') return refuse("a character class that begins with ]");
  while (peek() != ']') {
    if (at_end()) return refuse("a character class without its end");
    if (peek() == '[') return refuse("a character class inside another");
    if (peek() == '&' && peek(1) == '&') return refuse("an intersection of character classes");
    if (peek() == '\\') {
      ASSAY_TRY(translate_escape(true));
    } else {
      out_ += pattern_[at_++];
    }
  }
  out_ += ']';
  ++at_;
  return ok_status();
}

}  // namespace

Result<std::string> translate_oniguruma(std::string_view pattern) { return Translator(pattern).run(); }

Result<Regex> compile_oniguruma(std::string_view pattern) {
  ASSAY_ASSIGN(const std::string translated, translate_oniguruma(pattern));
  return Regex::compile(translated);
}

Result<std::vector<RegexMatch::Span>> find_spans(const Regex& regex, std::string_view text) {
  ASSAY_ASSIGN(const std::vector<RegexMatch> matches, regex.find_all(text));
  std::vector<RegexMatch::Span> spans;
  spans.reserve(matches.size());
  for (const RegexMatch& match : matches) {
    const bool empty = match.begin() == match.end();
    if (empty && !spans.empty() && spans.back().end == match.begin()) continue;
    spans.push_back({match.begin(), match.end()});
  }
  return spans;
}

Result<Replaced> replace_spans(const Regex& regex, std::string_view text, std::string_view content, size_t max_bytes) {
  ASSAY_ASSIGN(const std::vector<RegexMatch::Span> spans, find_spans(regex, text));
  if (!content.empty() && spans.size() > max_bytes / content.size()) {
    return bad_data(
        fmt::format("replacing '{}' in a text of {} bytes: expected to put in at most {} bytes, found {} matches "
                    "of {} bytes each",
                    regex.pattern(), text.size(), max_bytes, spans.size(), content.size()));
  }
  Replaced out;
  out.start_removed = content.empty() && !spans.empty() && spans.front().begin == 0 && spans.front().end > 0;
  size_t copied = 0;
  for (const RegexMatch::Span& span : spans) {
    out.text.append(text, copied, span.begin - copied).append(content);
    copied = span.end;
  }
  out.text.append(text, copied);
  return out;
}

}  // namespace assay
