#pragma once

#include "evals/task/registry.h"

namespace assay {

// Adds every task and group of the tasks folder to the registry.
void add_all_tasks(Registry& registry);

}  // namespace assay
