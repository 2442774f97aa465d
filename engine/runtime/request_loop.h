#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/base/status.h"
#include "engine/request.h"
#include "engine/runtime/generation.h"
#include "engine/runtime/request_plan.h"
#include "engine/runtime/scheduler.h"

namespace assay {

struct RequestLoopOptions {
  int vocab_size = 0;     // ids a request may hold are below it
  int max_model_len = 0;  // tokens of one sequence that may be fed
  Tokens eos_tokens;
  int32_t max_batch_tokens = 0;
  int32_t max_sequences = 0;  // generations in flight at once
  int num_threads = 0;        // for sampling; 0: all
  bool prefix_tree = true;
};

// Requests in, batches through a Backend, answers out: what is left of the engine without checkpoint and tokenizer. A
// batch is planned while the one before it runs, unless it needs a token that one generates and the backend cannot feed
// it; where it can, a sequence that ends is found out one batch late, and that row's result is dropped.
// Answers depend on the request and the backend's numbers only. One thread at a time.
class RequestLoop {
 public:
  // Backend and texts must outlive the loop. REQUIRES: positive sizes; max_batch_tokens within the backend's.
  RequestLoop(Backend& backend, const TokenTexts& texts, const RequestLoopOptions& options);

  // As Engine::submit, step, poll, cancel_all and num_pending (engine.h).
  Result<RequestId> submit(LoglikelihoodRequest request);
  Result<RequestId> submit(GenerateRequest request);
  Result<bool> step();
  std::vector<Answer> poll();
  void cancel_all();
  int64_t num_pending() const;
  EngineStats stats() const;

 private:
  struct Scoring {
    Answer answer;        // its one Loglikelihood is filled in place
    int32_t missing = 0;  // scores not there yet
  };
  struct Generating {
    Answer answer;
    std::vector<Generation> samples;
    int missing = 0;  // samples not ended yet
  };
  // A batch that the backend has and has not answered.
  struct InFlight {
    ScheduledBatch plan;
    std::vector<std::unique_ptr<Sequence>> ended;  // sequences that the scheduler let go meanwhile: plans name them
    bool generates = false;                        // its answers decide what comes next
    bool awaited = false;                          // and what comes next was planned without them
  };

  Status check_tokens(const char* field, const Tokens& tokens) const;
  Status check(const LoglikelihoodRequest& request) const;
  Status check(const GenerateRequest& request) const;
  void plan_queued();
  std::string cache_too_small(int64_t num_tokens) const;
  Status run_batch();
  bool can_plan_next() const;
  void await_tokens(InFlight& batch);
  Result<bool> submit_next();
  Status collect_oldest();
  void deliver(const ScheduledBatch& plan, const std::vector<LogitResult>& results);
  void account(const ScheduledBatch& plan);
  void deliver_scores(const LogitUse& use, const LogitResult& result);
  void deliver_tokens(const ScheduledBatch& plan, const std::vector<LogitResult>& results);
  void end_rejected();
  void end_scoring(RequestId id);
  void fail_scoring(RequestId id, std::string error);
  void end_sample(RequestId id);
  Generation& generation_of(const Sequence& sequence);

  Backend& backend_;
  const TokenTexts& texts_;
  RequestLoopOptions options_;
  Scheduler scheduler_;
  std::deque<InFlight> in_flight_;  // oldest first
  Status failure_;                  // once set, the loop is of no more use
  RequestId next_request_ = 1;
  int64_t next_sequence_ = 0;
  std::vector<PendingLoglikelihood> queued_loglikelihoods_;
  std::vector<PendingGenerate> queued_generates_;
  std::unordered_map<RequestId, Scoring> scoring_;
  std::unordered_map<RequestId, Generating> generating_;
  std::vector<Answer> answers_;
  EngineStats stats_;
};

}  // namespace assay
