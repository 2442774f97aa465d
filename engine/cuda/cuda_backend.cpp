#include "engine/cuda/cuda_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/cuda/batch_plan.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/cuda_model.h"
#include "engine/cuda/decode_graphs.h"
#include "engine/cuda/device.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/logit_results.h"
#include "engine/cuda/memory_plan.h"
#include "engine/cuda/w4a16.h"
#include "engine/cuda/work_space.h"

namespace assay::cuda {
namespace {

// Steps long enough that what a step costs whatever its length (dequantizing int4 weights, launches) is a few percent;
// shorter ones where the work space would take too large a share of the memory beside the weights.
constexpr int64_t kBatchTokens[] = {8192, 4096, 2048};
constexpr int64_t kWorkShare = 8;
constexpr int kMaxInFlight = 2;
constexpr int32_t kDefaultSequences = kMostDecodeRows;
constexpr int64_t kLeastAnswerBytes = int64_t{1} << 20;
constexpr int64_t kMaxHeadDim = 256;
constexpr int32_t kMostGroupedHeads = 64;  // rows of the widest attention tile

// Where the answers of a batch lie in their Mirror.
struct AnswerLayout {
  int64_t stats = 0, target_logits = 0, top = 0, drawn = 0, bytes = 0;
};

template <class T>
std::vector<T> read(const PinnedBuffer& buffer, int64_t offset, size_t count) {
  const auto* from = reinterpret_cast<const T*>(buffer.as<std::byte>() + offset);
  return std::vector<T>(from, from + count);
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(const ModelConfig& config, MemoryPlan plan, std::unique_ptr<Blas> blas, Stream stream, Stream copies,
              CudaModel model, WorkSpace space, BackendInfo info, int num_sms)
      : config_(config),
        plan_(plan),
        blas_(std::move(blas)),
        stream_(std::move(stream)),
        copies_(std::move(copies)),
        model_(std::move(model)),
        space_(std::move(space)),
        info_(std::move(info)),
        num_sms_(num_sms) {
    element_ = model_.form.element;
    cut_.mma = has_mma_attention(element_, config.head_dim);
    cut_.group = static_cast<int32_t>(config.num_heads / config.num_kv_heads);
    cut_.num_kv_heads = static_cast<int32_t>(config.num_kv_heads);
    cut_.window = static_cast<int32_t>(std::min<int64_t>(config.sliding_window, 1 << 30));
    cut_.max_slots = static_cast<int32_t>(plan.partial_slots);
    cut_.wanted_pieces = 8 * num_sms;
  }

  ~CudaBackend() override {
    if (const Status status = stream_.synchronize(); !status.ok()) log_warning(status.message());
  }

  const BackendInfo& info() const override { return info_; }
  int64_t num_replayed_steps() const { return passes_[0].graphs.num_replayed() + passes_[1].graphs.num_replayed(); }

  Result<std::vector<LogitResult>> forward(const Batch& batch) override {
    ASSAY_TRY(submit(batch));
    return collect();
  }

  Status submit(const Batch& batch) override {
    try {
      return checked_submit(batch);
    } catch (const std::bad_alloc&) {
      return no_memory(batch);
    }
  }

  Result<std::vector<LogitResult>> collect() override {
    ASSAY_CHECK_LT(0, num_in_flight_);
    Pass& pass = passes_[static_cast<size_t>((next_pass_ + kMaxInFlight - num_in_flight_--) % kMaxInFlight)];
    try {
      return checked_collect(pass);
    } catch (const std::bad_alloc&) {
      return no_memory(*pass.batch);
    }
  }

 private:
  // A batch on its way, its bookkeeping and its answers. Batches share everything else: they run one after the other.
  struct Pass {
    const Batch* batch = nullptr;
    BatchPlan plan;
    UploadLayout at;
    AnswerLayout answers;
    Mirror upload, results;
    DeviceBuffer kept;    // float [rows, vocab_size]: whole rows that were asked for
    DeviceBuffer chosen;  // int32 [rows of the largest batch]: the tokens of its requests, for the batch behind it
    DecodeGraphs graphs;  // of batches that pass here: they point at the buffers above
    std::pair<const void*, const void*> graph_addresses;
    Event done;  // results lie on the host
  };
  struct Rows {
    int64_t generated = 0;  // the first ones
    int64_t all = 0;
  };

  static Status no_memory(const Batch& batch) {
    return out_of_memory(
        fmt::format("batch of {} rows: no memory for its results; use a smaller batch", batch.num_rows()));
  }
  Status checked_submit(const Batch& batch);
  Status begin(Pass& pass);
  Status run(const Pass& pass);
  Status run_decode(const DecodeClass& which, Pass& pass);
  Status choose(const Pass& pass);
  Status feed(const Pass& pass);
  Status take_answers(const Pass& pass);
  Status run_layers(const Pass& pass);
  Status run_layer(const Pass& pass, int64_t index);
  Status turn_and_store(const Pass& pass, int64_t index);
  Status attend_rows(const Pass& pass, int64_t index, bool wanted_only);
  Status read_head(const Pass& pass);
  Status draw_rows(const Pass& pass, int64_t first, int64_t rows);
  Status copy_kept_rows(const Pass& pass, std::vector<LogitResult>& results);
  Result<std::vector<LogitResult>> checked_collect(const Pass& pass);
  Status normalize(const DeviceBuffer& x, const DeviceBuffer& weight, int64_t rows);
  Status multiply(const Linear& linear, const DeviceBuffer& x, Rows rows, Epilogue::Kind kind, const DeviceBuffer& out,
                  int64_t ld);
  Queue queue() const { return {stream_.get(), overlap_}; }
  Workspace linear_space() const {
    return {space_.linear.data(), space_.linear.bytes(), blas_.get(), nullptr, space_.w4.data(), num_sms_, overlap_};
  }
  KvLayer kv_layer(int64_t index) const;

  template <class T>
  static const T* uploaded(const Pass& pass, int64_t offset) {
    return reinterpret_cast<const T*>(pass.upload.device.as<std::byte>() + offset);
  }

  ModelConfig config_;
  MemoryPlan plan_;
  std::unique_ptr<Blas> blas_;
  Stream stream_, copies_;
  CudaModel model_;
  WorkSpace space_;
  BackendInfo info_;
  int num_sms_;
  Element element_ = Element::bf16;
  AttentionCut cut_;
  std::array<Pass, kMaxInFlight> passes_;
  bool overlap_ = false;  // of kernels being queued
  int next_pass_ = 0, num_in_flight_ = 0;
};

Status CudaBackend::checked_submit(const Batch& batch) {
  ASSAY_CHECK_LE(batch.num_rows(), info_.max_batch_tokens);
  ASSAY_CHECK_LT(num_in_flight_, kMaxInFlight);
  ASSAY_CHECK(batch.feeds.empty() || num_in_flight_ > 0);
  if (num_in_flight_ == 0) next_pass_ = 0;  // so that steps that wait for their answers find their graphs there
  Pass& pass = passes_[static_cast<size_t>(next_pass_)];
  pass.batch = &batch;
  pass.plan = plan_batch(batch, cut_, info_.num_kv_blocks, config_.vocab_size, kMaxDeviceTop);
  for (const int32_t position : pass.plan.positions) ASSAY_CHECK_LT(position, plan_.rope_positions);
  const auto which = decode_class(batch, pass.plan);
  if (which) pad_to_class(*which, pass.plan);
  ASSAY_TRY(begin(pass));
  ASSAY_TRY(which ? run_decode(*which, pass) : run(pass));
  ASSAY_TRY(pass.done.record(stream_));
  next_pass_ = (next_pass_ + 1) % kMaxInFlight;
  ++num_in_flight_;
  return ok_status();
}

Status CudaBackend::run(const Pass& pass) {
  if (pass.plan.num_rows() > 0) ASSAY_TRY(run_layers(pass));
  if (!pass.plan.wanted_rows.empty()) ASSAY_TRY(read_head(pass));
  return take_answers(pass);
}

// Steps of a class differ in what they upload only.
Status CudaBackend::run_decode(const DecodeClass& which, Pass& pass) {
  const std::pair<const void*, const void*> addresses = {pass.upload.device.data(), pass.results.device.data()};
  if (std::exchange(pass.graph_addresses, addresses) != addresses) pass.graphs.clear();
  DecodeStep step;
  step.launch = [&](bool overlap) {
    overlap_ = overlap;
    const Status status = run(pass);
    overlap_ = false;
    return status;
  };
  step.answers = [&]() -> Result<std::vector<std::byte>> {
    ASSAY_TRY(stream_.synchronize());
    const size_t stats = pass.batch->logits.size() * static_cast<size_t>(plan_.num_chunks);
    const auto bytes_at = [&](int64_t offset, size_t count) {
      return read<std::byte>(pass.results.host, offset, count);
    };
    std::vector<std::byte> answers = bytes_at(pass.answers.stats, stats * sizeof(ChunkStats));
    const auto add = [&](const std::vector<std::byte>& more) {
      answers.insert(answers.end(), more.begin(), more.end());
    };
    add(bytes_at(pass.answers.top, stats * static_cast<size_t>(pass.plan.max_top) * sizeof(TopEntry)));
    if (which.draws) add(bytes_at(pass.answers.drawn, pass.batch->logits.size() * sizeof(DrawnToken)));
    return answers;
  };
  return pass.graphs.run(which, stream_.get(), step);
}

// Memory for what this batch wishes, and its bookkeeping in one copy.
Status CudaBackend::begin(Pass& pass) {
  pass.at = lay_out(pass.plan);
  if (pass.done.get() == nullptr) {
    ASSAY_ASSIGN(pass.done, Event::create());
  }
  for (Pass& each : passes_) {  // of both: recorded steps point at the other one's
    if (!each.chosen.empty()) continue;
    const int64_t rows = std::max(info_.max_batch_tokens, kMostDecodeRows);
    ASSAY_ASSIGN(each.chosen, DeviceBuffer::allocate(rows * 4, "chosen tokens"));
  }
  ASSAY_TRY(pass.upload.reserve(std::max(pass.at.bytes, plan_.upload_bytes), "a batch's bookkeeping"));
  const auto rows = static_cast<int64_t>(pass.plan.wanted_rows.size());
  AnswerLayout& answers = pass.answers = {};
  const auto place = [&](int64_t& at, int64_t bytes) {
    at = answers.bytes;
    answers.bytes += (bytes + 15) / 16 * 16;
  };
  place(answers.stats, rows * plan_.num_chunks * static_cast<int64_t>(sizeof(ChunkStats)));
  place(answers.target_logits, static_cast<int64_t>(pass.plan.targets.size() * sizeof(float)));
  place(answers.top, rows * plan_.num_chunks * pass.plan.max_top * static_cast<int64_t>(sizeof(TopEntry)));
  place(answers.drawn, static_cast<int64_t>(pass.plan.draws.size() * sizeof(DrawnToken)));
  ASSAY_TRY(pass.results.reserve(std::max(answers.bytes, kLeastAnswerBytes), "a batch's answers"));
  const int64_t kept_bytes = int64_t{pass.plan.num_kept} * config_.vocab_size * 4;
  if (kept_bytes > pass.kept.bytes()) {
    pass.kept = DeviceBuffer();
    ASSAY_ASSIGN(pass.kept, DeviceBuffer::allocate(kept_bytes, "whole rows of logits"));
  }
  write_upload(pass.plan, pass.at, pass.upload.host.as<std::byte>());
  ASSAY_CUDA(cudaMemcpyAsync(pass.upload.device.data(), pass.upload.host.as<std::byte>(),
                             static_cast<size_t>(pass.at.bytes), cudaMemcpyHostToDevice, stream_.get()));
  return ok_status();
}

// The forward pass in reading order. In the last layer only rows that want logits go on after their keys are stored.
Status CudaBackend::run_layers(const Pass& pass) {
  ASSAY_TRY(copy_kv_blocks(element_, kv_layer(0), config_.num_layers, plan_.kv_bytes / config_.num_layers,
                           uploaded<int32_t>(pass, pass.at.copies), static_cast<int64_t>(pass.plan.copies.size() / 3),
                           stream_.get()));
  ASSAY_TRY(feed(pass));
  ASSAY_TRY(embed(element_, model_.embedding(), uploaded<int32_t>(pass, pass.at.tokens), pass.plan.num_rows(),
                  config_.hidden_size, space_.residual.as<float>(), queue()));
  for (int64_t index = 0; index < config_.num_layers; ++index) ASSAY_TRY(run_layer(pass, index));
  return ok_status();
}

Status CudaBackend::run_layer(const Pass& pass, int64_t index) {
  const CudaLayer& layer = model_.layers[static_cast<size_t>(index)];
  const bool last = index + 1 == config_.num_layers && !pass.plan.wants_all();
  const int64_t qkv_width = config_.q_width() + 2 * config_.kv_width();
  Rows rows{pass.plan.num_generated, pass.plan.num_rows()};
  ASSAY_TRY(normalize(space_.residual, layer.input_norm, rows.all));
  ASSAY_TRY(multiply(layer.qkv, space_.normed, rows, Epilogue::Kind::store, space_.qkv, qkv_width));
  ASSAY_TRY(turn_and_store(pass, index));
  if (last) {
    rows = {pass.plan.num_wanted_generated, static_cast<int64_t>(pass.plan.wanted_rows.size())};
    if (rows.all == 0) return ok_status();
    ASSAY_TRY(gather_rows(space_.residual.as<float>(), uploaded<int32_t>(pass, pass.at.wanted_rows), rows.all,
                          config_.hidden_size, space_.picked.as<float>(), stream_.get()));
  }
  const DeviceBuffer& residual = last ? space_.picked : space_.residual;
  ASSAY_TRY(attend_rows(pass, index, last));
  ASSAY_TRY(multiply(layer.o, space_.attended, rows, Epilogue::Kind::add, residual, config_.hidden_size));
  ASSAY_TRY(normalize(residual, layer.post_attention_norm, rows.all));
  ASSAY_TRY(
      multiply(layer.gate_up, space_.normed, rows, Epilogue::Kind::swiglu, space_.mlp, config_.intermediate_size));
  return multiply(layer.down, space_.mlp, rows, Epilogue::Kind::add, residual, config_.hidden_size);
}

Status CudaBackend::normalize(const DeviceBuffer& x, const DeviceBuffer& weight, int64_t rows) {
  return rms_norm(element_, x.as<float>(), weight.as<float>(), rows, config_.hidden_size,
                  static_cast<float>(config_.rms_norm_eps), space_.normed.data(), queue());
}

Status CudaBackend::multiply(const Linear& linear, const DeviceBuffer& x, Rows rows, Epilogue::Kind kind,
                             const DeviceBuffer& out, int64_t ld) {
  return linear_forward_split(linear, x.data(), rows.generated, rows.all, Epilogue{kind, out.data(), ld},
                              linear_space(), stream_.get());
}

KvLayer CudaBackend::kv_layer(int64_t index) const {
  return {space_.kv.as<std::byte>() + index * (plan_.kv_bytes / config_.num_layers),
          static_cast<int32_t>(config_.num_kv_heads), static_cast<int32_t>(config_.head_dim)};
}

Status CudaBackend::turn_and_store(const Pass& pass, int64_t index) {
  RopeKvWrite work;
  work.qkv = space_.qkv.data();
  work.ld = config_.q_width() + 2 * config_.kv_width();
  work.rows = pass.plan.num_rows();
  work.num_heads = static_cast<int32_t>(config_.num_heads);
  work.positions = uploaded<int32_t>(pass, pass.at.positions);
  work.cos = space_.cos.as<float>();
  work.sin = space_.sin.as<float>();
  work.first_write = uploaded<int32_t>(pass, pass.at.first_write);
  work.write_slots = uploaded<int32_t>(pass, pass.at.write_slots);
  work.cache = kv_layer(index);
  return rope_kv_write(element_, work, queue());
}

Status CudaBackend::attend_rows(const Pass& pass, int64_t index, bool wanted_only) {
  const AttentionPlan& plan = wanted_only ? pass.plan.wanted : pass.plan.all;
  const UploadLayout::Attention& at = wanted_only ? pass.at.wanted : pass.at.all;
  AttentionWork work;
  work.query = space_.qkv.data();
  work.query_ld = config_.q_width() + 2 * config_.kv_width();
  work.out = space_.attended.data();
  work.out_ld = config_.q_width();
  work.cache = kv_layer(index);
  work.num_heads = static_cast<int32_t>(config_.num_heads);
  work.window = cut_.window;
  work.scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  work.block_tables = uploaded<int32_t>(pass, pass.at.block_tables);
  work.partials = space_.partials.as<float>();
  const auto launch = [&](AttentionShape shape, const std::vector<AttentionItem>& items, int64_t offset) {
    work.shape = shape;
    work.items = uploaded<AttentionItem>(pass, offset);
    work.num_items = static_cast<int32_t>(items.size());
    return attend(element_, work, queue());
  };
  ASSAY_TRY(launch(AttentionShape::wide, plan.wide, at.wide));
  ASSAY_TRY(launch(AttentionShape::narrow, plan.narrow, at.narrow));
  ASSAY_TRY(launch(AttentionShape::simple, plan.simple, at.simple));
  return combine_attention(element_, work.partials, uploaded<CombineItem>(pass, at.combines),
                           static_cast<int64_t>(plan.combines.size()), work.num_heads, work.cache.head_dim, work.out,
                           work.out_ld, queue());
}

// The output head over the wanted rows, some at a time: their logits are read where they are made.
Status CudaBackend::read_head(const Pass& pass) {
  const BatchPlan& plan = pass.plan;
  ReadLogits work;
  work.logits = space_.logits.as<float>();
  work.ld = work.vocab_size = config_.vocab_size;
  work.chunk_tokens = plan_.vocab_chunk;
  auto* answers = pass.results.device.as<std::byte>();
  work.stats = reinterpret_cast<ChunkStats*>(answers + pass.answers.stats);
  work.target_logits = reinterpret_cast<float*>(answers + pass.answers.target_logits);
  work.top = reinterpret_cast<TopEntry*>(answers + pass.answers.top);
  work.first_target = uploaded<int32_t>(pass, pass.at.first_target);
  work.targets = uploaded<int32_t>(pass, pass.at.targets);
  work.num_top = uploaded<int32_t>(pass, pass.at.num_top);
  work.max_top = plan.max_top;
  work.kept_row = uploaded<int32_t>(pass, pass.at.kept_row);
  work.kept = pass.kept.as<float>();
  const auto wanted = static_cast<int64_t>(plan.wanted_rows.size());
  ASSAY_TRY(normalize(plan.wants_all() ? space_.residual : space_.picked, model_.final_norm, wanted));
  for (int64_t first = 0; first < wanted; first += plan_.logit_rows) {
    work.first_row = first;
    work.rows = std::min(plan_.logit_rows, wanted - first);
    const auto* rows = space_.normed.as<std::byte>() + first * config_.hidden_size * element_bytes(element_);
    ASSAY_TRY(linear_forward(model_.lm_head, rows, work.rows,
                             Epilogue{Epilogue::Kind::float32, space_.logits.data(), work.ld}, linear_space(),
                             stream_.get()));
    ASSAY_TRY(read_logits(work, queue()));
    if (!plan.draws.empty()) ASSAY_TRY(draw_rows(pass, first, work.rows));
  }
  return choose(pass);
}

Status CudaBackend::choose(const Pass& pass) {
  const auto* answers = pass.results.device.as<std::byte>();
  ChooseTokens work;
  work.stats = reinterpret_cast<const ChunkStats*>(answers + pass.answers.stats);
  work.num_chunks = static_cast<int32_t>(plan_.num_chunks);
  work.draws = pass.plan.draws.empty() ? nullptr : uploaded<TokenDraw>(pass, pass.at.draws);
  work.drawn = reinterpret_cast<const DrawnToken*>(answers + pass.answers.drawn);
  work.rows = static_cast<int64_t>(pass.plan.wanted_rows.size());
  work.vocab_size = config_.vocab_size;
  work.chosen = pass.chosen.as<int32_t>();
  return choose_tokens(work, queue());
}

// From the pass before: a batch that asks for it was submitted while that one was in flight.
Status CudaBackend::feed(const Pass& pass) {
  const Pass& before = &pass == &passes_[0] ? passes_[1] : passes_[0];
  auto* tokens = reinterpret_cast<int32_t*>(pass.upload.device.as<std::byte>() + pass.at.tokens);
  return feed_tokens(uploaded<int32_t>(pass, pass.at.feeds), pass.plan.num_rows(), before.chosen.as<int32_t>(), tokens,
                     queue());
}

// Tokens from the logits of wanted rows [first, first + rows), which lie in the work space.
Status CudaBackend::draw_rows(const Pass& pass, int64_t first, int64_t rows) {
  DrawTokens work;
  work.logits = space_.logits.as<float>();
  work.ld = work.vocab_size = config_.vocab_size;
  work.rows = rows;
  work.first_row = first;
  work.draws = uploaded<TokenDraw>(pass, pass.at.draws);
  work.drawn = reinterpret_cast<DrawnToken*>(pass.results.device.as<std::byte>() + pass.answers.drawn);
  return draw_tokens(work, queue());
}

Status CudaBackend::take_answers(const Pass& pass) {
  if (pass.answers.bytes == 0) return ok_status();
  return check(cudaMemcpyAsync(pass.results.host.as<std::byte>(), pass.results.device.data(),
                               static_cast<size_t>(pass.answers.bytes), cudaMemcpyDeviceToHost, stream_.get()),
               "copying answers");
}

// On a stream of their own: the next batch may be running.
Status CudaBackend::copy_kept_rows(const Pass& pass, std::vector<LogitResult>& results) {
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  for (size_t row = 0; row < results.size(); ++row) {
    if (pass.plan.kept_row[row] < 0) continue;
    results[row].logits.resize(vocab);
    ASSAY_CUDA(cudaMemcpyAsync(results[row].logits.data(),
                               pass.kept.as<float>() + static_cast<size_t>(pass.plan.kept_row[row]) * vocab,
                               vocab * sizeof(float), cudaMemcpyDeviceToHost, copies_.get()));
  }
  return copies_.synchronize();
}

// Waits for the device and turns what it read into answers.
Result<std::vector<LogitResult>> CudaBackend::checked_collect(const Pass& pass) {
  const BatchPlan& plan = pass.plan;
  const size_t rows = pass.batch->logits.size();
  ASSAY_TRY(pass.done.synchronize());
  std::vector<LogitResult> results(rows);
  if (plan.num_kept > 0) ASSAY_TRY(copy_kept_rows(pass, results));

  LogitReadings readings;
  readings.vocab_size = config_.vocab_size;
  readings.vocab_chunk = plan_.vocab_chunk;
  readings.num_chunks = static_cast<int32_t>(plan_.num_chunks);
  readings.max_top = plan.max_top;
  const size_t chunks = rows * static_cast<size_t>(plan_.num_chunks);
  readings.stats = read<ChunkStats>(pass.results.host, pass.answers.stats, chunks);
  readings.target_logits = read<float>(pass.results.host, pass.answers.target_logits, plan.targets.size());
  readings.top = read<TopEntry>(pass.results.host, pass.answers.top, chunks * static_cast<size_t>(plan.max_top));
  readings.drawn = read<DrawnToken>(pass.results.host, pass.answers.drawn, plan.draws.empty() ? 0 : rows);
  for (size_t row = 0; row < rows; ++row) {
    const LogitRequest& request = pass.batch->logits[row];
    if (answer_request(request, readings, row, static_cast<size_t>(plan.first_target[row]), results[row])) continue;
    const auto at = static_cast<size_t>(request.row);
    return internal_error(
        fmt::format("batch row {} (token {} at position {}): its logits are not finite; check the checkpoint, or run "
                    "with float32",
                    request.row, pass.batch->tokens[at], plan.positions[at]));
  }
  return results;
}

// ---- loading -------------------------------------------------------------------------------------------------------

Result<Element> choose_element(const ModelConfig& config, const std::string& dtype) {
  if (dtype == "bfloat16") return Element::bf16;
  if (dtype == "float32") return Element::f32;
  if (dtype == "auto" || dtype.empty()) return config.torch_dtype == "float32" ? Element::f32 : Element::bf16;
  return unsupported(
      fmt::format("dtype {}: the CUDA backend computes in bfloat16 or float32; choose one, or auto", dtype));
}

Status check_shapes(const ModelConfig& config) {
  if (config.head_dim % 16 != 0 || config.head_dim > kMaxHeadDim)
    return unsupported(fmt::format("head_dim {}: the CUDA backend's attention takes multiples of 16 up to {}",
                                   config.head_dim, kMaxHeadDim));
  if (config.num_heads / config.num_kv_heads > kMostGroupedHeads)
    return unsupported(fmt::format("{} query heads a KV head: the CUDA backend's attention takes up to {}",
                                   config.num_heads / config.num_kv_heads, kMostGroupedHeads));
  if (config.hidden_size % 8 == 0 && config.intermediate_size % 8 == 0) return ok_status();
  return unsupported(fmt::format("hidden_size {}, intermediate_size {}: the CUDA backend takes multiples of 8",
                                 config.hidden_size, config.intermediate_size));
}

// Int4 weights become dense when that leaves half of the free memory.
Result<bool> choose_expansion(const BackendOptions& options, const ModelWeights& weights, Element element,
                              int64_t free_bytes) {
  if (options.int4_weights == "packed") return false;
  if (options.int4_weights == "expanded") return true;
  if (options.int4_weights == "auto" || options.int4_weights.empty())
    return model_bytes(weights, {element, true}) <= free_bytes / 2;
  return invalid_argument(
      fmt::format("int4_weights: '{}' is not known, expected auto, packed or expanded", options.int4_weights));
}

// The longest steps whose work space leaves most of the memory to the KV cache, or those that were asked for.
Result<MemoryPlan> plan_steps(const ModelConfig& config, const BackendOptions& options, const CudaModel& model,
                              int num_sms, MemoryWish wish) {
  for (const int64_t tokens : kBatchTokens) {
    const bool asked = options.max_batch_tokens > 0;
    wish.max_batch_tokens = asked ? options.max_batch_tokens : tokens;
    wish.linear_scratch_bytes = largest_workspace(model, wish.max_batch_tokens);
    wish.w4_scratch_bytes = largest_w4_workspace(model, wish.max_batch_tokens, num_sms);
    auto plan = plan_memory(config, wish);
    if (asked || tokens == std::end(kBatchTokens)[-1]) return plan;
    if (plan.ok() && plan->work_bytes() <= (wish.free_bytes - wish.weight_bytes) / kWorkShare) return plan;
  }
  return internal_error("no step size was tried");
}

// The library fixes its algorithms while there is memory to try them in.
Status prepare_products(const CudaModel& model, const Workspace& workspace, cudaStream_t stream) {
  for (const CudaLayer& layer : model.layers) {
    ASSAY_TRY(prepare_linear(layer.qkv, Epilogue::Kind::store, workspace, stream));
    ASSAY_TRY(prepare_linear(layer.o, Epilogue::Kind::add, workspace, stream));
    ASSAY_TRY(prepare_linear(layer.gate_up, Epilogue::Kind::swiglu, workspace, stream));
    ASSAY_TRY(prepare_linear(layer.down, Epilogue::Kind::add, workspace, stream));
  }
  return prepare_linear(model.lm_head, Epilogue::Kind::float32, workspace, stream);
}

std::string describe(const DeviceInfo& device, const CudaModel& model, const Blas* blas, bool mma) {
  const std::string products = model.form.element == Element::f32 ? "own float32 products"
                               : blas                             ? fmt::format("cuBLASLt {}", blas->version())
                                                                  : std::string("own bf16 products");
  std::string int4 = fmt::format("{} of {} int4", model.num_int4, model.num_products);
  if (model.num_packed > 0) int4 += fmt::format(", {} with W4A16 kernels for generated tokens", model.num_packed);
  if (model.num_int4 > 0 && model.form.expand_int4) int4 += ", expanded for given ones";
  return fmt::format("{}, {}, {} attention, {}", device.name, products, mma ? "tensor-core" : "plain", int4);
}

// A library that is not there costs speed, not correctness.
std::unique_ptr<Blas> open_blas(Element element) {
  if (element != Element::bf16) return nullptr;
  auto blas = Blas::open();
  if (blas.ok()) return std::move(*blas);
  log_warning(blas.status().message() + "; own, slower products are used");
  return nullptr;
}

Result<std::unique_ptr<Backend>> make_backend(const ModelConfig& config, const ModelWeights& weights,
                                              const BackendOptions& options) {
  ASSAY_TRY(check_shapes(config));
  ModelForm form;
  ASSAY_ASSIGN(form.element, choose_element(config, options.dtype));
  ASSAY_ASSIGN(const DeviceInfo device, open_device(0));
  ASSAY_ASSIGN(form.expand_int4, choose_expansion(options, weights, form.element, device.free_bytes));

  MemoryWish wish;
  wish.free_bytes = device.free_bytes;
  wish.weight_bytes = model_bytes(weights, form);
  wish.element_bytes = element_bytes(form.element);
  wish.max_batch_tokens = options.max_batch_tokens > 0 ? options.max_batch_tokens : kBatchTokens[2];
  wish.kv_bytes = options.kv_bytes;
  wish.max_model_len = options.max_model_len;
  ASSAY_TRY(plan_memory(config, wish));  // says before anything is loaded that it cannot fit

  ASSAY_ASSIGN(Uploader uploader, Uploader::create());
  ASSAY_ASSIGN(CudaModel model, load_cuda_model(weights, form, uploader));
  if (model.num_packed > 0) ASSAY_TRY(w4a16_prepare());
  ASSAY_ASSIGN(const MemoryPlan plan, plan_steps(config, options, model, device.num_sms, wish));
  ASSAY_ASSIGN(WorkSpace space, allocate_space(config, plan, uploader));
  ASSAY_TRY(uploader.finish());
  ASSAY_ASSIGN(Stream stream, Stream::create());
  ASSAY_ASSIGN(Stream copies, Stream::create());
  std::unique_ptr<Blas> blas = open_blas(form.element);
  Workspace workspace{space.linear.data(), space.linear.bytes(), blas.get()};
  ASSAY_TRY(prepare_products(model, workspace, stream.get()));
  ASSAY_ASSIGN(space.kv, DeviceBuffer::allocate(plan.kv_bytes, "the KV cache"));

  BackendInfo info;
  info.name = "cuda";
  info.dtype = form.element == Element::bf16 ? "bfloat16" : "float32";
  info.detail = describe(device, model, blas.get(), has_mma_attention(form.element, config.head_dim));
  info.num_kv_blocks = plan.num_kv_blocks;
  info.kv_bytes = plan.kv_bytes;
  info.max_batch_tokens = static_cast<int32_t>(plan.rows);
  info.max_sequences = kDefaultSequences;
  info.max_in_flight = kMaxInFlight;
  info.draws_tokens = true;
  info.feeds_tokens = true;
  return std::unique_ptr<Backend>(std::make_unique<CudaBackend>(config, plan, std::move(blas), std::move(stream),
                                                                std::move(copies), std::move(model), std::move(space),
                                                                std::move(info), device.num_sms));
}

}  // namespace

int64_t num_replayed_steps(const Backend& backend) {
  const auto* ours = dynamic_cast<const CudaBackend*>(&backend);
  return ours ? ours->num_replayed_steps() : 0;
}

bool has_device(std::string* why_not) {
  if (num_devices() == 0) {
    if (why_not) *why_not = "no NVIDIA driver or no device";
    return false;
  }
  const auto device = open_device(0);
  if (!device.ok() && why_not) *why_not = device.status().message();
  return device.ok();
}

Result<std::unique_ptr<Backend>> make_cuda_backend(const ModelConfig& config, const ModelWeights& weights,
                                                   const BackendOptions& options) {
  try {
    return make_backend(config, weights, options);
  } catch (const std::bad_alloc&) {
    return out_of_memory("CUDA backend: no host memory for the model's tables; close other programs");
  }
}

}  // namespace assay::cuda
