#include "engine/text/tokenizer_parts.h"

#include <fmt/format.h>
#include <atomic>

#include <algorithm>
#include <initializer_list>

#include "engine/base/hash.h"
#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "engine/text/split_scanner.h"

namespace assay {
namespace {

constexpr std::string_view kBos = "<s>";

std::string digest_of(std::initializer_list<std::string_view> files) {
  Sha256 hash;
  for (const std::string_view file : files) {
    hash.update(fmt::format("{}\n", file.size()));
    hash.update(file);
  }
  return hash.finish_hex();
}

// Puts tekken's pattern where a Split has Llama 3's; counts the Splits that now have it.
int fix_tekken_regex(Json& pre_tokenizer) {
  int num_fixed = 0;
  if (Json* steps = pre_tokenizer.find("pretokenizers"); steps && steps->is_array()) {
    for (Json& step : steps->as_array()) num_fixed += fix_tekken_regex(step);
  }
  Json* pattern = pre_tokenizer.find("pattern");
  Json* regex = pattern ? pattern->find("Regex") : nullptr;
  if (!regex || !regex->is_string()) return num_fixed;
  const auto known = known_split_pattern(regex->as_string());
  if (known != SplitPattern::llama3 && known != SplitPattern::tekken) return num_fixed;
  *regex = Json(split_pattern_text(SplitPattern::tekken));
  return num_fixed + 1;
}

Status apply_tekken_regex(Json& root, TekkenRegex tekken_regex, std::string_view source) {
  if (tekken_regex == TekkenRegex::as_shipped) return ok_status();
  Json* pre_tokenizer = root.find("pre_tokenizer");
  if (pre_tokenizer && fix_tekken_regex(*pre_tokenizer) > 0) return ok_status();
  return invalid_argument(fmt::format(
      "{}: pre_tokenizer: expected a Split by Llama 3's pattern to fix, found none; leave the tekken regex as shipped",
      source));
}

// The member `key`, or null: components that are absent do nothing.
JsonField component(const JsonField& root, std::string_view key) {
  static const Json kNull;
  return root.find(key).value_or(JsonField(kNull, key));
}

Status index_added(TokenizerParts& parts) {
  int32_t size = parts.tokens().size();
  for (const AddedToken& token : parts.added) size = std::max(size, token.id + 1);
  parts.added_index.assign(static_cast<size_t>(size), -1);
  parts.added_ids.clear();
  for (size_t i = 0; i < parts.added.size(); ++i) {
    const AddedToken& token = parts.added[i];
    int32_t& index = parts.added_index[static_cast<size_t>(token.id)];
    if (index >= 0 || !parts.added_ids.emplace(token.content, token.id).second) {
      return bad_data(
          fmt::format("added tokens: expected each id and each content once, found \"{}\" (id {}) to share its own",
                      escape_controls(token.content), token.id));
    }
    index = static_cast<int32_t>(i);
  }
  return ok_status();
}

// The added token with this id, to change; nullptr: none. For use before everything is indexed.
AddedToken* find_in(std::vector<AddedToken>& added, TokenId id) {
  const auto found = std::find_if(added.begin(), added.end(), [&](const AddedToken& token) { return token.id == id; });
  return found == added.end() ? nullptr : &*found;
}

// tokenizer_config.json's word on a token's flags is the last; its id counts only for a token that is new.
Status add_config_token(const AddedToken& token, TokenizerParts& parts) {
  AddedToken wanted = token;
  if (const auto known = parts.find(token.content)) {
    wanted.id = *known;
  } else if (parts.is_token(token.id)) {
    return bad_data(
        fmt::format("added_tokens_decoder: expected an id that is free for \"{}\", found {}, which is \"{}\"",
                    escape_controls(token.content), token.id, escape_controls(parts.spelling(token.id))));
  }
  if (AddedToken* same = find_in(parts.added, wanted.id)) {
    *same = std::move(wanted);
  } else {
    parts.added.push_back(std::move(wanted));
  }
  return ok_status();
}

// Every token that the files name special is one, if the vocabulary has it at all.
void mark_special(const std::string& content, TokenizerParts& parts) {
  const auto id = parts.find(content);
  if (!id) return;
  if (AddedToken* same = find_in(parts.added, *id)) {
    same->special = true;
  } else {
    parts.added.push_back({.id = *id, .content = content, .special = true});
  }
}

Status add_config_tokens(TokenizerParts& parts) {
  for (const AddedToken& token : parts.config.added) ASSAY_TRY(add_config_token(token, parts));
  ASSAY_TRY(index_added(parts));
  for (const std::string& content : parts.config.special_texts) mark_special(content, parts);
  return index_added(parts);
}

Status override_affixes(TokenizerParts& parts) {
  const TokenizerConfig& config = parts.config;
  if (!config.overrides_post_processor || (!config.add_bos && !config.add_eos)) return ok_status();
  const auto ids_of = [&](bool wanted, std::string_view key, const std::string& text) -> Result<Tokens> {
    if (!wanted) return Tokens{};
    if (const auto id = parts.find(text)) return Tokens{*id};
    return bad_data(fmt::format("{}: expected a token of the vocabulary, as it is to be added, found \"{}\"", key,
                                escape_controls(text)));
  };
  ASSAY_ASSIGN(parts.affixes.prefix, ids_of(config.add_bos.value_or(true), "bos_token", config.bos));
  ASSAY_ASSIGN(parts.affixes.suffix, ids_of(config.add_eos.value_or(false), "eos_token", config.eos));
  return ok_status();
}

Status make_matchers(TokenizerParts& parts) {
  std::vector<AddedToken> raw, normalized;
  std::vector<std::string> raw_contents, normalized_contents;
  for (const AddedToken& token : parts.added) {
    if (!token.normalized) {
      raw.push_back(token);
      raw_contents.push_back(token.content);
      continue;
    }
    NormalizedText content{token.content};
    if (parts.normalizer) ASSAY_TRY(parts.normalizer->normalize(content));
    normalized.push_back(token);
    normalized_contents.push_back(std::move(content.text));
  }
  ASSAY_ASSIGN(parts.raw_matcher, AddedTokenMatcher::make(raw, raw_contents));
  ASSAY_ASSIGN(parts.normalized_matcher, AddedTokenMatcher::make(normalized, normalized_contents));
  return ok_status();
}

// Whether an added token could be found in a whole text but not in its halves, cut before a space between two letters.
bool may_span_cut(const AddedToken& token) {
  if (token.lstrip || token.rstrip || token.single_word) return true;
  const std::string& content = token.content;
  for (size_t i = 1; i < content.size(); ++i) {
    const char before = content[i - 1];
    if (content[i] == ' ' && ((before >= 'a' && before <= 'z') || (before >= 'A' && before <= 'Z'))) return true;
  }
  return false;
}

uint64_t cut_owner_of(const TokenizerParts& parts) {
  static std::atomic<uint64_t> last{0};
  const bool may_cut = parts.pre_tokenization.cuts_between_words() &&
                       (!parts.normalizer || parts.normalizer->keeps_word_cuts()) &&
                       std::none_of(parts.added.begin(), parts.added.end(), may_span_cut);
  return may_cut ? last += 2 : 0;
}

}  // namespace

const AddedToken* TokenizerParts::find_added(TokenId id) const {
  if (id < 0 || static_cast<size_t>(id) >= added_index.size()) return nullptr;
  const int32_t index = added_index[static_cast<size_t>(id)];
  return index < 0 ? nullptr : &added[static_cast<size_t>(index)];
}

// A token of a byte vocabulary that is not spelled in stand-ins for bytes.
TokenId TokenizerParts::find_hidden(std::string_view content) const {
  for (TokenId id = 0; id < tokens().size(); ++id) {
    if (tokens().content(id) == content && tokens().find(content) != id) return id;
  }
  return -1;
}

std::optional<TokenId> TokenizerParts::find(std::string_view content) const {
  if (const auto known = added_ids.find(std::string(content)); known != added_ids.end()) return known->second;
  const bool stand_ins = bpe.model().bytes && !is_tekken;
  const TokenId id = !stand_ins               ? tokens().find(content)
                     : is_byte_level(content) ? tokens().find(byte_level_decode(content))
                                              : find_hidden(content);
  return id < 0 ? std::nullopt : std::optional(id);
}

std::string TokenizerParts::spelling(TokenId id) const {
  if (const AddedToken* token = find_added(id)) return token->content;
  const std::string_view content = tokens().content(id);
  const bool in_bytes = bpe.model().bytes && tokens().find(content) == id;
  return in_bytes ? byte_level_encode(content) : std::string(content);
}

std::string TokenizerParts::bytes(TokenId id) const {
  const AddedToken* token = find_added(id);
  if (is_tekken) return std::string(token ? token->content : tokens().content(id));
  if (!token && bpe.model().bytes && joins_bytes()) return std::string(tokens().content(id));
  std::string content = spelling(id);
  if (decoder) decoder->decode_alone(content);
  return content;
}

Result<std::unique_ptr<TokenizerParts>> load_tokenizer_json(const NamedText& tokenizer, const NamedText& config,
                                                            const NamedText& special_tokens_map,
                                                            TekkenRegex tekken_regex) {
  ASSAY_ASSIGN(Json json, Json::parse(tokenizer.text, tokenizer.name));
  ASSAY_TRY(apply_tekken_regex(json, tekken_regex, tokenizer.name));
  const JsonField root(json, tokenizer.name);
  ASSAY_ASSIGN(PreTokenization pre_tokenization, make_pre_tokenizer(component(root, "pre_tokenizer")));
  ASSAY_ASSIGN(Vocab vocab, read_tokenizer_json_vocab(root, pre_tokenization.byte_level));

  auto parts = std::make_unique<TokenizerParts>(std::move(vocab.model));
  parts->added = std::move(vocab.added);
  parts->pre_tokenization = std::move(pre_tokenization);
  ASSAY_ASSIGN(parts->normalizer, make_normalizer(component(root, "normalizer")));
  ASSAY_ASSIGN(parts->decoder, make_decoder(component(root, "decoder")));
  ASSAY_ASSIGN(parts->affixes, read_post_processor(component(root, "post_processor")));
  ASSAY_ASSIGN(parts->config, read_tokenizer_config(config, special_tokens_map));
  ASSAY_TRY(index_added(*parts).with_context(tokenizer.name));
  ASSAY_TRY(add_config_tokens(*parts).with_context(config.name));
  ASSAY_TRY(override_affixes(*parts).with_context(config.name));
  ASSAY_TRY(make_matchers(*parts));
  parts->digest = digest_of({tokenizer.text, config.text, special_tokens_map.text});
  parts->cut_owner = cut_owner_of(*parts);
  return parts;
}

Result<std::unique_ptr<TokenizerParts>> load_tekken_json(const NamedText& tekken) {
  ASSAY_ASSIGN(const Json json, Json::parse(tekken.text, tekken.name));
  std::string pattern;
  ASSAY_ASSIGN(Vocab vocab, read_tekken_vocab(JsonField(json, tekken.name), pattern));
  auto parts = std::make_unique<TokenizerParts>(std::move(vocab.model));
  parts->is_tekken = true;
  parts->added = std::move(vocab.added);
  ASSAY_ASSIGN(parts->pre_tokenization, make_tekken_pre_tokenizer(pattern, tekken.name));
  ASSAY_TRY(index_added(*parts).with_context(tekken.name));
  ASSAY_TRY(make_matchers(*parts));
  const auto text_if_known = [&](std::string_view text) {
    return parts->find(text) ? std::string(text) : std::string();
  };
  parts->config.bos = text_if_known(kBos);
  parts->config.eos = text_if_known("</s>");
  parts->config.pad = text_if_known("<pad>");
  parts->config.unk = text_if_known("<unk>");
  if (const auto bos = parts->find(kBos)) parts->affixes.prefix = {*bos};
  parts->digest = digest_of({tekken.text});
  parts->cut_owner = cut_owner_of(*parts);
  return parts;
}

}  // namespace assay
