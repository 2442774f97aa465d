#pragma once

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <vector>

namespace assay::bench {

// A benchmark has no one to hand an error to: it says what failed and ends.
inline void must(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  fmt::print(stderr, "{}: {}\n", what, cudaGetErrorString(error));
  std::exit(1);
}

struct Timing {
  double median_us = 0, best_us = 0;
};

// Times `launches` queued by queue(i) as one CUDA graph, replayed `repeats` times after one replay to warm up: the time
// of one launch. Returns zeros where queue(i) gives false.
inline Timing time_graph(cudaStream_t stream, int launches, int repeats, const std::function<bool(int)>& queue) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  bool queued = true;
  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin capture");
  for (int i = 0; i < launches && queued; ++i) queued = queue(i);
  const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
  if (!queued || ended != cudaSuccess) {
    cudaGetLastError();
    return {};
  }
  must(cudaGraphInstantiate(&executable, graph, 0), "instantiate graph");
  cudaEvent_t begin, end;
  must(cudaEventCreate(&begin), "event"), must(cudaEventCreate(&end), "event");
  std::vector<double> times;
  for (int i = 0; i <= repeats; ++i) {
    must(cudaEventRecord(begin, stream), "record");
    must(cudaGraphLaunch(executable, stream), "graph launch");
    must(cudaEventRecord(end, stream), "record");
    must(cudaEventSynchronize(end), "graph replay");
    float ms = 0;
    must(cudaEventElapsedTime(&ms, begin, end), "elapsed");
    if (i > 0) times.push_back(1e3 * static_cast<double>(ms) / launches);
  }
  cudaEventDestroy(begin), cudaEventDestroy(end);
  cudaGraphExecDestroy(executable), cudaGraphDestroy(graph);
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

}  // namespace assay::bench
