#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/json.h"
#include "engine/base/status.h"

namespace assay {

// What a rendering may cost; exceeding any is an error, never a hang.
struct JinjaLimits {
  int64_t max_steps = 5'000'000;  // evaluated nodes
  size_t max_output_bytes = 16 << 20;
  size_t max_value_bytes = 16 << 20;  // one string, list or repetition
  int max_depth = 100;                // nesting of syntax, calls and values
};

// Globals beyond the variables: the clock that strftime_now sees.
struct JinjaEnvironment {
  int64_t now_utc_us = 0;  // strftime_now formats this moment, in UTC, so that prompts do not depend on the day
  JinjaLimits limits;
  // Chat templates print an undefined value as nothing. Strict rendering refuses to print, test, loop over or filter
  // one (but for the filter `default`), as jinja2.StrictUndefined does.
  bool strict = false;
};

// The Jinja that chat templates really use (model.md 5.4): trim_blocks and lstrip_blocks on, loop controls,
// `generation` blocks, Python value semantics, immutable values. Names it does not know are errors that say line and
// name. Immutable after parse(); render() is thread-safe.
class JinjaTemplate {
 public:
  // Errors: bad_data "<name> line N: ..."; unsupported for constructs outside the subset.
  static Result<JinjaTemplate> parse(std::string_view source, std::string_view name, const JinjaLimits& limits = {});
  JinjaTemplate(JinjaTemplate&&) noexcept;
  JinjaTemplate& operator=(JinjaTemplate&&) noexcept;
  ~JinjaTemplate();

  // `variables` is an object: its members are the template's variables. Errors: bad_data with line and reason; a
  // template's own raise_exception(message) gives that message.
  Result<std::string> render(const Json& variables, const JinjaEnvironment& environment) const;

 private:
  struct Impl;
  explicit JinjaTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
