// Tokens drawn on the device against those that the host draws.

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <span>

#include "engine/cuda/kernels.h"
#include "engine/runtime/token_sampler.h"
#include "tests/engine/cpu/random_linear.h"
#include "tests/engine/cuda/on_device.h"
#include "tests/support/near.h"

using namespace assay;
using namespace assay::cuda;
using namespace assay::cuda::testing;
using namespace assay::testing;

TEST_CASE("tokens are drawn as the host draws them, with every filter, from few tokens and from many") {
  ASSAY_NEEDS_DEVICE();
  constexpr int64_t kRows = 40, kFirstRow = 3;
  for (const int64_t vocab : {7, 1000, 5000, 70'000}) {
    const int64_t ld = vocab + 5;
    auto logits = random_normals(sz(kRows * ld), static_cast<uint64_t>(vocab), 3.0f);
    for (size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i]);  // ties
    std::vector<TokenDraw> draws(sz(kFirstRow + kRows));
    for (int32_t r = 0; r < kRows; ++r) {
      TokenDraw& draw = draws[sz(kFirstRow + r)];
      draw.temperature = r % 8 == 7 ? 0.0f : std::array{0.2f, 1.0f, 3.0f, 40.0f}[sz(r % 4)];
      if (r % 3 == 1) draw.min_p = 0.05f;
      if (r % 5 >= 2) draw.top_p = std::array{0.95f, 0.5f, 0.999f}[sz(r % 3)];
      if (r % 7 >= 4) draw.top_k = std::array{1, 20, 6000}[sz(r % 3)];
      draw.seed = 77;
      draw.sample_index = r / 2;
      draw.position = 1000 + r;
    }
    const DeviceBuffer on_device = to_device(logits), wishes = to_device(draws),
                       drawn = nan_buffer((kFirstRow + kRows) * static_cast<int64_t>(sizeof(DrawnToken)));
    DrawTokens work;
    work.logits = on_device.as<float>();
    work.ld = ld;
    work.rows = kRows;
    work.first_row = kFirstRow;
    work.vocab_size = vocab;
    work.draws = wishes.as<TokenDraw>();
    work.drawn = drawn.as<DrawnToken>();
    done(draw_tokens(work, nullptr));
    const auto got = from_device<DrawnToken>(drawn);
    for (int64_t r = 0; r < kRows; ++r) {
      const TokenDraw& draw = draws[sz(kFirstRow + r)];
      const DrawnToken& token = got[sz(kFirstRow + r)];
      CAPTURE(vocab);
      CAPTURE(r);
      if (draw.temperature == 0) {
        CHECK(token.token == -1);  // the bytes that were there before
        continue;
      }
      const std::span<const float> row(logits.data() + r * ld, sz(vocab));
      CHECK(token.token == draw_token(row, draw));
      CHECK(token.logit == row[sz(token.token)]);
    }
  }
}
