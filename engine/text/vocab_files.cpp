#include "engine/text/vocab_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr std::string_view kMergesVersionLine = "#version";

// tokenizer.json ------------------------------------------------------------------------------------------------------

Status check_model_type(const JsonField& model) {
  ASSAY_ASSIGN(const std::string type, model.string_or("type", "BPE"));
  if (type == "BPE") return ok_status();
  const Status where = model.get("type")->error("\"BPE\"");
  return unsupported(where.message() + "; this kind of tokenizer model is not supported");
}

// Options that would change the ids and that no published byte-pair vocabulary of a language model uses.
Status refuse_other_options(const JsonField& model) {
  ASSAY_ASSIGN(const double dropout, model.real_or("dropout", 0));
  if (dropout != 0) return unsupported(model.get("dropout")->error("null").message() + ": encoding would be random");
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ASSAY_ASSIGN(const std::string text, model.string_or(key, ""));
    if (!text.empty()) return unsupported(model.get(key)->error("null").message() + ": not supported");
  }
  return ok_status();
}

// How the vocabulary's table holds a content that tokenizer.json spells so.
std::string table_spelling(std::string_view content, const BpeModel& model) {
  return model.bytes ? byte_level_decode(content) : std::string(content);
}

Status add_vocab_entry(const JsonField& vocab, const Json::Member& member, BpeModel& model) {
  const auto& [content, id] = member;
  const bool fits = id.is_int() && id.as_int() >= 0 && id.as_int() <= kMaxTokenId;
  if (!fits) return vocab.get(content)->error(fmt::format("an id from 0 to {}", kMaxTokenId));
  if (content.empty()) return bad_data(fmt::format("{}: expected no empty token", vocab.path()));
  const auto token = static_cast<TokenId>(id.as_int());
  const bool hidden = model.bytes && !is_byte_level(content);
  const std::string spelling = table_spelling(content, model);
  const bool added = hidden ? model.tokens.add_hidden(token, spelling) : model.tokens.add(token, spelling);
  if (!added) return vocab.get(content)->error("an id that no other token has");
  return ok_status();
}

Status read_vocab(const JsonField& vocab, BpeModel& model) {
  if (!vocab.json().is_object()) return vocab.error("an object of token contents and ids");
  const Json::Object& members = vocab.json().as_object();
  size_t content_bytes = 0;
  for (const Json::Member& member : members) content_bytes += member.first.size();
  model.tokens.reserve(members.size(), content_bytes);
  for (const Json::Member& member : members) ASSAY_TRY(add_vocab_entry(vocab, member, model));
  return ok_status();
}

// The two sides of a merge: "left right", or a list of the two.
std::optional<std::pair<std::string_view, std::string_view>> merge_sides(const Json& rule) {
  if (rule.is_string()) {
    const std::string_view text = rule.as_string();
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) return std::nullopt;
    return std::pair(text.substr(0, space), text.substr(space + 1));
  }
  if (!rule.is_array() || rule.size() != 2) return std::nullopt;
  const Json::Array& sides = rule.as_array();
  if (!sides[0].is_string() || !sides[1].is_string()) return std::nullopt;
  return std::pair<std::string_view, std::string_view>(sides[0].as_string(), sides[1].as_string());
}

Status merge_error(const JsonField& merges, size_t index, std::string_view expected) {
  ASSAY_ASSIGN(const std::vector<JsonField> items, merges.items());
  return items[index].error(expected);
}

Status read_merges(const JsonField& merges, BpeModel& model) {
  if (!merges.json().is_array()) return merges.error("a list of merges");
  const Json::Array& rules = merges.json().as_array();
  model.merges.reserve(rules.size());
  int32_t rank = 0;
  std::string merged;
  for (size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].is_string() && rules[i].as_string().starts_with(kMergesVersionLine)) continue;
    const auto sides = merge_sides(rules[i]);
    if (!sides) return merge_error(merges, i, "two tokens: \"left right\" or [\"left\", \"right\"]");
    const std::string left = table_spelling(sides->first, model);
    const std::string right = table_spelling(sides->second, model);
    merged.assign(left).append(right);
    const TokenId left_id = model.tokens.find(left);
    const TokenId right_id = model.tokens.find(right);
    const TokenId merged_id = model.tokens.find(merged);
    if (left_id < 0 || right_id < 0) return merge_error(merges, i, "two tokens of the vocabulary");
    if (merged_id < 0) return merge_error(merges, i, "two tokens whose concatenation is in the vocabulary");
    model.merges.set(left_id, right_id, {rank++, merged_id});
  }
  return ok_status();
}

