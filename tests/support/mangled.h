#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/rng.h"

namespace assay::testing {

// Calls `parse` with damaged copies of `bytes`: every prefix (or `max_prefixes` of them, spread evenly) and `num_flips`
// copies with one to four bytes changed. Each copy lies in a heap block of its exact size, so that a read past its end
// is seen by AddressSanitizer.
template <class Parse>
void for_each_mangled(std::string_view bytes, size_t max_prefixes, size_t num_flips, const Parse& parse) {
  auto call = [&](std::string_view damaged) {
    auto block = std::make_unique<char[]>(damaged.size());
    damaged.copy(block.get(), damaged.size());
    parse(std::string_view(block.get(), damaged.size()));
  };
  const size_t step = bytes.size() / max_prefixes + 1;
  for (size_t length = 0; length < bytes.size(); length += step) call(bytes.substr(0, length));
  for (size_t i = 0; i < num_flips && !bytes.empty(); ++i) {
    std::string damaged(bytes);
    const uint64_t changes = 1 + random_bits(7, i, 0) % 4;
    for (uint64_t c = 1; c <= changes; ++c) {
      const uint64_t draw = random_bits(7, i, c);
      damaged[(draw >> 8) % damaged.size()] = static_cast<char>(draw);
    }
    call(damaged);
  }
}

}  // namespace assay::testing
