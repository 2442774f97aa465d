#include "evals/sandbox/program_process.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "evals/sandbox/process_tree.h"

namespace assay {
namespace {

constexpr int64_t kTickWithCgroup_us = 50000;
constexpr int64_t kTickWithout_us = 10000;  // memory is polled: 10 ms is some tens of MiB at a page fault's pace

}  // namespace

int64_t ProgramProcess::now_us() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000} + now.tv_nsec / 1000;
}

Verdict ProgramEnd::verdict(const SandboxLimits& limits) const {
  if (stopped) return *stopped;
  if (oom_kills > 0) return Verdict::memory;
  if (!reported) return Verdict::infra;
  if (signal == SIGXCPU || (signal == SIGKILL && cpu_s >= limits.cpu_s)) return Verdict::timeout;
  if (signal != 0) return Verdict::crash;
  return exit_code == 0 ? Verdict::pass : Verdict::error;
}

std::string ProgramEnd::describe() const {
  if (stopped) return detail;
  if (oom_kills > 0) return "killed at the memory cap";
  if (!reported) return "the run ended without a report";
  if (signal != 0) return fmt::format("ended by signal {} ({})", signal, ::strsignal(signal));
  return exit_code == 0 ? "" : fmt::format("ended with status {}", exit_code);
}

ProgramProcess::ProgramProcess(Launched launched, const SandboxLimits& limits, Cgroup* cgroup, bool isolated,
                               size_t max_frame_bytes)
    : launched_(std::move(launched)),
      limits_(limits),
      cgroup_(cgroup),
      isolated_(isolated),
      max_frame_bytes_(max_frame_bytes),
      started_us_(now_us()),
      last_tick_us_(started_us_),
      tick_us_(cgroup ? kTickWithCgroup_us : kTickWithout_us) {
  tick_us_ = std::min(tick_us_, std::max<int64_t>(5000, static_cast<int64_t>(limits.cpu_s * 2e5)));
}

ProgramProcess::~ProgramProcess() {
  stop(Verdict::infra, "abandoned");
  finish();
}

void ProgramProcess::send(std::string bytes) {
  requests_.erase(0, requests_written_);
  requests_written_ = 0;
  requests_ += bytes;
  write_requests();
}

void ProgramProcess::close_requests() {
  close_requests_ = true;
  write_requests();
}

void ProgramProcess::write_requests() {
  while (launched_.requests && requests_written_ < requests_.size()) {
    const ssize_t written =
        ::write(launched_.requests.get(), requests_.data() + requests_written_, requests_.size() - requests_written_);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno != EAGAIN) launched_.requests.reset();  // it reads no more; its end will tell why
    if (written <= 0) return;
    requests_written_ += static_cast<size_t>(written);
  }
  if (close_requests_) launched_.requests.reset();
}

void ProgramProcess::read_answers() {
  char buffer[1 << 16];
  while (launched_.answers) {
    const ssize_t size = ::read(launched_.answers.get(), buffer, sizeof(buffer));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) return launched_.answers.reset();
    if (answers_taken_ > 0 && answers_taken_ == answers_.size()) {
      answers_.clear();
      answers_taken_ = 0;
    }
    answers_.append(buffer, static_cast<size_t>(size));
    if (answers_.size() - answers_taken_ > max_frame_bytes_ + 4) {
      stop(Verdict::output, fmt::format("an answer of more than {} bytes", max_frame_bytes_));
      return launched_.answers.reset();
    }
  }
}

std::optional<std::string> ProgramProcess::take_frame() {
  const size_t left = answers_.size() - answers_taken_;
  uint32_t size = 0;
  if (left < sizeof(size)) return std::nullopt;
  std::memcpy(&size, answers_.data() + answers_taken_, sizeof(size));
  if (size > max_frame_bytes_) {
    stop(Verdict::output, fmt::format("an answer of {} bytes, more than {}", size, max_frame_bytes_));
    return std::nullopt;
  }
  if (left < sizeof(size) + size) return std::nullopt;
  std::string frame = answers_.substr(answers_taken_ + sizeof(size), size);
  answers_taken_ += sizeof(size) + size;
  return frame;
}

// Reads at most one byte beyond the cap: the first sign of a flood.
void ProgramProcess::read_output(Fd& fd, std::string& text) {
  char buffer[1 << 14];
  while (fd) {
    const ssize_t size = ::read(fd.get(), buffer, sizeof(buffer));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) return fd.reset();
    const auto room = static_cast<size_t>(limits_.output_bytes) - std::min(text.size(), size_t(limits_.output_bytes));
    text.append(buffer, std::min(room, static_cast<size_t>(size)));
    if (static_cast<size_t>(size) > room) {
      stop(Verdict::output, fmt::format("more than {} bytes of output", limits_.output_bytes));
      return fd.reset();
    }
  }
}

