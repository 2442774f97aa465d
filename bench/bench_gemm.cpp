// The four fused W4A16 products of a 24B layer on one GPU, beside cuBLAS bf16 in the same run, against the run's own
// read bandwidth and matmul rate. Times are CUDA graph replays over weights that rotate past L2.
//   bench_gemm [--m 1,16,64] [--layer down] [--sweep] [--quick] [--no-peer] [--json FILE]
// --sweep times every compiled tile and schedule, prints the best ones and writes all of them to the file.
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include "bench/cublas_peer.h"
#include "bench/gpu_peaks.h"
#include "bench/graph_timer.h"
#include "bench/nvml.h"
#include "bench/random_weights.h"
#include "engine/cuda/kernels/w4a16_kernels.h"
#include "engine/cuda/repack.h"
#include "engine/cuda/w4a16.h"
#include "tests/support/reference_w4.h"

namespace assay::bench {
namespace {

using cuda::LaunchPlan;
using cuda::W4Epilogue;
using cuda::W4Shape;

struct Options {
  std::vector<int64_t> tokens = {1, 4, 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096};
  std::string layer;  // empty: all
  bool sweep = false, quick = false, peer = true;
  std::string json;
};

void* allocate(int64_t bytes) {
  void* data = nullptr;
  must(cudaMalloc(&data, static_cast<size_t>(bytes)), "allocate");
  return data;
}

struct Layer {
  const char* name;
  int64_t n, k;
  W4Epilogue::Kind kind;
  W4Shape shape;
  std::vector<uint8_t*> blocks;       // copies, together past L2
  std::vector<__nv_bfloat16*> dense;  // the same for the peer

  double flops(int64_t m) const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
  double bytes(int64_t m) const {
    const double out = kind == W4Epilogue::Kind::add ? 8.0 : kind == W4Epilogue::Kind::swiglu ? 1.0 : 2.0;
    return static_cast<double>(shape.bytes()) +
           static_cast<double>(m) * (2.0 * static_cast<double>(k) + out * static_cast<double>(n));
  }
};

struct Peaks {
  double read_tb_s = 0, burst_tflops = 0, sustained_tflops = 0;
};

struct Row {
  std::string layer, what;
  int64_t m = 0;
  double us = 0, best_us = 0;
  bool invariant = false;
};

class Bench {
 public:
  explicit Bench(Options options) : options_(std::move(options)) {
    must(cudaStreamCreate(&stream_), "stream");
    const Status prepared = cuda::w4a16_prepare();
    if (!prepared.ok()) fmt::print(stderr, "{}\n", prepared.message()), std::exit(1);
    std::string why_not;
    if (options_.peer) peer_ = open_cublas(why_not);
    if (!peer_) fmt::print("no cuBLAS beside us: {}\n", why_not.empty() ? "not asked for" : why_not);
    make_buffers();
  }

  void run() {
    print_state("start");
    measure_peaks();
    for (const int64_t m : options_.tokens) {
      for (Layer& layer : layers_)
        if (options_.layer.empty() || options_.layer == layer.name) measure_layer(layer, m);
      if (options_.layer.empty()) measure_chain(m);
      print_state(fmt::format("m {}", m).c_str());
    }
    print_table();
    if (!options_.json.empty()) write_json();
  }

 private:
  void make_buffers() {
    layers_ = {{"qkv", 6144, 5120, W4Epilogue::Kind::store, {}, {}, {}},
               {"o", 5120, 4096, W4Epilogue::Kind::add, {}, {}, {}},
               {"gate_up", 65536, 5120, W4Epilogue::Kind::swiglu, {}, {}, {}},
               {"down", 5120, 32768, W4Epilogue::Kind::add, {}, {}, {}}};
    const int64_t most = *std::max_element(options_.tokens.begin(), options_.tokens.end());
    x_ = static_cast<__nv_bfloat16*>(allocate(most * 32768 * 2));
    testing::fill_bf16(x_, most * 32768, 7, stream_);
    out_ = static_cast<__nv_bfloat16*>(allocate(most * 65536 * 2));
    residual_ = static_cast<float*>(allocate(most * 5120 * 4));
    must(cudaMemset(residual_, 0, static_cast<size_t>(most * 5120 * 4)), "memset");
    workspace_ = allocate(kWorkspaceBytes);
    must(cudaMemset(workspace_, 0, kWorkspaceBytes), "memset");
    for (Layer& layer : layers_) make_weights(layer);
    must(cudaStreamSynchronize(stream_), "fill");
  }

