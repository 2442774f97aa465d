#include "engine/cpu/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "engine/base/check.h"
#include "engine/cpu/batch_plan.h"
#include "engine/cpu/cpu_model.h"
#include "engine/cpu/kv_cache.h"
#include "engine/cpu/logits.h"
#include "engine/cpu/team.h"
#include "engine/model/rope_table.h"

namespace assay::cpu {
namespace {

constexpr int32_t kDefaultBatchTokens = 512;  // tuned by bench_engine: more gains nothing, less costs products
constexpr int32_t kDefaultSequences = 64;
constexpr int32_t kQueriesPerRun = 96;                     // rows of attention work taken at once: 16 tiles of 6
constexpr int64_t kLogitScratchBytes = int64_t{16} << 20;  // half of a common last-level cache
constexpr int32_t kNoRow = std::numeric_limits<int32_t>::max();

// A matrix of activations, rows padded to whole strips, with the slack that products may read.
struct ActivationRows {
  Buffer memory;
  int64_t ld = 0;
  int element_bytes = 0;

  static Result<ActivationRows> allocate(int64_t rows, int64_t width, int element_bytes) {
    ActivationRows made;
    made.ld = padded_width(width);
    made.element_bytes = element_bytes;
    ASSAY_ASSIGN(made.memory, Buffer::allocate((rows + kRowSlack) * made.ld * element_bytes, "activations"));
    return made;
  }
  std::byte* row(int64_t index) const { return memory.as<std::byte>() + index * ld * element_bytes; }
  std::byte* at(int64_t index, int64_t column) const { return row(index) + column * element_bytes; }
};

// Everything a forward pass writes besides the KV cache.
struct Workspace {
  ActivationRows residual;   // float [rows, hidden_size]
  ActivationRows picked;     // the same, rows that want logits only
  ActivationRows normed;     // [rows, hidden_size]
  ActivationRows qkv;        // [rows, q, k, v]
  ActivationRows attended;   // [rows, q]
  ActivationRows mlp;        // [rows, intermediate_size]
  ActivationRows reordered;  // x of a product whose weights follow another column order
  Buffer logits;             // float [logit_rows, padded vocab_size]
  int64_t logit_rows = 0;
};

Result<Workspace> allocate_workspace(const ModelConfig& config, const CpuModel& model, int64_t rows,
                                     int element_bytes) {
  Workspace space;
  const auto make = [&](ActivationRows& target, int64_t width) -> Status {
    ASSAY_ASSIGN(target, ActivationRows::allocate(rows, width, element_bytes));
    return ok_status();
  };
  ASSAY_ASSIGN(space.residual, ActivationRows::allocate(rows, config.hidden_size, sizeof(float)));
  ASSAY_ASSIGN(space.picked, ActivationRows::allocate(rows, config.hidden_size, sizeof(float)));
  ASSAY_TRY(make(space.normed, config.hidden_size));
  ASSAY_TRY(make(space.qkv, config.q_width() + 2 * config.kv_width()));
  ASSAY_TRY(make(space.attended, config.q_width()));
  ASSAY_TRY(make(space.mlp, config.intermediate_size));
  if (model.widest_reordered > 0) ASSAY_TRY(make(space.reordered, model.widest_reordered));
  const int64_t row_bytes = padded_width(config.vocab_size) * static_cast<int64_t>(sizeof(float));
  space.logit_rows = std::clamp<int64_t>(kLogitScratchBytes / row_bytes / 12 * 12, 24, 132);
  ASSAY_ASSIGN(space.logits, Buffer::allocate(space.logit_rows * row_bytes, "logits"));
  return space;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const ModelConfig& config, const Arithmetic& arithmetic, std::unique_ptr<Team> team, CpuModel model,
             KvCache cache, Workspace workspace, RopeTable angles, BackendInfo info)
      : config_(config),
        kernels_(kernels_for(arithmetic.isa, arithmetic.activations())),
        team_(std::move(team)),
        model_(std::move(model)),
        cache_(std::move(cache)),
        space_(std::move(workspace)),
        angles_(std::move(angles)),
        info_(std::move(info)) {}

