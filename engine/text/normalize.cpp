#include "engine/text/normalize.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/text_util.h"
#include "engine/text/char_class.h"
#include "engine/text/component_fields.h"
#include "engine/text/regex_dialect.h"

namespace assay {
namespace {

constexpr std::string_view kImplemented = "NFC, NFKC, Lowercase, Prepend, Replace, Strip, Sequence";
// Lead bytes from here on encode U+0300 and above; nothing below composes with anything.
constexpr unsigned char kFirstComposingLead = 0xCC;

bool all_bytes_below(std::string_view text, unsigned char limit) {
  return std::all_of(text.begin(), text.end(), [&](char c) { return static_cast<unsigned char>(c) < limit; });
}

Status too_large(size_t num_bytes) {
  return bad_data(fmt::format("text to tokenize: expected at most {} bytes after normalization, found {}",
                              kMaxTextBytes, num_bytes));
}

class Nfc : public Normalizer {
 public:
  Status normalize(NormalizedText& text) const override {
    if (!all_bytes_below(text.text, kFirstComposingLead)) text.text = nfc(text.text);
    return ok_status();
  }
  bool keeps_word_cuts() const override { return true; }  // nothing composes with or across an ASCII space
};

class Nfkc : public Normalizer {
 public:
  Status normalize(NormalizedText& text) const override {
    if (!all_bytes_below(text.text, 0x80)) text.text = nfkc(text.text);
    return ok_status();
  }
};

// Character by character: a sigma does not know that it ends a word.
class Lowercase : public Normalizer {
 public:
  Status normalize(NormalizedText& text) const override {
    std::string lower;
    lower.reserve(text.text.size());
    for (size_t i = 0, length = 0; i < text.text.size(); i += length) {
      length = decode_valid(text.text, i).length;
      const char c = text.text[i];
      if (length == 1) {
        lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      } else {
        lower += py_lower(std::string_view(text.text).substr(i, length));
      }
    }
    text.text = std::move(lower);
    return ok_status();
  }
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  Status normalize(NormalizedText& text) const override {
    if (!text.text.empty()) text.text.insert(0, prefix_);
    return ok_status();
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  Replace(Regex regex, std::string content) : regex_(std::move(regex)), content_(std::move(content)) {}
  Status normalize(NormalizedText& text) const override {
    ASSAY_ASSIGN(Replaced replaced, replace_spans(regex_, text.text, content_, kMaxTextBytes));
    if (replaced.start_removed) text.at_start = false;
    text.text = std::move(replaced.text);
    return ok_status();
  }

 private:
  Regex regex_;
  std::string content_;
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  Status normalize(NormalizedText& text) const override {
    std::vector<uint8_t> classes;
    classify_bytes(text.text, classes);
    size_t begin = 0;
    size_t end = text.text.size();
    while (left_ && classes[begin] & kAnySpace) ++begin;
    while (right_ && end > begin && classes[end - 1] & kAnySpace) --end;
    if (begin > 0) text.at_start = false;
    text.text = text.text.substr(begin, end - begin);
    return ok_status();
  }

 private:
  bool left_;
  bool right_;
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  Status normalize(NormalizedText& text) const override {
    for (const auto& step : steps_) {
      ASSAY_TRY(step->normalize(text));
      if (text.text.size() > kMaxTextBytes) return too_large(text.text.size());
    }
    return ok_status();
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

using NormalizerPtr = std::unique_ptr<Normalizer>;

Result<NormalizerPtr> make_replace(const JsonField& field) {
  ASSAY_ASSIGN(const ComponentPattern pattern, read_pattern(field));
  ASSAY_ASSIGN(std::string content, field.get_string("content"));
  ASSAY_ASSIGN(Regex regex, compile_pattern(field, pattern));
  return NormalizerPtr(std::make_unique<Replace>(std::move(regex), std::move(content)));
}

Result<NormalizerPtr> make_strip(const JsonField& field) {
  ASSAY_ASSIGN(const bool left, field.bool_or("strip_left", true));
  ASSAY_ASSIGN(const bool right, field.bool_or("strip_right", true));
  return NormalizerPtr(std::make_unique<Strip>(left, right));
}

Result<NormalizerPtr> make_sequence(const JsonField& field) {
  ASSAY_ASSIGN(const JsonField list, field.get("normalizers"));
  ASSAY_ASSIGN(const std::vector<JsonField> items, list.items());
  std::vector<NormalizerPtr> steps;
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(NormalizerPtr step, make_normalizer(item));
    if (step) steps.push_back(std::move(step));
  }
  return NormalizerPtr(std::make_unique<Sequence>(std::move(steps)));
}

}  // namespace

Result<std::unique_ptr<Normalizer>> make_normalizer(const JsonField& field) {
  if (field.is_null()) return NormalizerPtr();
  ASSAY_ASSIGN(const std::string type, field.get_string("type"));
  if (type == "NFC") return NormalizerPtr(std::make_unique<Nfc>());
  if (type == "NFKC") return NormalizerPtr(std::make_unique<Nfkc>());
  if (type == "Lowercase") return NormalizerPtr(std::make_unique<Lowercase>());
  if (type == "Replace") return make_replace(field);
  if (type == "Strip") return make_strip(field);
  if (type == "Sequence") return make_sequence(field);
  if (type == "Prepend") {
    ASSAY_ASSIGN(std::string prefix, field.get_string("prepend"));
    return NormalizerPtr(std::make_unique<Prepend>(std::move(prefix)));
  }
  return unsupported_type(field, kImplemented);
}

}  // namespace assay
