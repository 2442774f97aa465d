#include "evals/sandbox/conversation.h"

#include <fmt/format.h>

#include <algorithm>

#include "evals/sandbox/frame.h"
#include "evals/sandbox/worker_pool.h"

namespace assay {
namespace {

constexpr size_t kWindow = 16;  // calls sent ahead of answers, so that neither side waits for the other
constexpr double kTick_s = 0.01;

int64_t to_us(double seconds) { return static_cast<int64_t>(seconds * 1e6); }

// The time one step (loading, or one call) may take: CPU time first, wall time as the safety net.
class StepClock {
 public:
  StepClock(const ProgramProcess& process, double wall_factor) : process_(process), wall_factor_(wall_factor) {}

  void begin(double limit_s) {
    begun_us_ = ProgramProcess::now_us();
    limit_s_ = limit_s;
    cpu_at_begin_us_ = -1;
  }
  double elapsed_s() const { return static_cast<double>(ProgramProcess::now_us() - begun_us_) * 1e-6; }
  // Looks at the CPU clock only for steps that last longer than a tick; what came before it is the program's gain.
  bool over() {
    const double elapsed = elapsed_s();
    if (elapsed < std::min(kTick_s, limit_s_)) return false;
    if (cpu_at_begin_us_ < 0) cpu_at_begin_us_ = process_.cpu_us();
    if (elapsed < limit_s_) return false;
    return elapsed >= limit_s_ * wall_factor_ || process_.cpu_us() - cpu_at_begin_us_ >= to_us(limit_s_);
  }

 private:
  const ProgramProcess& process_;
  double wall_factor_, limit_s_ = 0;
  int64_t begun_us_ = 0, cpu_at_begin_us_ = -1;
};

// A message of the candidate, decoded and checked for shape.
struct Message {
  char mark = 0;
  int64_t number = 0;
  Value value;
  std::string exception;
};

Result<Message> bad_message() { return bad_data("the program sent a message that no runner sends"); }

std::string exception_text(const Value& type, const Value& text) {
  if (type.kind() != Value::Kind::text || text.kind() != Value::Kind::text) return "unknown exception";
  return text.as_text().empty() ? type.as_text() : type.as_text() + ": " + text.as_text();
}

Result<Message> read_message(std::string_view frame, const ValueLimits& limits) {
  if (frame.empty()) return bad_message();
  Message message;
  message.mark = frame[0];
  ASSAY_ASSIGN(Value value, decode_value(frame.substr(1), limits));
  const auto number_of = [&](const Value& part) {
    const auto number = part.kind() == Value::Kind::integer ? part.as_int64() : std::nullopt;
    message.number = number.value_or(-1);
    return message.number >= 0;
  };
  const size_t parts = value.kind() == Value::Kind::tuple ? value.items().size() : 0;
  switch (message.mark) {
    case 'R':
    case 'L': return message;
    case 'X':
      if (parts != 2) return bad_message();
      message.exception = exception_text(value.items()[0], value.items()[1]);
      return message;
    case 'A':
      if (parts != 2 || !number_of(value.items()[0])) return bad_message();
      message.value = value.items()[1];
      return message;
    case 'E':
      if (parts != 3 || !number_of(value.items()[0])) return bad_message();
      message.exception = exception_text(value.items()[1], value.items()[2]);
      return message;
    case 'B':
      if (!number_of(value)) return bad_message();
      return message;
    default: return bad_message();
  }
}

ValueLimits value_limits(const GradeLimits& limits) {
  return {.max_depth = 44, .max_bytes = limits.max_answer_bytes + 1024, .max_items = limits.max_answer_bytes};
}

std::string call_frame(size_t number, const GradeRequest& request) {
  const Call& call = (*request.calls)[number];
  return make_frame('C', Value::tuple({Value::integer(static_cast<int64_t>(number)), Value::text(request.entry_point),
                                       Value::tuple(call.arguments), Value::dict({})}));
}

std::string program_frame(const GradeRequest& request) {
  return make_frame('G', Value::tuple({Value::text(request.program), Value::text(request.entry_point),
                                       Value::integer(static_cast<int64_t>(request.limits.max_answer_bytes))}));
}

// What the conversation does with answers.
class Judge {
 public:
  virtual ~Judge() = default;
  // False ends the conversation with the verdict that it set.
  virtual bool answered(size_t index, Message message, double seconds, GradeResult& result) = 0;
};

bool decide(GradeResult& result, Verdict verdict, std::string detail) {
  result.verdict = verdict;
  result.detail = std::move(detail);
  return false;
}

class Checking final : public Judge {
 public:
  explicit Checking(const GradeRequest& request) : total_(request.calls->size()), check_(request.check()) {}

  bool answered(size_t index, Message message, double, GradeResult& result) override {
    const std::string where = fmt::format("call {} of {}: ", index, total_);
    result.failed_call = static_cast<int64_t>(index);
    if (message.mark == 'E') return decide(result, Verdict::error, where + message.exception);
    if (message.mark == 'B') return decide(result, Verdict::output, where + "an answer too large or nested too deep");
    if (!check_(index, message.value))
      return decide(result, Verdict::fail, where + "wrong answer " + message.value.repr());
    result.failed_call = -1;
    ++result.calls_answered;
    return true;
  }

 private:
  size_t total_;
  AnswerCheck check_;
};

class Keeping final : public Judge {
 public:
  explicit Keeping(std::vector<ReferenceAnswer>& answers) : answers_(answers) {}

