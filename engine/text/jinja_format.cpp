#include "engine/text/jinja_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "engine/base/text_util.h"
#include "engine/text/jinja_access.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_text.h"

namespace assay::jinja {
namespace {

constexpr int64_t kMaxPrecision = 1000;

// What may stand between '%' or ':' and the letter of a conversion.
struct Spec {
  std::string fill = " ";
  char align = 0;   // '<' '>' '=' '^'; 0: the type's own
  char sign = '-';  // '+', ' ' or '-'
  bool alternate = false;
  bool zero_padded = false;
  int64_t width = 0;
  int64_t precision = -1;
  char grouping = 0;  // ',' or '_'
  char type = 0;
};

std::string print_real(const char* pattern, int64_t precision, double value) {
  const int digits = static_cast<int>(precision);
  const int length = std::snprintf(nullptr, 0, pattern, digits, value);
  std::string out(static_cast<size_t>(length) + 1, '\0');
  std::snprintf(out.data(), out.size(), pattern, digits, value);
  out.pop_back();
  return out;
}

// repr() cut to `precision` significant digits, as format() without a type letter does.
std::string print_general_with_point(double value, int64_t precision) {
  const std::string scientific = print_real("%.*e", std::max<int64_t>(precision, 1) - 1, value);
  const int64_t exponent = std::strtol(scientific.c_str() + scientific.find('e') + 1, nullptr, 10);
  std::string digits = scientific.substr(0, scientific.find('e'));
  const auto drop_zeros = [](std::string& text) {
    if (text.find('.') == std::string::npos) return;
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  };
  if (exponent + 1 > -4 && exponent + 1 <= std::max<int64_t>(precision, 1) - 1) {
    std::string fixed = print_real("%.*f", std::max<int64_t>(precision - 1 - exponent, 1), value);
    drop_zeros(fixed);
    return fixed.find('.') == std::string::npos ? fixed + ".0" : fixed;
  }
  drop_zeros(digits);
  return digits + scientific.substr(scientific.find('e'));
}

// The digits of a real without its sign.
std::string real_digits(double value, const Spec& spec) {
  const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
  const double magnitude = std::fabs(value);
  if (std::isnan(value)) return upper ? "NAN" : "nan";
  if (std::isinf(value)) return upper ? "INF" : "inf";
  const int64_t precision = spec.precision < 0 ? 6 : spec.precision;
  switch (spec.type) {
    case 'e': return print_real(spec.alternate ? "%#.*e" : "%.*e", precision, magnitude);
    case 'E': return print_real(spec.alternate ? "%#.*E" : "%.*E", precision, magnitude);
    case 'f':
    case 'F': return print_real(spec.alternate ? "%#.*f" : "%.*f", precision, magnitude);
    case 'G': return print_real(spec.alternate ? "%#.*G" : "%.*G", precision, magnitude);
    case '%': return print_real("%.*f", precision, magnitude * 100) + "%";
    case 0: return spec.precision < 0 ? py_float_repr(magnitude) : print_general_with_point(magnitude, spec.precision);
    default: return print_real(spec.alternate ? "%#.*g" : "%.*g", precision, magnitude);
  }
}

std::string integer_digits(uint64_t magnitude, char type) {
  switch (type) {
    case 'x': return fmt::format("{:x}", magnitude);
    case 'X': return fmt::format("{:X}", magnitude);
    case 'o': return fmt::format("{:o}", magnitude);
    case 'b': return fmt::format("{:b}", magnitude);
    default: return std::to_string(magnitude);
  }
}

// Commas or underscores between groups of the integer part, counted from the right.
std::string grouped(std::string digits, char separator, size_t group_size) {
  const std::string_view kinds = group_size == 3 ? "0123456789" : "0123456789abcdefABCDEF";
  const size_t end = std::min(digits.find_first_not_of(kinds), digits.size());
  for (size_t at = end; at > group_size;) digits.insert(at -= group_size, 1, separator);
  return digits;
}

// Sign or prefix, digits, and the padding that goes around or between them; the odd place of a centering is the right
// one.
std::string assemble(const Spec& spec, const std::string& prefix, const std::string& digits) {
  const int64_t missing = spec.width - static_cast<int64_t>(count_code_points(prefix) + count_code_points(digits));
  const auto padding = [&](int64_t count) { return pad_text("", count, spec.fill, Align::left); };
  switch (spec.align) {
    case '<': return prefix + digits + padding(missing);
    case '^': return padding(missing / 2) + prefix + digits + padding(missing - missing / 2);
    case '=': return prefix + padding(missing) + digits;
    default: return padding(missing) + prefix + digits;
  }
}

bool is_power_of_two_type(char type) { return type == 'x' || type == 'X' || type == 'o' || type == 'b'; }

// Digits in groups; zeros that fill a width take part in the grouping and never leave a separator in front.
std::string group_digits(const Spec& spec, const std::string& prefix, const std::string& digits) {
  if (spec.grouping == 0) return digits;
  const size_t group_size = is_power_of_two_type(spec.type) ? 4 : 3;
  std::string out = grouped(digits, spec.grouping, group_size);
  if (spec.align != '=' || spec.fill != "0") return out;
  const auto wanted = static_cast<size_t>(std::max<int64_t>(spec.width - static_cast<int64_t>(prefix.size()), 0));
  if (wanted <= out.size()) return out;
  const size_t size_with_room = wanted + digits.size();
  out = grouped(std::string(size_with_room - digits.size(), '0') + digits, spec.grouping, group_size);
  while (out.size() > wanted && (out[0] == spec.grouping || (out.size() > wanted + 1 || out[1] != spec.grouping)))
    out.erase(0, 1);
  return out;
}

std::string sign_of(bool negative, const Spec& spec) {
  if (negative) return "-";
  return spec.sign == '-' ? "" : std::string(1, spec.sign);
}

Result<std::string> format_real(double value, const Spec& spec) {
  const std::string sign = sign_of(std::signbit(value) && !std::isnan(value), spec);
  return assemble(spec, sign, group_digits(spec, sign, real_digits(value, spec)));
}

Result<std::string> format_integer(int64_t value, const Spec& spec) {
  const bool negative = value < 0;
  const uint64_t magnitude = negative ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  std::string digits = integer_digits(magnitude, spec.type);
  if (spec.precision > 0) digits = pad_text(digits, spec.precision, "0", Align::right);
  std::string prefix = sign_of(negative, spec);
  if (spec.alternate && is_power_of_two_type(spec.type)) prefix += std::string("0") + spec.type;
  return assemble(spec, prefix, group_digits(spec, prefix, digits));
}

Status check_size(Runtime& runtime, const Spec& spec) {
  if (spec.precision > kMaxPrecision)
    return bad_data(fmt::format("a precision of {} is over the limit of {}", spec.precision, kMaxPrecision));
  return runtime.admit(static_cast<size_t>(std::max<int64_t>(spec.width, 0)) * spec.fill.size());
}

std::string cut_to_precision(const std::string& text, int64_t precision) {
  if (precision < 0) return text;
  return slice_text(text, plan_slice(std::nullopt, precision, 1, static_cast<int64_t>(count_code_points(text))));
}

// repr() with non-ASCII characters escaped.
std::string ascii_repr(const std::string& repr) {
  std::string out;
  for (size_t i = 0; i < repr.size();) {
    const char32_t c = next_code_point(repr, i);
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else {
      out += c < 0x10000 ? fmt::format("\\u{:04x}", static_cast<uint32_t>(c))
                         : fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
  }
  return out;
}

// The text of a value by 's', 'r' or 'a'; with markup, 's' and 'r' escape what is not markup itself.
Result<std::string> converted(Runtime& runtime, const Value& value, char conversion, bool escape) {
  std::string text;
  if (conversion == 's') {
    ASSAY_TRY(append_str(runtime, value, text));
    return escape && !value.is_markup() ? escape_html(text) : text;
  }
  ASSAY_TRY(append_repr(runtime, value, text));
  if (conversion == 'a') text = ascii_repr(text);
  return escape ? escape_html(text) : text;
}

bool take_digits(std::string_view text, size_t& pos, int64_t& out) {
  const size_t begin = pos;
  out = 0;
  while (pos < text.size() && text[pos] >= '0' && text[pos] <= '9') {
    out = std::min<int64_t>(out * 10 + (text[pos++] - '0'), int64_t{1} << 40);
  }
  return pos > begin;
}

// "... % ..." ---------------------------------------------------------------------------------------------------------
class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const Value& format, const Value& argument)
      : runtime_(runtime), format_(format.as_string()), escape_(format.is_markup()), argument_(argument) {
    if (argument.is(Kind::tuple)) {
      arguments_ = argument.as_items();
    } else {
      arguments_ = {argument};
    }
  }

