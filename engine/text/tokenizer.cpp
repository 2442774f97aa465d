#include "engine/text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/base/text_util.h"
#include "engine/text/recent_text.h"
#include "engine/text/tokenizer_parts.h"

namespace assay {
namespace {

constexpr std::string_view kTokenizerJson = "tokenizer.json";
constexpr std::string_view kTokenizerConfigJson = "tokenizer_config.json";
constexpr std::string_view kSpecialTokensMapJson = "special_tokens_map.json";
constexpr std::string_view kTekkenJson = "tekken.json";

// One text on its way to ids.
class Encoding {
 public:
  Encoding(const TokenizerParts& parts, const TokenizeOptions& options, Tokens& out)
      : parts_(parts), skip_special_(!options.parse_special_tokens), out_(out) {}

  Status add_text(std::string_view text, bool starts = true) {
    return for_segments(parts_.raw_matcher, text, starts,
                        [&](std::string_view part, bool at_start) { return add_unnormalized(part, at_start); });
  }

 private:
  template <class AddPart>
  Status for_segments(const AddedTokenMatcher& matcher, std::string_view text, bool at_start, AddPart add_part) {
    if (matcher.empty()) return add_part(text, at_start);
    std::vector<AddedTokenMatcher::Segment> segments;
    matcher.split(text, skip_special_, segments);
    for (const auto& segment : segments) {
      if (segment.token >= 0) {
        out_.push_back(segment.token);
      } else {
        ASSAY_TRY(add_part(text.substr(segment.begin, segment.end - segment.begin), at_start && segment.begin == 0));
      }
    }
    return ok_status();
  }

  Status add_unnormalized(std::string_view text, bool at_start) {
    if (!parts_.normalizer) return add_normalized(text, at_start);
    NormalizedText normalized{std::string(text), at_start};
    ASSAY_TRY(parts_.normalizer->normalize(normalized));
    return add_normalized(normalized.text, normalized.at_start);
  }

  Status add_normalized(std::string_view text, bool at_start) {
    return for_segments(parts_.normalized_matcher, text, at_start,
                        [&](std::string_view part, bool part_at_start) { return add_plain(part, part_at_start); });
  }

  Status add_plain(std::string_view text, bool at_start) {
    pieces_.reset(text, at_start);
    ASSAY_TRY(parts_.pre_tokenization.split(pieces_));
    for (size_t i = 0; i < pieces_.pieces().size(); ++i) parts_.bpe.encode(pieces_[i], scratch_, out_);
    return ok_status();
  }

