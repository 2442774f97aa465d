#include "evals/run/runner.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "engine/base/text_util.h"
#include "engine/base/threads.h"
#include "evals/prompt/few_shot.h"
#include "evals/prompt/lint.h"
#include "evals/prompt/rolling.h"
#include "evals/run/findings.h"
#include "evals/run/grading.h"
#include "evals/stats/estimate.h"

namespace assay {
namespace {

// A sample on its way: what was asked, and what has come back so far.
struct ItemInFlight {
  size_t task = 0;  // of the planned tasks
  StoredItem stored;
  Sample sample;
  size_t missing = 0;   // answers
  std::string failure;  // the first infrastructure failure
};

// Where an answer belongs.
struct Destination {
  std::shared_ptr<ItemInFlight> item;
  size_t request_index = 0;
};

// A sample with its texts as tokens, ready to be submitted.
struct PreparedItem {
  std::shared_ptr<ItemInFlight> item;
  std::vector<LoglikelihoodRequest> loglikelihoods;
  std::optional<GenerateRequest> generate;
  Status status;
};

struct WorkItem {
  size_t task = 0;
  size_t position = 0;  // of PlannedTask::doc_ids
};

std::string target_text(const TaskInfo& info, const Question& question) {
  return info.kind == RequestKind::multiple_choice ? std::to_string(question.gold) : question.target;
}

class Runner {
 public:
  Runner(ModelClient& client, Store& store, const StoredRun& run, const std::vector<PlannedTask>& tasks,
         const RunSettings& settings, const RunHints& hints, Progress& progress,
         const std::function<bool()>& interrupted, Clock& clock, const CodeChecker* checker)
      : client_(client),
        store_(store),
        run_(run),
        tasks_(tasks),
        settings_(settings),
        hints_(hints),
        progress_(progress),
        interrupted_(interrupted),
        clock_(clock),
        specials_(client.info().special_texts),
        checker_(checker) {}

  Result<RunSummary> execute() {
    ASSAY_TRY(start_grading());
    ASSAY_TRY(find_work());
    summary_.run = run_.id;
    const int64_t start_us = clock_.monotonic_us();
    last_usage_us_ = start_us;
    const Status status = ask_everything();
    progress_.finish();
    ASSAY_TRY(save_usage());
    summary_.seconds = static_cast<double>(clock_.monotonic_us() - start_us) * 1e-6;
    ASSAY_TRY(status);
    if (!summary_.finished) return summary_;
    ASSAY_ASSIGN(const auto findings, findings_of(store_, run_));
    ASSAY_TRY(store_.replace_findings(run_.id, findings));
    // Questions that failed are left to a resume.
    if (summary_.failed == 0) ASSAY_TRY(store_.finish_run(run_.id, clock_.utc_us()));
    return summary_;
  }

 private:
  // What the store does not hold yet, in the order of asking.
  Status find_work() {
    for (size_t t = 0; t < tasks_.size(); ++t) {
      ASSAY_ASSIGN(const auto answered, store_.answered(run_.id, run_.tasks[t].id));
      std::unordered_set<int64_t> done(answered.begin(), answered.end());
      ASSAY_TRY(grade_stored_answers(t, done));
      for (size_t i = 0; i < tasks_[t].doc_ids.size(); ++i) {
        if (!done.count(tasks_[t].doc_ids[i])) work_.push_back({t, i});
      }
      ASSAY_ASSIGN(auto generation,
                   generation_plan(tasks_[t].task->generation_in(tasks_[t].asked), settings_, client_.info()));
      generations_.push_back(std::make_shared<GenerationPlan>(std::move(generation)));
      ASSAY_TRY(load_running_score(t));
      items_done_ += static_cast<int64_t>(answered.size());
      items_total_ += static_cast<int64_t>(tasks_[t].doc_ids.size());
      running_[t].done = static_cast<int64_t>(answered.size());
    }
    if (hints_.item_order == "reverse") {
      std::reverse(work_.begin(), work_.end());
    } else if (starts_with(hints_.item_order, "shuffled:")) {
      const auto seed = parse_int(std::string_view(hints_.item_order).substr(9));
      if (!seed || *seed < 0) return invalid_argument("--item-order shuffled:SEED: SEED must be a number from 0");
      PythonRandom(static_cast<uint64_t>(*seed)).shuffle(work_);
    } else if (hints_.item_order != "natural") {
      return invalid_argument(
          fmt::format("--item-order {}: expected natural, reverse or shuffled:SEED", hints_.item_order));
    }
    return ok_status();
  }

