#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <map>

#include "engine/base/status.h"
#include "engine/cuda/batch_plan.h"

namespace assay::cuda {

// Decoding steps recorded as CUDA graphs, one a class: hundreds of launches become one. A class is recorded when it
// comes for the second time; whoever moves what a step's launches point at clears them all.
class DecodeGraphs {
 public:
  DecodeGraphs() = default;
  DecodeGraphs(const DecodeGraphs&) = delete;
  DecodeGraphs& operator=(const DecodeGraphs&) = delete;
  ~DecodeGraphs() { clear(); }

  // Queues what `launches` queues on the stream, by replaying it where it was recorded. The same class must always
  // queue the same launches. A class that cannot be recorded is launched every time.
  // Errors: those of `launches`, and of replaying.
  Status run(const DecodeClass& which, cudaStream_t stream, const std::function<Status()>& launches);
  void clear();

  int64_t num_recorded() const { return num_recorded_; }
  int64_t num_replayed() const { return num_replayed_; }

 private:
  struct Entry {
    int64_t seen = 0;
    cudaGraphExec_t graph = nullptr;
  };
  cudaGraphExec_t record(cudaStream_t stream, const std::function<Status()>& launches);

  std::map<DecodeClass, Entry> entries_;
  int64_t num_recorded_ = 0, num_replayed_ = 0;
};

}  // namespace assay::cuda
