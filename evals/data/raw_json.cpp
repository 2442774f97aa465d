#include "evals/data/raw_json.h"

#include <fmt/format.h>

namespace assay {
namespace {

// Walks over JSON text that a parser has accepted already.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  // Whether another member follows; leaves the cursor before its key.
  bool next_member() {
    skip_space();
    if (at_ >= text_.size() || text_[at_] == '}') return false;
    ++at_;  // the brace before the first member, the comma before any other
    skip_space();
    return at_ < text_.size() && text_[at_] == '"';
  }

  std::string_view string() {
    const size_t begin = at_++;
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    at_ = std::min(at_ + 1, text_.size());
    return text_.substr(begin, at_ - begin);
  }

  std::string_view value() {
    skip_space();
    at_ += at_ < text_.size();  // the colon
    skip_space();
    const size_t begin = at_;
    int depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        string();
        continue;
      }
      if (depth == 0 && (c == ',' || c == '}')) break;
      depth += c == '[' || c == '{';
      depth -= c == ']' || c == '}';
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Status keep_raw_columns(Json& row, std::string_view text, const std::vector<std::string>& columns,
                        std::string_view source) {
  std::vector<std::string> missing = columns;
  Cursor cursor(text);
  while (cursor.next_member()) {
    ASSAY_ASSIGN(const Json key, Json::parse(cursor.string(), source));
    const std::string_view value = cursor.value();
    for (size_t i = 0; i < missing.size(); ++i) {
      if (!key.is_string() || key.as_string() != missing[i]) continue;
      row.set(missing[i], Json(value));
      missing.erase(missing.begin() + static_cast<ptrdiff_t>(i));
      break;
    }
  }
  if (missing.empty()) return ok_status();
  return bad_data(fmt::format("{}: column \"{}\" is missing", source, missing[0]));
}

}  // namespace assay
