#include "engine/base/json.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/text_util.h"

namespace assay {
namespace {

// What an error says was found.
std::string describe(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::null: return "null";
    case Json::Kind::string: return fmt::format("\"{}\"", excerpt(value.as_string()));
    case Json::Kind::array: return fmt::format("a list of {}", value.size());
    case Json::Kind::object: return fmt::format("an object of {} members", value.size());
    case Json::Kind::boolean:
    case Json::Kind::integer:
    case Json::Kind::real: break;
  }
  return value.dump();
}

bool is_plain_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
  });
}

std::string member_path(const std::string& path, std::string_view key) {
  if (!is_plain_key(key)) return fmt::format("{}[\"{}\"]", path, excerpt(key));
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

std::string expected_integer(int64_t low, int64_t high) {
  if (low == INT64_MIN && high == INT64_MAX) return "an integer";
  if (high == INT64_MAX) return fmt::format("an integer of at least {}", low);
  if (low == INT64_MIN) return fmt::format("an integer of at most {}", high);
  return fmt::format("an integer from {} to {}", low, high);
}

std::string at_path(std::string_view source, std::string_view path) {
  return path.empty() ? std::string(source) : fmt::format("{}: {}", source, path);
}

}  // namespace

Status JsonField::error(std::string_view expected) const {
  return bad_data(fmt::format("{}: expected {}, found {}", at_path(source_, path_), expected, describe(*value_)));
}

Result<JsonField> JsonField::get(std::string_view key) const {
  if (!value_->is_object()) return error(fmt::format("an object with the member \"{}\"", excerpt(key)));
  const Json* member = value_->find(key);
  if (!member)
    return bad_data(fmt::format("{}: expected a value, found none", at_path(source_, member_path(path_, key))));
  return JsonField(member, member_path(path_, key), source_);
}

std::optional<JsonField> JsonField::find(std::string_view key) const {
  const Json* member = value_->find(key);
  if (!member || member->is_null()) return std::nullopt;
  return JsonField(member, member_path(path_, key), source_);
}

Result<std::vector<JsonField>> JsonField::items() const {
  if (!value_->is_array()) return error("a list");
  std::vector<JsonField> fields;
  fields.reserve(value_->size());
  for (const Json& item : value_->as_array()) {
    fields.push_back(JsonField(&item, fmt::format("{}[{}]", path_, fields.size()), source_));
  }
  return fields;
}

Result<std::vector<std::pair<std::string, JsonField>>> JsonField::members() const {
  if (!value_->is_object()) return error("an object");
  std::vector<std::pair<std::string, JsonField>> fields;
  fields.reserve(value_->size());
  for (const auto& [key, member] : value_->as_object()) {
    fields.emplace_back(key, JsonField(&member, member_path(path_, key), source_));
  }
  return fields;
}

Result<bool> JsonField::as_bool() const {
  if (!value_->is_bool()) return error("true or false");
  return value_->as_bool();
}

Result<int64_t> JsonField::as_int(int64_t low, int64_t high) const {
  const bool fits = value_->is_int() && value_->as_int() >= low && value_->as_int() <= high;
  if (!fits) return error(expected_integer(low, high));
  return value_->as_int();
}

Result<double> JsonField::as_real() const {
  if (!value_->is_number()) return error("a number");
  return value_->as_real();
}

Result<std::string> JsonField::as_string() const {
  if (!value_->is_string()) return error("a string");
  return value_->as_string();
}

Result<bool> JsonField::get_bool(std::string_view key) const {
  ASSAY_ASSIGN(const JsonField field, get(key));
  return field.as_bool();
}

Result<int64_t> JsonField::get_int(std::string_view key, int64_t low, int64_t high) const {
  ASSAY_ASSIGN(const JsonField field, get(key));
  return field.as_int(low, high);
}

Result<double> JsonField::get_real(std::string_view key) const {
  ASSAY_ASSIGN(const JsonField field, get(key));
  return field.as_real();
}

Result<std::string> JsonField::get_string(std::string_view key) const {
  ASSAY_ASSIGN(const JsonField field, get(key));
  return field.as_string();
}

Result<bool> JsonField::bool_or(std::string_view key, bool other) const {
  if (!value_->is_object()) return error("an object");
  const std::optional<JsonField> field = find(key);
  return field ? field->as_bool() : other;
}

Result<int64_t> JsonField::int_or(std::string_view key, int64_t other, int64_t low, int64_t high) const {
  if (!value_->is_object()) return error("an object");
  const std::optional<JsonField> field = find(key);
  return field ? field->as_int(low, high) : other;
}

Result<double> JsonField::real_or(std::string_view key, double other) const {
  if (!value_->is_object()) return error("an object");
  const std::optional<JsonField> field = find(key);
  return field ? field->as_real() : other;
}

Result<std::string> JsonField::string_or(std::string_view key, std::string_view other) const {
  if (!value_->is_object()) return error("an object");
  const std::optional<JsonField> field = find(key);
  return field ? field->as_string() : Result<std::string>(std::string(other));
}

}  // namespace assay
