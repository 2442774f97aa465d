#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/base/check.h"
#include "engine/base/status.h"
#include "engine/model/model_config.h"
#include "engine/model/tensor_table.h"

namespace assay {

struct BackendOptions {
  std::string dtype = "auto";         // "bfloat16", "float32", "auto"
  int num_threads = 0;                // CPU threads; 0: all
  int64_t kv_bytes = 0;               // 0: the backend's default
  int max_model_len = 0;              // positions the rotary table must cover
  std::string int4_weights = "auto";  // cuda: "packed", "expanded" to dense at load, "auto"
  int max_batch_tokens = 0;           // largest batch that forward() will be given; 0: the backend's best
};

// What a loaded backend offers; fixed after load.
struct BackendInfo {
  std::string name;    // "cpu", "cuda"
  std::string detail;  // library, instruction set, threads, kernels chosen
  std::string dtype;   // "bfloat16" or "float32"
  int32_t num_kv_blocks = 0;
  int64_t kv_bytes = 0;
  int32_t max_batch_tokens = 0;  // best step size of this backend
  int32_t max_sequences = 0;     // decoding neighbors worth having at once
  int32_t max_in_flight = 1;     // batches that may be submitted and not yet collected
  bool draws_tokens = false;     // answers LogitRequest::draw
  bool feeds_tokens = false;     // takes Batch::feeds
};

// The seam between scheduling and arithmetic: a Batch goes in, log-probabilities come out. Owner of weights and KV
// bytes. Contract every implementation keeps (tests/engine/backend_contract.h checks it): a row's results depend on its
// sequence's tokens and on which of them are generated only, bit for bit: not on other rows, the batch's size, the
// split of a sequence into segments, or copied blocks. One thread at a time.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual const BackendInfo& info() const = 0;

  // Runs the model over the batch. results[i] answers batch.logits[i].
  // REQUIRES: block ids below num_kv_blocks, num_rows <= max_batch_tokens, tokens inside the vocabulary
  // (ASSAY_CHECKed). Errors: internal when logits are not finite (names the row: an infrastructure failure, never a
  // score); out_of_memory when scratch cannot be had (the caller may retry with a smaller batch).
  virtual Result<std::vector<LogitResult>> forward(const Batch& batch) = 0;

  // forward in two halves, so that a batch is planned and queued while the one before it runs: submit takes a batch,
  // which stays as it is until collected, and collect waits for the oldest one's results. Batches run in the order
  // submitted, each on the KV that those before it left. REQUIRES: at most max_in_flight batches between the two; no
  // forward while there is one. Errors of submit leave nothing behind (out_of_memory comes here); after one of collect
  // the backend is of no more use.
  virtual Status submit(const Batch& batch) {
    ASSAY_ASSIGN(auto results, forward(batch));
    finished_.push_back(std::move(results));
    return ok_status();
  }
  virtual Result<std::vector<LogitResult>> collect() {
    ASSAY_CHECK(!finished_.empty());
    std::vector<LogitResult> results = std::move(finished_.front());
    finished_.pop_front();
    return results;
  }

 private:
  std::deque<std::vector<LogitResult>> finished_;
};

}  // namespace assay