  Status start_grading() {
    const auto wants = [](const PlannedTask& planned) { return planned.task->wants_programs(); };
    if (std::none_of(tasks_.begin(), tasks_.end(), wants)) return ok_status();
    if (!checker_) return invalid_argument("these tasks run programs, and no sandbox was opened for them");
    grading_ = std::make_unique<Grading>(*checker_, checker_->runner().num_workers());
    return ok_status();
  }

  // Answers that lack only their verdict go to the graders as they are; `done` takes them in.
  Status grade_stored_answers(size_t t, std::unordered_set<int64_t>& done) {
    const PlannedTask& planned = tasks_[t];
    if (!planned.task->wants_programs()) return ok_status();
    return store_.for_each_item(run_.id, run_.tasks[t].id, [&](const StoredItem& stored) -> Status {
      const bool waiting = stored.score.outcome == Outcome::failed &&
                           starts_with(stored.score.reason, kGradingFailed) && !stored.response.completions.empty();
      const auto chosen = std::lower_bound(planned.doc_ids.begin(), planned.doc_ids.end(), stored.doc_id);
      if (!waiting || chosen == planned.doc_ids.end() || *chosen != stored.doc_id) return ok_status();
      auto item = std::make_shared<ItemInFlight>();
      item->task = t;
      item->stored = stored;
      item->stored.score = {};
      ASSAY_ASSIGN(item->sample, sample_of(planned, static_cast<size_t>(chosen - planned.doc_ids.begin())));
      done.insert(stored.doc_id);
      ++items_in_flight_;
      return finish_item(item);
    });
  }

  // The running score of a resumed task begins with what is stored.
  Status load_running_score(size_t t) {
    running_.emplace_back();
    ASSAY_ASSIGN(const StoredScores scores, store_.scores(run_.id, run_.tasks[t].id, run_.tasks[t].primary_metric));
    if (!shows_score(t)) return ok_status();
    for (const double value : scores.values) running_[t].add(value);
    return ok_status();
  }

  // A perplexity is no mean of its samples' values.
  bool shows_score(size_t t) const {
    const std::string& primary = tasks_[t].stored.primary_metric;
    for (const MetricInfo& metric : tasks_[t].task->info().metrics) {
      if (starts_with(primary, metric.name + ",")) return is_share(metric.aggregation);
    }
    return true;
  }

  Status ask_everything() {
    while (next_work_ < work_.size() || client_.num_pending() > 0) {
      if (interrupted_()) return store_ungraded();
      ASSAY_TRY(refill());
      ASSAY_ASSIGN(auto answers, client_.wait());
      for (Answer& answer : answers) ASSAY_TRY(take(std::move(answer)));
      if (grading_) ASSAY_TRY(take_graded(grading_->take()));
      ASSAY_TRY(commit());
    }
    while (grading_ && grading_->num_pending() > 0) {
      if (interrupted_()) return store_ungraded();
      ASSAY_TRY(take_graded(grading_->wait()));
      ASSAY_TRY(commit());
    }
    summary_.finished = true;
    return ok_status();
  }

  // Keeps at least half a window of samples submitted, so that requests which share prefixes are planned together.
  Status refill() {
    const int64_t window = std::max<int64_t>(hints_.window_items, 1);
    if (items_in_flight_ > window / 2) return ok_status();
    const size_t count = std::min(work_.size() - next_work_, static_cast<size_t>(window - items_in_flight_));
    std::vector<PreparedItem> prepared(count);
    parallel_for(count, [&](size_t i) { prepared[i] = prepare(work_[next_work_ + i]); });
    next_work_ += count;
    for (PreparedItem& item : prepared) ASSAY_TRY(submit(std::move(item)));
    return commit();
  }

  Result<Tokens> encode(std::string_view text) const {
    // The template or the task may have written BOS itself; it must not be doubled. In April 2025 none was ever added.
    const std::string& bos = client_.info().bos_text;
    const bool wanted = settings_.prompt.profile == Profile::main;
    return client_.encode(text, wanted && (bos.empty() || !starts_with(text, bos)));
  }

