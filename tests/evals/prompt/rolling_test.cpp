#include "evals/prompt/rolling.h"

#include <doctest/doctest.h>

#include <numeric>

namespace assay {
namespace {

Tokens first(int count) {
  Tokens tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), 1);
  return tokens;
}

TEST_CASE("a text that fits is one window after the prefix token") {
  const auto windows = rolling_windows(first(3), 99, 8);
  REQUIRE(windows.size() == 1);
  CHECK(windows[0].context == Tokens{99});
  CHECK(windows[0].continuation == Tokens{1, 2, 3});
  CHECK(rolling_windows({}, 99, 8).empty());
}

TEST_CASE("later windows see one token, the last one as many as it scores fewer") {
  const auto windows = rolling_windows(first(10), 99, 4);
  REQUIRE(windows.size() == 3);
  CHECK(windows[0].context == Tokens{99});
  CHECK(windows[0].continuation == Tokens{1, 2, 3, 4});
  CHECK(windows[1].context == Tokens{4});
  CHECK(windows[1].continuation == Tokens{5, 6, 7, 8});
  CHECK(windows[2].context == Tokens{6, 7, 8});
  CHECK(windows[2].continuation == Tokens{9, 10});
}

TEST_CASE("every token is scored once, after the one before it, and no window exceeds the maximum") {
  for (int length = 1; length < 60; ++length) {
    for (const int64_t max_length : {1, 2, 7, 30}) {
      Tokens scored;
      for (const TokenPair& window : rolling_windows(first(length), 0, max_length)) {
        CHECK(static_cast<int64_t>(window.context.size() + window.continuation.size()) <= max_length + 1);
        CHECK(window.context.back() == (scored.empty() ? 0 : scored.back()));
        scored.insert(scored.end(), window.continuation.begin(), window.continuation.end());
      }
      CHECK(scored == first(length));
    }
  }
}

}  // namespace
}  // namespace assay