  void make_weights(Layer& layer) {
    layer.shape = cuda::w4_shape(layer.n, layer.k, 128, false).value();
    const int64_t copies = std::max<int64_t>(2, (kRotationBytes + layer.shape.bytes() - 1) / layer.shape.bytes());
    for (int64_t i = 0; i < copies; ++i) {
      layer.blocks.push_back(static_cast<uint8_t*>(allocate(layer.shape.bytes())));
      fill_blocks(layer.shape, layer.blocks.back(), static_cast<uint64_t>(i) + 1, stream_);
    }
    if (!peer_) return;
    const int64_t bytes = layer.n * layer.k * 2, dense = std::max<int64_t>(1, (kRotationBytes + bytes - 1) / bytes);
    for (int64_t i = 0; i < dense; ++i) {
      layer.dense.push_back(static_cast<__nv_bfloat16*>(allocate(bytes)));
      expand_blocks(layer.shape, layer.blocks[static_cast<size_t>(i) % layer.blocks.size()], layer.dense.back(),
                    stream_);
    }
  }

  void measure_peaks() {
    constexpr int64_t kBytes = int64_t{4} << 30;
    void* data = allocate(kBytes);
    auto* sink = static_cast<uint32_t*>(allocate(4));
    testing::fill_codes(static_cast<uint32_t*>(data), kBytes / 4, 3, stream_);
    const Timing read = time_graph(stream_, 4, 10, [&](int) { return read_all(data, kBytes, sink, stream_), true; });
    peaks_.read_tb_s = kBytes / read.median_us * 1e-6;
    if (peer_) {
      auto* a = static_cast<__nv_bfloat16*>(data);
      auto* b = a + int64_t{8192} * 8192;
      auto* c = b + int64_t{8192} * 8192;
      testing::fill_bf16(a, int64_t{8192} * 8192 * 2, 4, stream_);
      const auto multiply = [&](int) { return peer_->matmul(a, b, c, 8192, 8192, 8192, 0, stream_); };
      constexpr double kFlops = 2.0 * 8192 * 8192 * 8192;
      multiply(0);
      peaks_.burst_tflops = kFlops / time_graph(stream_, 1, 5, multiply).median_us * 1e-6;
      peaks_.sustained_tflops = kFlops / time_graph(stream_, 100, options_.quick ? 2 : 7, multiply).median_us * 1e-6;
    }
    must(cudaFree(data), "free"), must(cudaFree(sink), "free");
    fmt::print("read {:.3f} TB/s   cuBLAS 8192^3 bf16 burst {:.0f} sustained {:.0f} TFLOP/s\n", peaks_.read_tb_s,
               peaks_.burst_tflops, peaks_.sustained_tflops);
  }

  double floor_us(const Layer& layer, int64_t m) const {
    const double rate = peaks_.burst_tflops > 0 ? peaks_.burst_tflops : 790;
    return std::max(layer.bytes(m) / peaks_.read_tb_s * 1e-6, layer.flops(m) / rate * 1e-6);
  }

  int launches_for(const Layer& layer, int64_t m) const {
    const int wanted = static_cast<int>(1200.0 / floor_us(layer, m));
    return std::clamp(wanted, 3, 96);
  }

  bool queue(const Layer& layer, const LaunchPlan& plan, int64_t m, int copy) {
    if (cuda::w4a16_workspace_bytes(layer.shape, m, plan) > kWorkspaceBytes) return false;
    W4Epilogue epilogue{layer.kind, out_, layer.n, nullptr};
    if (layer.kind == W4Epilogue::Kind::add) epilogue.out = residual_;
    if (layer.kind == W4Epilogue::Kind::swiglu) epilogue.ld = layer.n / 2;
    const cuda::W4Matrix matrix{layer.shape, layer.blocks[static_cast<size_t>(copy) % layer.blocks.size()]};
    return cuda::w4a16_matmul(matrix, x_, layer.k, m, epilogue, plan, workspace_, stream_).ok();
  }

  bool queue_peer(const Layer& layer, int64_t m, int copy, int algorithm) {
    return peer_->matmul(layer.dense[static_cast<size_t>(copy) % layer.dense.size()], x_, out_, m, layer.n, layer.k,
                         algorithm, stream_);
  }

  Timing time_plan(const Layer& layer, const LaunchPlan& plan, int64_t m, int repeats) {
    return time_graph(stream_, launches_for(layer, m), repeats, [&](int i) { return queue(layer, plan, m, i); });
  }

  void add_row(const char* layer, std::string what, int64_t m, const Timing& timing, bool invariant) {
    rows_.push_back({layer, std::move(what), m, timing.median_us, timing.best_us, invariant});
  }

