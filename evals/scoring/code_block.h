#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace assay {

// evalplus' code_extract: of all runs of at least two lines that Python's parser accepts, the one with the most lines
// that are not blank, the first of equals; the text's first line where there is none. Which lines the parser accepts
// depends on the interpreter's version, so the interpreter that runs the programs is asked:
//   program_that_finds_block(text) is a Python program that prints the first and the last line's number;
//   block_from_output(text, what it printed) is the block.
std::string program_that_finds_block(std::string_view text);
// Errors: bad_data where `printed` holds no line numbers of `text`.
Result<std::string> block_from_output(std::string_view text, std::string_view printed);

}  // namespace assay
