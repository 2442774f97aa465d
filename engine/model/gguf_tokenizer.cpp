#include "engine/model/gguf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

// "tokenizer.ggml.token_type".
enum TokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// How text is cut before merging, as tokenizer.json says it. Patterns are the published ones (model.md 4.2, 4.5, 8.3).
constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kPunctuationPattern = R"([\p{P}\$\+<=>\^~\|]+)";

enum class Splitter { gpt2, digits_then_gpt2, pattern, punctuation_then_gpt2 };

struct PreTokenizerRule {
  const char* label;
  Splitter splitter;
  const char* pattern;  // of Splitter::pattern
  bool nfc;
  bool ignore_merges;
  bool adds_bos;  // when the file does not say
  bool has_bos;   // whether the family has a BOS token at all; exporters fill the id in regardless
};
constexpr std::array<PreTokenizerRule, 6> kRules = {{
    {"default", Splitter::punctuation_then_gpt2, nullptr, false, false, false, true},
    {"gpt-2", Splitter::gpt2, nullptr, false, false, false, true},
    {"llama-bpe", Splitter::pattern, kLlama3Pattern, false, true, true, true},
    {"qwen2", Splitter::pattern, kQwen2Pattern, true, false, false, false},
    {"smollm", Splitter::digits_then_gpt2, nullptr, false, false, false, true},
    {"tekken", Splitter::pattern, kTekkenPattern, false, true, true, true},
}};

// Texts that end a turn or a document in published vocabularies.
constexpr std::array<std::string_view, 10> kEndMarkers = {
    "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>",
    "<|end|>",       "<end_of_turn>",   "</s>",       "<|eot|>",    "<EOT>",
};

Result<PreTokenizerRule> find_rule(const GgufFile& gguf) {
  constexpr const char* kKey = "tokenizer.ggml.pre";
  std::string label = "default";
  if (gguf.has(kKey)) {
    ASSAY_ASSIGN(label, gguf.get_string(kKey));
  }
  std::vector<std::string> known;
  for (const PreTokenizerRule& rule : kRules) {
    if (label == rule.label) return rule;
    known.emplace_back(rule.label);
  }
  return unsupported(
      fmt::format("{}: {}: found \"{}\", supported are {}", gguf.path().string(), kKey, label, join(known, ", ")));
}

// The vocabulary -----------------------------------------------------------------------------------------------------

struct GgufVocab {
  std::vector<std::string> tokens;
  std::vector<int64_t> types;  // one a token
};

Status require_byte_level(const GgufFile& gguf) {
  constexpr const char* kKey = "tokenizer.ggml.model";
  ASSAY_ASSIGN(const std::string model, gguf.get_string(kKey));
  if (model == "gpt2") return ok_status();
  return unsupported(
      fmt::format("{}: {}: found \"{}\", supported is gpt2 (byte-level BPE)", gguf.path().string(), kKey, model));
}

Result<GgufVocab> read_vocab(const GgufFile& gguf) {
  ASSAY_TRY(require_byte_level(gguf));
  GgufVocab vocab;
  ASSAY_ASSIGN(vocab.tokens, gguf.get_strings("tokenizer.ggml.tokens"));
  vocab.types.assign(vocab.tokens.size(), kNormal);
  if (gguf.has("tokenizer.ggml.token_type")) {
    ASSAY_ASSIGN(vocab.types, gguf.get_ints("tokenizer.ggml.token_type"));
  }
  if (vocab.tokens.empty()) return bad_data(fmt::format("{}: tokenizer.ggml.tokens is empty", gguf.path().string()));
  if (vocab.types.size() == vocab.tokens.size()) return vocab;
  return bad_data(
      fmt::format("{}: tokenizer.ggml.token_type has {} entries, tokenizer.ggml.tokens {}; they must be equal",
                  gguf.path().string(), vocab.types.size(), vocab.tokens.size()));
}

bool is_added(int64_t type) { return type == kControl || type == kUserDefined; }

using TokenIds = std::unordered_map<std::string_view, size_t>;

