#pragma once

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/engine.h"

namespace assay {

// What the store keeps of a model, and back. The chat template's text is included.
Json engine_info_to_json(const EngineInfo& info);
Result<EngineInfo> engine_info_from_json(const Json& json);

}  // namespace assay
