#include "evals/sandbox/grader.h"

#include <fmt/format.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "engine/base/threads.h"
#include "evals/sandbox/conversation.h"

namespace assay {
namespace {

constexpr int kAttempts = 3;

GradeResult grade_retrying(Sandbox& sandbox, const GradeRequest& request, bool alone) {
  GradeResult result;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    result = request.calls ? grade_by_calls(sandbox, request, alone) : grade_by_tests(sandbox, request, alone);
    if (result.verdict != Verdict::infra) break;
  }
  return result;
}

}  // namespace

// Threads that grade what was submitted, as many as the sandbox has workers.
struct Grader::Background {
  struct Item {
    GradeRequest request;
    std::function<void(const GradeResult&)> done;
  };

  explicit Background(Grader& owner) : grader(owner) {
    for (int i = 0; i < owner.sandbox().num_workers(); ++i) threads.emplace_back([this] { work(); });
  }
  ~Background() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    changed.notify_all();
    for (std::thread& thread : threads) thread.join();
  }
  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return ending || !queue.empty(); });
      if (queue.empty()) return;
      Item item = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      item.done(grader.grade(item.request));
      lock.lock();
      --unfinished;
      changed.notify_all();
    }
  }

  Grader& grader;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Item> queue;
  size_t unfinished = 0;
  bool ending = false;
  std::vector<std::thread> threads;
};

Grader::Grader(Sandbox& sandbox) : sandbox_(sandbox) {}
Grader::~Grader() = default;

GradeResult Grader::grade(const GradeRequest& request) {
  GradeResult result = grade_retrying(sandbox_, request, false);
  if (result.verdict != Verdict::timeout) return result;
  result = grade_retrying(sandbox_, request, true);
  result.rerun_alone = true;
  return result;
}

void Grader::grade_all(std::span<const GradeRequest> requests,
                       const std::function<void(size_t, const GradeResult&)>& done) {
  std::mutex mutex;
  parallel_for(
      requests.size(),
      [&](size_t i) {
        const GradeResult result = grade(requests[i]);
        const std::lock_guard lock(mutex);
        done(i, result);
      },
      sandbox_.num_workers());
}

Result<std::vector<ReferenceAnswer>> Grader::answers(const std::string& program, const std::string& entry_point,
                                                     std::span<const Call> calls, const GradeLimits& limits) {
  std::vector<ReferenceAnswer> answers;
  GradeRequest request;
  request.program = program;
  request.entry_point = entry_point;
  request.calls = std::make_shared<const std::vector<Call>>(calls.begin(), calls.end());
  request.limits = limits;
  GradeResult result;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    answers.clear();
    result = ask_all(sandbox_, request, answers);
    if (result.verdict == Verdict::pass) return answers;
    if (result.verdict != Verdict::infra) break;
  }
  if (result.verdict == Verdict::infra) return internal_error("reference program: " + result.detail);
  return bad_data(
      fmt::format("reference program for {}: {}: {}", entry_point, verdict_name(result.verdict), result.detail));
}

void Grader::submit(GradeRequest request, std::function<void(const GradeResult&)> done) {
  if (!background_) background_ = std::make_unique<Background>(*this);
  {
    const std::lock_guard lock(background_->mutex);
    background_->queue.push_back({std::move(request), std::move(done)});
    ++background_->unfinished;
  }
  background_->changed.notify_all();
}

void Grader::wait() {
  if (!background_) return;
  std::unique_lock lock(background_->mutex);
  background_->changed.wait(lock, [this] { return background_->unfinished == 0; });
}

AnswerCheckFactory expect_values(std::shared_ptr<const std::vector<Value>> expected, double atol, double rtol) {
  auto keys = std::make_shared<std::vector<std::optional<std::string>>>();
  for (const Value& value : *expected) keys->push_back(equality_key(value));
  return [expected = std::move(expected), keys, atol, rtol]() -> AnswerCheck {
    return [expected, keys, atol, rtol](size_t index, const Value& answer) {
      if (index >= expected->size()) return false;
      const auto& key = (*keys)[index];
      if (key && equality_key(answer) == key) return true;
      return atol > 0 && all_close(answer, (*expected)[index], rtol, atol);
    };
  };
}

}  // namespace assay