  const BackendInfo& info() const override { return info_; }
  Result<std::vector<LogitResult>> forward(const Batch& batch) override;

 private:
  // What one call of forward() carries along.
  struct Pass {
    const Batch& batch;
    BatchPlan plan;
    std::vector<LogitResult> results;
    std::atomic<int32_t> bad_row{kNoRow};  // the lowest with a logit that is not finite
  };

  Result<std::vector<LogitResult>> checked_forward(const Batch& batch);
  void run_pass(Worker& worker, Pass& pass) const;
  void prepare_blocks(Worker& worker, const Pass& pass) const;
  void embed(Worker& worker, const Pass& pass) const;
  void write_positions(Worker& worker, const Pass& pass, int64_t layer) const;
  void attend(Worker& worker, const Pass& pass, int64_t layer, const std::vector<AttentionRun>& runs) const;
  void pick_rows(Worker& worker, const Pass& pass) const;
  void answer(Worker& worker, Pass& pass) const;
  void normalize(Worker& worker, const ActivationRows& x, int64_t first_row, int64_t rows,
                 const std::vector<float>& weight) const;
  void multiply(Worker& worker, const Product& product, const ActivationRows& x, int64_t rows, Epilogue::Kind kind,
                const ActivationRows& out) const;
  void multiply(Worker& worker, const Product& product, const ActivationRows& x, int64_t rows, Epilogue epilogue) const;

  ModelConfig config_;
  const Kernels& kernels_;
  std::unique_ptr<Team> team_;
  CpuModel model_;
  KvCache cache_;
  Workspace space_;
  RopeTable angles_;
  BackendInfo info_;
};

Result<std::vector<LogitResult>> CpuBackend::forward(const Batch& batch) {
  try {
    return checked_forward(batch);
  } catch (const std::bad_alloc&) {
    return out_of_memory(
        fmt::format("batch of {} rows: no memory for its results; use a smaller batch", batch.num_rows()));
  }
}

Result<std::vector<LogitResult>> CpuBackend::checked_forward(const Batch& batch) {
  ASSAY_CHECK_LE(batch.num_rows(), info_.max_batch_tokens);
  const auto group = static_cast<int32_t>(config_.num_heads / config_.num_kv_heads);
  Pass pass{batch, plan_batch(batch, std::max(1, kQueriesPerRun / group), info_.num_kv_blocks, config_.vocab_size),
            std::vector<LogitResult>(batch.logits.size())};
  for (const int32_t position : pass.plan.positions) {
    ASSAY_CHECK_LT(static_cast<size_t>(position) * static_cast<size_t>(angles_.half_dim), angles_.cos.size());
  }
  ASSAY_TRY(team_->run([&](Worker& worker) { run_pass(worker, pass); }));
  if (const int32_t row = pass.bad_row.load(); row != kNoRow) {
    return internal_error(
        fmt::format("batch row {} (token {} at position {}): its logits are not finite; check the "
                    "checkpoint, or run with float32",
                    row, batch.tokens[static_cast<size_t>(row)], pass.plan.positions[static_cast<size_t>(row)]));
  }
  return std::move(pass.results);
}

// The forward pass in reading order. In the last layer only rows that want logits go on after their keys are stored.
void CpuBackend::run_pass(Worker& worker, Pass& pass) const {
  const int64_t num_layers = config_.num_layers;
  prepare_blocks(worker, pass);
  embed(worker, pass);
  for (int64_t l = 0; l < num_layers; ++l) {
    const CpuLayer& layer = model_.layers[static_cast<size_t>(l)];
    const bool last = l + 1 == num_layers;
    int64_t rows = pass.batch.num_rows();
    normalize(worker, space_.residual, 0, rows, layer.input_norm);
    multiply(worker, *layer.qkv, space_.normed, rows, Epilogue::Kind::store, space_.qkv);
    write_positions(worker, pass, l);
    if (last) pick_rows(worker, pass);
    if (last) rows = static_cast<int64_t>(pass.plan.wanted_rows.size());
    if (rows == 0) return;
    const ActivationRows& residual = last ? space_.picked : space_.residual;
    attend(worker, pass, l, last ? pass.plan.wanted_runs : pass.plan.runs);
    multiply(worker, *layer.o, space_.attended, rows, Epilogue::Kind::add, residual);
    normalize(worker, residual, 0, rows, layer.post_attention_norm);
    multiply(worker, *layer.gate_up, space_.normed, rows, Epilogue::Kind::swiglu, space_.mlp);
    multiply(worker, *layer.down, space_.mlp, rows, Epilogue::Kind::add, residual);
  }
  answer(worker, pass);
}

void CpuBackend::prepare_blocks(Worker& worker, const Pass& pass) const {
  if (pass.batch.copies.empty() && pass.plan.begun_blocks.empty()) return;
  worker.for_each(config_.num_layers, 1, [&](int64_t layer, int64_t) {
    for (const KvCopy& copy : pass.batch.copies) cache_.copy(layer, copy);
    for (const KvBlockId id : pass.plan.begun_blocks) cache_.begin_block(layer, id);
  });
}

void CpuBackend::embed(Worker& worker, const Pass& pass) const {
  const auto width = static_cast<size_t>(config_.hidden_size);
  auto* floats = reinterpret_cast<float*>(worker.scratch());
  worker.for_each(pass.batch.num_rows(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      copy_embedding(model_, pass.batch.tokens[static_cast<size_t>(row)], floats);
      auto* out = reinterpret_cast<float*>(space_.residual.row(row));
      if (kernels_.activations == Activations::f32) {
        std::memcpy(out, floats, width * sizeof(float));
      } else {
        std::transform(floats, floats + width, out, [](float value) { return bf16_to_float(float_to_bf16(value)); });
      }
      std::memset(space_.residual.at(row, config_.hidden_size), 0,
                  static_cast<size_t>(space_.residual.row(row + 1) - space_.residual.at(row, config_.hidden_size)));
    }
  });
}

