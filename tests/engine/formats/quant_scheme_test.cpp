#include "engine/formats/quant_scheme.h"

#include <doctest/doctest.h>

namespace assay {
namespace {

TEST_CASE("a scheme reads as a person would say it") {
  CHECK(QuantScheme{.bits = 4, .group_size = 64}.text() == "int4 group 64 symmetric");
  CHECK(QuantScheme{.bits = 4, .group_size = 0, .symmetric = false}.text() == "int4 channel asymmetric");
  CHECK(QuantScheme{.bits = 8, .activation_order = true}.text() == "int8 group 128 symmetric activation order");
}

TEST_CASE("a row has one group by channel and a last short group otherwise") {
  CHECK(QuantScheme{.group_size = 0}.num_groups(576) == 1);
  CHECK(QuantScheme{.group_size = 64}.num_groups(576) == 9);
  CHECK(QuantScheme{.group_size = 128}.num_groups(576) == 5);
  CHECK(QuantScheme{.group_size = 128}.num_groups(64) == 1);
}

}  // namespace
}  // namespace assay