Result<std::vector<AddedToken>> read_added_tokens(const JsonField& root) {
  std::vector<AddedToken> added;
  const std::optional<JsonField> list = root.find("added_tokens");
  if (!list) return added;
  ASSAY_ASSIGN(const std::vector<JsonField> items, list->items());
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(const int64_t id, item.get_int("id", 0, kMaxTokenId));
    ASSAY_ASSIGN(AddedToken token, read_added_token(item, static_cast<TokenId>(id)));
    if (!token.content.empty()) added.push_back(std::move(token));
  }
  return added;
}

// An added token's id is the file's, unless the vocabulary knows the token: then it is the vocabulary's, as in Hugging
// Face tokenizers. An id that means another token there would be both.
Status settle_added_ids(const JsonField& root, Vocab& vocab) {
  const TokenTable& tokens = vocab.model.tokens;
  for (AddedToken& token : vocab.added) {
    const bool findable = !vocab.model.bytes || is_byte_level(token.content);
    const std::string spelling = table_spelling(token.content, vocab.model);
    if (const TokenId known = findable ? tokens.find(spelling) : -1; known >= 0) token.id = known;
    const std::string_view other = tokens.content(token.id);
    if (other.empty() || other == spelling) continue;
    return root.get("added_tokens")
        ->error(fmt::format("an id for \"{}\" that is free in model.vocab ({} is \"{}\" there)",
                            escape_controls(token.content), token.id, escape_controls(other)));
  }
  return ok_status();
}

// The unknown token's id; it may be in the vocabulary or among the added tokens.
Result<TokenId> read_unk_token(const JsonField& model, const Vocab& vocab) {
  ASSAY_ASSIGN(const std::string content, model.string_or("unk_token", ""));
  if (content.empty()) return TokenId{-1};
  const TokenId known = vocab.model.tokens.find(table_spelling(content, vocab.model));
  if (known >= 0) return known;
  for (const AddedToken& token : vocab.added) {
    if (token.content == content) return token.id;
  }
  return model.get("unk_token")->error("a token of the vocabulary");
}

// tekken.json ---------------------------------------------------------------------------------------------------------

constexpr int64_t kNumBytes = 256;

// What versions up to v7 mean when they name no special tokens.
constexpr std::string_view kTekkenSpecials[] = {
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
};

struct TekkenSizes {
  int64_t num_special = 0;
  int64_t num_ordinary = 0;
};

Result<TekkenSizes> read_tekken_sizes(const JsonField& config) {
  ASSAY_ASSIGN(const int64_t vocab_size, config.get_int("default_vocab_size", 1, kMaxTokenId + 1));
  ASSAY_ASSIGN(const int64_t num_special, config.get_int("default_num_special_tokens", 0, vocab_size - 1));
  if (vocab_size - num_special < kNumBytes) {
    return config.get("default_vocab_size")->error(fmt::format("at least {} beyond the special tokens", kNumBytes));
  }
  return TekkenSizes{num_special, vocab_size - num_special};
}

Result<std::vector<std::string>> read_tekken_specials(const JsonField& root, int64_t num_special) {
  std::vector<std::string> names(static_cast<size_t>(num_special));
  const std::optional<JsonField> list = root.find("special_tokens");
  if (list) {
    ASSAY_ASSIGN(const std::vector<JsonField> items, list->items());
    for (const JsonField& item : items) {
      ASSAY_ASSIGN(const int64_t rank, item.get_int("rank", 0, num_special - 1));
      ASSAY_ASSIGN(std::string name, item.get_string("token_str"));
      std::string& slot = names[static_cast<size_t>(rank)];
      if (!slot.empty()) return item.get("rank")->error("a rank that no other special token has");
      slot = std::move(name);
    }
  } else {
    const size_t num_known = std::min(names.size(), std::size(kTekkenSpecials));
    std::copy_n(std::begin(kTekkenSpecials), num_known, names.begin());
  }
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) names[i] = fmt::format("<SPECIAL_{}>", i);
  }
  return names;
}

Result<std::string> read_tekken_token(const JsonField& vocab, size_t index) {
  const Json& entry = vocab.json().as_array()[index];
  const Json* rank = entry.find("rank");
  const Json* text = entry.find("token_bytes");
  const auto field = [&] { return std::move(vocab.items()).value()[index]; };
  if (!rank || !rank->is_int() || rank->as_int() != static_cast<int64_t>(index)) {
    return field().error(fmt::format("an entry of rank {}", index));
  }
  if (!text || !text->is_string()) return field().error("an entry with token_bytes");
  Result<std::string> bytes = decode_base64(text->as_string());
  const bool right =
      bytes.ok() && !bytes->empty() &&
      (index >= kNumBytes || (bytes->size() == 1 && static_cast<unsigned char>(bytes->front()) == index));
  if (!right) return field().error(index < kNumBytes ? "the byte that its rank names, in base64" : "bytes in base64");
  return bytes;
}