void CpuBackend::normalize(Worker& worker, const ActivationRows& x, int64_t first_row, int64_t rows,
                           const std::vector<float>& weight) const {
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  worker.for_each(rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      kernels_.rms_norm(reinterpret_cast<const float*>(x.row(first_row + row)), weight.data(), config_.hidden_size, eps,
                        space_.normed.row(row));
    }
  });
}

void CpuBackend::multiply(Worker& worker, const Product& product, const ActivationRows& x, int64_t rows,
                          Epilogue::Kind kind, const ActivationRows& out) const {
  multiply(worker, product, x, rows, Epilogue{.kind = kind, .out = out.row(0), .ld = out.ld});
}

void CpuBackend::multiply(Worker& worker, const Product& product, const ActivationRows& x, int64_t rows,
                          Epilogue epilogue) const {
  const PackedMatrix& matrix = product.matrix();
  epilogue.bias = matrix.bias.empty() ? nullptr : matrix.bias.data();
  if (product.column_order().empty()) return product.run(worker, x.row(0), x.ld, rows, epilogue);
  const int bytes = x.element_bytes;
  std::byte* reordered = space_.reordered.row(0);
  worker.for_each(rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      std::byte* out = reordered + row * matrix.k_padded * bytes;
      for (const int32_t column : product.column_order()) {
        std::memcpy(out, x.at(row, column), static_cast<size_t>(bytes));
        out += bytes;
      }
      std::memset(out, 0, static_cast<size_t>((matrix.k_padded - matrix.k) * bytes));
    }
  });
  product.run(worker, reordered, matrix.k_padded, rows, epilogue);
}

