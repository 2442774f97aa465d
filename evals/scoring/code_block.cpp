#include "evals/scoring/code_block.h"

#include <fmt/format.h>

#include <vector>

#include "engine/base/text_util.h"

namespace assay {
namespace {

// Ranges are tried from the best down, so that the first accepted one is the answer. compile(..., 0x400) only parses:
// nothing of the text is run. A line that begins with white space before a name can begin no range, because its
// indentation is unexpected.
constexpr std::string_view kFinder = R"py(
import warnings

def accepts(text):
    try:
        compile(text, "<unknown>", "exec", 0x400, True)
        return True
    except BaseException:
        return False

def find(text):
    warnings.simplefilter("ignore")
    lines = text.split("\n")
    starts = [0]
    filled = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
        filled.append(filled[-1] + bool(line.strip()))
    count = len(lines)
    by_filled = {}
    for i, line in enumerate(lines):
        bare = line.lstrip(" \t")
        if bare != line and (bare[:1].isalnum() or bare[:1] == "_"):
            continue
        for j in range(i + 1, count):
            by_filled.setdefault(filled[j + 1] - filled[i], []).append((i, j))
    by_filled.pop(0, None)
    for size in sorted(by_filled, reverse=True):
        for i, j in by_filled[size]:
            if accepts(text[starts[i]:starts[j + 1] - 1]):
                return i, j
    return 0, 0

print(*find()py";

// A Python literal of any bytes: hexadecimal UTF-8. Invalid sequences become surrogates, which no parser accepts.
std::string literal(std::string_view text) {
  return fmt::format("bytes.fromhex(\"{}\").decode(\"utf-8\", \"surrogateescape\")", to_hex(text));
}

}  // namespace

std::string program_that_finds_block(std::string_view text) { return std::string(kFinder) + literal(text) + "))\n"; }

Result<std::string> block_from_output(std::string_view text, std::string_view printed) {
  const std::vector<std::string> numbers = split_any(printed, " \n");
  const std::vector<std::string> lines = split(text, "\n");
  const auto first = numbers.size() == 2 ? parse_int(numbers[0]) : std::nullopt;
  const auto last = numbers.size() == 2 ? parse_int(numbers[1]) : std::nullopt;
  const auto count = static_cast<int64_t>(lines.size());
  if (!first || !last || *first < 0 || *last < *first || *last >= count) {
    return bad_data(fmt::format("the search for a program's lines: expected two line numbers below {}, found \"{}\"",
                                count, excerpt(printed)));
  }
  return join({lines.begin() + *first, lines.begin() + *last + 1}, "\n");
}

}  // namespace assay
