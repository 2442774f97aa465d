#include "engine/text/chat_template.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "engine/base/text_util.h"

namespace assay {
namespace {

// Special tokens that templates may print, under the names they know them by.
constexpr std::array<std::string_view, 7> kTokenNames = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                         "pad_token", "cls_token", "mask_token"};

Result<std::optional<Json>> read_optional_json(const Path& path) {
  if (!real_files().exists(path)) return std::optional<Json>();
  ASSAY_ASSIGN(const std::string text, real_files().read(path));
  ASSAY_ASSIGN(Json json, Json::parse(text, path.string()));
  return std::optional<Json>(std::move(json));
}

// A token is a string, or an object with its text under "content".
void add_special_tokens(const Json& file, std::map<std::string, std::string>& tokens) {
  for (const std::string_view name : kTokenNames) {
    const Json* value = file.find(name);
    if (value && value->is_object()) value = value->find("content");
    if (value && value->is_string()) tokens.emplace(name, value->as_string());
  }
}

// tokenizer_config.json's chat_template: a string, or a list of named ones of which "default" is taken.
Result<std::optional<std::string>> template_of_config(const Json& config, std::string_view source) {
  const auto field = JsonField(config, source).find("chat_template");
  if (!field) return std::optional<std::string>();
  if (field->json().is_string()) return std::optional<std::string>(field->json().as_string());
  ASSAY_ASSIGN(const auto entries, field->items());
  for (const JsonField& entry : entries) {
    ASSAY_ASSIGN(const std::string name, entry.get_string("name"));
    if (name != "default") continue;
    ASSAY_ASSIGN(std::string text, entry.get_string("template"));
    return std::optional<std::string>(std::move(text));
  }
  return field->error("a template named \"default\"");
}

// What continue_final_message cuts after: the last message's text, whole, and without the space around it.
Result<std::string> final_text(const Json& messages) {
  const Json* content = messages.size() > 0 ? messages.as_array().back().find("content") : nullptr;
  if (content && content->is_array() && content->size() > 0) content = content->as_array().back().find("text");
  if (!content || !content->is_string())
    return invalid_argument("continue_final_message: the last message has no text to continue");
  return content->as_string();
}

// A mark that no text holds finds the end of the final message wherever the template moved it. Its last character is a
// space, which templates that trim contents take away: then the space before the mark goes too, as Transformers does
// it.
constexpr std::string_view kMark = "CONTINUE_FINAL_MESSAGE_TAG ";

Result<std::string> cut_at_mark(std::string rendered, const std::string& text) {
  const size_t at = rendered.rfind(py_strip(kMark));
  if (at == std::string::npos || rendered.find(py_strip(text)) == std::string::npos) {
    return bad_data(
        "continue_final_message: the template does not print the last message's text, so there is nothing to continue");
  }
  const bool untrimmed = rendered.compare(at, kMark.size(), kMark) == 0;
  rendered.resize(at);
  return untrimmed ? rendered : std::string(py_rstrip(rendered));
}

// The messages with a mark behind the last text.
Json with_mark(Json messages) {
  Json* content = messages.as_array().back().find("content");
  if (content->is_array()) content = content->as_array().back().find("text");
  *content = Json(content->as_string() + std::string(kMark));
  return messages;
}

}  // namespace

Result<std::optional<ChatTemplate>> ChatTemplate::open(const Path& folder) {
  std::map<std::string, std::string> tokens;
  ASSAY_ASSIGN(const auto config, read_optional_json(folder / "tokenizer_config.json"));
  ASSAY_ASSIGN(const auto special, read_optional_json(folder / "special_tokens_map.json"));
  if (config) add_special_tokens(*config, tokens);
  if (special) add_special_tokens(*special, tokens);

  const Path jinja = folder / "chat_template.jinja";
  if (real_files().exists(jinja)) {
    ASSAY_ASSIGN(std::string text, real_files().read(jinja, size_t{16} << 20));
    ASSAY_ASSIGN(ChatTemplate made, from_text(std::move(text), std::move(tokens), jinja.string()));
    return std::optional<ChatTemplate>(std::move(made));
  }
  const Path json = folder / "chat_template.json";
  ASSAY_ASSIGN(const auto processor, read_optional_json(json));
  if (processor) {
    ASSAY_ASSIGN(std::string text, JsonField(*processor, json.string()).get_string("chat_template"));
    ASSAY_ASSIGN(ChatTemplate made, from_text(std::move(text), std::move(tokens), json.string()));
    return std::optional<ChatTemplate>(std::move(made));
  }
  if (!config) return std::optional<ChatTemplate>();
  const std::string source = (folder / "tokenizer_config.json").string();
  ASSAY_ASSIGN(auto text, template_of_config(*config, source));
  if (!text) return std::optional<ChatTemplate>();
  ASSAY_ASSIGN(ChatTemplate made, from_text(std::move(*text), std::move(tokens), source + ": chat_template"));
  return std::optional<ChatTemplate>(std::move(made));
}

Result<ChatTemplate> ChatTemplate::from_text(std::string text, std::map<std::string, std::string> special_tokens,
                                             std::string_view name) {
  ASSAY_ASSIGN(JinjaTemplate compiled, JinjaTemplate::parse(text, name));
  return ChatTemplate(std::move(text), std::move(special_tokens), std::move(compiled));
}

Result<std::string> ChatTemplate::render(const Json& messages, const ChatRenderOptions& options,
                                         int64_t now_utc_us) const {
  if (!messages.is_array()) return invalid_argument("chat messages: expected a list");
  if (options.continue_final_message && options.add_generation_prompt) {
    return invalid_argument("continue_final_message and add_generation_prompt exclude each other");
  }
  JinjaEnvironment environment;
  environment.now_utc_us = now_utc_us;
  const auto render_messages = [&](const Json& shown) {
    Json variables = Json::object();
    for (const auto& [token, text] : special_tokens_) variables.set(token, text);
    variables.set("messages", shown).set("tools", Json()).set("documents", Json());
    variables.set("add_generation_prompt", options.add_generation_prompt);
    if (options.extra.is_object()) {
      for (const auto& [name, value] : options.extra.as_object()) variables.set(name, value);
    }
    return compiled_.render(variables, environment);
  };
  if (!options.continue_final_message) return render_messages(messages);
  ASSAY_ASSIGN(const std::string text, final_text(messages));
  ASSAY_ASSIGN(std::string rendered, render_messages(with_mark(messages)));
  return cut_at_mark(std::move(rendered), text);
}

Result<std::string> ChatTemplate::render(const std::vector<ChatMessage>& messages, const ChatRenderOptions& options,
                                         int64_t now_utc_us) const {
  Json list = Json::array();
  for (const ChatMessage& message : messages)
    list.push_back(Json::object().set("role", message.role).set("content", message.content));
  return render(list, options, now_utc_us);
}

}  // namespace assay
