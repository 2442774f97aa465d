#include "engine/cuda/decode_graphs.h"

#include <fmt/format.h>

#include "engine/base/log.h"
#include "engine/cuda/device.h"

namespace assay::cuda {
namespace {

constexpr size_t kMostClasses = 128;

// Null when it did not work: then the step is launched plainly, and says what is wrong if anything is.
cudaGraphExec_t capture(cudaStream_t stream, const DecodeStep& step) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t made = nullptr;
  cudaError_t error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  Status launched;
  if (error == cudaSuccess) {
    launched = step.launch(true);
    error = cudaStreamEndCapture(stream, &graph);
  }
  if (error == cudaSuccess && launched.ok()) error = cudaGraphInstantiate(&made, graph, 0);
  if (graph) cudaGraphDestroy(graph);
  if (error == cudaSuccess && launched.ok()) return made;
  cudaGetLastError();
  log_detail(fmt::format("a decoding step could not be recorded ({}, {}); its kernels are launched one by one",
                         cudaGetErrorString(error), launched.message()));
  return nullptr;
}

Status replay(cudaGraphExec_t graph, cudaStream_t stream) {
  return check(cudaGraphLaunch(graph, stream), "cudaGraphLaunch");
}

}  // namespace

void DecodeGraphs::clear() {
  for (auto& [which, entry] : entries_) {
    if (entry.graph) cudaGraphExecDestroy(entry.graph);
  }
  entries_.clear();
}

Status DecodeGraphs::run(const DecodeClass& which, cudaStream_t stream, const DecodeStep& step) {
  if (entries_.size() >= kMostClasses && !entries_.count(which)) clear();
  Entry& entry = entries_[which];
  if (++entry.seen == 2) return record(entry, stream, step);
  if (!entry.graph) return step.launch(false);
  ++num_replayed_;
  return replay(entry.graph, stream);
}

Status DecodeGraphs::record(Entry& entry, cudaStream_t stream, const DecodeStep& step) {
  entry.graph = capture(stream, step);
  if (!entry.graph) return step.launch(false);
  ASSAY_TRY(replay(entry.graph, stream));
  ASSAY_ASSIGN(const auto replayed, step.answers());
  ASSAY_TRY(step.launch(false));
  ASSAY_ASSIGN(const auto launched, step.answers());
  if (replayed == launched) {
    ++num_recorded_;
    return ok_status();
  }
  cudaGraphExecDestroy(entry.graph);
  entry.graph = nullptr;
  log_warning("CUDA: a recorded decoding step does not give the bits of a launched one; it is not used");
  return ok_status();
}

}  // namespace assay::cuda
