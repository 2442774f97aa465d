#include "engine/text/jinja_arguments.h"

#include <fmt/format.h>

#include <algorithm>

namespace assay::jinja {

Result<Values> bind(std::string_view callee, const Arguments& arguments, std::initializer_list<Parameter> parameters) {
  if (arguments.positional.size() > parameters.size()) {
    return bad_data(fmt::format("'{}' takes at most {} arguments, {} are given", callee, parameters.size(),
                                arguments.positional.size()));
  }
  Values bound = arguments.positional;
  bound.resize(parameters.size());
  for (const auto& [name, value] : arguments.named) {
    const auto* parameter =
        std::find_if(parameters.begin(), parameters.end(), [&](const Parameter& p) { return p.name == name; });
    if (parameter == parameters.end()) return bad_data(fmt::format("'{}' has no argument '{}'", callee, name));
    const auto place = static_cast<size_t>(parameter - parameters.begin());
    if (place < arguments.positional.size())
      return bad_data(fmt::format("'{}' is given its argument '{}' twice", callee, name));
    bound[place] = value;
  }
  size_t place = 0;
  for (const Parameter& parameter : parameters) {
    Value& value = bound[place++];
    if (!value.is_missing()) continue;
    if (parameter.fallback.is_missing())
      return bad_data(fmt::format("'{}' needs its argument '{}'", callee, parameter.name));
    value = parameter.fallback;
  }
  return bound;
}

Result<Values> bind_positional(std::string_view callee, const Arguments& arguments,
                               std::initializer_list<Parameter> parameters) {
  if (!arguments.named.empty()) return bad_data(fmt::format("'{}' takes no keyword arguments", callee));
  return bind(callee, arguments, parameters);
}

Result<int64_t> want_integer(std::string_view callee, const Value& value) {
  if (value.is(Kind::undefined)) return bad_data(value.undefined_reason());
  if (!value.is_integral()) return bad_data(fmt::format("'{}' needs an integer, found '{}'", callee, type_name(value)));
  return value.as_integer();
}

Result<std::string> want_string(std::string_view callee, const Value& value) {
  if (value.is(Kind::undefined)) return bad_data(value.undefined_reason());
  if (!value.is(Kind::string))
    return bad_data(fmt::format("'{}' needs a string, found '{}'", callee, type_name(value)));
  return value.as_string();
}

}  // namespace assay::jinja
