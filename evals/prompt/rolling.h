#pragma once

#include <cstdint>
#include <vector>

#include "evals/prompt/prompt.h"

namespace assay {

// Cuts a text's tokens into windows so that each token is scored once, with at most max_length tokens seen: the first
// window follows `prefix_token`, the last is as long as the others and scores only what is left. (tasks.md 2.11)
// REQUIRES: max_length >= 1.
std::vector<TokenPair> rolling_windows(const Tokens& tokens, TokenId prefix_token, int64_t max_length);

}  // namespace assay