void ProgramProcess::read_note() {
  child::Note note;
  while (launched_.status) {
    const ssize_t size = ::recv(launched_.status.get(), &note, sizeof(note), MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size != sizeof(note)) return;
    if (note.kind != child::Note::Kind::ended) continue;
    end_.reported = true;
    end_.exit_code = WIFEXITED(note.wait_status) ? WEXITSTATUS(note.wait_status) : 0;
    end_.signal = WIFSIGNALED(note.wait_status) ? WTERMSIG(note.wait_status) : 0;
    end_.cpu_s = static_cast<double>(note.cpu_us) * 1e-6;
    end_.peak_memory_bytes = note.max_rss_kib * 1024;
  }
}

void ProgramProcess::stop(Verdict why, std::string detail) {
  if (!ended_ && !stopping()) stop(why, std::move(detail), tree_use(launched_.pid));
}

void ProgramProcess::stop(Verdict why, std::string detail, const TreeUse& use) {
  stop_us_ = now_us();
  end_.stopped = why;
  end_.detail = std::move(detail);
  end_.cpu_s = static_cast<double>(use.cpu_us) * 1e-6;
  if (!isolated_) kill_tree(launched_.pid);
  ::syscall(SYS_pidfd_send_signal, launched_.pidfd.get(), SIGKILL, nullptr, 0);
}

int64_t ProgramProcess::cpu_us() const {
  const TreeUse use = tree_use(launched_.pid);
  return use.known ? use.cpu_us : now_us() - started_us_;
}

void ProgramProcess::tick() {
  const int64_t now = now_us();
  if (stopping() || now < next_tick_us()) return;
  last_tick_us_ = now;
  const TreeUse use = tree_use(launched_.pid);
  if (static_cast<double>(now - started_us_) * 1e-6 >= limits_.wall_s)
    return stop(Verdict::timeout, fmt::format("more than {:g} s of wall time", limits_.wall_s), use);
  if (static_cast<double>(use.cpu_us) * 1e-6 >= limits_.cpu_s)
    return stop(Verdict::timeout, fmt::format("more than {:g} s of CPU time", limits_.cpu_s), use);
  if (cgroup_ ? cgroup_->oom_kills() > 0 : over_memory(use))
    stop(Verdict::memory, fmt::format("more than {} bytes of memory", limits_.memory_bytes), use);
}

// Far over the cap is over it however pages are shared; near it, shared pages are counted once.
bool ProgramProcess::over_memory(const TreeUse& use) const {
  if (use.memory_bytes <= limits_.memory_bytes) return false;
  if (use.num_processes <= 2) return true;
  const int64_t bytes = tree_proportional_bytes(launched_.pid);
  return bytes < 0 || bytes > limits_.memory_bytes;
}

// The tree is gone: what it had written is still in the pipes.
void ProgramProcess::gone() {
  const int64_t now = now_us();
  if (!launched_.pidfd) return;
  if (stopping()) end_.kill_ms = static_cast<double>(now - stop_us_) * 1e-3;
  end_.wall_s = static_cast<double>(now - started_us_) * 1e-6;
  launched_.pidfd.reset();
  read_note();
  read_answers();
  read_output(launched_.out, out_);
  read_output(launched_.err, err_);
  if (cgroup_) {
    end_.oom_kills = cgroup_->oom_kills();
    end_.peak_memory_bytes = std::max(end_.peak_memory_bytes, cgroup_->peak_bytes());
  }
  ended_ = true;
}

const ProgramEnd& ProgramProcess::finish() {
  ProgramProcess* self = this;
  while (!ended_) wait({&self, 1}, now_us() + 1000000);
  return end_;
}

void ProgramProcess::wait(std::span<ProgramProcess* const> processes, int64_t until_us) {
  std::vector<pollfd> polled;
  for (ProgramProcess* process : processes) {
    if (process->ended_) continue;
    const Launched& run = process->launched_;
    const bool writes = run.requests && process->requests_written_ < process->requests_.size();
    polled.push_back({run.pidfd.get(), POLLIN, 0});
    polled.push_back({run.answers.get(), POLLIN, 0});
    polled.push_back({run.out.get(), POLLIN, 0});
    polled.push_back({run.err.get(), POLLIN, 0});
    polled.push_back({writes ? run.requests.get() : -1, POLLOUT, 0});
    until_us = std::min(until_us, process->next_tick_us());
  }
  if (polled.empty()) return;
  const int64_t left_us = std::max<int64_t>(0, until_us - now_us());
  const timespec timeout{left_us / 1000000, left_us % 1000000 * 1000};
  if (::ppoll(polled.data(), polled.size(), &timeout, nullptr) < 0) return;
  size_t at = 0;
  for (ProgramProcess* process : processes) {
    if (process->ended_) continue;
    const pollfd* events = &polled[at];
    at += 5;
    if (events[4].revents) process->write_requests();
    if (events[1].revents) process->read_answers();
    if (events[2].revents) process->read_output(process->launched_.out, process->out_);
    if (events[3].revents) process->read_output(process->launched_.err, process->err_);
    if (events[0].revents)
      process->gone();
    else
      process->tick();
  }
}

}  // namespace assay
