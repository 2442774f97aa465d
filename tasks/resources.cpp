#include "tasks/resources.h"

// Has the assembler copy a file into the program's read-only data, between two symbols.
#define ASSAY_EMBED(symbol, file)                                                                                   \
  __asm__(                                                                                                          \
      ".section .rodata\n"                                                                                          \
      ".global " #symbol "_begin\n.global " #symbol "_end\n" #symbol "_begin:\n.incbin \"" ASSAY_RESOURCES "/" file \
      "\"\n" #symbol                                                                                                \
      "_end:\n.byte 0\n"                                                                                            \
      ".text\n");                                                                                                   \
  extern "C" const char symbol##_begin[], symbol##_end[]

ASSAY_EMBED(assay_bbh_shots, "bbh_shots.json");
ASSAY_EMBED(assay_ifeval_languages, "ifeval_languages.json.gz");
ASSAY_EMBED(assay_ifeval_english, "ifeval_english.json.gz");

namespace assay {
namespace {

std::string_view between(const char* begin, const char* end) { return {begin, static_cast<size_t>(end - begin)}; }

}  // namespace

std::string_view bbh_shots_json() { return between(assay_bbh_shots_begin, assay_bbh_shots_end); }
std::string_view ifeval_languages_gz() { return between(assay_ifeval_languages_begin, assay_ifeval_languages_end); }
std::string_view ifeval_english_gz() { return between(assay_ifeval_english_begin, assay_ifeval_english_end); }

}  // namespace assay
