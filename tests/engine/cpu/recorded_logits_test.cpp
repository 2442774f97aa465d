#include "tests/engine/recorded_logits.h"

#include <doctest/doctest.h>

#include "engine/cpu/cpu_backend.h"

using namespace assay;

namespace {

Result<std::unique_ptr<Backend>> make(const ModelConfig& config, const ModelWeights& weights,
                                      const BackendOptions& options) {
  return cpu::make_cpu_backend(config, weights, options);
}

}  // namespace

TEST_CASE("float32 logits of the tiny checkpoint are the recorded ones within 1e-4, dense and quantized") {
  testing::check_recorded_logits_in_float32(make);
}

TEST_CASE("bfloat16 log-probabilities of the tiny checkpoint stay within the library's own bfloat16 noise") {
  testing::check_recorded_logits_in_bfloat16(make);
}
