#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "engine/base/status.h"
#include "engine/cuda/batch_plan.h"

namespace assay::cuda {

// A decoding step that may be launched again and again.
struct DecodeStep {
  // Queues the step and the copy of its answers; `overlap`: kernels may start while those before them drain.
  std::function<Status(bool overlap)> launch;
  std::function<Result<std::vector<std::byte>>()> answers;  // waits for them
};

// Decoding steps recorded as CUDA graphs, one a class: hundreds of launches become one, and their kernels overlap. A
// class is recorded when it comes for the second time, and that step is run twice, replayed and launched plainly: a
// recording whose answers are not the same bits is thrown away with a warning. Whoever moves what a step's launches
// point at clears them all.
class DecodeGraphs {
 public:
  DecodeGraphs() = default;
  DecodeGraphs(const DecodeGraphs&) = delete;
  DecodeGraphs& operator=(const DecodeGraphs&) = delete;
  ~DecodeGraphs() { clear(); }

  // Queues the step, by replaying it where it was recorded. The same class must always be the same launches. A class
  // that cannot be recorded is launched every time. Errors: those of the step, and of replaying.
  Status run(const DecodeClass& which, cudaStream_t stream, const DecodeStep& step);
  void clear();

  int64_t num_recorded() const { return num_recorded_; }
  int64_t num_replayed() const { return num_replayed_; }

 private:
  struct Entry {
    int64_t seen = 0;
    cudaGraphExec_t graph = nullptr;
  };
  Status record(Entry& entry, cudaStream_t stream, const DecodeStep& step);

  std::map<DecodeClass, Entry> entries_;
  int64_t num_recorded_ = 0, num_replayed_ = 0;
};

}  // namespace assay::cuda