Status read_tekken_tokens(const JsonField& vocab, const TekkenSizes& sizes, TokenTable& tokens) {
  if (!vocab.json().is_array()) return vocab.error("a list");
  const size_t num_entries = std::min(vocab.json().size(), static_cast<size_t>(sizes.num_ordinary));
  if (num_entries < static_cast<size_t>(sizes.num_ordinary)) {
    return vocab.error(
        fmt::format("at least {} entries (default_vocab_size without the special tokens)", sizes.num_ordinary));
  }
  tokens.reserve(num_entries + static_cast<size_t>(sizes.num_special), num_entries * 8);
  for (size_t i = 0; i < num_entries; ++i) {
    ASSAY_ASSIGN(const std::string bytes, read_tekken_token(vocab, i));
    const auto id = static_cast<TokenId>(static_cast<int64_t>(i) + sizes.num_special);
    if (!tokens.add(id, bytes)) {
      return std::move(vocab.items()).value()[i].error("bytes that no other token has");
    }
  }
  return ok_status();
}

// Every way to put a token together from two others, ranked by the token.
void derive_merges(const TokenTable& tokens, TokenId first, MergeTable& merges) {
  merges.reserve(static_cast<size_t>(tokens.size()) * 2);
  for (TokenId id = first; id < tokens.size(); ++id) {
    const std::string_view content = tokens.content(id);
    for (size_t cut = 1; cut < content.size(); ++cut) {
      const TokenId left = tokens.find(content.substr(0, cut));
      if (left < 0) continue;
      const TokenId right = tokens.find(content.substr(cut));
      if (right >= 0) merges.set(left, right, {id - first, id});
    }
  }
}

}  // namespace

Result<AddedToken> read_added_token(const JsonField& field, TokenId id) {
  AddedToken token;
  token.id = id;
  ASSAY_ASSIGN(token.content, field.get_string("content"));
  ASSAY_ASSIGN(token.special, field.bool_or("special", false));
  ASSAY_ASSIGN(token.normalized, field.bool_or("normalized", !token.special));
  ASSAY_ASSIGN(token.lstrip, field.bool_or("lstrip", false));
  ASSAY_ASSIGN(token.rstrip, field.bool_or("rstrip", false));
  ASSAY_ASSIGN(token.single_word, field.bool_or("single_word", false));
  return token;
}

Result<Vocab> read_tokenizer_json_vocab(const JsonField& root, bool byte_level) {
  ASSAY_ASSIGN(const JsonField model, root.get("model"));
  ASSAY_TRY(check_model_type(model));
  ASSAY_TRY(refuse_other_options(model));
  Vocab vocab;
  vocab.model.bytes = byte_level;
  ASSAY_ASSIGN(vocab.model.ignore_merges, model.bool_or("ignore_merges", false));
  ASSAY_ASSIGN(vocab.model.byte_fallback, model.bool_or("byte_fallback", false));
  ASSAY_ASSIGN(vocab.model.fuse_unk, model.bool_or("fuse_unk", false));
  ASSAY_ASSIGN(const JsonField contents, model.get("vocab"));
  ASSAY_TRY(read_vocab(contents, vocab.model));
  ASSAY_ASSIGN(const JsonField merges, model.get("merges"));
  ASSAY_TRY(read_merges(merges, vocab.model));
  ASSAY_ASSIGN(vocab.added, read_added_tokens(root));
  ASSAY_TRY(settle_added_ids(root, vocab));
  ASSAY_ASSIGN(vocab.model.unk_token, read_unk_token(model, vocab));
  return vocab;
}

Result<Vocab> read_tekken_vocab(const JsonField& root, std::string& pattern) {
  ASSAY_ASSIGN(const JsonField config, root.get("config"));
  ASSAY_ASSIGN(pattern, config.get_string("pattern"));
  ASSAY_ASSIGN(const TekkenSizes sizes, read_tekken_sizes(config));
  ASSAY_ASSIGN(const JsonField entries, root.get("vocab"));
  ASSAY_ASSIGN(std::vector<std::string> names, read_tekken_specials(root, sizes.num_special));
  Vocab vocab;
  vocab.model.bytes = true;
  vocab.model.ignore_merges = true;
  for (size_t i = 0; i < names.size(); ++i) {
    vocab.added.push_back({.id = static_cast<TokenId>(i), .content = std::move(names[i]), .special = true});
  }
  ASSAY_TRY(read_tekken_tokens(entries, sizes, vocab.model.tokens));
  derive_merges(vocab.model.tokens, static_cast<TokenId>(sizes.num_special), vocab.model.merges);
  return vocab;
}

}  // namespace assay
