#include "engine/text/pretokenize.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "engine/base/regex.h"
#include "engine/base/text_util.h"
#include "engine/text/bpe.h"
#include "engine/text/char_class.h"
#include "engine/text/component_fields.h"
#include "engine/text/regex_dialect.h"

namespace assay {
namespace {

constexpr std::string_view kImplemented =
    "ByteLevel, Split, Digits, Metaspace, Whitespace, WhitespaceSplit, Punctuation, Sequence";
constexpr std::string_view kAsciiPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

// What becomes of the parts of a text that a pattern matches.
enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// A part of a text that is a match, or that lies between matches.
struct Part {
  Piece piece;
  bool is_match = false;
};

// Joins each match to the part before it, unless that is a match too.
void merge_with_previous(const std::vector<Part>& parts, std::vector<Piece>& out) {
  const size_t first = out.size();
  bool after_match = false;
  for (const Part& part : parts) {
    if (part.is_match && !after_match && out.size() > first) {
      out.back().end = part.piece.end;
    } else {
      out.push_back(part.piece);
    }
    after_match = part.is_match;
  }
}

void merge_with_next(const std::vector<Part>& parts, std::vector<Piece>& out) {
  const auto first = static_cast<std::ptrdiff_t>(out.size());
  bool before_match = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->is_match && !before_match && static_cast<std::ptrdiff_t>(out.size()) > first) {
      out.back().begin = part->piece.begin;
    } else {
      out.push_back(part->piece);
    }
    before_match = part->is_match;
  }
  std::reverse(out.begin() + first, out.end());
}

void merge_runs(const std::vector<Part>& parts, std::vector<Piece>& out) {
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && parts[i].is_match == parts[i - 1].is_match) {
      out.back().end = parts[i].piece.end;
    } else {
      out.push_back(parts[i].piece);
    }
  }
}

void arrange(const std::vector<Part>& parts, Behavior behavior, std::vector<Piece>& out) {
  switch (behavior) {
    case Behavior::merged_with_previous: return merge_with_previous(parts, out);
    case Behavior::merged_with_next: return merge_with_next(parts, out);
    case Behavior::contiguous: return merge_runs(parts, out);
    case Behavior::removed:
    case Behavior::isolated:
      for (const Part& part : parts) {
        if (!part.is_match || behavior == Behavior::isolated) out.push_back(part.piece);
      }
  }
}

// The parts of a text of `length` bytes around the spans of matches, moved by `offset`.
std::vector<Part> parts_around(const std::vector<RegexMatch::Span>& matches, size_t length, uint32_t offset,
                               bool invert) {
  std::vector<Part> parts;
  parts.reserve(matches.size() * 2 + 1);
  const auto add = [&](size_t begin, size_t end, bool is_match) {
    parts.push_back({{offset + static_cast<uint32_t>(begin), offset + static_cast<uint32_t>(end)}, is_match != invert});
  };
  size_t done = 0;
  for (const RegexMatch::Span& match : matches) {
    if (match.begin > done) add(done, match.begin, false);
    add(match.begin, match.end, true);
    done = match.end;
  }
  if (done < length) add(done, length, false);
  return parts;
}

