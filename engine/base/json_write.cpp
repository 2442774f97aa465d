#include "engine/base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/text_util.h"

namespace assay {
namespace {

class Writer {
 public:
  explicit Writer(const JsonStyle& style) : style_(style) {}

  void write(const Json& value, int level) {
    switch (value.kind()) {
      case Json::Kind::null: out_ += "null"; break;
      case Json::Kind::boolean: out_ += value.as_bool() ? "true" : "false"; break;
      case Json::Kind::integer: out_ += fmt::format_int(value.as_int()).c_str(); break;
      case Json::Kind::real: write_real(value.as_real()); break;
      case Json::Kind::string: write_string(value.as_string()); break;
      case Json::Kind::array: write_array(value.as_array(), level); break;
      case Json::Kind::object: write_object(value.as_object(), level); break;
    }
  }
  std::string take() { return std::move(out_); }

 private:
  bool indented() const { return style_.indent >= 0; }

  void write_real(double value) {
    if (std::isfinite(value)) {
      out_ += py_float_repr(value);
    } else {
      out_ += std::isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity";
    }
  }

  void write_string(std::string_view text) {
    out_ += '"';
    for (size_t index = 0; index < text.size();) {
      const size_t run = plain_run(text, index);
      out_.append(text, index, run);
      index += run;
      if (index < text.size()) write_escaped(next_code_point(text, index));
    }
    out_ += '"';
  }

  // Bytes from `begin` that stand for themselves in any style.
  static size_t plain_run(std::string_view text, size_t begin) {
    size_t end = begin;
    while (end < text.size() && text[end] >= 0x20 && text[end] < 0x7F && text[end] != '"' && text[end] != '\\') ++end;
    return end - begin;
  }

  void write_escaped(char32_t c) {
    switch (c) {
      case U'"': out_ += "\\\""; return;
      case U'\\': out_ += "\\\\"; return;
      case U'\n': out_ += "\\n"; return;
      case U'\r': out_ += "\\r"; return;
      case U'\t': out_ += "\\t"; return;
      case U'\f': out_ += "\\f"; return;
      case U'\b': out_ += "\\b"; return;
      default: break;
    }
    if (c >= 0x20 && !style_.ensure_ascii) return append_utf8(out_, c);
    if (c < 0x10000) return write_unit(c);
    write_unit(0xD800 + ((c - 0x10000) >> 10));
    write_unit(0xDC00 + ((c - 0x10000) & 0x3FF));
  }
  void write_unit(char32_t unit) { out_ += fmt::format("\\u{:04x}", static_cast<uint32_t>(unit)); }

  void write_array(const Json::Array& array, int level) {
    out_ += '[';
    for (size_t i = 0; i < array.size(); ++i) {
      before_item(i, level + 1);
      write(array[i], level + 1);
    }
    if (!array.empty()) new_line(level);
    out_ += ']';
  }

  void write_object(const Json::Object& object, int level) {
    out_ += '{';
    size_t i = 0;
    for (const Json::Member* member : ordered(object)) {
      before_item(i++, level + 1);
      write_string(member->first);
      out_ += indented() || style_.python_separators ? ": " : ":";
      write(member->second, level + 1);
    }
    if (!object.empty()) new_line(level);
    out_ += '}';
  }

  std::vector<const Json::Member*> ordered(const Json::Object& object) const {
    std::vector<const Json::Member*> members;
    members.reserve(object.size());
    for (const Json::Member& member : object) members.push_back(&member);
    if (style_.sort_keys) {
      std::stable_sort(members.begin(), members.end(),
                       [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    return members;
  }

  void before_item(size_t i, int level) {
    if (i > 0) out_ += style_.python_separators && !indented() ? ", " : ",";
    new_line(level);
  }
  void new_line(int level) {
    if (indented()) out_.append("\n").append(static_cast<size_t>(style_.indent) * static_cast<size_t>(level), ' ');
  }

  JsonStyle style_;
  std::string out_;
};

}  // namespace

std::string Json::dump(const JsonStyle& style) const {
  Writer writer(style);
  writer.write(*this, 0);
  return writer.take();
}

}  // namespace assay
