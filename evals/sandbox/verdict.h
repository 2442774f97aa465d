#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace assay {

// What became of one program. Only `pass` scores; `infra` is the machine's or Assay's own failure: it is retried and
// never scored.
enum class Verdict : uint8_t {
  pass,        // every answer was right; of a program without tests: it ended by itself with status 0
  fail,        // a wrong answer, or a failed assertion
  error,       // an exception, a syntax error, no such function, a status other than 0
  no_verdict,  // the program ended or went silent without answering
  timeout,     // CPU or wall time; rerun once alone before it counts
  memory,      // the memory cap
  output,      // the output cap
  crash,       // a signal
  infra,       // ours
};

// "pass", ..., "infra".
std::string_view verdict_name(Verdict verdict);
std::optional<Verdict> parse_verdict(std::string_view name);

}  // namespace assay
