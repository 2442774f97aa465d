#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"

namespace assay {

// A decoder of tokenizer.json: contents of tokens to text. Immutable, thread-safe.
class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  // Rewrites the list of token contents in place; the text is all of them together.
  virtual void decode(std::vector<std::string>& tokens) const = 0;
  // What one token stands for by itself, as bytes: without the repair of UTF-8 and without what depends on neighbors.
  virtual void decode_alone(std::string& token) const = 0;
  // Whether this is ByteLevel by itself: decoding then is joining bytes.
  virtual bool is_byte_level() const { return false; }
};

// By its "type": ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace, Sequence; null gives a null pointer:
// contents are joined by spaces. Errors: bad_data naming the field; unsupported for other types and patterns.
Result<std::unique_ptr<TokenDecoder>> make_decoder(const JsonField& field);

}  // namespace assay
