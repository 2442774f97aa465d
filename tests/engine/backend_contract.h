#pragma once

#include <cstdint>

#include "engine/backend/backend.h"

namespace assay::testing {

// What every Backend promises (engine/backend/backend.h): the results of a row depend on its sequence's tokens and on
// which of them are generated only, bit for bit. Runs sequences of up to 150 tokens alone and whole, then in every
// other way a scheduler may ask for them, and compares logits and log-probabilities byte by byte, reporting the first
// row that differs as a doctest failure. REQUIRES: at least 64 KV blocks, max_batch_tokens >= 256, the rotary table
// covers 160 positions.
void check_backend_contract(Backend& backend, int64_t vocab_size, uint64_t seed);

}  // namespace assay::testing
