#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/text/jinja.h"
#include "tasks/task_file.h"

namespace {

constexpr assay::JinjaLimits kLimits = {.max_steps = 20'000, .max_output_bytes = 1 << 16, .max_value_bytes = 1 << 16};

assay::Result<assay::TextTemplate> compile(std::string_view source, std::string_view name) {
  ASSAY_ASSIGN(assay::JinjaTemplate parsed, assay::JinjaTemplate::parse(source, name, kLimits));
  const auto shared = std::make_shared<const assay::JinjaTemplate>(std::move(parsed));
  return assay::TextTemplate(
      [shared](const assay::Json& columns) { return shared->render(columns, {.limits = kLimits, .strict = true}); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const assay::Result<assay::TaskFile> file = assay::parse_task_file(text, "/fuzz/task.json", compile);
  if (!file.ok()) return 0;
  const assay::Result<assay::Json> row = assay::Json::parse(
      R"({"q":"text","l":["a","b"],"a":"x","b":"y","c":"z","country":"k","answer":"B","terms":[1,2],"sum":3,"id":7})",
      "row");
  (void)file->task->to_document(*row, "hub");
  return 0;
}
