#pragma once

#include <cstddef>
#include <functional>

namespace assay {

// Processors this process may run on (its affinity mask), at least 1.
int available_cpus();

// Calls job(i) for i in [0, count) on up to `num_threads` threads (0: available_cpus()), the calling one included, and
// returns when all are done. Jobs must not throw. Order is unspecified: a job's result may depend on i only.
// For host-side work such as rendering prompts; the CPU backend's inner loops use OpenMP.
void parallel_for(size_t count, const std::function<void(size_t)>& job, int num_threads = 0);

}  // namespace assay
