#include "engine/text/tokenizer_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "engine/base/text_util.h"

namespace assay {
namespace {

// Tokenizers whose own code makes the post-processor from add_bos_token and add_eos_token; all others obey
// tokenizer.json.
constexpr std::array<std::string_view, 4> kOverridingClasses = {"LlamaTokenizer", "CodeLlamaTokenizer",
                                                                "GemmaTokenizer", "CohereTokenizer"};
constexpr std::string_view kFast = "Fast";

bool overrides_post_processor(std::string_view tokenizer_class) {
  if (tokenizer_class.ends_with(kFast)) tokenizer_class.remove_suffix(kFast.size());
  return std::find(kOverridingClasses.begin(), kOverridingClasses.end(), tokenizer_class) != kOverridingClasses.end();
}

// A token's text: a string, or an object with `content`.
Result<std::string> token_text(const JsonField& field) {
  if (field.json().is_string()) return field.as_string();
  if (field.json().is_object()) return field.get_string("content");
  return field.error("a token: a string, or an object with content");
}

// The two files as one: which of them has the say on a key.
struct Sources {
  JsonField config;
  JsonField map;
  bool map_first = false;

  std::optional<JsonField> find(std::string_view key) const {
    const JsonField& first = map_first ? map : config;
    const JsonField& second = map_first ? config : map;
    return first.json().find(key) ? first.find(key) : second.find(key);
  }
};

Result<std::string> named_token(const Sources& sources, std::string_view key) {
  const std::optional<JsonField> field = sources.find(key);
  return field ? token_text(*field) : Result<std::string>(std::string());
}

// Members that name one special token each end so: bos_token, image_token, ...
bool names_a_token(std::string_view key) {
  constexpr std::array<std::string_view, 2> kFlags = {"add_bos_token", "add_eos_token"};
  return key.ends_with("_token") && std::find(kFlags.begin(), kFlags.end(), key) == kFlags.end();
}

Status collect_list(const JsonField& list, std::vector<std::string>& texts) {
  if (list.json().is_object()) {  // name -> token
    ASSAY_ASSIGN(const auto members, list.members());
    for (const auto& [name, field] : members) {
      ASSAY_ASSIGN(texts.emplace_back(), token_text(field));
    }
    return ok_status();
  }
  ASSAY_ASSIGN(const std::vector<JsonField> items, list.items());
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(texts.emplace_back(), token_text(item));
  }
  return ok_status();
}

Status collect_special_texts(const JsonField& file, std::vector<std::string>& texts) {
  ASSAY_ASSIGN(const auto members, file.members());
  for (const auto& [key, field] : members) {
    const bool is_token = field.json().is_string() || field.json().is_object();
    if (names_a_token(key) && is_token) {
      ASSAY_ASSIGN(texts.emplace_back(), token_text(field));
    }
    const bool is_list = key == "additional_special_tokens" || key == "extra_special_tokens";
    if (is_list && !field.is_null()) ASSAY_TRY(collect_list(field, texts));
  }
  return ok_status();
}

Status read_added_tokens_decoder(const JsonField& config, std::vector<AddedToken>& added) {
  const std::optional<JsonField> decoder = config.find("added_tokens_decoder");
  if (!decoder) return ok_status();
  ASSAY_ASSIGN(const auto members, decoder->members());
  for (const auto& [key, field] : members) {
    const std::optional<int64_t> id = parse_int(key);
    if (!id || *id < 0 || *id > kMaxTokenId)
      return field.error(fmt::format("an id from 0 to {} as the key", kMaxTokenId));
    ASSAY_ASSIGN(AddedToken token, read_added_token(field, static_cast<TokenId>(*id)));
    if (!token.content.empty()) added.push_back(std::move(token));
  }
  return ok_status();
}

Result<std::optional<bool>> optional_bool(const JsonField& config, std::string_view key) {
  const std::optional<JsonField> field = config.find(key);
  if (!field) return std::optional<bool>();
  ASSAY_ASSIGN(const bool value, field->as_bool());
  return std::optional<bool>(value);
}

Result<Json> parse_or_empty(const NamedText& file) {
  if (file.text.empty()) return Json::object();
  ASSAY_ASSIGN(Json json, Json::parse(file.text, file.name));
  if (!json.is_object()) return JsonField(json, file.name).error("an object");
  return json;
}

Status read_named_tokens(const Sources& sources, TokenizerConfig& config) {
  ASSAY_ASSIGN(config.bos, named_token(sources, "bos_token"));
  ASSAY_ASSIGN(config.eos, named_token(sources, "eos_token"));
  ASSAY_ASSIGN(config.pad, named_token(sources, "pad_token"));
  ASSAY_ASSIGN(config.unk, named_token(sources, "unk_token"));
  ASSAY_TRY(collect_special_texts(sources.config, config.special_texts));
  if (sources.map_first) ASSAY_TRY(collect_special_texts(sources.map, config.special_texts));
  return ok_status();
}

}  // namespace

Result<TokenizerConfig> read_tokenizer_config(const NamedText& config_file, const NamedText& special_tokens_map) {
  ASSAY_ASSIGN(const Json config_json, parse_or_empty(config_file));
  ASSAY_ASSIGN(const Json map_json, parse_or_empty(special_tokens_map));
  const JsonField field(config_json, config_file.name);
  const bool map_first = config_json.find("added_tokens_decoder") == nullptr;
  const Sources sources{field, JsonField(map_json, special_tokens_map.name), map_first};

  TokenizerConfig config;
  ASSAY_TRY(read_named_tokens(sources, config));
  ASSAY_TRY(read_added_tokens_decoder(field, config.added));
  ASSAY_ASSIGN(config.add_bos, optional_bool(field, "add_bos_token"));
  ASSAY_ASSIGN(config.add_eos, optional_bool(field, "add_eos_token"));
  ASSAY_ASSIGN(const std::string tokenizer_class, field.string_or("tokenizer_class", ""));
  config.overrides_post_processor = overrides_post_processor(tokenizer_class);
  ASSAY_ASSIGN(config.clean_up_spaces, field.bool_or("clean_up_tokenization_spaces", false));
  return config;
}

}  // namespace assay