  bool answered(size_t, Message message, double seconds, GradeResult& result) override {
    if (message.mark == 'B') message.exception = "answer too large";
    answers_.push_back({message.mark != 'A', std::move(message.value), std::move(message.exception), seconds});
    ++result.calls_answered;
    return true;
  }

 private:
  std::vector<ReferenceAnswer>& answers_;
};

// Speaks with one candidate from its first word to the last answer.
class Conversation {
 public:
  Conversation(ProgramProcess& process, const GradeRequest& request, Judge& judge)
      : process_(process), request_(request), judge_(judge), clock_(process, request.limits.wall_factor) {}

  GradeResult hold() {
    result_.detail = "the interpreter did not start";
    process_.send(program_frame(request_));
    clock_.begin(request_.limits.load_s);
    ProgramProcess* process = &process_;
    bool going = true;
    while (going) {
      ProgramProcess::wait({&process, 1}, ProgramProcess::now_us() + to_us(kTick_s));
      while (going) {
        const auto frame = process_.take_frame();
        if (!frame) break;
        going = handle(*frame);
      }
      if (going && (process_.ended() || process_.stopping())) going = ended();
      if (going && clock_.over()) going = decide(result_, Verdict::timeout, where() + "out of time");
    }
    return close();
  }

 private:
  std::string where() const {
    return loaded_ ? fmt::format("call {} of {}: ", answered_, request_.calls->size()) : "while loading: ";
  }

  bool handle(const std::string& frame) {
    Result<Message> read = read_message(frame, value_limits(request_.limits));
    if (!read.ok()) return decide(result_, Verdict::error, where() + read.status().message());
    Message& message = *read;
    if (!ready_) {
      ready_ = message.mark == 'R';
      result_.detail.clear();
      return ready_ || decide(result_, Verdict::infra, "the runner's first word was not its own");
    }
    if (!loaded_) {
      if (message.mark == 'X') return decide(result_, Verdict::error, where() + message.exception);
      if (message.mark != 'L') return decide(result_, Verdict::error, where() + "an answer before any call");
      loaded_ = true;
      return next();
    }
    if (message.number != static_cast<int64_t>(answered_) || message.mark == 'R' || message.mark == 'L' ||
        message.mark == 'X')
      return decide(result_, Verdict::error, where() + "an answer to another call");
    const double seconds = clock_.elapsed_s();
    result_.slowest_call_s = std::max(result_.slowest_call_s, seconds);
    // An answer after the wall limit is late however it got through.
    const double limit = (*request_.calls)[answered_].limit_s * request_.limits.wall_factor;
    if (seconds >= limit) return decide(result_, Verdict::timeout, where() + "answered late");
    if (!judge_.answered(answered_, std::move(message), seconds, result_)) return false;
    ++answered_;
    return next();
  }

  // Sends calls ahead; false once every call is answered.
  bool next() {
    const size_t total = request_.calls->size();
    if (answered_ == total) return decide(result_, Verdict::pass, "");
    std::string frames;
    for (; sent_ < total && sent_ < answered_ + kWindow; ++sent_) {
      if (sent_ > answered_ && frames.size() > 65536) break;
      frames += call_frame(sent_, request_);
    }
    if (!frames.empty()) process_.send(std::move(frames));
    clock_.begin((*request_.calls)[answered_].limit_s);
    return true;
  }

  bool ended() {
    const ProgramEnd& end = process_.finish();
    const Verdict verdict = end.verdict(request_.limits.sandbox);
    if (!ready_ && !end.stopped && verdict != Verdict::memory)
      return decide(result_, Verdict::infra, "the interpreter did not start: " + end.describe());
    // It ended by itself without the answer it owed.
    const bool by_itself = verdict == Verdict::pass || verdict == Verdict::error;
    return decide(result_, by_itself ? Verdict::no_verdict : verdict,
                  where() + (by_itself ? "the program ended without an answer" : end.describe()));
  }

  GradeResult close() {
    if (result_.verdict != Verdict::pass && result_.failed_call < 0 && loaded_)
      result_.failed_call = static_cast<int64_t>(answered_);
    process_.stop(result_.verdict, result_.detail);
    const ProgramEnd& end = process_.finish();
    result_.wall_s = end.wall_s;
    result_.cpu_s = end.cpu_s;
    result_.out = process_.out();
    result_.err = process_.err();
    return std::move(result_);
  }

  ProgramProcess& process_;
  const GradeRequest& request_;
  Judge& judge_;
  StepClock clock_;
  GradeResult result_;
  bool ready_ = false, loaded_ = false;
  size_t sent_ = 0, answered_ = 0;
};

GradeResult infra(const Status& status) {
  GradeResult result;
  result.detail = status.message();
  return result;
}

GradeResult converse(Sandbox& sandbox, const GradeRequest& request, bool alone, Judge& judge) {
  const auto lease = sandbox.workers().lease(1, alone);
  if (!lease.ok()) return infra(lease.status());
  const auto process = (*lease)->worker(0).start(request.limits.sandbox, request.limits.keep_output,
                                                 request.limits.max_answer_bytes + 1024);
  if (!process.ok()) return infra(process.status());
  return Conversation(**process, request, judge).hold();
}

}  // namespace

GradeResult grade_by_calls(Sandbox& sandbox, const GradeRequest& request, bool alone) {
  Checking judge(request);
  return converse(sandbox, request, alone, judge);
}

GradeResult ask_all(Sandbox& sandbox, const GradeRequest& request, std::vector<ReferenceAnswer>& answers) {
  Keeping judge(answers);
  return converse(sandbox, request, false, judge);
}

}  // namespace assay