  Result<std::string> run() {
    while (pos_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', pos_), format_.size());
      out_.append(format_, pos_, percent - pos_);
      pos_ = percent + 1;
      if (percent == format_.size()) break;
      ASSAY_TRY(run_conversion());
      ASSAY_TRY(runtime_.charge());
      if (out_.size() > runtime_.limits().max_value_bytes) return runtime_.admit(out_.size());
    }
    // A mapping, or a list, need not be used up.
    const bool may_stay = !argument_.is(Kind::tuple) && !argument_.is(Kind::string) && is_mapping_like();
    if (next_ < arguments_.size() && !used_names_ && !may_stay)
      return bad_data("not all arguments converted during string formatting");
    ASSAY_TRY(runtime_.admit(out_.size()));
    return std::move(out_);
  }

 private:
  bool is_mapping_like() const {
    return argument_.is(Kind::dict) || argument_.is(Kind::list) || argument_.is(Kind::range) ||
           argument_.is(Kind::undefined);
  }

  Result<Value> next_argument() {
    if (next_ >= arguments_.size()) return bad_data("not enough arguments for format string");
    return arguments_[next_++];
  }

  Status run_conversion() {
    Spec spec;
    std::optional<Value> named;
    ASSAY_TRY(read_name(named));
    ASSAY_TRY(read_flags(spec));
    if (pos_ >= format_.size()) return bad_data("incomplete format");
    spec.type = format_[pos_++];
    if (spec.type == '%') {
      out_ += '%';
      return ok_status();
    }
    ASSAY_TRY(check_size(runtime_, spec));
    Value value;
    if (named) {
      value = *named;
    } else {
      ASSAY_ASSIGN(value, next_argument());
    }
    ASSAY_ASSIGN(const std::string text, convert(spec, value));
    out_ += text;
    return ok_status();
  }

