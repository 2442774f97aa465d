#include "engine/cuda/decode_graphs.h"

#include <fmt/format.h>

#include "engine/base/log.h"
#include "engine/cuda/device.h"

namespace assay::cuda {
namespace {

constexpr size_t kMostClasses = 128;

}  // namespace

void DecodeGraphs::clear() {
  for (auto& [which, entry] : entries_) {
    if (entry.graph) cudaGraphExecDestroy(entry.graph);
  }
  entries_.clear();
}

Status DecodeGraphs::run(const DecodeClass& which, cudaStream_t stream, const std::function<Status()>& launches) {
  if (entries_.size() >= kMostClasses && !entries_.count(which)) clear();
  Entry& entry = entries_[which];
  if (++entry.seen == 2) entry.graph = record(stream, launches);
  if (!entry.graph) return launches();
  ++num_replayed_;
  return check(cudaGraphLaunch(entry.graph, stream), "cudaGraphLaunch");
}

// Null when it did not work: then the step is launched, and says what is wrong if anything is.
cudaGraphExec_t DecodeGraphs::record(cudaStream_t stream, const std::function<Status()>& launches) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t made = nullptr;
  cudaError_t error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  Status launched;
  if (error == cudaSuccess) {
    launched = launches();
    error = cudaStreamEndCapture(stream, &graph);
  }
  if (error == cudaSuccess && launched.ok()) error = cudaGraphInstantiate(&made, graph, 0);
  if (graph) cudaGraphDestroy(graph);
  if (error != cudaSuccess || !launched.ok()) {
    cudaGetLastError();
    log_detail(fmt::format("a decoding step could not be recorded ({}, {}); its kernels are launched one by one",
                           cudaGetErrorString(error), launched.message()));
    return nullptr;
  }
  ++num_recorded_;
  return made;
}

}  // namespace assay::cuda
