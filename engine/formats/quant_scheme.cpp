#include "engine/formats/quant_scheme.h"

#include <fmt/format.h>

namespace assay {

std::string QuantScheme::text() const {
  return fmt::format("int{} {} {}{}", bits, group_size == 0 ? "channel" : fmt::format("group {}", group_size),
                     symmetric ? "symmetric" : "asymmetric", activation_order ? " activation order" : "");
}

}  // namespace assay
