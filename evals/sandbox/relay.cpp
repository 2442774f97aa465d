// Grading by test code: a checker in one sandbox asks a candidate in another, and this process carries their words.
#include <fmt/format.h>

#include <array>

#include "evals/sandbox/conversation.h"
#include "evals/sandbox/frame.h"
#include "evals/sandbox/worker_pool.h"

namespace assay {
namespace {

constexpr int64_t kTick_us = 20000;

class Relay {
 public:
  Relay(ProgramProcess& candidate, ProgramProcess& checker, const GradeRequest& request)
      : candidate_(candidate), checker_(checker), request_(request) {}

  GradeResult carry() {
    const Value cap = Value::integer(static_cast<int64_t>(request_.limits.max_answer_bytes));
    candidate_.send(
        make_frame('G', Value::tuple({Value::text(request_.program), Value::text(request_.entry_point), cap})));
    checker_.send(make_frame('K', Value::tuple({Value::text(request_.test_code), Value::text(request_.support_code),
                                                Value::text(request_.entry_point), cap})));
    const std::array<ProgramProcess*, 2> both = {&candidate_, &checker_};
    bool going = true;
    while (going) {
      ProgramProcess::wait(both, ProgramProcess::now_us() + kTick_us);
      going = serve_candidate() && serve_checker();
    }
    candidate_.stop(result_.verdict, result_.detail);
    checker_.stop(result_.verdict, result_.detail);
    const ProgramEnd& end = candidate_.finish();
    checker_.finish();
    result_.wall_s = end.wall_s;
    result_.cpu_s = end.cpu_s;
    result_.out = candidate_.out();
    result_.err = candidate_.err();
    return std::move(result_);
  }

 private:
  bool decide(Verdict verdict, std::string detail) {
    result_.verdict = verdict;
    result_.detail = std::move(detail);
    return false;
  }

  ValueLimits limits() const {
    return {.max_depth = 44,
            .max_bytes = request_.limits.max_answer_bytes + 1024,
            .max_items = request_.limits.max_answer_bytes};
  }

  static std::string text_of(const Value& value) {
    return value.kind() == Value::Kind::text ? value.as_text() : std::string();
  }

  // What the candidate says: its greeting, that it is loaded, one answer to the one call that is out.
  bool serve_candidate() {
    while (const auto frame = candidate_.take_frame()) {
      const auto value = decode_value(std::string_view(*frame).substr(1), limits());
      if (frame->empty() || !value.ok()) return decide(Verdict::error, "candidate: a message that no runner sends");
      const char mark = (*frame)[0];
      if (!ready_) {
        if (mark != 'R') return decide(Verdict::infra, "candidate: the interpreter did not start");
        ready_ = true;
      } else if (!loaded_) {
        if (mark == 'X') return decide(Verdict::error, "while loading: " + exception_of(*value, 0));
        if (mark != 'L') return decide(Verdict::error, "candidate: an answer before any call");
        loaded_ = true;
        forward_call();
      } else if (!call_out_ || number_of(mark, *value) != call_number_) {
        return decide(Verdict::error, "candidate: an answer nobody asked for");
      } else {
        if (mark == 'B') return decide(Verdict::output, "an answer too large or nested too deep");
        call_out_ = false;
        ++result_.calls_answered;
        checker_.send(make_frame(mark, *value));
      }
    }
    return !candidate_.ended() || candidate_ended();
  }

  static std::string exception_of(const Value& value, size_t first) {
    if (value.kind() != Value::Kind::tuple || value.items().size() < first + 2) return "unknown exception";
    return text_of(value.items()[first]) + ": " + text_of(value.items()[first + 1]);
  }

  static int64_t number_of(char mark, const Value& value) {
    const Value* number = &value;
    if (mark == 'A' || mark == 'E') {
      if (value.kind() != Value::Kind::tuple || value.items().size() != (mark == 'A' ? 2u : 3u)) return -1;
      number = &value.items()[0];
    } else if (mark != 'B') {
      return -1;
    }
    return number->kind() == Value::Kind::integer ? number->as_int64().value_or(-1) : -1;
  }