  int64_t max_length() const {
    const int64_t model = client_.info().max_model_len;
    return settings_.max_length > 0 ? std::min(settings_.max_length, model) : model;
  }

  PreparedItem prepare(const WorkItem& work) const {
    PreparedItem prepared;
    prepared.item = std::make_shared<ItemInFlight>();
    prepared.item->task = work.task;
    prepared.status = prepare_into(work, prepared);
    return prepared;
  }

  Status prepare_into(const WorkItem& work, PreparedItem& prepared) const {
    const PlannedTask& planned = tasks_[work.task];
    const TaskInfo& info = planned.task->info();
    ItemInFlight& item = *prepared.item;
    ASSAY_ASSIGN(item.sample, sample_of(planned, work.position));
    item.stored.doc_id = item.sample.doc_id;
    item.stored.document = item.sample.document;
    item.stored.shots = planned.shots[work.position];
    item.stored.target = target_text(info, item.sample.question);
    const ChatRenderer chat = [this](const std::vector<ChatMessage>& messages, const RenderOptions& options) {
      return client_.render_chat(messages, options);
    };
    ASSAY_ASSIGN(const PromptTexts texts, prompt_of(planned, work.position, settings_, chat));
    if (texts.system_dropped) item.stored.lint |= kSystemDropped;
    ASSAY_ASSIGN(const bool special, special_in_text(planned, work.position, item.sample.question));
    if (special) item.stored.lint |= kSpecialInText;
    if (info.kind == RequestKind::generate_until) return prepare_generation(work.task, texts, prepared);
    if (info.kind == RequestKind::loglikelihood_rolling) return prepare_rolling(texts.contexts[0], prepared);
    return prepare_loglikelihoods(texts, prepared);
  }

  // Whether question or shots spell a special token. In a rendered chat such tokens are the template's own, so the
  // texts that went into it are looked at.
  Result<bool> special_in_text(const PlannedTask& planned, size_t position, const Question& question) const {
    if (specials_.occur_in(question)) return true;
    ASSAY_ASSIGN(const std::vector<Question> shots, shots_of(planned, position));
    return std::any_of(shots.begin(), shots.end(), [this](const Question& shot) { return specials_.occur_in(shot); });
  }

  Status prepare_generation(size_t task, const PromptTexts& texts, PreparedItem& prepared) const {
    const GenerationPlan& plan = *generations_[task];
    const int64_t room = max_length() - plan.sampling.max_tokens;
    if (room < 1) {
      return invalid_argument(
          fmt::format("{}: {} tokens to generate leave no room for a prompt in a context of {}; lower max_gen_toks",
                      tasks_[task].task->info().name, plan.sampling.max_tokens, max_length()));
    }
    ASSAY_ASSIGN(Tokens tokens, encode(texts.contexts[0]));
    const bool truncated = static_cast<int64_t>(tokens.size()) > room;
    if (begins_with_two_bos(tokens, client_.info().bos_token)) prepared.item->stored.lint |= kTwoBos;
    if (truncated) {
      tokens.erase(tokens.begin(), tokens.end() - room);
      prepared.item->stored.lint |= kTruncated;
    }
    StoredRequest request;
    request.context = texts.contexts[0];
    request.context_tokens = static_cast<int32_t>(tokens.size());
    request.truncated = truncated;
    prepared.item->stored.requests.push_back(std::move(request));
    prepared.generate = GenerateRequest{std::make_shared<const Tokens>(std::move(tokens)), plan.sampling};
    return ok_status();
  }

  // What stands before a text that has no context.
  TokenId prefix_token() const {
    const EngineInfo& model = client_.info();
    return model.bos_token ? *model.bos_token : model.eos_tokens.empty() ? 0 : model.eos_tokens[0];
  }

