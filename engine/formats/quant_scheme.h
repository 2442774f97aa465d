#pragma once

#include <cstdint>
#include <string>

namespace assay {

// How one linear layer's weight was quantized: W[r, c] = (q[r, c] - z[r, g]) * s[r, g], q and z signed `bits`-bit
// integers, g the group of column c. Packing order and zero-point layout are the file format's business
// (compressed_tensors.h); after reading there is this one form.
struct QuantScheme {
  int bits = 4;                   // 4 or 8
  int64_t group_size = 128;       // columns a group; 0: one group a row ("channel")
  bool symmetric = true;          // z is 0 everywhere and not stored
  bool activation_order = false;  // groups follow weight_g_idx instead of c / group_size

  bool operator==(const QuantScheme&) const = default;
  // Groups in a row of `in_features` columns.
  int64_t num_groups(int64_t in_features) const {
    return group_size == 0 ? 1 : (in_features + group_size - 1) / group_size;
  }
  // "int4 group 64 symmetric", "int4 channel asymmetric".
  std::string text() const;
};

}  // namespace assay
