#include "evals/sandbox/embedded.h"

// clang-format off
#define ASSAY_EMBED(name, file)                                    \
  __asm__(".section .rodata\n.balign 16\n" #name "_begin:\n"       \
          ".incbin \"" file "\"\n" #name "_end:\n.byte 0\n.previous\n"); \
  extern "C" const char name##_begin[] __attribute__((visibility("hidden"))); \
  extern "C" const char name##_end[] __attribute__((visibility("hidden")));
// clang-format on

ASSAY_EMBED(assay_launcher_library, ASSAY_LAUNCHER_LIBRARY)
ASSAY_EMBED(assay_host_source, ASSAY_HOST_SOURCE)
ASSAY_EMBED(assay_runner_source, ASSAY_RUNNER_SOURCE)

namespace assay {

std::string_view embedded_launcher_library() {
  return {assay_launcher_library_begin, static_cast<size_t>(assay_launcher_library_end - assay_launcher_library_begin)};
}
std::string_view embedded_host_source() {
  return {assay_host_source_begin, static_cast<size_t>(assay_host_source_end - assay_host_source_begin)};
}
std::string_view embedded_runner_source() {
  return {assay_runner_source_begin, static_cast<size_t>(assay_runner_source_end - assay_runner_source_begin)};
}

}  // namespace assay