  const TokenizerParts& parts_;
  bool skip_special_;
  Tokens& out_;
  PieceList pieces_;
  BpeScratch scratch_;
};

Status check_text(std::string_view text) {
  if (text.size() > kMaxTextBytes) {
    return invalid_argument(
        fmt::format("text to tokenize: expected at most {} bytes, found {}; split it", kMaxTextBytes, text.size()));
  }
  if (is_valid_utf8(text)) return ok_status();
  const std::string repaired = replace_invalid_utf8(text);
  const auto differs = std::mismatch(text.begin(), text.end(), repaired.begin(), repaired.end()).first;
  return bad_data(fmt::format("text to tokenize: byte {} of {} is not UTF-8; convert the text", differs - text.begin(),
                              text.size()));
}

// Below this a text is encoded faster than it is compared with another; and parts are no shorter than this many bytes.
constexpr size_t kWorthReusing = 256, kShortestPart = 64;

// The ids of `text` alone, part by part between cuts, behind those that the thread's recent text shares with it.
Status encode_reusing(const TokenizerParts& parts, const TokenizeOptions& options, std::string_view text, Tokens& out) {
  RecentText& recent = RecentText::of_this_thread();
  size_t begin = recent.keep_common(parts.cut_owner + (options.parse_special_tokens ? 1 : 0), text);
  if (!is_valid_utf8(text.substr(begin))) {
    recent.forget();
    return check_text(text);
  }
  recent.extend(text);
  Encoding encoding(parts, options, recent.tokens());
  while (begin < text.size()) {
    const size_t cut = std::min(next_word_cut(text, begin + kShortestPart), text.size());
    const Status status = encoding.add_text(text.substr(begin, cut - begin), begin == 0);
    if (!status.ok()) {
      recent.forget();
      return status;
    }
    if (cut < text.size()) recent.add_cut(cut);
    begin = cut;
  }
  out.insert(out.end(), recent.tokens().begin(), recent.tokens().end());
  return ok_status();
}

// transformers' clean_up_tokenization: each rule over what the one before it left.
std::string clean_up_spaces(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
      {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (const auto& [from, to] : kRules) text = replace_all(text, from, to);
  return text;
}

Result<std::optional<MappedFile>> open_if_there(const Path& path) {
  Result<MappedFile> file = MappedFile::open(path);
  if (file.ok()) return std::optional(std::move(file).value());
  if (file.status().code() == Code::not_found) return std::optional<MappedFile>();
  return file.status();
}

NamedText named(const std::optional<MappedFile>& file, const Path& path) {
  return {file ? file->text() : std::string_view(), path.string()};
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<TokenizerParts> parts) : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::open(const Path& folder, TekkenRegex tekken_regex) {
  const Path tokenizer_path = folder / kTokenizerJson;
  ASSAY_ASSIGN(const auto tokenizer, open_if_there(tokenizer_path));
  if (tokenizer) {
    const Path config_path = folder / kTokenizerConfigJson;
    const Path map_path = folder / kSpecialTokensMapJson;
    ASSAY_ASSIGN(const auto config, open_if_there(config_path));
    ASSAY_ASSIGN(const auto map, open_if_there(map_path));
    ASSAY_ASSIGN(auto parts, load_tokenizer_json(named(tokenizer, tokenizer_path), named(config, config_path),
                                                 named(map, map_path), tekken_regex));
    return Tokenizer(std::move(parts));
  }
  const Path tekken_path = folder / kTekkenJson;
  ASSAY_ASSIGN(const auto tekken, open_if_there(tekken_path));
  if (!tekken) {
    return not_found(fmt::format("{}: expected {} or {}, found neither; add the model's tokenizer files to the folder",
                                 folder.string(), kTokenizerJson, kTekkenJson));
  }
  return from_tekken(tekken->text(), tekken_path.string());
}

Result<Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                                       std::string_view source, std::string_view special_tokens_map_json,
                                       TekkenRegex tekken_regex) {
  const auto beside = [&](std::string_view name) { return fmt::format("{} ({})", source, name); };
  ASSAY_ASSIGN(auto parts, load_tokenizer_json({tokenizer_json, std::string(source)},
                                               {tokenizer_config_json, beside(kTokenizerConfigJson)},
                                               {special_tokens_map_json, beside(kSpecialTokensMapJson)}, tekken_regex));
  return Tokenizer(std::move(parts));
}

Result<Tokenizer> Tokenizer::from_tekken(std::string_view tekken_json, std::string_view source) {
  ASSAY_ASSIGN(auto parts, load_tekken_json({tekken_json, std::string(source)}));
  return Tokenizer(std::move(parts));
}

Result<Tokens> Tokenizer::encode(std::string_view text, const TokenizeOptions& options) const {
  Tokens tokens;
  tokens.reserve(text.size() / 4);
  const auto append = [&](const Tokens& affix) {
    if (options.add_special_tokens) tokens.insert(tokens.end(), affix.begin(), affix.end());
  };
  append(parts_->affixes.prefix);
  if (options.reuse && parts_->cut_owner && text.size() >= kWorthReusing && text.size() <= kMaxTextBytes) {
    ASSAY_TRY(encode_reusing(*parts_, options, text, tokens));
  } else {
    ASSAY_TRY(check_text(text));
    ASSAY_TRY(Encoding(*parts_, options, tokens).add_text(text));
  }
  append(parts_->affixes.suffix);
  return tokens;
}

std::string Tokenizer::decode(const Tokens& tokens, bool skip_special_tokens) const {
  const auto wanted = [&](TokenId id) { return parts_->is_token(id) && !(skip_special_tokens && is_special(id)); };
  std::string text;
  if (parts_->joins_bytes()) {
    std::string run;
    for (const TokenId id : tokens) {
      if (parts_->is_tekken && is_special(id)) {
        text += replace_invalid_utf8(run);
        run.clear();
      }
      if (wanted(id)) run += parts_->bytes(id);
    }
    text += replace_invalid_utf8(run);
  } else {
    std::vector<std::string> contents;
    for (const TokenId id : tokens) {
      if (wanted(id)) contents.push_back(parts_->spelling(id));
    }
    if (parts_->decoder) parts_->decoder->decode(contents);
    text = join(contents, parts_->decoder ? "" : " ");
  }
  return parts_->config.clean_up_spaces ? clean_up_spaces(std::move(text)) : text;
}

std::string Tokenizer::token_bytes(TokenId token) const { return parts_->bytes(token); }

bool Tokenizer::is_special(TokenId token) const {
  const AddedToken* added = parts_->find_added(token);
  return added && added->special;
}

std::optional<TokenId> Tokenizer::find_token(std::string_view content) const { return parts_->find(content); }

int Tokenizer::vocab_size() const { return static_cast<int>(parts_->added_index.size()); }
const std::string& Tokenizer::bos_text() const { return parts_->config.bos; }
const std::string& Tokenizer::eos_text() const { return parts_->config.eos; }
const std::string& Tokenizer::pad_text() const { return parts_->config.pad; }
const std::string& Tokenizer::unk_text() const { return parts_->config.unk; }
const std::string& Tokenizer::digest() const { return parts_->digest; }

}  // namespace assay