  void forward_call() {
    if (loaded_ && !waiting_call_.empty()) candidate_.send(std::exchange(waiting_call_, {}));
  }

  bool serve_checker() {
    while (const auto frame = checker_.take_frame()) {
      const auto value = decode_value(std::string_view(*frame).substr(1), limits());
      if (frame->empty() || !value.ok()) return decide(Verdict::error, "test code: a value that cannot pass");
      const char mark = (*frame)[0];
      if (!checker_ready_) {
        if (mark != 'R') return decide(Verdict::infra, "checker: the interpreter did not start");
        checker_ready_ = true;
      } else if (mark == 'V') {
        return verdict_said(*value);
      } else if (mark != 'C' || call_out_ || value->kind() != Value::Kind::tuple || value->items().size() != 4 ||
                 value->items()[0].kind() != Value::Kind::integer) {
        return decide(Verdict::error, "test code: a message that no runner sends");
      } else {
        call_out_ = true;
        call_number_ = value->items()[0].as_int64().value_or(-2);
        waiting_call_ = make_frame('C', *value);
        forward_call();
      }
    }
    if (!checker_.ended()) return true;
    const ProgramEnd& end = checker_.finish();
    if (!checker_ready_) return decide(Verdict::infra, "checker: the interpreter did not start: " + end.describe());
    const Verdict verdict = end.verdict(request_.limits.sandbox);
    if (verdict == Verdict::pass || verdict == Verdict::error)
      return decide(Verdict::no_verdict, "test code ended without a verdict");
    return decide(verdict, "test code: " + end.describe());
  }

  bool verdict_said(const Value& value) {
    if (value.kind() != Value::Kind::tuple || value.items().size() != 3)
      return decide(Verdict::error, "test code: a message that no runner sends");
    const std::string word = text_of(value.items()[0]);
    if (word == "pass") {
      // A program that cannot be loaded passes no tests, not even empty ones.
      if (loaded_) return decide(Verdict::pass, "");
      return candidate_settles();
    }
    const std::string detail = exception_of(value, 1);
    return decide(word == "fail" ? Verdict::fail : Verdict::error, detail);
  }

  bool candidate_settles() {
    ProgramProcess* candidate = &candidate_;
    while (!loaded_) {
      ProgramProcess::wait({&candidate, 1}, ProgramProcess::now_us() + kTick_us);
      if (!serve_candidate()) return false;
    }
    return decide(Verdict::pass, "");
  }

  bool candidate_ended() {
    const ProgramEnd& end = candidate_.finish();
    if (!ready_ && !end.stopped)
      return decide(Verdict::infra, "candidate: the interpreter did not start: " + end.describe());
    const Verdict verdict = end.verdict(request_.limits.sandbox);
    if (verdict == Verdict::pass || verdict == Verdict::error)
      return decide(Verdict::no_verdict, "the program ended without an answer");
    return decide(verdict, end.describe());
  }

  ProgramProcess& candidate_;
  ProgramProcess& checker_;
  const GradeRequest& request_;
  GradeResult result_;
  std::string waiting_call_;
  int64_t call_number_ = -1;
  bool ready_ = false, loaded_ = false, checker_ready_ = false, call_out_ = false;
};

GradeResult infra(const Status& status) {
  GradeResult result;
  result.detail = status.message();
  return result;
}

}  // namespace

GradeResult grade_by_tests(Sandbox& sandbox, const GradeRequest& request, bool alone) {
  const auto lease = sandbox.workers().lease(2, alone);
  if (!lease.ok()) return infra(lease.status());
  const size_t frame_bytes = request.limits.max_answer_bytes + 1024;
  const auto candidate = (*lease)->worker(0).start(request.limits.sandbox, request.limits.keep_output, frame_bytes);
  if (!candidate.ok()) return infra(candidate.status());
  SandboxLimits checker_limits = request.limits.sandbox;
  checker_limits.cpu_s += 2;  // the candidate's clock must run out first
  checker_limits.wall_s += 2;
  const auto checker = (*lease)->worker(1).start(checker_limits, false, frame_bytes);
  if (!checker.ok()) return infra(checker.status());
  return Relay(**candidate, **checker, request).carry();
}

}  // namespace assay