// Turns queries and keys to their positions and stores keys and values wherever the batch wants them.
void CpuBackend::write_positions(Worker& worker, const Pass& pass, int64_t layer) const {
  const BatchPlan& plan = pass.plan;
  worker.for_each(pass.batch.num_rows(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t angle = plan.positions[static_cast<size_t>(row)] * angles_.half_dim;
      std::byte* keys = space_.qkv.at(row, config_.q_width());
      kernels_.rotate(space_.qkv.row(row), config_.num_heads + config_.num_kv_heads, config_.head_dim,
                      angles_.cos.data() + angle, angles_.sin.data() + angle);
      const std::byte* values = space_.qkv.at(row, config_.q_width() + config_.kv_width());
      const int32_t last_write = plan.first_write[static_cast<size_t>(row) + 1];
      for (int32_t i = plan.first_write[static_cast<size_t>(row)]; i < last_write; ++i) {
        const KvWrite& write = plan.writes[static_cast<size_t>(i)];
        kernels_.write_kv(keys, values, config_.num_kv_heads, config_.head_dim, write.slot,
                          cache_.block(layer, write.block));
      }
    }
  });
}

void CpuBackend::attend(Worker& worker, const Pass& pass, int64_t layer, const std::vector<AttentionRun>& runs) const {
  const int64_t group = config_.num_heads / config_.num_kv_heads;
  AttentionTask task;
  task.query_ld = space_.qkv.ld;
  task.out_ld = space_.attended.ld;
  task.num_heads = static_cast<int32_t>(group);
  task.head_dim = static_cast<int32_t>(config_.head_dim);
  task.block_stride_bytes = cache_.shape().layer_bytes();
  task.window = config_.sliding_window;
  task.scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  worker.for_each(static_cast<int64_t>(runs.size()) * config_.num_kv_heads, 1, [&](int64_t i, int64_t) {
    const AttentionRun& run = runs[static_cast<size_t>(i / config_.num_kv_heads)];
    const int64_t head = i % config_.num_kv_heads, column = head * group * config_.head_dim;
    task.query = space_.qkv.at(run.first_row, column);
    task.out = space_.attended.at(run.out_row, column);
    task.num_tokens = run.num_tokens;
    task.first_position = run.first_position;
    task.blocks = cache_.block(layer, 0) + head * cache_.shape().head_bytes();
    task.block_table = pass.batch.segments[static_cast<size_t>(run.segment)].block_table.data();
    kernels_.attend(task);
  });
}

void CpuBackend::pick_rows(Worker& worker, const Pass& pass) const {
  const auto& rows = pass.plan.wanted_rows;
  const auto row_bytes = static_cast<size_t>(space_.residual.ld * space_.residual.element_bytes);
  worker.for_each(static_cast<int64_t>(rows.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(space_.picked.row(i), space_.residual.row(rows[static_cast<size_t>(i)]), row_bytes);
    }
  });
}

// Output head over the picked rows, a few at a time so that their logits stay in cache.
void CpuBackend::answer(Worker& worker, Pass& pass) const {
  const auto wanted = static_cast<int64_t>(pass.batch.logits.size());
  const int64_t ld = padded_width(config_.vocab_size);
  auto* logits = space_.logits.as<float>();
  for (int64_t first = 0; first < wanted; first += space_.logit_rows) {
    const int64_t rows = std::min(space_.logit_rows, wanted - first);
    normalize(worker, space_.picked, first, rows, model_.final_norm);
    multiply(worker, *model_.lm_head, space_.normed, rows,
             Epilogue{.kind = Epilogue::Kind::float32, .out = logits, .ld = ld});
    worker.for_each(rows, 1, [&](int64_t i, int64_t) {
      const LogitRequest& request = pass.batch.logits[static_cast<size_t>(first + i)];
      try {
        LogitResult& result = pass.results[static_cast<size_t>(first + i)];
        if (answer_request(request, logits + i * ld, config_.vocab_size, kernels_, result)) return;
      } catch (const std::bad_alloc&) {
        return worker.fail("no memory for the logits that were asked for; ask for fewer rows at once");
      }
      int32_t lowest = pass.bad_row.load();
      while (request.row < lowest && !pass.bad_row.compare_exchange_weak(lowest, request.row)) {
      }
    });
  }
}

