#include "engine/runtime/request_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/threads.h"

namespace assay {
namespace {

SchedulerOptions scheduler_options(const BackendInfo& backend, const RequestLoopOptions& options) {
  SchedulerOptions scheduler;
  scheduler.max_batch_tokens = options.max_batch_tokens;
  scheduler.max_sequences = options.max_sequences;
  scheduler.num_kv_blocks = backend.num_kv_blocks;
  scheduler.prefix_tree = options.prefix_tree;
  scheduler.backend_draws = backend.draws_tokens;
  return scheduler;
}

void finish_sum(Loglikelihood& loglikelihood) {
  for (const float logprob : loglikelihood.logprobs) loglikelihood.sum += static_cast<double>(logprob);
}

Status check_num_logprobs(int num_logprobs, int vocab_size) {
  if (num_logprobs >= 0 && num_logprobs <= vocab_size) return ok_status();
  return invalid_argument(
      fmt::format("num_logprobs: {} is out of range, expected 0 to the vocabulary's {}", num_logprobs, vocab_size));
}

}  // namespace

RequestLoop::RequestLoop(Backend& backend, const TokenTexts& texts, const RequestLoopOptions& options)
    : backend_(backend), texts_(texts), options_(options), scheduler_(scheduler_options(backend.info(), options)) {
  ASSAY_CHECK_LT(0, options.vocab_size);
  ASSAY_CHECK_LT(0, options.max_model_len);
}

Result<RequestId> RequestLoop::submit(LoglikelihoodRequest request) {
  ASSAY_TRY(check(request).with_context("loglikelihood request"));
  const RequestId id = next_request_++;
  const size_t num_scores = request.continuation.size();
  Scoring& scoring = scoring_[id];
  scoring.missing = static_cast<int32_t>(num_scores);
  scoring.answer.id = id;
  scoring.answer.prompt_tokens = static_cast<int64_t>(request.context->size() + num_scores);
  Loglikelihood& loglikelihood = scoring.answer.loglikelihoods.emplace_back();
  loglikelihood.is_greedy = true;
  loglikelihood.logprobs.resize(num_scores);
  if (request.num_logprobs > 0) loglikelihood.top_logprobs.resize(num_scores);
  queued_loglikelihoods_.push_back({id, std::move(request)});
  return id;
}

Result<RequestId> RequestLoop::submit(GenerateRequest request) {
  ASSAY_TRY(check(request).with_context("generate request"));
  const RequestId id = next_request_++;
  Generating& generating = generating_[id];
  generating.missing = request.sampling.num_samples;
  generating.answer.id = id;
  generating.answer.prompt_tokens = static_cast<int64_t>(request.prompt->size());
  queued_generates_.push_back({id, std::move(request)});
  return id;
}

Status RequestLoop::check_tokens(const char* field, const Tokens& tokens) const {
  if (tokens.empty()) return invalid_argument(fmt::format("{}: is empty, expected at least one token", field));
  const auto outside = std::find_if(tokens.begin(), tokens.end(),
                                    [&](TokenId token) { return token < 0 || token >= options_.vocab_size; });
  if (outside == tokens.end()) return ok_status();
  return invalid_argument(fmt::format("{}[{}]: token id {} is outside the model's vocabulary, expected 0 to {}", field,
                                      outside - tokens.begin(), *outside, options_.vocab_size - 1));
}

Status RequestLoop::check(const LoglikelihoodRequest& request) const {
  if (request.context == nullptr) return invalid_argument("context: is missing, expected at least one token");
  ASSAY_TRY(check_tokens("context", *request.context));
  ASSAY_TRY(check_tokens("continuation", request.continuation));
  ASSAY_TRY(check_num_logprobs(request.num_logprobs, options_.vocab_size));
  const size_t fed = request.context->size() + request.continuation.size() - 1;
  if (fed <= static_cast<size_t>(options_.max_model_len)) return ok_status();
  return invalid_argument(
      fmt::format("context and continuation: hold {} tokens, the model takes at most {} and one more to "
                  "predict; shorten the context or raise --max-length",
                  fed + 1, options_.max_model_len));
}

Status RequestLoop::check(const GenerateRequest& request) const {
  if (request.prompt == nullptr) return invalid_argument("prompt: is missing, expected at least one token");
  ASSAY_TRY(check_tokens("prompt", *request.prompt));
  ASSAY_TRY(check_sampling(request.sampling));
  ASSAY_TRY(check_num_logprobs(request.sampling.num_logprobs, options_.vocab_size));
  if (!request.sampling.stop_token_ids.empty())
    ASSAY_TRY(check_tokens("stop_token_ids", request.sampling.stop_token_ids));
  if (request.prompt->size() <= static_cast<size_t>(options_.max_model_len)) return ok_status();
  return invalid_argument(
      fmt::format("prompt: holds {} tokens, the model takes at most {}; shorten it or raise --max-length",
                  request.prompt->size(), options_.max_model_len));
}

std::string RequestLoop::cache_too_small(int64_t num_tokens) const {
  const int64_t num_blocks = backend_.info().num_kv_blocks;
  if (num_tokens <= num_blocks * kKvBlockTokens) return {};
  return fmt::format(
      "KV cache: {} tokens need {} blocks of {} tokens, the cache has {}; raise --kv-bytes or lower --max-length",
      num_tokens, (num_tokens + kKvBlockTokens - 1) / kKvBlockTokens, kKvBlockTokens, num_blocks);
}

// Who can never fit is answered now: nobody else's score may come to depend on such a sequence.
void RequestLoop::plan_queued() {
  if (queued_loglikelihoods_.empty() && queued_generates_.empty()) return;
  std::vector<PendingLoglikelihood> loglikelihoods;
  for (PendingLoglikelihood& pending : std::exchange(queued_loglikelihoods_, {})) {
    const size_t fed = pending.request.context->size() + pending.request.continuation.size() - 1;
    std::string error = cache_too_small(static_cast<int64_t>(fed));
    if (error.empty()) {
      loglikelihoods.push_back(std::move(pending));
    } else {
      fail_scoring(pending.id, std::move(error));
    }
  }
  std::vector<PendingGenerate> generates = std::exchange(queued_generates_, {});
  RequestPlan plan =
      plan_requests(std::move(loglikelihoods), std::move(generates), options_.prefix_tree, next_sequence_);
  stats_.tokens_minimum += plan.tokens_minimum;
  for (const auto& sequence : plan.sequences) {
    if (!sequence->generates) continue;
    generating_.at(sequence->request)
        .samples.emplace_back(texts_, sequence->context, sequence->sampling, sequence->sample_index,
                              options_.eos_tokens, static_cast<size_t>(options_.max_model_len));
  }
  scheduler_.add(std::move(plan.sequences));
}

Result<bool> RequestLoop::step() {
  if (!failure_.ok()) return failure_;
  const bool queued = !queued_loglikelihoods_.empty() || !queued_generates_.empty();
  if (!queued && scheduler_.idle() && in_flight_.empty()) return false;
  const int64_t begin_us = real_clock().monotonic_us();
  plan_queued();
  failure_ = run_batch();
  stats_.seconds_in_steps += static_cast<double>(real_clock().monotonic_us() - begin_us) * 1e-6;
  if (!failure_.ok()) return failure_;
  return true;
}

Status RequestLoop::run_batch() {
  while (can_plan_next()) {
    ASSAY_ASSIGN(const bool submitted, submit_next());
    if (!submitted) break;
  }
  return in_flight_.empty() ? ok_status() : collect_oldest();
}

// One batch of unknown tokens at most, so that a sequence awaits one.
bool RequestLoop::can_plan_next() const {
  if (in_flight_.empty()) return true;
  if (in_flight_.size() >= static_cast<size_t>(std::max(1, backend_.info().max_in_flight))) return false;
  const InFlight& last = in_flight_.back();
  if (!last.generates) return true;
  if (!backend_.info().feeds_tokens || in_flight_.size() > 1) return false;
  const auto& requests = last.plan.batch.logits;
  return std::none_of(requests.begin(), requests.end(), [](const LogitRequest& r) { return r.want_logits; });
}

// Generations go on with the tokens that this batch will choose; who ends with them for sure does not.
void RequestLoop::await_tokens(InFlight& batch) {
  if (!batch.generates || std::exchange(batch.awaited, true)) return;
  for (size_t i = 0; i < batch.plan.uses.size(); ++i) {
    Sequence& sequence = *batch.plan.uses[i].sequence;
    if (!sequence.generates || sequence.state == SequenceState::finished) continue;
    if (!generation_of(sequence).ends_with_next()) scheduler_.await_token(sequence, static_cast<int32_t>(i));
  }
}

// False when there is nothing to submit. The scheduler goes on as if the batch had run: its results are not needed for
// that, save those of generations.
Result<bool> RequestLoop::submit_next() {
  if (!in_flight_.empty()) await_tokens(in_flight_.back());
  for (;;) {
    InFlight& next = in_flight_.emplace_back();
    next.plan = scheduler_.next();
    end_rejected();
    if (next.plan.batch.num_rows() == 0) {
      in_flight_.pop_back();
      return false;
    }
    const Status status = backend_.submit(next.plan.batch);
    if (status.ok()) {
      account(next.plan);
      scheduler_.complete(next.plan);
      for (auto& sequence : scheduler_.take_finished()) next.ended.push_back(std::move(sequence));
      next.generates = std::any_of(next.plan.uses.begin(), next.plan.uses.end(),
                                   [](const LogitUse& use) { return use.sequence->generates; });
      return true;
    }
    scheduler_.abandon(next.plan);
    in_flight_.pop_back();
    if (status.code() != Code::out_of_memory || !scheduler_.shrink_budget()) return status;
    log_warning(fmt::format("{}; going on with smaller batches", status.message()));
  }
}

Status RequestLoop::collect_oldest() {
  const auto results = backend_.collect();
  if (results.ok()) deliver(in_flight_.front().plan, *results);
  in_flight_.pop_front();
  return results.status();
}

void RequestLoop::deliver(const ScheduledBatch& plan, const std::vector<LogitResult>& results) {
  ASSAY_CHECK_EQ(results.size(), plan.uses.size());
  for (size_t i = 0; i < results.size(); ++i) {
    if (!plan.uses[i].sequence->generates) deliver_scores(plan.uses[i], results[i]);
  }
  deliver_tokens(plan, results);
  // Batches behind this one may name those that ended with it.
  for (auto& sequence : scheduler_.take_finished()) in_flight_.back().ended.push_back(std::move(sequence));
}

void RequestLoop::account(const ScheduledBatch& plan) {
  ++stats_.steps;
  stats_.tokens_computed += plan.batch.num_rows();
  stats_.logit_rows += static_cast<int64_t>(plan.batch.logits.size());
  for (size_t i = 0; i < plan.sequences.size(); ++i) {
    const Sequence& sequence = *plan.sequences[i];
    const int64_t num_rows = plan.batch.segments[i].num_tokens;
    if (sequence.generates) {
      generating_.at(sequence.request).answer.computed_tokens += num_rows;
    } else if (const auto found = scoring_.find(sequence.request); found != scoring_.end()) {
      found->second.answer.computed_tokens += num_rows;
    }
  }
}

void RequestLoop::deliver_scores(const LogitUse& use, const LogitResult& result) {
  ASSAY_CHECK_EQ(result.target_logprobs.size(), static_cast<size_t>(use.num_wanted));
  for (int32_t i = 0; i < use.num_wanted; ++i) {
    const WantedScore& wanted = use.sequence->wanted[static_cast<size_t>(use.first_wanted + i)];
    const auto found = scoring_.find(wanted.request);
    if (found == scoring_.end()) continue;
    const auto index = static_cast<size_t>(wanted.index);
    Loglikelihood& loglikelihood = found->second.answer.loglikelihoods.front();
    loglikelihood.logprobs[index] = result.target_logprobs[static_cast<size_t>(i)];
    loglikelihood.is_greedy = loglikelihood.is_greedy && result.argmax == wanted.token;
    if (wanted.num_logprobs > 0) {
      const auto count = std::min(result.top.size(), static_cast<size_t>(wanted.num_logprobs));
      loglikelihood.top_logprobs[index].assign(result.top.begin(),
                                               result.top.begin() + static_cast<std::ptrdiff_t>(count));
    }
    if (--found->second.missing == 0) end_scoring(wanted.request);
  }
}

// Rows are sampled side by side; what follows from a token happens in the batch's order.
void RequestLoop::deliver_tokens(const ScheduledBatch& plan, const std::vector<LogitResult>& results) {
  std::vector<size_t> rows;
  std::vector<const Generation*> generations;
  for (size_t i = 0; i < results.size(); ++i) {
    if (!plan.uses[i].sequence->generates || plan.uses[i].sequence->state == SequenceState::finished) continue;
    rows.push_back(i);
    generations.push_back(&generation_of(*plan.uses[i].sequence));
  }
  std::vector<SampledToken> tokens(rows.size());
  const auto choose = [&](size_t i) {
    const LogitRequest& request = plan.batch.logits[rows[i]];
    const LogitResult& result = results[rows[i]];
    tokens[i] = request.want_logits ? generations[i]->choose(result.logits)
                : request.draw      ? SampledToken{result.drawn, result.drawn_logprob, result.top}
                                    : SampledToken{result.argmax, result.argmax_logprob, result.top};
  };
  const bool any_sampled =
      std::any_of(rows.begin(), rows.end(), [&](size_t i) { return plan.batch.logits[i].want_logits; });
  parallel_for(rows.size(), choose, any_sampled ? options_.num_threads : 1);
  for (size_t i = 0; i < rows.size(); ++i) {
    Sequence& sequence = *plan.uses[rows[i]].sequence;
    const TokenId token = tokens[i].token;
    ++stats_.tokens_generated;
    if (generation_of(sequence).accept(std::move(tokens[i]))) {
      scheduler_.finish(sequence);
      end_sample(sequence.request);
    } else {
      scheduler_.append_token(sequence, token);
    }
  }
}

void RequestLoop::end_rejected() {
  for (auto& sequence : scheduler_.take_rejected()) {
    const std::string error = cache_too_small(sequence->num_tokens());
    if (sequence->generates) {
      generation_of(*sequence).fail(error);
      end_sample(sequence->request);
    }
    for (const WantedScore& wanted : sequence->wanted) fail_scoring(wanted.request, error);
    in_flight_.front().ended.push_back(std::move(sequence));
  }
}

void RequestLoop::end_scoring(RequestId id) {
  Answer& answer = scoring_.at(id).answer;
  finish_sum(answer.loglikelihoods.front());
  stats_.tokens_asked += answer.prompt_tokens;
  answers_.push_back(std::move(answer));
  scoring_.erase(id);
}

void RequestLoop::fail_scoring(RequestId id, std::string error) {
  const auto found = scoring_.find(id);
  if (found == scoring_.end()) return;
  Answer& answer = found->second.answer;
  answer.loglikelihoods.clear();
  answer.error = std::move(error);
  answers_.push_back(std::move(answer));
  scoring_.erase(found);
}

void RequestLoop::end_sample(RequestId id) {
  Generating& generating = generating_.at(id);
  if (--generating.missing > 0) return;
  Answer& answer = generating.answer;
  stats_.tokens_asked += answer.prompt_tokens;
  for (Generation& sample : generating.samples) {
    stats_.tokens_asked += static_cast<int64_t>(sample.num_generated());
    answer.completions.push_back(sample.take_completion());
  }
  const auto failed = [](const Completion& completion) { return completion.finish == FinishReason::failed; };
  if (std::all_of(answer.completions.begin(), answer.completions.end(), failed)) {
    answer.error = answer.completions.front().error;
    answer.completions.clear();
  }
  answers_.push_back(std::move(answer));
  generating_.erase(id);
}

Generation& RequestLoop::generation_of(const Sequence& sequence) {
  return generating_.at(sequence.request).samples[static_cast<size_t>(sequence.sample_index)];
}

std::vector<Answer> RequestLoop::poll() { return std::exchange(answers_, {}); }

void RequestLoop::cancel_all() {
  for (; !in_flight_.empty(); in_flight_.pop_front()) {
    if (const auto unwanted = backend_.collect(); !unwanted.ok() && failure_.ok()) failure_ = unwanted.status();
  }
  queued_loglikelihoods_.clear();
  queued_generates_.clear();
  scheduler_.cancel_all();
  scoring_.clear();
  generating_.clear();
  answers_.clear();
}

int64_t RequestLoop::num_pending() const {
  return static_cast<int64_t>(scoring_.size() + generating_.size() + answers_.size());
}

EngineStats RequestLoop::stats() const {
  EngineStats stats = stats_;
  stats.preemptions = scheduler_.num_preemptions();
  return stats;
}

}  // namespace assay