// Ids by text, of all tokens that are in use. The views point into `vocab`.
Result<TokenIds> index_tokens(const GgufVocab& vocab, const GgufFile& gguf) {
  TokenIds ids;
  ids.reserve(vocab.tokens.size());
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string& text = vocab.tokens[id];
    if (vocab.types[id] == kUnused) continue;
    if (!is_valid_utf8(text)) {
      return bad_data(
          fmt::format("{}: tokenizer.ggml.tokens[{}]: bytes {} are not UTF-8", gguf.path().string(), id, to_hex(text)));
    }
    const auto [it, fresh] = ids.emplace(text, id);
    if (fresh) continue;
    return bad_data(fmt::format("{}: tokenizer.ggml.tokens: entries {} and {} are both \"{}\"; texts must be unique",
                                gguf.path().string(), it->second, id, text));
  }
  return ids;
}

Json vocab_json(const GgufVocab& vocab) {
  Json::Object members;
  members.reserve(vocab.tokens.size());
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (vocab.types[id] != kUnused) members.emplace_back(vocab.tokens[id], Json(static_cast<int64_t>(id)));
  }
  return Json(std::move(members));
}

// Both halves of a merge and what they make must be tokens, or the library that reads the file back refuses it.
Result<Json> merges_json(const TokenIds& ids, const GgufFile& gguf) {
  constexpr const char* kKey = "tokenizer.ggml.merges";
  ASSAY_ASSIGN(std::vector<std::string> merges, gguf.get_strings(kKey));
  Json::Array items;
  items.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string& merge = merges[i];
    const size_t space = merge.find(' ');
    const bool two_parts = space != std::string::npos && merge.find(' ', space + 1) == std::string::npos;
    const std::string left = merge.substr(0, space), right = two_parts ? merge.substr(space + 1) : "";
    if (!two_parts || !ids.contains(left) || !ids.contains(right) || !ids.contains(left + right)) {
      return bad_data(
          fmt::format("{}: {}[{}]: found \"{}\", expected two tokens with a space between, and their "
                      "concatenation in the vocabulary",
                      gguf.path().string(), kKey, i, merge));
    }
    items.emplace_back(std::move(merges[i]));
  }
  return Json(std::move(items));
}

Json added_token_json(const GgufVocab& vocab, size_t id, bool with_id) {
  Json token = Json::object();
  if (with_id) token.set("id", static_cast<int64_t>(id));
  token.set("content", vocab.tokens[id]).set("single_word", false).set("lstrip", false).set("rstrip", false);
  return token.set("normalized", false).set("special", vocab.types[id] == kControl);
}

// Pre-tokenizers
// ---------------------------------------------------------------------------------------------------------

Json byte_level_json(bool use_regex) {
  Json json = Json::object();
  json.set("type", "ByteLevel").set("add_prefix_space", false).set("trim_offsets", true).set("use_regex", use_regex);
  return json;
}

Json split_json(const char* pattern) {
  Json json = Json::object();
  json.set("type", "Split").set("pattern", Json::object().set("Regex", pattern));
  return json.set("behavior", "Isolated").set("invert", false);
}

Json sequence_json(Json::Array parts) {
  return Json::object().set("type", "Sequence").set("pretokenizers", Json(std::move(parts)));
}

Json pre_tokenizer_json(const PreTokenizerRule& rule) {
  switch (rule.splitter) {
    case Splitter::gpt2: return byte_level_json(true);
    case Splitter::digits_then_gpt2:
      return sequence_json(
          {Json::object().set("type", "Digits").set("individual_digits", true), byte_level_json(true)});
    case Splitter::pattern: return sequence_json({split_json(rule.pattern), byte_level_json(false)});
    case Splitter::punctuation_then_gpt2: break;
  }
  return sequence_json({split_json(kPunctuationPattern), split_json(kGpt2Pattern), split_json(R"(\p{N}+)"),
                        split_json("[0-9][0-9][0-9]"), byte_level_json(false)});
}

// Special tokens
// -----------------------------------------------------------------------------------------------------------

// The id under a key, nullopt when the file has none.
Result<std::optional<size_t>> special_id(const GgufFile& gguf, std::string_view key, size_t vocab_size) {
  if (!gguf.has(key)) return std::optional<size_t>();
  ASSAY_ASSIGN(const int64_t id, gguf.get_int(key));
  if (id >= 0 && static_cast<uint64_t>(id) < vocab_size) return std::optional<size_t>(static_cast<size_t>(id));
  return bad_data(fmt::format("{}: {}: found {}, expected an id below {}, the size of the vocabulary",
                              gguf.path().string(), key, id, vocab_size));
}

