#pragma once

#include <string>
#include <string_view>

#include "evals/sandbox/value.h"

namespace assay {

// A frame between Assay and a program's runner: a length, a mark, a plain value.
//   to the program:   P source bytes | G (source, entry point, answer cap) | K (tests, support, entry point, cap)
//                     C (number, name, arguments, keywords)
//   from it:          R ready | L loaded | X (exception, message) while loading
//                     A (number, answer) | E (number, exception, message) | B number: an answer too large or too deep
//                     V (word, exception, message): the checker's verdict
std::string make_frame(char mark, const Value& value);

}  // namespace assay
