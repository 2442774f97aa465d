#include "evals/prompt/rolling.h"

#include <algorithm>

#include "engine/base/check.h"

namespace assay {

std::vector<TokenPair> rolling_windows(const Tokens& tokens, TokenId prefix_token, int64_t max_length) {
  ASSAY_CHECK(max_length >= 1);
  std::vector<TokenPair> windows;
  const auto total = static_cast<int64_t>(tokens.size());
  for (int64_t begin = 0; begin < total;) {
    const int64_t end = std::min(begin + max_length, total);
    // A full window after the first sees one token before it; the last one sees as many more as it scores fewer.
    const int64_t first_seen = std::max(end - max_length - 1, int64_t{0});
    TokenPair window;
    if (begin == 0) {
      window.context = {prefix_token};
    } else {
      window.context.assign(tokens.begin() + first_seen, tokens.begin() + begin);
    }
    window.continuation.assign(tokens.begin() + begin, tokens.begin() + end);
    windows.push_back(std::move(window));
    begin = end;
  }
  return windows;
}

}  // namespace assay