Result<Json> special_text(const GgufFile& gguf, std::string_view key, const GgufVocab& vocab) {
  ASSAY_ASSIGN(const auto id, special_id(gguf, key, vocab.tokens.size()));
  return id ? Json(vocab.tokens[*id]) : Json();
}

bool flag_or(const GgufFile& gguf, std::string_view key, bool other) {
  if (!gguf.has(key)) return other;
  return gguf.get_bool(key).value_or(other);
}

// A TemplateProcessing that prepends BOS and appends EOS; null when neither is wanted.
Result<Json> post_processor_json(const GgufFile& gguf, const GgufVocab& vocab) {
  std::optional<size_t> bos, eos;
  if (gguf_adds_bos(gguf)) {
    ASSAY_ASSIGN(bos, special_id(gguf, "tokenizer.ggml.bos_token_id", vocab.tokens.size()));
  }
  if (flag_or(gguf, "tokenizer.ggml.add_eos_token", false)) {
    ASSAY_ASSIGN(eos, special_id(gguf, "tokenizer.ggml.eos_token_id", vocab.tokens.size()));
  }
  if (!bos && !eos) return Json();
  auto item = [](const char* kind, const std::string& id, int64_t type) {
    return Json::object().set(kind, Json::object().set("id", id).set("type_id", type));
  };
  Json single = Json::array(), pair = Json::array(), specials = Json::object();
  for (const auto& [list, sequences] : {std::pair<Json*, int64_t>{&single, 1}, {&pair, 2}}) {
    for (int64_t sequence = 0; sequence < sequences; ++sequence) {
      if (bos) list->push_back(item("SpecialToken", vocab.tokens[*bos], sequence));
      list->push_back(item("Sequence", sequence == 0 ? "A" : "B", sequence));
      if (eos) list->push_back(item("SpecialToken", vocab.tokens[*eos], sequence));
    }
  }
  for (const auto& id : {bos, eos}) {
    if (!id) continue;
    Json token = Json::object().set("id", vocab.tokens[*id]);
    token.set("ids", Json::array().push_back(static_cast<int64_t>(*id)));
    token.set("tokens", Json::array().push_back(vocab.tokens[*id]));
    specials.set(vocab.tokens[*id], std::move(token));
  }
  Json processor = Json::object().set("type", "TemplateProcessing");
  processor.set("single", std::move(single)).set("pair", std::move(pair));
  return processor.set("special_tokens", std::move(specials));
}

// The one template as a string; with named ones beside it the list of {name, template} that Transformers writes.
Result<Json> chat_templates_json(const GgufFile& gguf) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  Json::Array named;
  Json single;
  if (gguf.has(kKey)) {
    ASSAY_ASSIGN(const std::string text, gguf.get_string(kKey));
    single = Json(text);
    named.push_back(Json::object().set("name", "default").set("template", text));
  }
  const std::string prefix = std::string(kKey) + ".";
  for (auto it = gguf.metadata().lower_bound(prefix); it != gguf.metadata().end() && starts_with(it->first, prefix);
       ++it) {
    ASSAY_ASSIGN(const std::string text, gguf.get_string(it->first));
    named.push_back(Json::object().set("name", it->first.substr(prefix.size())).set("template", text));
  }
  if (named.size() > 1 || (single.is_null() && !named.empty())) return Json(std::move(named));
  return single;
}

}  // namespace

bool gguf_adds_bos(const GgufFile& gguf) {
  const auto rule = find_rule(gguf);
  return flag_or(gguf, "tokenizer.ggml.add_bos_token", rule.ok() && rule->adds_bos);
}

