// Any text parsed as JSON gives a typed error, or a value that prints to text which parses to the same print.

#include "engine/base/check.h"
#include "engine/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace assay;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto value = Json::parse(text, "input");
  if (!value.ok()) {
    ASSAY_CHECK(!value.status().message().empty());
    return 0;
  }
  for (const JsonStyle& style :
       {JsonStyle{}, JsonStyle{.indent = 2, .ensure_ascii = true}, JsonStyle{.python_separators = true}}) {
    const std::string printed = value->dump(style);
    const auto again = Json::parse(printed, "printed");
    ASSAY_CHECK(again.ok());
    ASSAY_CHECK_EQ(again->dump(style), printed);
  }
  return 0;
}
