#include "engine/base/rng.h"

#include "engine/base/philox.h"

namespace assay {

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index) { return philox_bits(seed, stream, index); }

}  // namespace assay