  Status read_name(std::optional<Value>& named) {
    if (pos_ >= format_.size() || format_[pos_] != '(') return ok_status();
    if (!argument_.is(Kind::dict)) return bad_data("format requires a mapping");
    size_t end = pos_ + 1;
    for (int depth = 1; end < format_.size(); ++end) {
      depth += format_[end] == '(' ? 1 : (format_[end] == ')' ? -1 : 0);
      if (depth == 0) break;
    }
    if (end >= format_.size()) return bad_data("incomplete format key");
    const std::string key = format_.substr(pos_ + 1, end - pos_ - 1);
    const Value* value = argument_.as_dict().find(key);
    if (value == nullptr) return bad_data(fmt::format("the format names '{}', which is not in the mapping", key));
    named = *value;
    used_names_ = true;
    pos_ = end + 1;
    return ok_status();
  }

  Status read_star(int64_t& number) {
    ++pos_;
    ASSAY_ASSIGN(const Value value, next_argument());
    if (!value.is_integral()) return bad_data("* wants int");
    number = std::clamp<int64_t>(value.as_integer(), -(int64_t{1} << 40), int64_t{1} << 40);
    return ok_status();
  }

  Status read_flags(Spec& spec) {
    for (bool is_flag = true; is_flag && pos_ < format_.size(); pos_ += is_flag ? 1 : 0) {
      switch (format_[pos_]) {
        case '-': spec.align = '<'; break;
        case '+': spec.sign = '+'; break;
        case ' ': spec.sign = spec.sign == '+' ? '+' : ' '; break;
        case '#': spec.alternate = true; break;
        case '0': spec.zero_padded = true; break;
        default: is_flag = false;
      }
    }
    if (pos_ < format_.size() && format_[pos_] == '*') {
      ASSAY_TRY(read_star(spec.width));
      if (spec.width < 0) {
        spec.align = '<';
        spec.width = -spec.width;
      }
    } else {
      take_digits(format_, pos_, spec.width);
    }
    ASSAY_TRY(read_precision(spec));
    if (pos_ < format_.size() && std::string_view("hlL").find(format_[pos_]) != std::string_view::npos) ++pos_;
    return ok_status();
  }