  // Ours and the library's take turns, so that a clock which falls as the GPU warms falls on both.
  void measure_layer(Layer& layer, int64_t m) {
    constexpr int kRounds = 3;
    const int repeats = options_.quick ? 5 : 15;
    std::vector<Timing> plain, overlapped;
    std::vector<std::vector<Timing>> library(peer_ ? 3 : 0);
    for (int round = 0; round < kRounds; ++round) {
      plain.push_back(time_plan(layer, cuda::plan_w4a16(m, layer.shape, {132, true, false}), m, repeats));
      overlapped.push_back(time_plan(layer, cuda::plan_w4a16(m, layer.shape, {132, true, true}), m, repeats));
      for (size_t i = 0; i < library.size(); ++i)
        library[i].push_back(time_peer(layer, m, static_cast<int>(i), repeats));
    }
    add_row(layer.name, "plan", m, middle(plain), true);
    add_row(layer.name, "plan overlapped", m, middle(overlapped), true);
    Timing best;
    for (std::vector<Timing>& rounds : library) {
      const Timing timing = middle(rounds);
      if (&rounds == library.data()) add_row(layer.name, "cublas first", m, timing, false);
      if (timing.median_us > 0 && (best.median_us == 0 || timing.median_us < best.median_us)) best = timing;
    }
    if (peer_) add_row(layer.name, "cublas", m, best, false);
    if (options_.sweep) sweep(layer, m);
  }

  static Timing middle(std::vector<Timing>& rounds) {
    std::sort(rounds.begin(), rounds.end(), [](const Timing& a, const Timing& b) { return a.median_us < b.median_us; });
    return rounds[rounds.size() / 2];
  }

  // One of the library's suggestions; zeros where it has not so many.
  Timing time_peer(const Layer& layer, int64_t m, int algorithm, int repeats) {
    if (!queue_peer(layer, m, 0, algorithm)) return {};  // loads its code outside the capture
    must(cudaStreamSynchronize(stream_), "peer");
    return time_graph(stream_, launches_for(layer, std::max<int64_t>(m, 128)), repeats,
                      [&](int i) { return queue_peer(layer, m, i, algorithm); });
  }

  std::vector<LaunchPlan> candidates(const Layer& layer, int64_t m) const {
    std::vector<LaunchPlan> plans;
    const auto add = [&](LaunchPlan plan, int most_stages) {
      plan.stages = cuda::plan_max_stages(plan, layer.shape, most_stages);
      if (cuda::plan_is_supported(plan, layer.shape)) plans.push_back(plan);
    };
    const auto fits = [&](int tile) {
      const int64_t tiles = (m + tile - 1) / tile;
      return (tile <= 8 || m * 2 > tile) && (tile >= 96 || tiles <= 2);
    };
    for (const cuda::MmaKernel& kernel : cuda::mma_kernels()) {
      if (kernel.sets != 1 || kernel.zeros || !fits(kernel.tile_tokens) || m > 8) continue;
      LaunchPlan plan;
      plan.kernel = LaunchPlan::Kernel::mma, plan.tile_tokens = kernel.tile_tokens;
      add(plan, 8);
    }
    for (const cuda::WgmmaKernel& kernel : cuda::wgmma_kernels()) {
      if (kernel.sets != 1 || kernel.zeros || !fits(kernel.tile_tokens)) continue;
      LaunchPlan plan;
      plan.tile_tokens = kernel.tile_tokens, plan.warpgroups = kernel.warpgroups, plan.halves = kernel.halves;
      plan.overlap = true;
      const bool whole_rows = cuda::workers_of(layer.shape).grain > 1;
      const int most = cuda::plan_max_stages(plan, layer.shape, 12);
      if (!whole_rows && (m + kernel.tile_tokens - 1) / kernel.tile_tokens <= 4) add(plan, most);
      plan.schedule = LaunchPlan::Schedule::tiles;
      if (!whole_rows && m < 64) continue;
      add(plan, most);
      plan.batch_invariant = false;
      if (!whole_rows) add(plan, most);
    }
    return plans;
  }