Result<Json> gguf_to_tokenizer_json(const GgufFile& gguf) {
  ASSAY_ASSIGN(const GgufVocab vocab, read_vocab(gguf));
  ASSAY_ASSIGN(const PreTokenizerRule rule, find_rule(gguf));
  if (!gguf.has("tokenizer.ggml.pre")) {
    log_warning(
        fmt::format("{}: tokenizer.ggml.pre is missing; text is split by the rule named \"default\", which may not "
                    "be the model's own",
                    gguf.path().string()));
  }
  ASSAY_ASSIGN(const TokenIds ids, index_tokens(vocab, gguf));
  ASSAY_ASSIGN(Json merges, merges_json(ids, gguf));
  ASSAY_ASSIGN(Json post_processor, post_processor_json(gguf, vocab));
  Json::Array added;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (is_added(vocab.types[id])) added.push_back(added_token_json(vocab, id, true));
  }
  Json model = Json::object();
  model.set("type", "BPE").set("dropout", nullptr).set("unk_token", nullptr).set("continuing_subword_prefix", nullptr);
  model.set("end_of_word_suffix", nullptr).set("fuse_unk", false).set("byte_fallback", false);
  model.set("ignore_merges", rule.ignore_merges).set("vocab", vocab_json(vocab)).set("merges", std::move(merges));
  Json root = Json::object();
  root.set("version", "1.0").set("truncation", nullptr).set("padding", nullptr);
  root.set("added_tokens", Json(std::move(added)));
  root.set("normalizer", rule.nfc ? Json::object().set("type", "NFC") : Json());
  root.set("pre_tokenizer", pre_tokenizer_json(rule)).set("post_processor", std::move(post_processor));
  return root.set("decoder", byte_level_json(true)).set("model", std::move(model));
}

Result<Json> gguf_to_tokenizer_config_json(const GgufFile& gguf) {
  ASSAY_ASSIGN(const GgufVocab vocab, read_vocab(gguf));
  ASSAY_ASSIGN(const PreTokenizerRule rule, find_rule(gguf));
  ASSAY_ASSIGN(const std::string architecture, gguf.get_string("general.architecture"));
  ASSAY_ASSIGN(const int64_t context, gguf.get_int(architecture + ".context_length"));
  Json config = Json::object();
  config.set("tokenizer_class", "PreTrainedTokenizerFast").set("add_prefix_space", false);
  config.set("add_bos_token", gguf_adds_bos(gguf));
  config.set("add_eos_token", flag_or(gguf, "tokenizer.ggml.add_eos_token", false));
  ASSAY_ASSIGN(Json bos, special_text(gguf, "tokenizer.ggml.bos_token_id", vocab));
  ASSAY_ASSIGN(Json eos, special_text(gguf, "tokenizer.ggml.eos_token_id", vocab));
  ASSAY_ASSIGN(Json unknown, special_text(gguf, "tokenizer.ggml.unknown_token_id", vocab));
  ASSAY_ASSIGN(Json padding, special_text(gguf, "tokenizer.ggml.padding_token_id", vocab));
  config.set("bos_token", rule.has_bos || gguf_adds_bos(gguf) ? std::move(bos) : Json());
  config.set("eos_token", std::move(eos)).set("unk_token", std::move(unknown)).set("pad_token", std::move(padding));
  config.set("clean_up_tokenization_spaces", false).set("model_max_length", context);
  Json::Object added;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (is_added(vocab.types[id])) added.emplace_back(std::to_string(id), added_token_json(vocab, id, false));
  }
  config.set("added_tokens_decoder", Json(std::move(added)));
  ASSAY_ASSIGN(Json templates, chat_templates_json(gguf));
  if (!templates.is_null()) config.set("chat_template", std::move(templates));
  return config;
}

Result<std::vector<int64_t>> gguf_end_ids(const GgufFile& gguf) {
  ASSAY_ASSIGN(const GgufVocab vocab, read_vocab(gguf));
  ASSAY_ASSIGN(const auto unknown, special_id(gguf, "tokenizer.ggml.unknown_token_id", vocab.tokens.size()));
  std::vector<int64_t> ends;
  auto add = [&ends](size_t id) {
    const auto end = static_cast<int64_t>(id);
    if (std::find(ends.begin(), ends.end(), end) == ends.end()) ends.push_back(end);
  };
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    ASSAY_ASSIGN(const auto id, special_id(gguf, key, vocab.tokens.size()));
    if (id) add(*id);
  }
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const bool marker = std::find(kEndMarkers.begin(), kEndMarkers.end(), vocab.tokens[id]) != kEndMarkers.end();
    if (marker && vocab.types[id] == kControl && id != unknown) add(id);
  }
  return ends;
}

}  // namespace assay