Result<bool> choose_bfloat16(const ModelConfig& config, const std::string& dtype) {
  if (dtype == "bfloat16") return true;
  if (dtype == "float32") return false;
  if (dtype == "auto" || dtype.empty()) return config.torch_dtype != "float32";
  return unsupported(
      fmt::format("dtype {}: the CPU backend computes in bfloat16 or float32; choose one, or auto", dtype));
}

Status check_shapes(const ModelConfig& config) {
  if (config.head_dim % 16 == 0 && config.head_dim <= 256) return ok_status();
  return unsupported(
      fmt::format("head_dim {}: the CPU backend's attention takes multiples of 16 up to 256", config.head_dim));
}

std::string describe(const Arithmetic& arithmetic, const CpuModel& model, int num_threads) {
  const std::string products = arithmetic.activations() == Activations::bf16
                                   ? "bf16 products of whole-depth sums"
                                   : fmt::format("{} float32 products", onednn_version());
  return fmt::format("{}, {} threads, {}, {} of {} int4", instruction_set_name(arithmetic.isa), num_threads, products,
                     model.num_int4, model.num_int4 + model.num_dense);
}

Result<std::unique_ptr<Backend>> make_backend(const ModelConfig& config, const ModelWeights& weights,
                                              const BackendOptions& options, InstructionSet isa) {
  ASSAY_CHECK(isa <= best_instruction_set());
  ASSAY_TRY(check_shapes(config));
  Arithmetic arithmetic{.isa = isa};
  ASSAY_ASSIGN(arithmetic.bfloat16, choose_bfloat16(config, options.dtype));
  const Kernels& kernels = kernels_for(isa, arithmetic.activations());

  auto team = std::make_unique<Team>(options.num_threads);
  ASSAY_ASSIGN(CpuModel model, load_cpu_model(config, weights, arithmetic, *team));
  const int64_t embedding_bytes = padded_width(config.hidden_size) * static_cast<int64_t>(sizeof(float));
  ASSAY_TRY(team->reserve_scratch(std::max(model.scratch_bytes, embedding_bytes)));

  const KvCache::Shape shape{.num_layers = config.num_layers,
                             .num_kv_heads = config.num_kv_heads,
                             .head_dim = config.head_dim,
                             .element_bytes = kernels.element_bytes};
  ASSAY_ASSIGN(KvCache cache, KvCache::allocate(shape, options.kv_bytes > 0 ? options.kv_bytes : default_kv_bytes()));

  BackendInfo info;
  info.name = "cpu";
  info.dtype = arithmetic.bfloat16 ? "bfloat16" : "float32";
  info.detail = describe(arithmetic, model, team->num_threads());
  info.num_kv_blocks = cache.num_blocks();
  info.kv_bytes = cache.bytes();
  info.max_batch_tokens = options.max_batch_tokens > 0 ? options.max_batch_tokens : kDefaultBatchTokens;
  info.max_sequences = kDefaultSequences;

  ASSAY_ASSIGN(Workspace workspace, allocate_workspace(config, model, info.max_batch_tokens, kernels.element_bytes));
  const int64_t longest = options.max_model_len > 0 ? options.max_model_len : config.max_position_embeddings;
  const int64_t num_positions = std::min<int64_t>(longest, int64_t{info.num_kv_blocks} * kKvBlockTokens);
  RopeTable angles = make_rope_table(config.rope, config.head_dim, num_positions);
  return std::unique_ptr<Backend>(std::make_unique<CpuBackend>(config, arithmetic, std::move(team), std::move(model),
                                                               std::move(cache), std::move(workspace),
                                                               std::move(angles), std::move(info)));
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cpu_backend(const ModelConfig& config, const ModelWeights& weights,
                                                  const BackendOptions& options, InstructionSet isa) {
  try {
    return make_backend(config, weights, options, isa);
  } catch (const std::bad_alloc&) {
    return out_of_memory("CPU backend: no memory for the model's tables; close other programs or use a smaller model");
  }
}

Result<std::unique_ptr<Backend>> make_cpu_backend(const ModelConfig& config, const ModelWeights& weights,
                                                  const BackendOptions& options) {
  return make_cpu_backend(config, weights, options, best_instruction_set());
}

}  // namespace assay::cpu
