#include "engine/text/post_processor.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/text/component_fields.h"
#include "engine/text/vocab_files.h"

namespace assay {
namespace {

constexpr std::string_view kImplemented = "TemplateProcessing, ByteLevel, Sequence";

// The ids that a template means by the special token `name`.
Result<Tokens> special_token_ids(const JsonField& processor, const std::string& name) {
  ASSAY_ASSIGN(const JsonField specials, processor.get("special_tokens"));
  ASSAY_ASSIGN(const JsonField special, specials.get(name));
  ASSAY_ASSIGN(const JsonField list, special.get("ids"));
  ASSAY_ASSIGN(const std::vector<JsonField> items, list.items());
  Tokens ids;
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(const int64_t id, item.as_int(0, kMaxTokenId));
    ids.push_back(static_cast<TokenId>(id));
  }
  return ids;
}

Result<Affixes> read_template(const JsonField& processor) {
  ASSAY_ASSIGN(const JsonField single, processor.get("single"));
  ASSAY_ASSIGN(const std::vector<JsonField> items, single.items());
  Affixes affixes;
  int num_sequences = 0;
  for (const JsonField& item : items) {
    if (const auto special = item.find("SpecialToken")) {
      ASSAY_ASSIGN(const std::string name, special->get_string("id"));
      ASSAY_ASSIGN(const Tokens ids, special_token_ids(processor, name));
      Tokens& side = num_sequences == 0 ? affixes.prefix : affixes.suffix;
      side.insert(side.end(), ids.begin(), ids.end());
      continue;
    }
    const auto sequence = item.find("Sequence");
    if (!sequence) return item.error("a SpecialToken or a Sequence");
    ASSAY_ASSIGN(const std::string name, sequence->get_string("id"));
    if (name != "A") return sequence->get("id")->error("\"A\"");
    ++num_sequences;
  }
  if (num_sequences != 1) return single.error("a template with one Sequence");
  return affixes;
}

// Each processor goes around what those before it made.
Result<Affixes> read_sequence(const JsonField& field) {
  ASSAY_ASSIGN(const JsonField list, field.get("processors"));
  ASSAY_ASSIGN(const std::vector<JsonField> items, list.items());
  Affixes affixes;
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(Affixes outer, read_post_processor(item));
    outer.prefix.insert(outer.prefix.end(), affixes.prefix.begin(), affixes.prefix.end());
    affixes.suffix.insert(affixes.suffix.end(), outer.suffix.begin(), outer.suffix.end());
    affixes.prefix = std::move(outer.prefix);
  }
  return affixes;
}

}  // namespace

Result<Affixes> read_post_processor(const JsonField& field) {
  if (field.is_null()) return Affixes{};
  ASSAY_ASSIGN(const std::string type, field.get_string("type"));
  if (type == "TemplateProcessing") return read_template(field);
  if (type == "ByteLevel") return Affixes{};
  if (type == "Sequence") return read_sequence(field);
  return unsupported_type(field, kImplemented);
}

}  // namespace assay
