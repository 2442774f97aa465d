#include "engine/text/jinja_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/text_util.h"
#include "engine/text/jinja_runtime.h"

namespace assay::jinja {
namespace {

void append_unicode_escape(char32_t c, std::string& out) {
  if (c < 0x10000) {
    out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    return;
  }
  const uint32_t offset = static_cast<uint32_t>(c) - 0x10000;
  out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF));
}

void append_quoted(std::string_view text, bool ensure_ascii, std::string& out) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(text, i);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (c < 0x20 || (ensure_ascii && c > 0x7E)) {
          append_unicode_escape(c, out);
        } else {
          out.append(text.substr(begin, i - begin));
        }
    }
  }
  out += '"';
}

std::string real_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return py_float_repr(value);
}

class Dumper {
 public:
  Dumper(Runtime& runtime, const DumpOptions& options) : runtime_(runtime), options_(options) {}

  Status dump(const Value& value) {
    if (!runtime_.spend()) return runtime_.out_of_steps();
    if (out_.size() > runtime_.limits().max_value_bytes) return runtime_.admit(out_.size());
    switch (value.kind()) {
      case Kind::none: out_ += "null"; return ok_status();
      case Kind::boolean: out_ += value.as_boolean() ? "true" : "false"; return ok_status();
      case Kind::integer: out_ += std::to_string(value.as_integer()); return ok_status();
      case Kind::real: out_ += real_text(value.as_real()); return ok_status();
      case Kind::string:
        ASSAY_TRY(runtime_.admit(value.as_string().size()));
        append_quoted(value.as_string(), options_.ensure_ascii, out_);
        return ok_status();
      case Kind::list:
      case Kind::tuple: return dump_items(value.as_items());
      case Kind::dict: return dump_members(value.as_dict());
      default: return bad_data(fmt::format("an object of type {} is not JSON serializable", type_name(value)));
    }
  }

  std::string take() { return std::move(out_); }

 private:
  Status dump_items(const Values& items) {
    if (items.empty()) {
      out_ += "[]";
      return ok_status();
    }
    open('[');
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) next_item();
      ASSAY_TRY(dump(items[i]));
    }
    close(']');
    return ok_status();
  }

  Status dump_members(const Dict& dict) {
    if (dict.size() == 0) {
      out_ += "{}";
      return ok_status();
    }
    ASSAY_ASSIGN(const std::vector<Dict::Item> members, ordered(dict));
    open('{');
    for (size_t i = 0; i < members.size(); ++i) {
      if (i > 0) next_item();
      ASSAY_TRY(dump_key(members[i].first));
      ASSAY_TRY(dump(members[i].second));
    }
    close('}');
    return ok_status();
  }

  Result<std::vector<Dict::Item>> ordered(const Dict& dict) {
    std::vector<Dict::Item> members = dict.items();
    if (!options_.sort_keys) return members;
    Status status;
    std::stable_sort(members.begin(), members.end(), [&](const Dict::Item& a, const Dict::Item& b) {
      if (!status.ok()) return false;
      const Result<bool> before = less(runtime_, a.first, b.first);
      if (!before.ok()) status = before.status();
      return before.ok() && *before;
    });
    ASSAY_TRY(status);
    return members;
  }

  Status dump_key(const Value& key) {
    std::string text;
    switch (key.kind()) {
      case Kind::string: text = key.as_string(); break;
      case Kind::none: text = "null"; break;
      case Kind::boolean: text = key.as_boolean() ? "true" : "false"; break;
      case Kind::integer: text = std::to_string(key.as_integer()); break;
      case Kind::real: text = real_text(key.as_real()); break;
      default:
        return bad_data(fmt::format("a JSON key is a string, a number, a boolean or none, not '{}'", type_name(key)));
    }
    append_quoted(text, options_.ensure_ascii, out_);
    out_ += options_.key_separator;
    return ok_status();
  }

  void open(char bracket) {
    out_ += bracket;
    ++level_;
    new_line();
  }
  void next_item() {
    out_ += options_.item_separator;
    new_line();
  }
  void close(char bracket) {
    --level_;
    new_line();
    out_ += bracket;
  }
  void new_line() {
    if (!options_.indent) return;
    out_ += '\n';
    for (int i = 0; i < level_; ++i) out_ += *options_.indent;
  }

  Runtime& runtime_;
  const DumpOptions& options_;
  std::string out_;
  int level_ = 0;
};

}  // namespace

Result<std::string> dump_json(Runtime& runtime, const Value& value, const DumpOptions& options) {
  Dumper dumper(runtime, options);
  ASSAY_TRY(dumper.dump(value));
  std::string text = dumper.take();
  ASSAY_TRY(runtime.admit(text.size()));
  return text;
}

}  // namespace assay::jinja