  // One stored request for the text, one question to the model a window.
  Status prepare_rolling(const std::string& text, PreparedItem& prepared) const {
    ASSAY_ASSIGN(const Tokens tokens, encode(text));
    if (tokens.empty()) return bad_data("the text has no tokens, so there is nothing to score");
    StoredRequest request;
    request.context = text;
    request.continuation_tokens = static_cast<int32_t>(tokens.size());
    prepared.item->stored.requests.push_back(std::move(request));
    for (TokenPair& window : rolling_windows(tokens, prefix_token(), max_length())) {
      prepared.loglikelihoods.push_back(
          {std::make_shared<const Tokens>(std::move(window.context)), std::move(window.continuation)});
    }
    return ok_status();
  }

  Status prepare_loglikelihoods(const PromptTexts& texts, PreparedItem& prepared) const {
    const TokenId prefix = prefix_token();
    SharedTokens last_context;
    for (size_t i = 0; i < texts.num_requests(); ++i) {
      const std::string& continuation =
          texts.continuations.size() == 1 ? texts.continuations[0] : texts.continuations[i];
      ASSAY_ASSIGN(TokenPair pair, encode_pair([this](std::string_view text) { return encode(text); },
                                               texts.context_of(i), continuation, prefix, max_length()));
      uint32_t& lint = prepared.item->stored.lint;
      if (begins_with_two_bos(pair.context, client_.info().bos_token)) lint |= kTwoBos;
      if (pair.merged) lint |= kBoundaryMerge;
      if (pair.truncated) lint |= kTruncated;
      StoredRequest request;
      request.context = texts.context_of(i);
      request.continuation = continuation;
      request.context_tokens = static_cast<int32_t>(pair.context.size());
      request.continuation_tokens = static_cast<int32_t>(pair.continuation.size());
      request.truncated = pair.truncated;
      prepared.item->stored.requests.push_back(std::move(request));
      if (!last_context || *last_context != pair.context)
        last_context = std::make_shared<const Tokens>(std::move(pair.context));
      prepared.loglikelihoods.push_back({last_context, std::move(pair.continuation)});
    }
    return ok_status();
  }

  // A sample that cannot even be asked is a failed row with its reason, unless nothing at all could ever be asked.
  Status submit(PreparedItem prepared) {
    const std::shared_ptr<ItemInFlight>& item = prepared.item;
    ++items_in_flight_;
    if (!prepared.status.ok()) {
      const Code code = prepared.status.code();
      if (code == Code::invalid_argument || code == Code::unsupported) return prepared.status;
      item->failure = prepared.status.message();
      return finish_item(item);
    }
    ++items_submitted_;
    item->missing = prepared.loglikelihoods.size() + (prepared.generate ? 1 : 0);
    item->stored.response.loglikelihoods.resize(prepared.loglikelihoods.size());
    for (size_t i = 0; i < prepared.loglikelihoods.size(); ++i) {
      ASSAY_TRY(register_answer(client_.submit(std::move(prepared.loglikelihoods[i])), item, i));
    }
    if (prepared.generate) ASSAY_TRY(register_answer(client_.submit(std::move(*prepared.generate)), item, 0));
    return ok_status();
  }

  Status register_answer(Result<RequestId> id, const std::shared_ptr<ItemInFlight>& item, size_t request_index) {
    if (!id.ok()) {
      return id.status().with_context(
          fmt::format("{} document {}", tasks_[item->task].task->info().name, item->stored.doc_id));
    }
    destinations_[*id] = {item, request_index};
    return ok_status();
  }

  Status take(Answer answer) {
    const auto found = destinations_.find(answer.id);
    if (found == destinations_.end()) return internal_error("an answer came back that nobody asked for");
    const Destination destination = std::move(found->second);
    destinations_.erase(found);
    ItemInFlight& item = *destination.item;
    if (!answer.error.empty()) {
      if (item.failure.empty()) item.failure = answer.error;
    } else if (!answer.loglikelihoods.empty()) {
      item.stored.response.loglikelihoods[destination.request_index] = std::move(answer.loglikelihoods[0]);
    } else {
      item.stored.response.completions = std::move(answer.completions);
    }
    return --item.missing == 0 ? finish_item(destination.item) : ok_status();
  }

