#include "evals/sandbox/verdict.h"

#include <iterator>

namespace assay {
namespace {
constexpr std::string_view kNames[] = {"pass",   "fail",   "error", "no_verdict", "timeout",
                                       "memory", "output", "crash", "infra"};
}

std::string_view verdict_name(Verdict verdict) { return kNames[static_cast<size_t>(verdict)]; }

std::optional<Verdict> parse_verdict(std::string_view name) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == name) return static_cast<Verdict>(i);
  }
  return std::nullopt;
}

}  // namespace assay
