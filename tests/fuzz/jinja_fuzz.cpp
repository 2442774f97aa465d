// Bytes as a chat template: parsed, and rendered with a few messages under small limits.

#include <cstdint>
#include <string_view>

#include "engine/text/jinja.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const assay::Json variables =
      assay::Json::parse(R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":" u\n"}],
                            "add_generation_prompt":true,"bos_token":"<s>","tools":[{"name":"f","n":[1,2.5,null]}]})",
                         "variables")
          .value();
  assay::JinjaEnvironment environment;
  environment.limits.max_steps = 20'000;
  environment.limits.max_output_bytes = 1 << 16;
  environment.limits.max_value_bytes = 1 << 16;
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto parsed = assay::JinjaTemplate::parse(source, "fuzz", environment.limits);
  if (parsed.ok()) static_cast<void>(parsed->render(variables, environment));
  return 0;
}
