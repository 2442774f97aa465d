// Attention over paged keys on the device: against plain loops in double, and against itself cut in other ways.

#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "engine/cuda/kernels.h"
#include "tests/engine/cuda/on_device.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"

using namespace assay;
using namespace assay::cuda;
using namespace assay::cuda::testing;
using namespace assay::testing;

namespace {

struct Setting {
  int32_t head_dim = 64, heads = 6, kv_heads = 2;
  int32_t first_position = 0, num_tokens = 1;
  int32_t window = 0;
  int32_t length() const { return first_position + num_tokens; }
  int32_t group() const { return heads / kv_heads; }
};

// Keys and values of one sequence in blocks that lie in any order among others that hold NaN.
class Stage {
 public:
  Stage(Element element, const Setting& shape) : element_(element), shape_(shape) {
    const int64_t width = int64_t{shape.kv_heads} * shape.head_dim;
    keys_ = rounded(element, random_normals(static_cast<size_t>(width * shape.length()), 11));
    values_ = rounded(element, random_normals(static_cast<size_t>(width * shape.length()), 12));
    queries_ = rounded(
        element,
        random_normals(static_cast<size_t>(int64_t{shape.heads} * shape.head_dim * shape.num_tokens), 13, 2.0f));
    const int32_t blocks = (shape.length() + kKvBlockTokens - 1) / kKvBlockTokens;
    for (int32_t i = 0; i < blocks; ++i) table_.push_back(2 * (blocks - 1 - i) + 1);
    std::vector<float> cache(static_cast<size_t>((2 * blocks + 1) * width * 2 * kKvBlockTokens), NAN);
    for (int32_t p = 0; p < shape.length(); ++p) {
      for (int32_t h = 0; h < shape.kv_heads; ++h) {
        const int64_t block = table_[static_cast<size_t>(p / 16)];
        const int64_t at = (((block * shape.kv_heads + h) * 2) * 16 + p % 16) * shape.head_dim;
        std::copy_n(keys_.begin() + (p * shape.kv_heads + h) * shape.head_dim, shape.head_dim, cache.begin() + at);
        std::copy_n(values_.begin() + (p * shape.kv_heads + h) * shape.head_dim, shape.head_dim,
                    cache.begin() + at + 16 * shape.head_dim);
      }
    }
    cache_ = elements_to_device(element, cache);
    query_device_ = elements_to_device(element, queries_);
    table_device_ = to_device(table_);
  }

  // Attention of all tokens, cut as the plan says; `runs` are tokens [begin, end) each.
  std::vector<float> attend(const std::vector<std::pair<int32_t, int32_t>>& parts, bool mma, int32_t wanted_pieces) {
    AttentionCut cut;
    cut.mma = mma;
    cut.group = shape_.group();
    cut.num_kv_heads = shape_.kv_heads;
    cut.window = shape_.window;
    cut.wanted_pieces = wanted_pieces;
    cut.max_slots = 100000;
    std::vector<RowRun> runs;
    for (const auto& [begin, end] : parts)
      runs.push_back({begin, end - begin, shape_.first_position + begin, begin, 0});
    const AttentionPlan plan = plan_attention(runs, cut);
    num_combined = plan.combines.size();
    num_narrow = plan.narrow.size();
    num_wide = plan.wide.size();
    num_simple = plan.simple.size();

    const int64_t width = int64_t{shape_.heads} * shape_.head_dim;
    const DeviceBuffer out = nan_buffer(shape_.num_tokens * width * element_bytes(element_));
    const DeviceBuffer partials =
        nan_buffer(std::max<int64_t>(16, int64_t{plan.num_slots} * shape_.heads * (shape_.head_dim + 2) * 4));
    AttentionWork work;
    work.query = query_device_.data();
    work.query_ld = work.out_ld = width;
    work.out = out.data();
    work.cache = {cache_.data(), shape_.kv_heads, shape_.head_dim};
    work.num_heads = shape_.heads;
    work.window = shape_.window;
    work.scale = 1 / std::sqrt(static_cast<float>(shape_.head_dim));
    work.block_tables = table_device_.as<int32_t>();
    work.partials = partials.as<float>();
    const auto launch = [&](AttentionShape shape, const std::vector<AttentionItem>& items) {
      const DeviceBuffer list = to_device(items);
      work.shape = shape;
      work.items = list.as<AttentionItem>();
      work.num_items = static_cast<int32_t>(items.size());
      done(cuda::attend(element_, work, nullptr));
    };
    launch(AttentionShape::wide, plan.wide);
    launch(AttentionShape::narrow, plan.narrow);
    launch(AttentionShape::simple, plan.simple);
    const DeviceBuffer combines = to_device(plan.combines);
    done(combine_attention(element_, partials.as<float>(), combines.as<CombineItem>(),
                           static_cast<int64_t>(plan.combines.size()), shape_.heads, shape_.head_dim, out.data(), width,
                           nullptr));
    return elements_from_device(element_, out);
  }

  std::vector<double> reference() const {
    std::vector<double> out;
    const auto dim = static_cast<size_t>(shape_.head_dim);
    for (int32_t t = 0; t < shape_.num_tokens; ++t) {
      const int64_t position = shape_.first_position + t;
      const int64_t first = shape_.window > 0 ? std::max<int64_t>(0, position - shape_.window + 1) : 0;
      for (int32_t h = 0; h < shape_.heads; ++h) {
        const auto keys = head_of(keys_, h / shape_.group()), values = head_of(values_, h / shape_.group());
        const auto from = queries_.begin() + (int64_t{t} * shape_.heads + h) * shape_.head_dim;
        const std::vector<double> query(from, from + shape_.head_dim);
        const auto row = reference_attend({query.data(), dim}, keys, values, first, position);
        out.insert(out.end(), row.begin(), row.end());
      }
    }
    return out;
  }

