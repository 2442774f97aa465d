#pragma once

#include <memory>
#include <string_view>

#include "engine/text/jinja.h"
#include "tasks/task_file.h"

namespace assay::testing {

// Templates of task files, as the command line compiles them.
inline Result<TextTemplate> compile_jinja(std::string_view source, std::string_view name) {
  std::string kept(source);
  if (kept.ends_with('\n')) kept += '\n';
  ASSAY_ASSIGN(JinjaTemplate parsed, JinjaTemplate::parse(kept, name));
  const auto shared = std::make_shared<const JinjaTemplate>(std::move(parsed));
  return TextTemplate([shared](const Json& columns) { return shared->render(columns, {.strict = true}); });
}

}  // namespace assay::testing
