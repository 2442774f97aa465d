#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/request.h"
#include "engine/text/jinja.h"

namespace assay {

struct ChatRenderOptions {
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // cut right after the final message's content
  Json extra = Json::object();          // further template variables (tools, enable_thinking, ...)
};

// A checkpoint's chat template with the special tokens it may print. Immutable, thread-safe.
class ChatTemplate {
 public:
  // Looks for chat_template.jinja, then chat_template.json, then tokenizer_config.json's chat_template (a string, or a
  // list of named ones: "default"). nullopt when there is none. Errors: bad_data when it does not parse.
  static Result<std::optional<ChatTemplate>> open(const Path& folder);
  static Result<ChatTemplate> from_text(std::string text, std::map<std::string, std::string> special_tokens,
                                        std::string_view name);

  // `messages` is an array of {role, content, ...} objects.
  Result<std::string> render(const Json& messages, const ChatRenderOptions& options, int64_t now_utc_us) const;
  Result<std::string> render(const std::vector<ChatMessage>& messages, const ChatRenderOptions& options,
                             int64_t now_utc_us) const;

  const std::string& text() const { return text_; }

 private:
  ChatTemplate(std::string text, std::map<std::string, std::string> special_tokens, JinjaTemplate compiled)
      : text_(std::move(text)), special_tokens_(std::move(special_tokens)), compiled_(std::move(compiled)) {}
  std::string text_;
  std::map<std::string, std::string> special_tokens_;  // "bos_token" -> "<s>"
  JinjaTemplate compiled_;
};

}  // namespace assay