  Status read_precision(Spec& spec) {
    if (pos_ >= format_.size() || format_[pos_] != '.') return ok_status();
    ++pos_;
    if (pos_ < format_.size() && format_[pos_] == '*') {
      ASSAY_TRY(read_star(spec.precision));
      spec.precision = std::max<int64_t>(spec.precision, 0);
    } else {
      take_digits(format_, pos_, spec.precision);
    }
    return ok_status();
  }

  Result<std::string> convert(Spec spec, const Value& value) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': {
        ASSAY_ASSIGN(const std::string text, converted(runtime_, value, spec.type, escape_));
        return assemble(spec, "", cut_to_precision(text, spec.precision));
      }
      case 'c': return convert_character(spec, value);
      default: break;
    }
    if (spec.zero_padded && spec.align == 0) {
      spec.align = '=';
      spec.fill = "0";
    }
    if (std::string_view("diuxXo").find(spec.type) != std::string_view::npos) return convert_integer(spec, value);
    if (std::string_view("eEfFgG").find(spec.type) != std::string_view::npos) return convert_real(spec, value);
    return bad_data(fmt::format("unsupported format character '{}'", spec.type));
  }

  Result<std::string> convert_character(const Spec& spec, const Value& value) {
    std::string character;
    if (value.is_integral() && value.as_integer() >= 0 && value.as_integer() <= 0x10FFFF) {
      append_utf8(character, static_cast<char32_t>(value.as_integer()));
    } else if (value.is(Kind::string) && count_code_points(value.as_string()) == 1) {
      character = value.as_string();
    } else {
      return bad_data("%c requires int or char");
    }
    return assemble(spec, "", character);
  }

  Result<std::string> convert_integer(const Spec& spec, const Value& value) {
    if (value.is_integral()) return format_integer(value.as_integer(), spec);
    if (value.is(Kind::undefined)) return bad_data(value.undefined_reason());
    const bool is_decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (!value.is(Kind::real) || !is_decimal) {
      return bad_data(fmt::format("%{} format: a number is required, not {}", spec.type, type_name(value)));
    }
    if (!(std::fabs(value.as_real()) < 0x1p63)) return bad_data("a number is too large to be printed as an integer");
    return format_integer(static_cast<int64_t>(value.as_real()), spec);
  }

  Result<std::string> convert_real(const Spec& spec, const Value& value) {
    if (value.is(Kind::undefined)) return bad_data(value.undefined_reason());
    if (!value.is_number()) return bad_data(fmt::format("must be real number, not {}", type_name(value)));
    return format_real(value.as_real(), spec);
  }

  Runtime& runtime_;
  const std::string& format_;
  const bool escape_;
  const Value argument_;
  Values arguments_;
  size_t next_ = 0;
  bool used_names_ = false;
  size_t pos_ = 0;
  std::string out_;
};

