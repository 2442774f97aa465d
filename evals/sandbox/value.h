#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/base/status.h"

namespace assay {

// A plain Python value: all that passes between a candidate program and its checker. A value type with cheap copies
// (containers are shared, never changed); thread-compatible.
class Value {
 public:
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    complex,
    text,
    bytes,
    list,
    tuple,
    dict,
    set,
    frozenset,
    opaque,  // any other object: it stays in the program's process; here is only its type's name and a number
  };
  using Items = std::vector<Value>;
  using Member = std::pair<Value, Value>;

  Value() = default;
  static Value none() { return {}; }
  static Value boolean(bool value);
  static Value integer(int64_t value);
  // Any size, as hexadecimal: "-1f", "123456789abcdef0123". Errors: bad_data (no digits, an odd character).
  static Result<Value> integer_from_hex(std::string_view digits);
  // The same from decimal digits, at most 100,000 of them.
  static Result<Value> integer_from_decimal(std::string_view digits);
  static Value real(double value);
  static Value complex(std::complex<double> value);
  static Value text(std::string utf8);  // lone surrogates as Python's "surrogatepass" encodes them
  static Value bytes(std::string bytes);
  static Value list(Items items);
  static Value tuple(Items items);
  static Value set(Items items);
  static Value frozenset(Items items);
  static Value dict(std::vector<Member> members);  // the last of equal keys wins, as in Python
  static Value opaque(std::string type_name, uint64_t number);

  Kind kind() const { return kind_; }
  // True for an instance of a subclass (Counter, namedtuple, IntEnum): equal to plain values as Python has it, but its
  // type is not theirs.
  bool is_subclass() const { return subclass_; }
  Value as_subclass() const;
  bool is_none() const { return kind_ == Kind::none; }
  bool is_number() const;  // boolean, integer or real
  bool is_sequence() const { return kind_ == Kind::list || kind_ == Kind::tuple; }

  // Unchecked reads: the kind must fit (ASSAY_CHECK).
  bool as_boolean() const;
  std::optional<int64_t> as_int64() const;  // of an integer: nothing where it is larger
  std::string integer_hex() const;          // of an integer of any size: "-1f"
  double as_real() const;                   // of a number; an integer rounds to nearest, beyond the range to infinity
  std::complex<double> as_complex() const;
  const std::string& as_text() const;       // of text or bytes; of an opaque value the name of its type
  const Items& items() const;               // of list, tuple, set, frozenset
  std::span<const Member> members() const;  // of dict
  uint64_t opaque_number() const;

  // As Python's repr prints it, cut after about max_bytes.
  std::string repr(size_t max_bytes = 200) const;

 private:
  using Text = std::shared_ptr<const std::string>;
  struct Remote {
    Text type_name;
    uint64_t number;
  };
  template <class T>
  Value(Kind kind, T data) : kind_(kind), data_(std::move(data)) {}
  Kind kind_ = Kind::none;
  bool subclass_ = false;
  std::variant<std::monostate, bool, int64_t, double, std::complex<double>, Text, std::shared_ptr<const Items>,
               std::shared_ptr<const std::vector<Member>>, Remote>
      data_;  // an integer beyond 64 bits is its hexadecimal text
};

// Python's a == b: 1 == 1.0 == True, a list is no tuple, sets and dicts in any order, NaN equals nothing (also inside a
// container: values were copied, so identity never helps), integers and reals compare exactly. An opaque value equals
// nothing.
bool python_equal(const Value& a, const Value& b);

// A text that is equal for exactly the values that are python_equal; nothing for a value that equals nothing (it holds
// NaN or an opaque value). For comparing many answers with one expected value.
std::optional<std::string> equality_key(const Value& value);

// numpy.allclose(answer, expected, rtol, atol) for two numbers of one type, or two lists or tuples of one
// type and of one shape; false where numpy would not compare. Infinities equal themselves, NaN nothing.
bool all_close(const Value& answer, const Value& expected, double rtol, double atol);

struct ValueLimits {
  int max_depth = 40;
  size_t max_bytes = size_t{1} << 20;
  size_t max_items = size_t{1} << 18;
};

// The wire form (docs/sandbox.md) and back. Decoding trusts nothing: every count and length is checked against what is
// left before anything is allocated. Errors: bad_data with offset and rule.
std::string encode_value(const Value& value);
Result<Value> decode_value(std::string_view bytes, const ValueLimits& limits = {});

// JSON as Python's json.loads reads it: integers of any size, NaN, Infinity, lone surrogates, the last of equal keys
// wins. Arrays become lists, objects dicts with text keys. Errors: bad_data with offset.
Result<Value> value_from_json(std::string_view text,
                              const ValueLimits& limits = {
                                  .max_depth = 200, .max_bytes = size_t{1} << 30, .max_items = size_t{1} << 26});

}  // namespace assay
