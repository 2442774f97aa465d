#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>

#include "evals/sandbox/cgroup.h"
#include "evals/sandbox/launcher.h"
#include "evals/sandbox/process_tree.h"
#include "evals/sandbox/sandbox.h"
#include "evals/sandbox/verdict.h"

namespace assay {

// How a program ended, once nothing of it is left.
struct ProgramEnd {
  std::optional<Verdict> stopped;  // why we ended it: timeout, memory, output; or fail and the like by stop()
  std::string detail;
  bool reported = false;  // its pid 1 said how the program itself ended:
  int exit_code = 0, signal = 0;
  int64_t oom_kills = 0, peak_memory_bytes = 0;
  double wall_s = 0, cpu_s = 0, kill_ms = 0;

  // The verdict on a program that was to end by itself: pass, error, timeout, memory, output, crash, infra.
  Verdict verdict(const SandboxLimits& limits) const;
  std::string describe() const;
};

// One launched program: feeds it, listens to it, watches its limits, ends it. Not thread-safe.
class ProgramProcess {
 public:
  ProgramProcess(Launched launched, const SandboxLimits& limits, Cgroup* cgroup, bool isolated, size_t max_frame_bytes);
  // Kills what is left and waits until it is gone.
  ~ProgramProcess();
  ProgramProcess(const ProgramProcess&) = delete;
  ProgramProcess& operator=(const ProgramProcess&) = delete;

  void send(std::string bytes);             // queued; written as the program reads
  void close_requests();                    // once what is queued is written
  std::optional<std::string> take_frame();  // the next whole frame, without its length
  bool ended() const { return ended_; }     // the whole tree has gone and all it wrote is here

  // Ends the program now. The first reason counts.
  void stop(Verdict why, std::string detail);
  // Waits until it is gone and says how it ended.
  const ProgramEnd& finish();

  int64_t cpu_us() const;  // of the tree so far; wall time where the kernel hides it
  bool stopping() const { return stop_us_ != 0; }
  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }

  // Serves all processes until something arrived or ended, or until_us (monotonic).
  static void wait(std::span<ProgramProcess* const> processes, int64_t until_us);
  static int64_t now_us();

 private:
  void write_requests();
  void read_answers();
  void read_output(Fd& fd, std::string& text);
  void read_note();
  void tick();
  bool over_memory(const TreeUse& use) const;
  void stop(Verdict why, std::string detail, const TreeUse& use);
  void gone();
  int64_t next_tick_us() const { return last_tick_us_ + tick_us_; }

  Launched launched_;
  SandboxLimits limits_;
  Cgroup* cgroup_;
  bool isolated_;
  size_t max_frame_bytes_;
  std::string requests_, answers_, out_, err_;
  size_t requests_written_ = 0, answers_taken_ = 0;
  bool close_requests_ = false, ended_ = false;
  int64_t started_us_, last_tick_us_, tick_us_, stop_us_ = 0;
  ProgramEnd end_;
};

}  // namespace assay
