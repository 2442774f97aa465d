#include "engine/text/token_decoder.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "engine/base/text_util.h"
#include "engine/text/bpe.h"
#include "engine/text/component_fields.h"
#include "engine/text/normalize.h"
#include "engine/text/regex_dialect.h"

namespace assay {
namespace {

constexpr std::string_view kImplemented = "ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace, Sequence";
constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

void fuse(std::vector<std::string>& tokens) {
  std::string text;
  for (const std::string& token : tokens) text += token;
  tokens.assign(1, std::move(text));
}

class ByteLevel : public TokenDecoder {
 public:
  void decode(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) decode_alone(token);
    fuse(tokens);
    tokens.front() = replace_invalid_utf8(tokens.front());
  }
  void decode_alone(std::string& token) const override { token = byte_level_decode(token); }
  bool is_byte_level() const override { return true; }
};

class Fuse : public TokenDecoder {
 public:
  void decode(std::vector<std::string>& tokens) const override { fuse(tokens); }
  void decode_alone(std::string&) const override {}
};

// <0xHH>
std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const bool digit = c >= '0' && c <= '9';
    const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    if (!digit && (lower < 'a' || lower > 'f')) return std::nullopt;
    value = value * 16 + (digit ? c - '0' : lower - 'a' + 10);
  }
  return static_cast<char>(value);
}

// A run of byte tokens is its text if that is UTF-8, else one replacement character a byte.
class ByteFallback : public TokenDecoder {
 public:
  void decode(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string run;
    const auto end_run = [&] {
      if (is_valid_utf8(run)) {
        if (!run.empty()) out.push_back(run);
      } else {
        out.insert(out.end(), run.size(), std::string(kReplacementCharacter));
      }
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const std::optional<char> byte = byte_of(token)) {
        run += *byte;
        continue;
      }
      end_run();
      out.push_back(std::move(token));
    }
    end_run();
    tokens = std::move(out);
  }
  void decode_alone(std::string& token) const override {
    if (const std::optional<char> byte = byte_of(token)) token.assign(1, *byte);
  }
};

class Metaspace : public TokenDecoder {
 public:
  Metaspace(std::string replacement, bool prepends) : replacement_(std::move(replacement)), prepends_(prepends) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], replacement_, i == 0 && prepends_ ? "" : " ");
  }
  void decode_alone(std::string& token) const override { token = replace_all(token, replacement_, " "); }

 private:
  std::string replacement_;
  bool prepends_;
};

// Takes up to `start` of a character off the front of every token, and up to `stop` off its end.
class Strip : public TokenDecoder {
 public:
  Strip(std::string content, int64_t start, int64_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start_ && rest.starts_with(content_); ++i) rest.remove_prefix(content_.size());
      for (int64_t i = 0; i < stop_ && rest.ends_with(content_); ++i) rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
  }
  void decode_alone(std::string&) const override {}

 private:
  std::string content_;
  int64_t start_;
  int64_t stop_;
};

class Replace : public TokenDecoder {
 public:
  Replace(Regex regex, std::string content) : regex_(std::move(regex)), content_(std::move(content)) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) decode_alone(token);
  }
  void decode_alone(std::string& token) const override {
    Result<Replaced> replaced = replace_spans(regex_, token, content_, kMaxTextBytes);
    if (replaced.ok()) token = std::move(replaced->text);
  }

 private:
  Regex regex_;
  std::string content_;
};

class Sequence : public TokenDecoder {
 public:
  explicit Sequence(std::vector<std::unique_ptr<TokenDecoder>> steps) : steps_(std::move(steps)) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (const auto& step : steps_) step->decode(tokens);
  }
  void decode_alone(std::string& token) const override {
    for (const auto& step : steps_) step->decode_alone(token);
  }

 private:
  std::vector<std::unique_ptr<TokenDecoder>> steps_;
};

using DecoderPtr = std::unique_ptr<TokenDecoder>;

Result<DecoderPtr> make_metaspace(const JsonField& field) {
  ASSAY_ASSIGN(std::string replacement, character_or(field, "replacement", "\u2581"));
  ASSAY_ASSIGN(const bool add_prefix_space, field.bool_or("add_prefix_space", true));
  ASSAY_ASSIGN(const std::string scheme, field.string_or("prepend_scheme", add_prefix_space ? "always" : "never"));
  return DecoderPtr(std::make_unique<Metaspace>(std::move(replacement), scheme != "never"));
}

Result<DecoderPtr> make_strip(const JsonField& field) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  ASSAY_ASSIGN(std::string content, character_or(field, "content", " "));
  ASSAY_ASSIGN(const int64_t start, field.int_or("start", 0, 0, kMost));
  ASSAY_ASSIGN(const int64_t stop, field.int_or("stop", 0, 0, kMost));
  return DecoderPtr(std::make_unique<Strip>(std::move(content), start, stop));
}

Result<DecoderPtr> make_replace(const JsonField& field) {
  ASSAY_ASSIGN(const ComponentPattern pattern, read_pattern(field));
  ASSAY_ASSIGN(std::string content, field.get_string("content"));
  ASSAY_ASSIGN(Regex regex, compile_pattern(field, pattern));
  return DecoderPtr(std::make_unique<Replace>(std::move(regex), std::move(content)));
}

Result<DecoderPtr> make_sequence(const JsonField& field) {
  ASSAY_ASSIGN(const JsonField list, field.get("decoders"));
  ASSAY_ASSIGN(const std::vector<JsonField> items, list.items());
  std::vector<DecoderPtr> steps;
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(DecoderPtr step, make_decoder(item));
    if (step) steps.push_back(std::move(step));
  }
  if (steps.size() == 1) return std::move(steps.front());
  return DecoderPtr(std::make_unique<Sequence>(std::move(steps)));
}

}  // namespace

Result<std::unique_ptr<TokenDecoder>> make_decoder(const JsonField& field) {
  if (field.is_null()) return DecoderPtr();
  ASSAY_ASSIGN(const std::string type, field.get_string("type"));
  if (type == "ByteLevel") return DecoderPtr(std::make_unique<ByteLevel>());
  if (type == "ByteFallback") return DecoderPtr(std::make_unique<ByteFallback>());
  if (type == "Fuse") return DecoderPtr(std::make_unique<Fuse>());
  if (type == "Metaspace") return make_metaspace(field);
  if (type == "Strip") return make_strip(field);
  if (type == "Replace") return make_replace(field);
  if (type == "Sequence") return make_sequence(field);
  return unsupported_type(field, kImplemented);
}

}  // namespace assay