// "...".format(...) ---------------------------------------------------------------------------------------------------
class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, bool escape, const Arguments& arguments)
      : runtime_(runtime), escape_(escape), arguments_(arguments) {}

  // `depth` is how many levels of fields may still stand inside each other.
  Result<std::string> run(std::string_view format, int depth) {
    if (depth < 0) return bad_data("format fields nest too deeply");
    std::string out;
    for (size_t pos = 0; pos < format.size();) {
      const char c = format[pos++];
      if (c != '{' && c != '}') {
        out += c;
      } else if (pos < format.size() && format[pos] == c) {
        out += format[pos++];
      } else if (c == '}') {
        return bad_data("single '}' encountered in format string");
      } else {
        ASSAY_ASSIGN(const std::string text, run_field(format, pos, depth));
        out += text;
        ASSAY_TRY(runtime_.admit(out.size()));
      }
    }
    return out;
  }

 private:
  Result<std::string> run_field(std::string_view format, size_t& pos, int depth) {
    const size_t begin = pos;
    size_t end = pos;
    for (int open = 1; end < format.size(); ++end) {
      if (format[end] == '[' && open == 1) {  // brackets of an index hide braces
        const size_t close = format.find(']', end);
        if (close != std::string_view::npos) end = close;
      }
      open += format[end] == '{' ? 1 : (format[end] == '}' ? -1 : 0);
      if (open == 0) break;
    }
    if (end >= format.size()) return bad_data("expected '}' before end of string");
    pos = end + 1;
    return format_field(format.substr(begin, end - begin), depth);
  }

  Result<std::string> format_field(std::string_view field, int depth) {
    size_t name_end = 0;
    while (name_end < field.size() && field[name_end] != '!' && field[name_end] != ':') {
      if (field[name_end] == '[') name_end = std::min(field.find(']', name_end), field.size() - 1);
      ++name_end;
    }
    ASSAY_ASSIGN(Value value, look_up(field.substr(0, name_end)));
    std::string_view rest = field.substr(name_end);
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2 || std::string_view("sra").find(rest[1]) == std::string_view::npos) {
        return bad_data("a format conversion is one of !s, !r and !a");
      }
      ASSAY_ASSIGN(std::string text, converted(runtime_, value, rest[1], false));
      value = Value::string(std::move(text));
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') return bad_data("expected ':' after conversion specifier");
    }
    std::string spec;
    if (!rest.empty()) {
      ASSAY_ASSIGN(spec, run(rest.substr(1), depth - 1));
    }
    return apply_spec(value, spec);
  }

  Result<Value> look_up(std::string_view name) {
    const size_t first_end = std::min(name.find_first_of(".["), name.size());
    ASSAY_ASSIGN(Value value, first(name.substr(0, first_end)));
    std::string_view rest = name.substr(first_end);
    while (!rest.empty()) {
      if (rest[0] == '.') {
        const size_t end = std::min(rest.find_first_of(".[", 1), rest.size());
        if (end == 1) return bad_data("empty attribute in format string");
        ASSAY_ASSIGN(value, get_attribute(runtime_, value, rest.substr(1, end - 1)));
        rest.remove_prefix(end);
      } else if (rest[0] == '[') {
        const size_t end = rest.find(']');
        if (end == std::string_view::npos || end == 1)
          return bad_data("an index in a format string is empty or not closed");
        ASSAY_ASSIGN(value, get_item(runtime_, value, index_of(rest.substr(1, end - 1))));
        rest.remove_prefix(end + 1);
      } else {
        return bad_data("only '.' or '[' may follow ']' in a format field");
      }
    }
    return value;
  }

  static Value index_of(std::string_view text) {
    const std::optional<int64_t> number = is_all(CharacterClass::decimal, text) ? parse_int(text) : std::nullopt;
    return number ? Value::integer(*number) : Value::string(std::string(text));
  }

  Result<Value> first(std::string_view name) {
    if (!name.empty() && !is_all(CharacterClass::decimal, name)) {
      for (const auto& [key, value] : arguments_.named) {
        if (key == name) return value;
      }
      return bad_data(fmt::format("the format names '{}', which is not given", name));
    }
    const bool automatic = name.empty();
    if (numbering_ && *numbering_ != automatic) return bad_data("cannot mix automatic and manual field numbers");
    numbering_ = automatic;
    const int64_t index = automatic ? next_++ : parse_int(name).value_or(INT64_MAX);
    if (index >= static_cast<int64_t>(arguments_.positional.size())) {
      return bad_data(fmt::format("replacement index {} out of range for positional arguments", index));
    }
    return arguments_.positional[static_cast<size_t>(index)];
  }

  Result<std::string> apply_spec(const Value& value, std::string_view text) {
    if (value.is_number() && !(text.empty() && value.is(Kind::boolean))) return format_number(value, text);
    if (value.is(Kind::string)) return format_string(value, text);
    if (!text.empty())
      return bad_data(fmt::format("unsupported format string passed to {}.__format__", type_name(value)));
    ASSAY_ASSIGN(std::string out, to_str(runtime_, value));
    return escape_ ? escape_html(out) : out;
  }

  Result<std::string> format_string(const Value& value, std::string_view text) {
    ASSAY_ASSIGN(const Spec spec, parse_spec(text, '<'));
    if ((spec.type != 0 && spec.type != 's') || spec.align == '=' || spec.sign != '-' || spec.grouping != 0 ||
        spec.alternate) {
      return bad_data("a format specifier for numbers is used with a string");
    }
    const std::string out = assemble(spec, "", cut_to_precision(value.as_string(), spec.precision));
    return escape_ && !value.is_markup() ? escape_html(out) : out;
  }

  Result<std::string> format_number(const Value& value, std::string_view text) {
    ASSAY_ASSIGN(const Spec spec, parse_spec(text, '>'));
    const bool is_real_type = spec.type != 0 && std::string_view("eEfFgGn%").find(spec.type) != std::string_view::npos;
    if (value.is(Kind::real) || is_real_type) {
      if (spec.type != 0 && !is_real_type) {
        return bad_data(fmt::format("Unknown format code '{}' for object of type 'float'", spec.type));
      }
      if (value.is_integral() && spec.type == 'n') return format_integer(value.as_integer(), spec);
      return format_real(value.as_real(), spec);
    }
    if (spec.precision >= 0) return bad_data("Precision not allowed in integer format specifier");
    if (spec.type == 'c') {
      if (value.as_integer() < 0 || value.as_integer() > 0x10FFFF) return bad_data("%c arg not in range(0x110000)");
      std::string character;
      append_utf8(character, static_cast<char32_t>(value.as_integer()));
      return assemble(spec, "", character);
    }
    if (spec.type != 0 && std::string_view("dxXob").find(spec.type) == std::string_view::npos) {
      return bad_data(fmt::format("Unknown format code '{}' for object of type 'int'", spec.type));
    }
    return format_integer(value.as_integer(), spec);
  }

  // [[fill]align][sign][#][0][width][grouping][.precision][type]
  Result<Spec> parse_spec(std::string_view text, char default_align) {
    Spec spec;
    bool has_fill = false;
    size_t pos = 0;
    const auto at = [&](std::string_view set) {
      return pos < text.size() && set.find(text[pos]) != std::string_view::npos;
    };
    size_t after_fill = 0;
    if (!text.empty()) next_code_point(text, after_fill);
    if (after_fill < text.size() && std::string_view("<>=^").find(text[after_fill]) != std::string_view::npos) {
      spec.fill = std::string(text.substr(0, after_fill));
      spec.align = text[after_fill];
      has_fill = true;
      pos = after_fill + 1;
    } else if (at("<>=^")) {
      spec.align = text[pos++];
    }
    if (at("+- ")) spec.sign = text[pos++];
    if (at("#")) {
      spec.alternate = true;
      ++pos;
    }
    if (at("0") && !has_fill) {
      ++pos;
      spec.fill = "0";
      if (spec.align == 0 && default_align == '>') spec.align = '=';
    }
    if (spec.align == 0) spec.align = default_align;
    take_digits(text, pos, spec.width);
    if (at(",_")) spec.grouping = text[pos++];
    if (at(".")) {
      ++pos;
      if (!take_digits(text, pos, spec.precision)) return bad_data("Format specifier missing precision");
    }
    if (pos < text.size()) spec.type = text[pos++];
    if (pos < text.size()) return bad_data(fmt::format("Invalid format specifier '{}'", text));
    ASSAY_TRY(check_size(runtime_, spec));
    return spec;
  }

  Runtime& runtime_;
  const bool escape_;
  const Arguments& arguments_;
  std::optional<bool> numbering_;  // automatic, once a field has shown it
  int64_t next_ = 0;
};

}  // namespace

Result<std::string> percent_format(Runtime& runtime, const Value& format, const Value& argument) {
  return PercentFormatter(runtime, format, argument).run();
}

Result<std::string> brace_format(Runtime& runtime, const Value& format, const Arguments& arguments) {
  ASSAY_TRY(runtime.admit(format.as_string().size()));
  return BraceFormatter(runtime, format.is_markup(), arguments).run(format.as_string(), 1);
}

}  // namespace assay::jinja
