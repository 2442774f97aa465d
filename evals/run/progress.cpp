#include "evals/run/progress.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr int64_t kTerminalPeriodUs = 200'000;
constexpr int64_t kPlainPeriodUs = 30'000'000;

std::string duration(double seconds) {
  const auto total = static_cast<int64_t>(std::llround(std::max(0.0, seconds)));
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

}  // namespace

Progress::Progress(Clock& clock, bool enabled, bool terminal) : clock_(clock), enabled_(enabled), terminal_(terminal) {}

std::string Progress::line(const ProgressState& state) {
  std::string text = fmt::format("{}  {} {}/{}", state.model, state.task, state.task_done, state.task_total);
  if (state.task_done > 0 && state.has_score)
    text += fmt::format("  {:.1f} % ±{:.1f}", 100 * state.score, 100 * state.half_width);
  text += fmt::format("  {}/{} items", with_thousands(state.items_done), with_thousands(state.items_total));
  if (state.tokens_per_s > 0)
    text += fmt::format("  {} tok/s  ETA {}", with_thousands(std::llround(state.tokens_per_s)), duration(state.eta_s));
  return text;
}

void Progress::update(const ProgressState& state) {
  if (!enabled_) return;
  const int64_t now = clock_.monotonic_us();
  const bool done = state.items_done == state.items_total;
  const int64_t period = terminal_ ? kTerminalPeriodUs : kPlainPeriodUs;
  if (last_us_ != 0 && now - last_us_ < period && !done) return;
  last_us_ = now;
  if (terminal_) {
    std::fprintf(stderr, "\r\x1b[2K%s", line(state).c_str());
    open_ = true;
  } else {
    std::fprintf(stderr, "%s\n", line(state).c_str());
  }
  std::fflush(stderr);
}

void Progress::finish() {
  if (open_) std::fprintf(stderr, "\n");
  open_ = false;
}

}  // namespace assay
