#pragma once

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/request.h"

namespace assay {

// What add_special_tokens puts around a text.
struct Affixes {
  Tokens prefix;
  Tokens suffix;
};

// A post-processor of tokenizer.json by its "type": TemplateProcessing (its `single` template), ByteLevel (which adds
// nothing), Sequence; null adds nothing. Errors: bad_data naming the field; unsupported for other types.
Result<Affixes> read_post_processor(const JsonField& field);

}  // namespace assay