  Status finish_item(const std::shared_ptr<ItemInFlight>& item) {
    --items_in_flight_;
    const PlannedTask& planned = tasks_[item->task];
    if (planned.task->wants_programs()) {
      for (const Completion& completion : item->stored.response.completions) {
        if (completion.finish == FinishReason::failed && item->failure.empty()) item->failure = completion.error;
      }
      if (item->failure.empty()) return grade(item);
    }
    if (item->failure.empty()) {
      item->stored.score = planned.task->judge(item->sample, item->stored.response);
    } else {
      item->stored.score.outcome = Outcome::failed;
      item->stored.score.reason = item->failure;
      item->stored.response = {};
    }
    return keep(item);
  }

  // Hands a sample to the graders; it is stored with its verdict.
  Status grade(const std::shared_ptr<ItemInFlight>& item) {
    const PlannedTask& planned = tasks_[item->task];
    GradingJob job;
    ASSAY_ASSIGN(job.problem, planned.task->code_problem(item->sample.document, planned.asked));
    job.key = ++last_grading_key_;
    job.task = &planned.task->info();
    for (const Completion& completion : item->stored.response.completions) job.completions.push_back(completion.text);
    being_graded_[job.key] = item;
    grading_->submit(std::move(job));
    return ok_status();
  }

  Status take_graded(std::vector<Graded> graded) {
    for (Graded& one : graded) {
      const auto found = being_graded_.find(one.key);
      if (found == being_graded_.end()) return internal_error("a verdict came back that nobody asked for");
      const std::shared_ptr<ItemInFlight> item = std::move(found->second);
      being_graded_.erase(found);
      item->stored.score = std::move(one.score);
      ASSAY_TRY(keep(item));
    }
    return ok_status();
  }

  // Answers whose verdicts an interruption did not wait for: a resume grades them without asking again.
  Status store_ungraded() {
    if (!grading_) return ok_status();
    ASSAY_TRY(take_graded(grading_->take()));
    for (auto& [key, item] : being_graded_) {
      item->stored.score.outcome = Outcome::failed;
      item->stored.score.reason = std::string(kGradingFailed) + "interrupted before the verdict";
      ASSAY_TRY(keep(item));
    }
    being_graded_.clear();
    return commit();
  }

  Status keep(const std::shared_ptr<ItemInFlight>& item) {
    const PlannedTask& planned = tasks_[item->task];
    summary_.failed += item->stored.score.outcome == Outcome::failed;
    ++summary_.asked;
    RunningScore& running = running_[item->task];
    ++running.done;
    ++items_done_;
    for (const MetricValue& metric : item->stored.score.metrics) {
      if (metric.name + "," + metric.filter == planned.stored.primary_metric && shows_score(item->task))
        running.add(metric.value);
    }
    newest_task_ = item->task;
    finished_[item->task].push_back(std::move(item->stored));
    return ok_status();
  }

  // One transaction a task: normally one a batch.
  Status commit() {
    for (auto& [task, items] : finished_) ASSAY_TRY(store_.add_items(run_.id, run_.tasks[task].id, items));
    const bool any = !finished_.empty();
    finished_.clear();
    if (clock_.monotonic_us() - last_usage_us_ > 10'000'000) ASSAY_TRY(save_usage());
    if (any) show_progress();
    return ok_status();
  }

  // Adds what was spent since the last call to the run's row.
  Status save_usage() {
    const int64_t now_us = clock_.monotonic_us();
    const EngineStats stats = client_.stats();
    ASSAY_TRY(store_.add_usage(run_.id, static_cast<double>(now_us - last_usage_us_) * 1e-6,
                               stats.tokens_asked - saved_asked_, stats.tokens_computed - saved_computed_));
    last_usage_us_ = now_us;
    saved_asked_ = stats.tokens_asked;
    saved_computed_ = stats.tokens_computed;
    return ok_status();
  }

  void show_progress() {
    const RunningScore& running = running_[newest_task_];
    const EngineStats stats = client_.stats();
    ProgressState state;
    state.model = client_.info().model_name;
    state.task = tasks_[newest_task_].stored.name;
    state.items_done = items_done_;
    state.items_total = items_total_;
    state.task_done = running.done;
    state.task_total = tasks_[newest_task_].stored.planned;
    state.has_score = running.count > 0;
    state.score = running.mean();
    state.half_width = running.half_width();
    state.tokens_done = stats.tokens_computed;
    if (stats.seconds_in_steps > 0)
      state.tokens_per_s = static_cast<double>(stats.tokens_computed) / stats.seconds_in_steps;
    // Tokens an item has cost so far, times the items left.
    const int64_t answered_here = summary_.asked;
    if (answered_here > 0 && state.tokens_per_s > 0) {
      const double per_item = static_cast<double>(stats.tokens_computed) / static_cast<double>(answered_here);
      state.tokens_total =
          state.tokens_done + static_cast<int64_t>(per_item * static_cast<double>(items_total_ - items_done_));
      state.eta_s = static_cast<double>(state.tokens_total - state.tokens_done) / state.tokens_per_s;
    }
    progress_.update(state);
  }

