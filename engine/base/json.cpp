#include "engine/base/json.h"

#include <algorithm>
#include <cmath>

#include "engine/base/check.h"

namespace assay {
namespace {

bool equal_numbers(const Json& a, const Json& b) {
  if (a.is_int() && b.is_int()) return a.as_int() == b.as_int();
  if (a.is_real() && b.is_real()) return a.as_real() == b.as_real();
  // An integer against a real is compared exactly: not every integer has a double.
  const int64_t integer = a.is_int() ? a.as_int() : b.as_int();
  const double real = a.is_int() ? b.as_real() : a.as_real();
  return real >= -0x1.0p63 && real < 0x1.0p63 && std::trunc(real) == real && static_cast<int64_t>(real) == integer;
}

bool equal_objects(const Json::Object& a, const Json::Object& b) {
  if (a.size() != b.size()) return false;
  const auto sorted = [](const Json::Object& object) {
    std::vector<const Json::Member*> members;
    for (const Json::Member& member : object) members.push_back(&member);
    std::sort(members.begin(), members.end(), [](const auto* x, const auto* y) { return x->first < y->first; });
    return members;
  };
  const auto members_a = sorted(a);
  const auto members_b = sorted(b);
  return std::equal(members_a.begin(), members_a.end(), members_b.begin(),
                    [](const auto* x, const auto* y) { return x->first == y->first && x->second == y->second; });
}

}  // namespace

Json::Json(uint64_t value) {
  if (value <= static_cast<uint64_t>(INT64_MAX)) {
    value_ = static_cast<int64_t>(value);
  } else {
    value_ = static_cast<double>(value);
  }
}

Json::Json(Array value) : value_(std::make_unique<Array>(std::move(value))) {}
Json::Json(Object value) : value_(std::make_unique<Object>(std::move(value))) {}
Json::~Json() = default;

Json::Json(const Json& other) {
  switch (other.kind()) {
    case Kind::null: break;
    case Kind::boolean: value_ = other.as_bool(); break;
    case Kind::integer: value_ = other.as_int(); break;
    case Kind::real: value_ = other.as_real(); break;
    case Kind::string: value_ = other.as_string(); break;
    case Kind::array: value_ = std::make_unique<Array>(other.as_array()); break;
    case Kind::object: value_ = std::make_unique<Object>(other.as_object()); break;
  }
}

Json& Json::operator=(const Json& other) {
  if (this != &other) *this = Json(other);
  return *this;
}

bool Json::as_bool() const {
  ASSAY_CHECK(is_bool());
  return std::get<bool>(value_);
}

int64_t Json::as_int() const {
  ASSAY_CHECK(is_int());
  return std::get<int64_t>(value_);
}

double Json::as_real() const {
  ASSAY_CHECK(is_number());
  return is_int() ? static_cast<double>(std::get<int64_t>(value_)) : std::get<double>(value_);
}

const std::string& Json::as_string() const {
  ASSAY_CHECK(is_string());
  return std::get<std::string>(value_);
}

const Json::Array& Json::as_array() const {
  ASSAY_CHECK(is_array());
  return *std::get<std::unique_ptr<Array>>(value_);
}

Json::Array& Json::as_array() {
  ASSAY_CHECK(is_array());
  return *std::get<std::unique_ptr<Array>>(value_);
}

const Json::Object& Json::as_object() const {
  ASSAY_CHECK(is_object());
  return *std::get<std::unique_ptr<Object>>(value_);
}

Json::Object& Json::as_object() {
  ASSAY_CHECK(is_object());
  return *std::get<std::unique_ptr<Object>>(value_);
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  const Object& object = as_object();
  const auto member = std::find_if(object.begin(), object.end(), [&](const Member& m) { return m.first == key; });
  return member == object.end() ? nullptr : &member->second;
}

Json* Json::find(std::string_view key) { return const_cast<Json*>(std::as_const(*this).find(key)); }

Json& Json::set(std::string_view key, Json value) {
  if (is_null()) *this = object();
  if (Json* member = find(key)) {
    *member = std::move(value);
  } else {
    as_object().emplace_back(std::string(key), std::move(value));
  }
  return *this;
}

Json& Json::push_back(Json value) {
  if (is_null()) *this = array();
  as_array().push_back(std::move(value));
  return *this;
}

size_t Json::size() const {
  if (is_array()) return as_array().size();
  return is_object() ? as_object().size() : 0;
}

bool operator==(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return equal_numbers(a, b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Json::Kind::boolean: return a.as_bool() == b.as_bool();
    case Json::Kind::string: return a.as_string() == b.as_string();
    case Json::Kind::array: return a.as_array() == b.as_array();
    case Json::Kind::object: return equal_objects(a.as_object(), b.as_object());
    default: return true;
  }
}

}  // namespace assay
