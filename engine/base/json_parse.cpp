#include "engine/base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>

#include "engine/base/text_util.h"

namespace assay {
namespace {

// The first key that an object has twice; nullptr if none.
const std::string* find_duplicate_key(const Json::Object& object) {
  constexpr size_t kFewMembers = 8;
  if (object.size() <= kFewMembers) {
    for (size_t i = 1; i < object.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (object[i].first == object[j].first) return &object[i].first;
      }
    }
    return nullptr;
  }
  // Sorted rather than hashed: no choice of keys makes it slow.
  std::vector<const std::string*> keys;
  keys.reserve(object.size());
  for (const Json::Member& member : object) keys.push_back(&member.first);
  std::sort(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a < *b; });
  const auto twice =
      std::adjacent_find(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a == *b; });
  return twice == keys.end() ? nullptr : *twice;
}

// NaN, Infinity and -Infinity of a text replaced by null; `values` holds for the i-th null outside strings what it
// stood for, nullopt for a true null.
struct WithoutNonFinite {
  std::string text;
  std::vector<std::optional<double>> nulls;
  // (offset just past a replacement in the new text, offset past the literal in the old one), ascending.
  std::vector<std::pair<size_t, size_t>> seams;

  size_t original_offset(size_t offset) const {
    const auto after =
        std::partition_point(seams.begin(), seams.end(), [&](const auto& s) { return s.first <= offset; });
    if (after == seams.begin()) return offset;
    const auto& [here, there] = *std::prev(after);
    return there + (offset - here);
  }
};

// Offset past the string that opens at `begin`.
size_t skip_string(std::string_view text, size_t begin) {
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return text.size();
}

WithoutNonFinite replace_non_finite(std::string_view text) {
  struct Literal {
    std::string_view text;
    std::optional<double> value;
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Literal literals[] = {{"null", std::nullopt},
                              {"NaN", std::numeric_limits<double>::quiet_NaN()},
                              {"Infinity", kInfinity},
                              {"-Infinity", -kInfinity}};
  WithoutNonFinite out;
  out.text.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    if (rest.front() == '"') {
      const size_t end = skip_string(text, i);
      out.text.append(text, i, end - i);
      i = end;
      continue;
    }
    const auto literal = std::find_if(std::begin(literals), std::end(literals),
                                      [&](const Literal& candidate) { return rest.starts_with(candidate.text); });
    if (literal == std::end(literals)) {
      out.text += text[i++];
      continue;
    }
    out.nulls.push_back(literal->value);
    out.text += "null";
    i += literal->text.size();
    out.seams.emplace_back(out.text.size(), i);
  }
  return out;
}

// Characters of the text that nlohmann's lexer has taken, so that our own refusals know where they stand.
class TrackingIterator {
 public:
  using difference_type = std::ptrdiff_t;
  using value_type = char;
  using pointer = const char*;
  using reference = const char&;
  using iterator_category = std::input_iterator_tag;

  TrackingIterator(const char* at, const char** seen) : at_(at), seen_(seen) {}
  const char& operator*() const { return *at_; }
  TrackingIterator& operator++() {
    *seen_ = ++at_;
    return *this;
  }
  bool operator==(const TrackingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** seen_;
};

// "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ..." without what we say
// better.
std::string reason_of(const nlohmann::json::exception& exception) {
  std::string_view reason = exception.what();
  if (const size_t id_end = reason.find("] "); id_end != std::string_view::npos) reason.remove_prefix(id_end + 2);
  if (reason.starts_with("parse error at line")) reason.remove_prefix(std::min(reason.find(": ") + 2, reason.size()));
  // The token last read may be as long as the file; what is expected after it is short.
  const size_t token = reason.find("; last read: '");
  if (token == std::string_view::npos) return excerpt(reason);
  const size_t token_begin = token + std::string_view("; last read: '").size();
  const size_t expected = reason.rfind("'; expected ");
  const size_t token_end = expected == std::string_view::npos ? reason.rfind('\'') : expected;
  std::string text = fmt::format("{}; found '{}'", escape_controls(reason.substr(0, token)),
                                 excerpt(reason.substr(token_begin, token_end - std::min(token_end, token_begin))));
  if (expected != std::string_view::npos) text += escape_controls(reason.substr(expected + 1));
  return text;
}

// Builds the value from the parser's events; the containers not yet closed form a stack.
class Builder {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  Builder(int max_depth, const std::vector<std::optional<double>>* nulls) : max_depth_(max_depth), nulls_(nulls) {}

