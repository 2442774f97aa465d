#include "engine/text/jinja.h"

#include <utility>

#include "engine/text/jinja_eval.h"
#include "engine/text/jinja_parser.h"
#include "engine/text/jinja_runtime.h"

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
  auto parsed = jinja::parse_template(source, limits.max_depth);
  if (!parsed.ok()) return parsed.status().with_context(name);
  auto impl = std::make_unique<Impl>();
  impl->name = std::string(name);
  impl->parsed = std::move(*parsed);
  return JinjaTemplate(std::move(impl));
}

Result<std::string> JinjaTemplate::render(const Json& variables, const JinjaEnvironment& environment) const {
  if (!variables.is_object()) return invalid_argument(impl_->name + ": a template's variables are an object");
  jinja::Runtime runtime(environment.limits, environment.now_utc_us);
  jinja::Dict values;
  for (const auto& [name, json] : variables.as_object()) {
    ASSAY_ASSIGN(jinja::Value value, jinja::Value::from_json(runtime, json));
    ASSAY_TRY(values.set(runtime, name, std::move(value)));
  }
  return jinja::render_template(impl_->parsed, values, runtime).with_context(impl_->name);
}

}  // namespace assay