  struct RunningScore {
    int64_t done = 0, count = 0;
    double sum = 0, squares = 0;
    void add(double value) {
      ++count;
      sum += value;
      squares += value * value;
    }
    double mean() const { return count ? sum / static_cast<double>(count) : 0; }
    double half_width() const {
      if (count < 2) return 0;
      const double n = static_cast<double>(count);
      return 1.96 * std::sqrt(std::max(0.0, squares / n - mean() * mean()) / (n - 1));
    }
  };

  ModelClient& client_;
  Store& store_;
  const StoredRun& run_;
  const std::vector<PlannedTask>& tasks_;
  const RunSettings& settings_;
  const RunHints& hints_;
  Progress& progress_;
  const std::function<bool()>& interrupted_;
  Clock& clock_;
  const SpecialTexts specials_;
  const CodeChecker* checker_;

  std::unique_ptr<Grading> grading_;  // with tasks that ask for programs
  std::unordered_map<uint64_t, std::shared_ptr<ItemInFlight>> being_graded_;
  uint64_t last_grading_key_ = 0;
  std::vector<WorkItem> work_;
  std::vector<std::shared_ptr<GenerationPlan>> generations_;  // one a task
  std::vector<RunningScore> running_;                         // one a task
  size_t next_work_ = 0, newest_task_ = 0;
  int64_t items_in_flight_ = 0, items_submitted_ = 0, items_done_ = 0, items_total_ = 0;
  std::unordered_map<RequestId, Destination> destinations_;
  std::map<size_t, std::vector<StoredItem>> finished_;  // by task, not yet stored
  int64_t last_usage_us_ = 0, saved_asked_ = 0, saved_computed_ = 0;
  RunSummary summary_;
};

// Facts about this machine that may explain a speed or a last bit.
Json machine_json() {
  Json json = Json::object();
  utsname names{};
  if (uname(&names) == 0)
    json.set("kernel", std::string(names.sysname) + " " + names.release).set("architecture", names.machine);
  json.set("cpus", available_cpus());
  json.set("memory_bytes", int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE));
  if (auto text = real_files().read("/proc/cpuinfo", 1 << 22); text.ok()) {
    const size_t at = text->find("model name");
    const size_t colon = at == std::string::npos ? at : text->find(": ", at);
    if (colon != std::string::npos) json.set("processor", text->substr(colon + 2, text->find('\n', colon) - colon - 2));
  }
  return json;
}

std::string build_text() { return fmt::format("assay {} ({})", ASSAY_VERSION, __VERSION__); }

}  // namespace

Result<RunSummary> execute_run(ModelClient& client, Store& store, const StoredRun& run,
                               const std::vector<PlannedTask>& tasks, const RunSettings& settings,
                               const RunHints& hints, Progress& progress, const std::function<bool()>& interrupted,
                               Clock& clock, const CodeChecker* checker) {
  return Runner(client, store, run, tasks, settings, hints, progress, interrupted, clock, checker).execute();
}

StoredRun describe_run(const ModelClient& client, const std::vector<PlannedTask>& tasks, const RunSettings& settings,
                       const std::string& command, Clock& clock, const CodeChecker* checker) {
  StoredRun run;
  run.created_utc_us = clock.utc_us();
  run.model = client.info();
  run.settings = settings.to_json();
  run.plan_sha256 = plan_digest(settings, client.info(), tasks);
  run.command = command;
  run.build = build_text();
  run.machine = machine_json();
  if (checker) run.machine.set("sandbox", checker->runner().provenance());
  for (const PlannedTask& task : tasks) run.tasks.push_back(task.stored);
  return run;
}

}  // namespace assay
