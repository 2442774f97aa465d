#include "engine/text/component_fields.h"

#include <fmt/format.h>

#include "engine/base/text_util.h"
#include "engine/text/regex_dialect.h"

namespace assay {

Status unsupported_type(const JsonField& component, std::string_view implemented) {
  ASSAY_ASSIGN(const JsonField type, component.get("type"));
  return unsupported(type.error(fmt::format("one of {}", implemented)).message());
}

Result<std::string> character_or(const JsonField& component, std::string_view key, std::string_view other) {
  ASSAY_ASSIGN(std::string text, component.string_or(key, other));
  if (count_code_points(text) != 1) return component.get(key)->error("one character");
  return text;
}

Result<ComponentPattern> read_pattern(const JsonField& component) {
  ASSAY_ASSIGN(const JsonField pattern, component.get("pattern"));
  for (const bool is_regex : {false, true}) {
    const std::optional<JsonField> text = pattern.find(is_regex ? "Regex" : "String");
    if (!text) continue;
    ASSAY_ASSIGN(std::string value, text->as_string());
    return ComponentPattern{is_regex, std::move(value)};
  }
  return pattern.error("{\"String\": text} or {\"Regex\": pattern}");
}

Result<Regex> compile_pattern(const JsonField& component, const ComponentPattern& pattern) {
  Result<Regex> regex = pattern.is_regex ? compile_oniguruma(pattern.text) : Regex::compile(regex_escape(pattern.text));
  if (regex.ok()) return regex;
  return unsupported(component.get("pattern")->error("a pattern that this tokenizer can search for").message() + ": " +
                     regex.status().message());
}

}  // namespace assay
