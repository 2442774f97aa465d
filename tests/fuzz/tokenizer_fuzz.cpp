// Bytes as a tokenizer.json; one that loads encodes and decodes texts that reach every component.

#include <cstdint>
#include <string_view>

#include "engine/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = assay::Tokenizer::from_json(json, "", "fuzz");
  if (!tokenizer.ok()) return 0;
  for (const std::string_view text :
       {"", "the <s>weights</s> cost 1234\n", "na\xc3\xafve \xe6\x9d\xb1\xe4\xba\xac's  x"}) {
    const auto tokens = tokenizer->encode(text);
    if (tokens.ok()) static_cast<void>(tokenizer->decode(*tokens, true));
  }
  return 0;
}
