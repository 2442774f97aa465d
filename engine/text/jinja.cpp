#include "engine/text/jinja.h"

#include <fmt/format.h>

#include "engine/text/jinja_eval.h"
#include "engine/text/jinja_parser.h"
#include "engine/text/jinja_runtime.h"
#include "engine/text/jinja_value.h"

namespace assay {

struct JinjaTemplate::Impl {
  std::string name;
  jinja::Template parsed;
};

JinjaTemplate::JinjaTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JinjaTemplate::JinjaTemplate(JinjaTemplate&&) noexcept = default;
JinjaTemplate& JinjaTemplate::operator=(JinjaTemplate&&) noexcept = default;
JinjaTemplate::~JinjaTemplate() = default;

Result<JinjaTemplate> JinjaTemplate::parse(std::string_view source, std::string_view name, const JinjaLimits& limits) {
  Result<jinja::Template> parsed = jinja::parse_template(source, limits.max_depth);
  if (!parsed.ok()) return Status(parsed.status().code(), fmt::format("{} {}", name, parsed.status().message()));
  return JinjaTemplate(std::make_unique<Impl>(Impl{std::string(name), std::move(*parsed)}));
}

Result<std::string> JinjaTemplate::render(const Json& variables, const JinjaEnvironment& environment) const {
  if (!variables.is_object())
    return invalid_argument(fmt::format("{}: the variables of a template are an object", impl_->name));
  jinja::Runtime runtime(environment.limits, environment.now_utc_us, environment.strict);
  Result<jinja::Value> values = jinja::Value::from_json(runtime, variables);
  if (!values.ok()) return values.status().with_context(impl_->name + ": variables");
  jinja::Rendering rendering = jinja::evaluate(impl_->parsed, *values, runtime);
  if (rendering.text.ok()) return std::move(rendering.text);
  const Status& failure = rendering.text.status();
  return Status(failure.code(), fmt::format("{} line {}: {}", impl_->name, rendering.error_line, failure.message()));
}

}  // namespace assay