class RegexSplit : public PreTokenizer {
 public:
  RegexSplit(Regex regex, Behavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}
  Status split(PieceList& pieces) const override {
    return pieces.cut_each([&](std::string_view text, uint32_t offset, std::vector<Piece>& out) -> Status {
      ASSAY_ASSIGN(const std::vector<RegexMatch::Span> matches, find_spans(regex_, text));
      arrange(parts_around(matches, text.size(), offset, invert_), behavior_, out);
      return ok_status();
    });
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

class ScannerSplit : public PreTokenizer {
 public:
  explicit ScannerSplit(SplitPattern pattern) : pattern_(pattern) {}
  Status split(PieceList& pieces) const override {
    return pieces.cut_each([&](std::string_view text, uint32_t offset, std::vector<Piece>& out) {
      scan_split(pattern_, text, offset, pieces.class_scratch(), out);
      return ok_status();
    });
  }
  // No alternative of the known patterns has a space behind a letter.
  WordCut word_cut() const override { return WordCut::makes; }

 private:
  SplitPattern pattern_;
};

// Splits at single characters that a predicate picks.
class CharacterSplit : public PreTokenizer {
 public:
  using Predicate = bool (*)(char32_t c);
  CharacterSplit(Predicate matches, Behavior behavior) : behavior_(behavior), matches_(matches) {
    for (char32_t c = 0; c < matches_ascii_.size(); ++c) matches_ascii_[c] = matches(c);
  }
  Status split(PieceList& pieces) const override {
    std::vector<Part> parts;
    return pieces.cut_each([&](std::string_view text, uint32_t offset, std::vector<Piece>& out) {
      find_parts(text, offset, parts);
      arrange(parts, behavior_, out);
      return ok_status();
    });
  }
  WordCut word_cut() const override {
    bool touches = matches_ascii_[' '];
    for (char c = 'a'; c <= 'z'; ++c)
      touches |= matches_ascii_[static_cast<size_t>(c)] || matches_ascii_[static_cast<size_t>(c - 'a' + 'A')];
    return touches ? WordCut::changes : WordCut::keeps;
  }

 private:
  bool is_match(char32_t c) const { return c < matches_ascii_.size() ? matches_ascii_[c] : matches_(c); }
  void find_parts(std::string_view text, uint32_t offset, std::vector<Part>& parts) const {
    parts.clear();
    uint32_t done = 0;
    for (uint32_t i = 0; i < text.size();) {
      const DecodedChar decoded = decode_valid(text, i);
      const uint32_t end = i + decoded.length;
      if (is_match(decoded.code_point)) {
        if (done < i) parts.push_back({{offset + done, offset + i}, false});
        parts.push_back({{offset + i, offset + end}, true});
        done = end;
      }
      i = end;
    }
    if (done < text.size()) parts.push_back({{offset + done, offset + static_cast<uint32_t>(text.size())}, false});
  }

  Behavior behavior_;
  Predicate matches_;
  std::array<bool, 128> matches_ascii_;
};

bool is_number(char32_t c) { return char_class(c) == kNumber; }
bool is_white_space(char32_t c) { return (char_class(c) & kAnySpace) != 0; }
bool is_punctuation(char32_t c) {
  return c < 0x80 ? kAsciiPunctuation.find(static_cast<char>(c)) != std::string_view::npos : is_unicode_punctuation(c);
}

// ByteLevel's add_prefix_space.
class PrefixSpace : public PreTokenizer {
 public:
  Status split(PieceList& pieces) const override {
    pieces.rewrite_each([](std::string_view text, bool, std::string& out) {
      if (!text.starts_with(' ')) out += ' ';
      out += text;
    });
    return ok_status();
  }
};

// ByteLevel's writing of bytes as characters, where the model cannot take bytes because further steps look at them.
class ByteStandIns : public PreTokenizer {
 public:
  Status split(PieceList& pieces) const override {
    pieces.rewrite_each([](std::string_view text, bool, std::string& out) { out += byte_level_encode(text); });
    return ok_status();
  }
};

class Metaspace : public PreTokenizer {
 public:
  enum class Prepend { always, first, never };
  Metaspace(std::string replacement, Prepend prepend) : replacement_(std::move(replacement)), prepend_(prepend) {}
  Status split(PieceList& pieces) const override {
    pieces.rewrite_each([&](std::string_view text, bool at_start, std::string& out) {
      const bool wanted = prepend_ == Prepend::always || (prepend_ == Prepend::first && at_start);
      const bool present = text.starts_with(' ') || text.starts_with(replacement_);
      if (wanted && !present) out += replacement_;
      for (const char c : text) {
        if (c == ' ') {
          out += replacement_;
        } else {
          out += c;
        }
      }
    });
    return ok_status();
  }

 private:
  std::string replacement_;
  Prepend prepend_;
};

using Steps = std::vector<std::unique_ptr<PreTokenizer>>;

Status add_steps(const JsonField& field, Steps& steps);

Status add_byte_level(const JsonField& field, Steps& steps) {
  ASSAY_ASSIGN(const bool add_prefix_space, field.bool_or("add_prefix_space", true));
  ASSAY_ASSIGN(const bool use_regex, field.bool_or("use_regex", true));
  if (add_prefix_space) steps.push_back(std::make_unique<PrefixSpace>());
  if (use_regex) steps.push_back(std::make_unique<ScannerSplit>(SplitPattern::gpt2));
  steps.push_back(std::make_unique<ByteStandIns>());
  return ok_status();
}

Result<Behavior> read_behavior(const JsonField& field, std::string_view other) {
  ASSAY_ASSIGN(const std::string name, field.string_or("behavior", other));
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  return field.get("behavior")->error("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

// The scanners' matches leave nothing between them, so that these two arrangements are all pieces.
std::unique_ptr<PreTokenizer> make_scanner(const ComponentPattern& pattern, Behavior behavior, bool invert) {
  const bool keeps_all = behavior == Behavior::isolated || (behavior == Behavior::removed && invert);
  const auto known = pattern.is_regex && keeps_all ? known_split_pattern(pattern.text) : std::nullopt;
  return known ? std::make_unique<ScannerSplit>(*known) : nullptr;
}

Status add_split(const JsonField& field, Steps& steps) {
  ASSAY_ASSIGN(const ComponentPattern pattern, read_pattern(field));
  ASSAY_TRY(field.get("behavior"));
  ASSAY_ASSIGN(const Behavior behavior, read_behavior(field, "Isolated"));
  ASSAY_ASSIGN(const bool invert, field.bool_or("invert", false));
  if (auto scanner = make_scanner(pattern, behavior, invert)) {
    steps.push_back(std::move(scanner));
    return ok_status();
  }
  ASSAY_ASSIGN(Regex regex, compile_pattern(field, pattern));
  steps.push_back(std::make_unique<RegexSplit>(std::move(regex), behavior, invert));
  return ok_status();
}

Status add_digits(const JsonField& field, Steps& steps) {
  ASSAY_ASSIGN(const bool individual, field.bool_or("individual_digits", false));
  steps.push_back(std::make_unique<CharacterSplit>(is_number, individual ? Behavior::isolated : Behavior::contiguous));
  return ok_status();
}

Result<Metaspace::Prepend> read_prepend_scheme(const JsonField& field) {
  ASSAY_ASSIGN(const bool add_prefix_space, field.bool_or("add_prefix_space", true));
  ASSAY_ASSIGN(const std::string scheme, field.string_or("prepend_scheme", add_prefix_space ? "always" : "never"));
  if (!add_prefix_space && scheme != "never")
    return field.get("prepend_scheme")->error("\"never\", as add_prefix_space is false");
  if (scheme == "always") return Metaspace::Prepend::always;
  if (scheme == "first") return Metaspace::Prepend::first;
  if (scheme == "never") return Metaspace::Prepend::never;
  return field.get("prepend_scheme")->error("\"always\", \"first\" or \"never\"");
}

Status add_metaspace(const JsonField& field, Steps& steps) {
  ASSAY_ASSIGN(std::string replacement, character_or(field, "replacement", "\u2581"));
  ASSAY_ASSIGN(const Metaspace::Prepend prepend, read_prepend_scheme(field));
  ASSAY_ASSIGN(const bool split, field.bool_or("split", true));
  steps.push_back(std::make_unique<Metaspace>(replacement, prepend));
  if (!split) return ok_status();
  ASSAY_ASSIGN(Regex regex, Regex::compile(regex_escape(replacement)));
  steps.push_back(std::make_unique<RegexSplit>(std::move(regex), Behavior::merged_with_next, false));
  return ok_status();
}

Status add_whitespace(Steps& steps) {
  ASSAY_ASSIGN(Regex regex, Regex::compile(fmt::format("[{0}]+|[^{0}\\p{{White_Space}}]+", kRustWord)));
  steps.push_back(std::make_unique<RegexSplit>(std::move(regex), Behavior::removed, true));
  return ok_status();
}

Status add_punctuation(const JsonField& field, Steps& steps) {
  ASSAY_ASSIGN(const Behavior behavior, read_behavior(field, "Isolated"));
  steps.push_back(std::make_unique<CharacterSplit>(is_punctuation, behavior));
  return ok_status();
}

Status add_sequence(const JsonField& field, Steps& steps) {
  ASSAY_ASSIGN(const JsonField list, field.get("pretokenizers"));
  ASSAY_ASSIGN(const std::vector<JsonField> items, list.items());
  for (const JsonField& item : items) ASSAY_TRY(add_steps(item, steps));
  return ok_status();
}

Status add_steps(const JsonField& field, Steps& steps) {
  if (field.is_null()) return ok_status();
  ASSAY_ASSIGN(const std::string type, field.get_string("type"));
  if (type == "ByteLevel") return add_byte_level(field, steps);
  if (type == "Split") return add_split(field, steps);
  if (type == "Digits") return add_digits(field, steps);
  if (type == "Metaspace") return add_metaspace(field, steps);
  if (type == "Whitespace") return add_whitespace(steps);
  if (type == "Punctuation") return add_punctuation(field, steps);
  if (type == "Sequence") return add_sequence(field, steps);
  if (type == "WhitespaceSplit") {
    steps.push_back(std::make_unique<CharacterSplit>(is_white_space, Behavior::removed));
    return ok_status();
  }
  return unsupported_type(field, kImplemented);
}

bool is_byte_stand_ins(const std::unique_ptr<PreTokenizer>& step) {
  return dynamic_cast<const ByteStandIns*>(step.get()) != nullptr;
}

}  // namespace

void PieceList::reset(std::string_view text, bool at_start) {
  text_ = text;
  at_start_ = at_start;
  pieces_.clear();
  if (!text.empty()) pieces_.push_back({0, static_cast<uint32_t>(text.size())});
}

void PieceList::take_spare() {
  std::erase_if(spare_, [](const Piece& piece) { return piece.begin == piece.end; });
  pieces_.swap(spare_);
}

Status PreTokenization::split(PieceList& pieces) const {
  for (const auto& step : steps) ASSAY_TRY(step->split(pieces));
  return ok_status();
}

bool PreTokenization::cuts_between_words() const {
  bool cuts = false;
  for (const auto& step : steps) {
    const PreTokenizer::WordCut cut = step->word_cut();
    if (cut == PreTokenizer::WordCut::changes) return false;
    cuts |= cut == PreTokenizer::WordCut::makes;
  }
  return cuts;
}

Result<PreTokenization> make_pre_tokenizer(const JsonField& field) {
  PreTokenization result;
  ASSAY_TRY(add_steps(field, result.steps));
  const auto num_stand_ins = std::count_if(result.steps.begin(), result.steps.end(), is_byte_stand_ins);
  result.byte_level = num_stand_ins == 1 && is_byte_stand_ins(result.steps.back());
  if (result.byte_level) result.steps.pop_back();
  return result;
}

Result<PreTokenization> make_tekken_pre_tokenizer(std::string_view pattern, std::string_view source) {
  PreTokenization result;
  result.byte_level = true;
  if (const auto known = known_split_pattern(pattern)) {
    result.steps.push_back(std::make_unique<ScannerSplit>(*known));
    return result;
  }
  Result<Regex> regex = Regex::compile(pattern);
  if (!regex.ok()) return unsupported(fmt::format("{}: config.pattern: {}", source, regex.status().message()));
  // tiktoken encodes what its pattern finds and drops the rest.
  result.steps.push_back(std::make_unique<RegexSplit>(std::move(regex).value(), Behavior::removed, true));
  return result;
}

}  // namespace assay
