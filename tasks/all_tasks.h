#pragma once

#include "evals/task/profile.h"
#include "evals/task/registry.h"

namespace assay {

// Adds every task and group of the tasks folder to the registry, as a profile asks them.
void add_all_tasks(Registry& registry, Profile profile = Profile::main);

}  // namespace assay