  size_t num_combined = 0, num_narrow = 0, num_wide = 0, num_simple = 0;

 private:
  std::vector<double> head_of(const std::vector<float>& all, int32_t head) const {
    std::vector<double> one;
    for (int32_t p = 0; p < shape_.length(); ++p) {
      const auto from = all.begin() + (int64_t{p} * shape_.kv_heads + head) * shape_.head_dim;
      one.insert(one.end(), from, from + shape_.head_dim);
    }
    return one;
  }

  Element element_;
  Setting shape_;
  std::vector<float> keys_, values_, queries_;
  std::vector<int32_t> table_;
  DeviceBuffer cache_, query_device_, table_device_;
};

const std::vector<Setting> kSettings = {
    {.head_dim = 64, .heads = 6, .kv_heads = 2, .first_position = 0, .num_tokens = 1},
    {.head_dim = 64, .heads = 9, .kv_heads = 3, .first_position = 0, .num_tokens = 130},
    {.head_dim = 128, .heads = 8, .kv_heads = 2, .first_position = 37, .num_tokens = 70},
    {.head_dim = 128, .heads = 8, .kv_heads = 2, .first_position = 1021, .num_tokens = 4},
    {.head_dim = 128, .heads = 4, .kv_heads = 4, .first_position = 700, .num_tokens = 90},
    {.head_dim = 64, .heads = 7, .kv_heads = 1, .first_position = 255, .num_tokens = 3},
    {.head_dim = 64, .heads = 6, .kv_heads = 2, .first_position = 60, .num_tokens = 140, .window = 50},
    {.head_dim = 128, .heads = 8, .kv_heads = 2, .first_position = 900, .num_tokens = 80, .window = 300},
    {.head_dim = 64, .heads = 6, .kv_heads = 2, .first_position = 300, .num_tokens = 1, .window = 128},
    {.head_dim = 128, .heads = 4, .kv_heads = 2, .first_position = 0, .num_tokens = 40, .window = 1},
    {.head_dim = 16, .heads = 4, .kv_heads = 2, .first_position = 63, .num_tokens = 3},
    {.head_dim = 48, .heads = 6, .kv_heads = 2, .first_position = 0, .num_tokens = 70},
    {.head_dim = 256, .heads = 2, .kv_heads = 1, .first_position = 100, .num_tokens = 9},
};

}  // namespace

TEST_CASE("attention is softmax(q k / sqrt(d)) v over the keys in sight, whatever the unused slots hold") {
  ASSAY_NEEDS_DEVICE();
  for (const Element element : kElements) {
    for (const Setting& shape : kSettings) {
      CAPTURE(name_of(element));
      CAPTURE(shape.head_dim);
      CAPTURE(shape.first_position);
      CAPTURE(shape.window);
      Stage stage(element, shape);
      const auto want = stage.reference();
      const std::vector<std::pair<int32_t, int32_t>> whole = {{0, shape.num_tokens}};
      const double limit = element == Element::f32 ? 4e-6 : 6e-3;
      CHECK(distance(stage.attend(whole, false, 1), want).relative < limit);
      CHECK(stage.num_simple > 0);
      if (!has_mma_attention(element, shape.head_dim)) continue;
      CHECK(distance(stage.attend(whole, true, 1), want).relative < limit);
      CHECK(stage.num_narrow + stage.num_wide > 0);
      CHECK(stage.num_simple == 0);
    }
  }
}

TEST_CASE("attention of few rows, as short as sanitizers need it") {
  ASSAY_NEEDS_DEVICE();
  for (const Setting& shape :
       {Setting{.head_dim = 64, .heads = 6, .kv_heads = 2, .first_position = 70, .num_tokens = 1},
        Setting{.head_dim = 128, .heads = 8, .kv_heads = 2, .first_position = 300, .num_tokens = 3},
        Setting{.head_dim = 128, .heads = 4, .kv_heads = 4, .first_position = 30, .num_tokens = 90}}) {
    Stage stage(Element::bf16, shape);
    const auto want = stage.reference();
    for (const int32_t pieces : {1, 1 << 20})
      CHECK(distance(stage.attend({{0, shape.num_tokens}}, true, pieces), want).relative < 6e-3);
  }
}

TEST_CASE("a query's attention has the same bits in a prompt, alone, with split keys and without") {
  ASSAY_NEEDS_DEVICE();
  for (const Element element : kElements) {
    for (const Setting& shape : kSettings) {
      CAPTURE(name_of(element));
      CAPTURE(shape.head_dim);
      CAPTURE(shape.first_position);
      CAPTURE(shape.window);
      const bool mma = has_mma_attention(element, shape.head_dim);
      Stage stage(element, shape);
      const auto whole = stage.attend({{0, shape.num_tokens}}, mma, 1);
      CHECK(stage.num_combined == 0);
      for (const int32_t step : {1, 3, 32}) {
        for (const int32_t pieces : {1, 1 << 20}) {
          std::vector<std::pair<int32_t, int32_t>> parts;
          for (int32_t begin = 0; begin < shape.num_tokens; begin += step)
            parts.emplace_back(begin, std::min(shape.num_tokens, begin + step));
          CHECK(stage.attend(parts, mma, pieces) == whole);
          if (mma && pieces > 1 && shape.first_position > kSplitKeys && shape.window == 0)
            CHECK(stage.num_combined > 0);
        }
      }
    }
  }
}
