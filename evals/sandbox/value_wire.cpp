#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "evals/sandbox/frame.h"
#include "evals/sandbox/value.h"

namespace assay {
namespace {

using Kind = Value::Kind;

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void put_sized(std::string& out, char mark, std::string_view text) {
  out += mark;
  put(out, static_cast<uint32_t>(text.size()));
  out += text;
}

void encode(const Value& value, std::string& out);

constexpr size_t kMinPacked = 4;

// Whether a value is 8 bytes on the wire whatever it is.
bool is_machine_number(const Value& value) {
  if (value.is_subclass()) return false;
  return value.kind() == Kind::real || (value.kind() == Kind::integer && value.as_int64());
}

void encode_packed(const Value::Items& items, char mark, std::string& out) {
  const auto is_integer = [](const Value& item) { return item.kind() == Kind::integer; };
  const auto num_integers = static_cast<size_t>(std::count_if(items.begin(), items.end(), is_integer));
  out.reserve(out.size() + 9 * items.size() + 16);
  out += 'p';
  out += mark;
  put(out, static_cast<uint32_t>(items.size()));
  put(out, static_cast<uint32_t>(num_integers));
  if (num_integers > 0 && num_integers < items.size())
    for (const Value& item : items) out += is_integer(item) ? '\0' : '\1';
  for (const Value& item : items)
    if (is_integer(item)) put(out, *item.as_int64());
  for (const Value& item : items)
    if (!is_integer(item)) put(out, item.as_real());
}

void encode_items(const Value::Items& items, char mark, std::string& out) {
  out += mark;
  put(out, static_cast<uint32_t>(items.size()));
  for (const Value& item : items) encode(item, out);
}

void encode_sequence(const Value::Items& items, char mark, std::string& out) {
  if (items.size() >= kMinPacked && std::all_of(items.begin(), items.end(), is_machine_number))
    return encode_packed(items, mark, out);
  encode_items(items, mark, out);
}

void encode_integer(const Value& value, std::string& out) {
  const auto small = value.as_int64();
  if (!small) return put_sized(out, 'I', value.integer_hex());
  out += 'i';
  put(out, *small);
}

void encode(const Value& value, std::string& out) {
  if (value.is_subclass()) out += 'x';
  switch (value.kind()) {
    case Kind::none: out += 'N'; return;
    case Kind::boolean: out += value.as_boolean() ? 'T' : 'F'; return;
    case Kind::integer: return encode_integer(value, out);
    case Kind::real: out += 'f'; return put(out, value.as_real());
    case Kind::complex:
      out += 'c';
      put(out, value.as_complex().real());
      return put(out, value.as_complex().imag());
    case Kind::text: return put_sized(out, 's', value.as_text());
    case Kind::bytes: return put_sized(out, 'b', value.as_text());
    case Kind::list: return encode_sequence(value.items(), 'l', out);
    case Kind::tuple: return encode_sequence(value.items(), 't', out);
    case Kind::set: return encode_items(value.items(), 'S', out);
    case Kind::frozenset: return encode_items(value.items(), 'Z', out);
    case Kind::dict:
      out += 'd';
      put(out, static_cast<uint32_t>(value.members().size()));
      for (const auto& [key, item] : value.members()) {
        encode(key, out);
        encode(item, out);
      }
      return;
    case Kind::opaque:
      out += 'o';
      put(out, value.opaque_number());
      put(out, static_cast<uint32_t>(value.as_text().size()));
      out += value.as_text();
      return;
  }
}

// Reads one value; `left` items remain of the whole message's allowance.
class Decoder {
 public:
  Decoder(std::string_view bytes, const ValueLimits& limits)
      : bytes_(bytes), limits_(limits), items_left_(limits.max_items) {}

  Result<Value> whole() {
    if (bytes_.size() > limits_.max_bytes) return error("at most " + std::to_string(limits_.max_bytes) + " bytes");
    ASSAY_ASSIGN(Value value, one(0));
    if (at_ != bytes_.size()) return error("nothing after the value");
    return value;
  }

 private:
  Status error(std::string_view expected) const {
    return bad_data(fmt::format("value: byte {}: expected {}", at_, expected));
  }

