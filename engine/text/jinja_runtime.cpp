#include "engine/text/jinja_runtime.h"

#include <fmt/format.h>

namespace assay::jinja {

Status Runtime::admit(size_t bytes) {
  constexpr size_t kBytesPerStep = 64;
  if (bytes > limits_.max_value_bytes) {
    return bad_data(
        fmt::format("a value of {} bytes is over the limit of {} for one value", bytes, limits_.max_value_bytes));
  }
  return charge(static_cast<int64_t>(bytes / kBytesPerStep));
}

Status Runtime::out_of_steps() const {
  return bad_data(fmt::format("the template takes more than {} steps; it may never end", limits_.max_steps));
}

Status Runtime::too_deep() const {
  return bad_data(fmt::format("nested too deeply; the limit is {}", limits_.max_depth));
}

Namespace* Runtime::new_name_space() { return &name_spaces_.emplace_back(); }

}  // namespace assay::jinja
