#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/base/status.h"

namespace assay {

// How Json::dump writes. The defaults give the shortest text: {"a":1}.
struct JsonStyle {
  int indent = -1;                 // spaces a level; negative: everything on one line
  bool ensure_ascii = false;       // write non-ASCII as \uXXXX, as Python's json does by default
  bool python_separators = false;  // ", " and ": " on one line, as Python's json.dumps writes
  bool sort_keys = false;
};

// Bounds on what Json::parse accepts, so that a small hostile file cannot cost much.
struct JsonLimits {
  int max_depth = 256;
  size_t max_bytes = size_t{1} << 30;
};

// A JSON value. Objects keep the order of their keys; integers and reals stay apart (1 is not 1.0). Integers beyond
// 64 bits become reals. A value type, deep copies; thread-compatible.
class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;
  enum class Kind : uint8_t { null, boolean, integer, real, string, array, object };

  Json() = default;
  Json(std::nullptr_t) {}                                       // NOLINT
  Json(bool value) : value_(value) {}                           // NOLINT
  Json(int value) : value_(int64_t{value}) {}                   // NOLINT
  Json(int64_t value) : value_(value) {}                        // NOLINT
  Json(unsigned value) : value_(int64_t{value}) {}              // NOLINT
  Json(uint64_t value);                                         // NOLINT a real beyond INT64_MAX
  Json(double value) : value_(value) {}                         // NOLINT
  Json(const char* value) : value_(std::string(value)) {}       // NOLINT
  Json(std::string_view value) : value_(std::string(value)) {}  // NOLINT
  Json(std::string value) : value_(std::move(value)) {}         // NOLINT
  Json(Array value);                                            // NOLINT
  Json(Object value);                                           // NOLINT
  Json(const Json& other);
  Json(Json&&) noexcept = default;
  Json& operator=(const Json& other);
  Json& operator=(Json&&) noexcept = default;
  ~Json();

  static Json array() { return Json(Array{}); }
  static Json object() { return Json(Object{}); }

  // Parses RFC 8259 text (UTF-8, one value). Duplicate keys are refused. `source` names the text in errors: they say
  // line and column and what was expected. NaN and Infinity, which Python writes, are accepted as reals.
  static Result<Json> parse(std::string_view text, std::string_view source, const JsonLimits& limits = {});

  // Serializes; a real prints as the shortest text that reads back to the same bits, with ".0" where it has no
  // fraction (as Python does); non-finite reals print NaN, Infinity, -Infinity. Invalid UTF-8 prints U+FFFD.
  std::string dump(const JsonStyle& style = {}) const;

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is_null() const { return kind() == Kind::null; }
  bool is_bool() const { return kind() == Kind::boolean; }
  bool is_int() const { return kind() == Kind::integer; }
  bool is_real() const { return kind() == Kind::real; }
  bool is_number() const { return is_int() || is_real(); }
  bool is_string() const { return kind() == Kind::string; }
  bool is_array() const { return kind() == Kind::array; }
  bool is_object() const { return kind() == Kind::object; }

  // Unchecked reads: the kind must fit (ASSAY_CHECK). Untrusted values are read through JsonField.
  bool as_bool() const;
  int64_t as_int() const;
  double as_real() const;  // integers too
  const std::string& as_string() const;
  const Array& as_array() const;
  Array& as_array();
  const Object& as_object() const;
  Object& as_object();

  // Members of an object: nullptr when this is no object or has no such key.
  const Json* find(std::string_view key) const;
  Json* find(std::string_view key);
  // Sets or replaces a member of an object (a null value becomes an object first); returns *this for chaining.
  Json& set(std::string_view key, Json value);
  // Appends to an array (a null value becomes an array first); returns *this.
  Json& push_back(Json value);
  size_t size() const;  // elements or members; 0 otherwise

  // Deep equality; 1 and 1.0 are equal, key order does not matter (as in Python).
  friend bool operator==(const Json& a, const Json& b);

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, std::unique_ptr<Array>, std::unique_ptr<Object>>
      value_;
};

// Reads untrusted JSON with errors that name the file, the whole field path, what was found and what was expected:
//   config.json: text_config.num_hidden_layers: expected an integer from 1 to 1000, found "forty"
// A cheap view: the Json must outlive it. Thread-compatible.
class JsonField {
 public:
  JsonField(const Json& value, std::string_view source) : value_(&value), path_(), source_(source) {}

  const Json& json() const { return *value_; }
  bool is_null() const { return value_->is_null(); }
  const std::string& path() const { return path_; }

  // The member `key`; an error when this is no object or the member is missing.
  Result<JsonField> get(std::string_view key) const;
  // The member `key` if there is one that is not null.
  std::optional<JsonField> find(std::string_view key) const;
  Result<std::vector<JsonField>> items() const;                            // of an array
  Result<std::vector<std::pair<std::string, JsonField>>> members() const;  // of an object

  Result<bool> as_bool() const;
  Result<int64_t> as_int(int64_t low = INT64_MIN, int64_t high = INT64_MAX) const;
  Result<double> as_real() const;
  Result<std::string> as_string() const;

  // get() and as_...() in one; the `_or` forms give `other` when the member is missing or null. All fail on a value
  // that is no object.
  Result<bool> get_bool(std::string_view key) const;
  Result<int64_t> get_int(std::string_view key, int64_t low = INT64_MIN, int64_t high = INT64_MAX) const;
  Result<double> get_real(std::string_view key) const;
  Result<std::string> get_string(std::string_view key) const;
  Result<bool> bool_or(std::string_view key, bool other) const;
  Result<int64_t> int_or(std::string_view key, int64_t other, int64_t low = INT64_MIN, int64_t high = INT64_MAX) const;
  Result<double> real_or(std::string_view key, double other) const;
  Result<std::string> string_or(std::string_view key, std::string_view other) const;

  // bad_data naming source, path, the value found and `expected`.
  Status error(std::string_view expected) const;

 private:
  JsonField(const Json* value, std::string path, std::string source)
      : value_(value), path_(std::move(path)), source_(std::move(source)) {}
  const Json* value_;
  std::string path_;
  std::string source_;
};

}  // namespace assay