  template <class T>
  Result<T> take() {
    if (bytes_.size() - at_ < sizeof(T)) return error(fmt::format("{} more bytes", sizeof(T)));
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  Result<std::string_view> text() {
    ASSAY_ASSIGN(const uint32_t size, take<uint32_t>());
    if (size > bytes_.size() - at_) return error(fmt::format("{} more bytes", size));
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }

  // Every item takes a byte at least, so a count beyond what is left is a lie and allocates nothing.
  Result<uint32_t> count(uint32_t items_each) {
    ASSAY_ASSIGN(const uint32_t number, take<uint32_t>());
    const uint64_t items = uint64_t{number} * items_each;
    if (items > bytes_.size() - at_ || items > items_left_) return error("a count that the message can hold");
    items_left_ -= items;
    return number;
  }

  Result<Value::Items> items(int depth) {
    ASSAY_ASSIGN(const uint32_t number, count(1));
    Value::Items values;
    values.reserve(number);
    for (uint32_t i = 0; i < number; ++i) {
      ASSAY_ASSIGN(Value value, one(depth + 1));
      values.push_back(std::move(value));
    }
    return values;
  }

  // A list or tuple of 64-bit integers and doubles: which is which, the integers, the doubles.
  Result<Value> packed(int depth) {
    ASSAY_ASSIGN(const char mark, take<char>());
    if ((mark != 'l' && mark != 't') || depth >= limits_.max_depth) return error("a list or tuple");
    ASSAY_ASSIGN(const uint32_t number, count(1));
    ASSAY_ASSIGN(const uint32_t num_integers, take<uint32_t>());
    if (num_integers > number) return error("at most as many integers as items");
    const bool mixed = num_integers > 0 && num_integers < number;
    if (bytes_.size() - at_ < uint64_t{number} * (mixed ? 9 : 8)) return error("8 bytes an item");
    const std::string_view kinds = mixed ? bytes_.substr(at_, number) : std::string_view();
    if (mixed && std::count(kinds.begin(), kinds.end(), '\0') != int64_t{num_integers})
      return error("a kind for every number");
    const char* integer = bytes_.data() + at_ + kinds.size();
    const char* real = integer + uint64_t{num_integers} * 8;
    at_ += kinds.size() + uint64_t{number} * 8;
    Value::Items values;
    values.reserve(number);
    for (uint32_t i = 0; i < number; ++i) {
      if (mixed ? kinds[i] == '\0' : num_integers > 0)
        values.push_back(Value::integer(next<int64_t>(integer)));
      else
        values.push_back(Value::real(next<double>(real)));
    }
    return mark == 'l' ? Value::list(std::move(values)) : Value::tuple(std::move(values));
  }

  template <class T>
  static T next(const char*& at) {
    T value;
    std::memcpy(&value, at, sizeof(T));
    at += sizeof(T);
    return value;
  }

  Result<Value> dict(int depth) {
    ASSAY_ASSIGN(const uint32_t number, count(2));
    std::vector<Value::Member> members;
    members.reserve(number);
    for (uint32_t i = 0; i < number; ++i) {
      ASSAY_ASSIGN(Value key, one(depth + 1));
      ASSAY_ASSIGN(Value value, one(depth + 1));
      members.emplace_back(std::move(key), std::move(value));
    }
    return Value::dict(std::move(members));
  }

  Result<Value> container(char mark, int depth) {
    if (depth >= limits_.max_depth) return error(fmt::format("at most {} levels", limits_.max_depth));
    if (mark == 'd') return dict(depth);
    ASSAY_ASSIGN(Value::Items values, items(depth));
    if (mark == 'l') return Value::list(std::move(values));
    if (mark == 't') return Value::tuple(std::move(values));
    return mark == 'S' ? Value::set(std::move(values)) : Value::frozenset(std::move(values));
  }

  Result<Value> sized(char mark) {
    if (mark == 'o') {
      ASSAY_ASSIGN(const uint64_t number, take<uint64_t>());
      ASSAY_ASSIGN(const std::string_view name, text());
      return Value::opaque(std::string(name), number);
    }
    ASSAY_ASSIGN(const std::string_view bytes, text());
    if (mark == 'I') return Value::integer_from_hex(bytes);
    return mark == 's' ? Value::text(std::string(bytes)) : Value::bytes(std::string(bytes));
  }

  Result<Value> number(char mark) {
    if (mark == 'i') {
      ASSAY_ASSIGN(const int64_t value, take<int64_t>());
      return Value::integer(value);
    }
    ASSAY_ASSIGN(const double real, take<double>());
    if (mark == 'f') return Value::real(real);
    ASSAY_ASSIGN(const double imaginary, take<double>());
    return Value::complex({real, imaginary});
  }

  Result<Value> one(int depth) {
    ASSAY_ASSIGN(char mark, take<char>());
    const bool subclass = mark == 'x';
    if (subclass) {
      ASSAY_ASSIGN(mark, take<char>());
    }
    Result<Value> value = plain(mark, depth);
    if (value.ok() && subclass) return value->as_subclass();
    return value;
  }

  Result<Value> plain(char mark, int depth) {
    switch (mark) {
      case 'N': return Value::none();
      case 'T':
      case 'F': return Value::boolean(mark == 'T');
      case 'i':
      case 'f':
      case 'c': return number(mark);
      case 'I':
      case 's':
      case 'b':
      case 'o': return sized(mark);
      case 'l':
      case 't':
      case 'S':
      case 'Z':
      case 'd': return container(mark, depth);
      case 'p': return packed(depth);
      default: return error("a mark among NTFifcIsbltSZdpox");
    }
  }

  std::string_view bytes_;
  const ValueLimits& limits_;
  uint64_t items_left_;
  size_t at_ = 0;
};

}  // namespace

std::string encode_value(const Value& value) {
  std::string out;
  encode(value, out);
  return out;
}

Result<Value> decode_value(std::string_view bytes, const ValueLimits& limits) { return Decoder(bytes, limits).whole(); }

std::string make_frame(char mark, const Value& value) {
  std::string frame(4, '\0');
  frame += mark;
  encode(value, frame);
  const auto size = static_cast<uint32_t>(frame.size() - 4);
  std::memcpy(frame.data(), &size, sizeof(size));
  return frame;
}

}  // namespace assay