  void sweep(Layer& layer, int64_t m) {
    std::vector<std::pair<double, LaunchPlan>> timed;
    for (const LaunchPlan& plan : candidates(layer, m)) {
      const Timing timing = time_plan(layer, plan, m, 3);
      if (timing.median_us > 0) timed.push_back({timing.median_us, plan});
      add_row(layer.name, plan.text(), m, timing,
              plan.schedule == LaunchPlan::Schedule::stream || plan.batch_invariant);
    }
    std::sort(timed.begin(), timed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (size_t i = 0; i < std::min<size_t>(2, timed.size()); ++i) {
      LaunchPlan plan = timed[i].second;
      plan.overlap = !plan.overlap;
      const Timing timing = time_plan(layer, plan, m, 5);
      add_row(layer.name, plan.text(), m, timing,
              plan.schedule == LaunchPlan::Schedule::stream || plan.batch_invariant);
    }
    std::vector<Row> of_layer;
    for (const Row& row : rows_)
      if (row.m == m && row.layer == layer.name && row.us > 0 && row.what.find("cublas") == std::string::npos)
        of_layer.push_back(row);
    std::sort(of_layer.begin(), of_layer.end(), [](const Row& a, const Row& b) { return a.us < b.us; });
    for (size_t i = 0; i < std::min<size_t>(3, of_layer.size()); ++i)
      fmt::print("  m {:5} {:8} {:8.1f} us  {}\n", m, layer.name, of_layer[i].us, of_layer[i].what);
    std::fflush(stdout);
  }

  // One layer's four products after another, as a forward pass queues them.
  void measure_chain(int64_t m) {
    const int rounds = std::clamp(static_cast<int>(2000.0 / sum_floor(m)), 2, 12), repeats = options_.quick ? 5 : 15;
    for (const bool overlap : {false, true}) {
      const Timing timing = time_graph(stream_, rounds, repeats, [&](int i) {
        for (const Layer& layer : layers_)
          if (!queue(layer, cuda::plan_w4a16(m, layer.shape, {132, true, overlap}), m, i)) return false;
        return true;
      });
      add_row("layer", overlap ? "plan overlapped" : "plan", m, timing, true);
    }
    if (!peer_) return;
    const Timing timing = time_graph(stream_, rounds, repeats, [&](int i) {
      for (const Layer& layer : layers_)
        if (!queue_peer(layer, m, i, 0)) return false;
      return true;
    });
    add_row("layer", "cublas", m, timing, false);
  }

  double sum_floor(int64_t m) const {
    double sum = 0;
    for (const Layer& layer : layers_) sum += floor_us(layer, m);
    return sum;
  }

  double find(const char* layer, const char* what, int64_t m) const {
    for (const Row& row : rows_)
      if (row.m == m && row.layer == layer && row.what == what) return row.us;
    return 0;
  }

  // The fastest of all rows of this layer that are ours; invariant ones alone if asked.
  double best_of(const char* layer, int64_t m, bool invariant) const {
    double best = 0;
    for (const Row& row : rows_)
      if (row.m == m && row.layer == layer && row.us > 0 && row.what.find("cublas") == std::string::npos &&
          (row.invariant || !invariant) && (best == 0 || row.us < best))
        best = row.us;
    return best;
  }

  double sum_of(const char* what, int64_t m) const {
    double sum = 0;
    for (const Layer& layer : layers_) {
      const double us = find(layer.name, what, m);
      if (us == 0) return 0;
      sum += us;
    }
    return sum;
  }

  void print_table() const {
    fmt::print(
        "\n{:>5} | {:>7} {:>7} {:>7} {:>7} | {:>8} {:>8} | {:>8} {:>8} | {:>8} {:>8} | {:>7} {:>6} {:>6} | {:>8} "
        "{:>8}\n",
        "m", "qkv", "o", "gate_up", "down", "sum", "overlap", "best", "best inv", "chain", "ch. ovl", "floor", "%floor",
        "x cuB", "cublas", "cub ch.");
    for (const int64_t m : options_.tokens) {
      double best = 0, best_invariant = 0;
      for (const Layer& layer : layers_)
        best += best_of(layer.name, m, false), best_invariant += best_of(layer.name, m, true);
      const double sum = sum_of("plan", m), overlapped = sum_of("plan overlapped", m), cublas = sum_of("cublas", m);
      fmt::print(
          "{:5} | {:7.1f} {:7.1f} {:7.1f} {:7.1f} | {:8.1f} {:8.1f} | {:8.1f} {:8.1f} | {:8.1f} {:8.1f} | {:7.1f} "
          "{:6.1f} {:6.2f} | {:8.1f} {:8.1f}\n",
          m, find("qkv", "plan", m), find("o", "plan", m), find("gate_up", "plan", m), find("down", "plan", m), sum,
          overlapped, best, best_invariant, find("layer", "plan", m), find("layer", "plan overlapped", m), sum_floor(m),
          best_invariant > 0 ? 100 * sum_floor(m) / best_invariant : 0,
          best_invariant > 0 ? cublas / best_invariant : 0, cublas, find("layer", "cublas", m));
    }
    std::fflush(stdout);
  }

  void print_state(const char* when) {
    const GpuState state = gpu_state();
    states_.push_back({when, state});
    fmt::print("[{}] SM {} MHz, memory {} MHz, {:.0f} W, {} C, slowdown mask {:#x}\n", when, state.sm_mhz,
               state.memory_mhz, state.power_mw / 1e3, state.celsius, state.slowdown_reasons);
    std::fflush(stdout);
  }

  void write_json() const {
    std::FILE* file = std::fopen(options_.json.c_str(), "w");
    if (!file) return fmt::print(stderr, "{}: cannot be written\n", options_.json);
    cudaDeviceProp device;
    must(cudaGetDeviceProperties(&device, 0), "properties");
    fmt::print(file,
               "{{\"device\": \"{}\", \"num_sms\": {}, \"read_tb_s\": {:.4f}, \"matmul_burst_tflops\": {:.1f}, "
               "\"matmul_sustained_tflops\": {:.1f},\n",
               device.name, device.multiProcessorCount, peaks_.read_tb_s, peaks_.burst_tflops, peaks_.sustained_tflops);
    fmt::print(file, "\"states\": [");
    for (size_t i = 0; i < states_.size(); ++i)
      fmt::print(file,
                 "{}{{\"when\": \"{}\", \"sm_mhz\": {}, \"memory_mhz\": {}, \"watts\": {:.0f}, \"celsius\": {}, "
                 "\"slowdown_mask\": {}}}",
                 i ? ",\n " : "", states_[i].first, states_[i].second.sm_mhz, states_[i].second.memory_mhz,
                 states_[i].second.power_mw / 1e3, states_[i].second.celsius, states_[i].second.slowdown_reasons);
    fmt::print(file, "],\n\"rows\": [");
    for (size_t i = 0; i < rows_.size(); ++i) print_json_row(file, rows_[i], i == 0);
    fmt::print(file, "]}}\n");
    std::fclose(file);
  }

  void print_json_row(std::FILE* file, const Row& row, bool first) const {
    double bytes = 0, flops = 0, floor = 0;
    for (const Layer& layer : layers_)
      if (row.layer == layer.name || row.layer == "layer")
        bytes += layer.bytes(row.m), flops += layer.flops(row.m), floor += floor_us(layer, row.m);
    const double us = row.us > 0 ? row.us : 1e30;
    fmt::print(
        file,
        "{}{{\"layer\": \"{}\", \"m\": {}, \"what\": \"{}\", \"us\": {:.2f}, \"best_us\": {:.2f}, \"tb_s\": {:.3f}, "
        "\"tflops\": {:.1f}, \"percent_of_limit\": {:.1f}, \"batch_invariant\": {}}}",
        first ? "" : ",\n ", row.layer, row.m, row.what, row.us, row.best_us, bytes / us * 1e-6, flops / us * 1e-6,
        100 * floor / us, row.invariant);
  }

  static constexpr int64_t kWorkspaceBytes = int64_t{512} << 20;
  static constexpr int64_t kRotationBytes = int64_t{256} << 20;
  Options options_;
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<CublasPeer> peer_;
  std::vector<Layer> layers_;
  Peaks peaks_;
  std::vector<Row> rows_;
  std::vector<std::pair<std::string, GpuState>> states_;
  __nv_bfloat16* x_ = nullptr;
  __nv_bfloat16* out_ = nullptr;
  float* residual_ = nullptr;
  void* workspace_ = nullptr;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool more = i + 1 < argc;
    if (word == "--sweep") {
      options.sweep = true;
    } else if (word == "--quick") {
      options.quick = true;
    } else if (word == "--no-peer") {
      options.peer = false;
    } else if (word == "--json" && more) {
      options.json = argv[++i];
    } else if (word == "--layer" && more) {
      options.layer = argv[++i];
    } else if (word == "--m" && more) {
      options.tokens.clear();
      for (char* part = std::strtok(argv[++i], ","); part; part = std::strtok(nullptr, ","))
        options.tokens.push_back(std::max(1, std::atoi(part)));
    } else {
      fmt::print(stderr,
                 "usage: bench_gemm [--m 1,16,64] [--layer down] [--sweep] [--quick] [--no-peer] [--json FILE]\n");
      std::exit(64);
    }
  }
  return options;
}

}  // namespace
}  // namespace assay::bench

int main(int argc, char** argv) {
  assay::bench::Options options = assay::bench::parse(argc, argv);
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    fmt::print(stderr, "bench_gemm: no CUDA device\n");
    return 69;
  }
  assay::bench::Bench(std::move(options)).run();
  return 0;
}