  bool null() {
    if (nulls_ && num_nulls_ < nulls_->size()) {
      if (const std::optional<double> value = (*nulls_)[num_nulls_++]) return add(Json(*value));
    }
    return add(Json());
  }
  bool boolean(bool value) { return add(Json(value)); }
  bool number_integer(number_integer_t value) { return add(Json(value)); }
  bool number_unsigned(number_unsigned_t value) { return add(Json(value)); }
  bool number_float(number_float_t value, const string_t&) { return add(Json(value)); }
  bool string(string_t& value) { return add(Json(std::move(value))); }
  bool binary(binary_t&) { return refuse("binary data"); }
  bool key(string_t& key) {
    open_.back()->as_object().emplace_back().first = std::move(key);
    return true;
  }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool end_object() {
    const std::string* twice = find_duplicate_key(open_.back()->as_object());
    if (twice) return refuse(fmt::format("the object that ends here has the key \"{}\" twice", excerpt(*twice)));
    open_.pop_back();
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& exception) {
    error_offset_ = position == 0 ? 0 : position - 1;
    return refuse(reason_of(exception));
  }

  const std::string& reason() const { return reason_; }
  // Where the parser itself stopped; nullopt when one of our own bounds did.
  std::optional<size_t> error_offset() const { return error_offset_; }
  Json take() { return std::move(root_); }

 private:
  bool refuse(std::string reason) {
    reason_ = std::move(reason);
    return false;
  }
  // Where the next value belongs.
  Json& place() {
    if (open_.empty()) return root_;
    Json& parent = *open_.back();
    if (parent.is_object()) return parent.as_object().back().second;
    return parent.as_array().emplace_back();
  }
  bool add(Json value) {
    place() = std::move(value);
    return true;
  }
  bool open(Json container) {
    if (open_.size() >= static_cast<size_t>(std::max(0, max_depth_))) {
      return refuse(fmt::format("values are nested deeper than {} levels", max_depth_));
    }
    Json& target = place();
    target = std::move(container);
    open_.push_back(&target);  // stays put: its parent does not grow before it is closed
    return true;
  }

  int max_depth_;
  const std::vector<std::optional<double>>* nulls_;
  size_t num_nulls_ = 0;
  Json root_;
  std::vector<Json*> open_;
  std::string reason_;
  std::optional<size_t> error_offset_;
};

struct ParseFailure {
  size_t offset;
  std::string reason;
};

std::optional<ParseFailure> parse_text(std::string_view text, Builder& builder) {
  const char* begin = text.data();
  const char* seen = begin;
  const TrackingIterator first(begin, &seen);
  const TrackingIterator last(begin + text.size(), &seen);
  if (nlohmann::json::sax_parse(first, last, &builder)) return std::nullopt;
  const size_t taken = static_cast<size_t>(seen - begin);
  return ParseFailure{builder.error_offset().value_or(taken == 0 ? 0 : taken - 1), builder.reason()};
}

Status syntax_error(std::string_view text, std::string_view source, const ParseFailure& failure) {
  const std::string_view before = text.substr(0, std::min(failure.offset, text.size()));
  const size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  const size_t line_begin = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  const size_t column = 1 + count_code_points(before.substr(line_begin));
  return bad_data(fmt::format("{}: line {}, column {}: {}", source, line, column, failure.reason));
}

Result<Json> parse_json(std::string_view text, std::string_view source, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return bad_data(
        fmt::format("{}: found {} bytes of JSON, at most {} were expected", source, text.size(), limits.max_bytes));
  }
  if (text.empty())
    return bad_data(fmt::format("{}: line 1, column 1: found no text, a JSON value was expected", source));
  Builder builder(limits.max_depth, nullptr);
  const auto failure = parse_text(text, builder);
  if (!failure) return builder.take();
  const bool may_be_non_finite =
      text.find("NaN") != std::string_view::npos || text.find("Infinity") != std::string_view::npos;
  if (!may_be_non_finite) return syntax_error(text, source, *failure);
  const WithoutNonFinite plain = replace_non_finite(text);
  Builder second_builder(limits.max_depth, &plain.nulls);
  auto second_failure = parse_text(plain.text, second_builder);
  if (!second_failure) return second_builder.take();
  second_failure->offset = plain.original_offset(second_failure->offset);
  return syntax_error(text, source, *second_failure);
}

}  // namespace

Result<Json> Json::parse(std::string_view text, std::string_view source, const JsonLimits& limits) {
  try {
    return parse_json(text, source, limits);
  } catch (const std::bad_alloc&) {
    return out_of_memory(fmt::format("{}: no memory for {} bytes of JSON", source, text.size()));
  }
}

}  // namespace assay
