#pragma once

#include <memory>

#include "engine/engine.h"
#include "evals/model/model_client.h"

namespace assay {

// The engine in this process as a ModelClient.
std::unique_ptr<ModelClient> make_engine_client(std::unique_ptr<Engine> engine);

}  // namespace assay
