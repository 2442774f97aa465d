// Attention over KV blocks, of every instruction set this machine runs, against plain loops in double.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "engine/cpu/kernels.h"
#include "engine/cpu/kv_cache.h"
#include "tests/engine/cpu/instruction_sets.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"

using namespace assay;
using namespace assay::cpu;
using namespace assay::cpu::testing;
using namespace assay::testing;

namespace {

struct Setting {
  int32_t head_dim = 64, group = 3;  // query heads of the one KV head attended; the cache holds two
  int32_t first_position = 0, num_tokens = 1;
  int64_t window = 0;
  int32_t length() const { return first_position + num_tokens; }
};

// Random keys and values of one sequence, stored in blocks that lie in any order among others that hold NaN.
class Stage {
 public:
  Stage(InstructionSet isa, Activations activations, const Setting& shape)
      : kernels_(kernels_for(isa, activations)), activations_(activations), shape_(shape) {
    const auto width = static_cast<size_t>(2 * shape.head_dim);
    keys_.emplace(activations, random_normals(width * static_cast<size_t>(shape.length()), 11));
    values_.emplace(activations, random_normals(width * static_cast<size_t>(shape.length()), 12));
    const auto blocks = static_cast<int32_t>((shape.length() + kKvBlockTokens - 1) / kKvBlockTokens);
    const KvCache::Shape cache{
        .num_layers = 2, .num_kv_heads = 2, .head_dim = shape.head_dim, .element_bytes = kernels_.element_bytes};
    cache_.emplace(KvCache::allocate(cache, cache.block_bytes() * (2 * blocks + 1)).value());
    std::memset(cache_->block(0, 0), 0xff, static_cast<size_t>(cache_->bytes()));  // NaN everywhere
    for (int32_t i = 0; i < blocks; ++i) table_.push_back(2 * (blocks - 1 - i) + 1);
    for (int32_t position = 0; position < shape.length(); ++position) write(position);
  }

  // Attention of tokens [begin, end) of the new ones as one task; rows of out of other tokens stay NaN.
  std::vector<float> attend(int32_t begin, int32_t end) {
    const int32_t width = shape_.group * shape_.head_dim, ld = width + 32;
    Elements query = queries(ld), out(activations_, static_cast<size_t>(ld * shape_.num_tokens));
    AttentionTask task;
    task.query = query.data(static_cast<size_t>(begin * ld));
    task.query_ld = task.out_ld = ld;
    task.out = out.data(static_cast<size_t>(begin * ld));
    task.num_tokens = end - begin;
    task.num_heads = shape_.group;
    task.head_dim = shape_.head_dim;
    task.first_position = shape_.first_position + begin;
    task.blocks = cache_->block(1, 0) + cache_->shape().head_bytes();
    task.block_stride_bytes = cache_->shape().layer_bytes();
    task.block_table = table_.data();
    task.window = shape_.window;
    task.scale = 1 / std::sqrt(static_cast<float>(shape_.head_dim));
    kernels_.attend(task);
    std::vector<float> rows;
    for (int32_t token = begin; token < end; ++token) {
      for (int32_t i = 0; i < width; ++i) rows.push_back(out.get(static_cast<size_t>(token * ld + i)));
      CHECK(std::isnan(out.get(static_cast<size_t>(token * ld + width))));  // nothing past the heads is written
    }
    return rows;
  }

  std::vector<double> reference() const {
    const int32_t ld = shape_.group * shape_.head_dim + 32;
    const auto dim = static_cast<size_t>(shape_.head_dim);
    const auto query = queries(ld).doubles(), keys = second_head(*keys_), values = second_head(*values_);
    std::vector<double> out;
    for (int32_t token = 0; token < shape_.num_tokens; ++token) {
      const int64_t position = shape_.first_position + token;
      const int64_t first = shape_.window > 0 ? std::max<int64_t>(0, position - shape_.window + 1) : 0;
      for (int32_t head = 0; head < shape_.group; ++head) {
        const std::span<const double> one(query.data() + token * ld + head * shape_.head_dim, dim);
        const auto row = reference_attend(one, keys, values, first, position);
        out.insert(out.end(), row.begin(), row.end());
      }
    }
    return out;
  }

 private:
  void write(int32_t position) {
    const KvBlockId id = table_[static_cast<size_t>(position / kKvBlockTokens)];
    if (position % kKvBlockTokens == 0) cache_->begin_block(1, id);
    const auto at = static_cast<size_t>(position) * 2 * static_cast<size_t>(shape_.head_dim);
    kernels_.write_kv(keys_->data(at), values_->data(at), 2, shape_.head_dim, position % kKvBlockTokens,
                      cache_->block(1, id));
  }

  Elements queries(int32_t ld) const {
    return Elements(activations_, random_normals(static_cast<size_t>(ld * shape_.num_tokens), 13, 2.0f));
  }

  std::vector<double> second_head(const Elements& both) const {
    const auto all = both.doubles();
    const auto dim = static_cast<size_t>(shape_.head_dim);
    std::vector<double> one;
    for (size_t at = dim; at < all.size(); at += 2 * dim)
      one.insert(one.end(), all.begin() + static_cast<long>(at), all.begin() + static_cast<long>(at + dim));
    return one;
  }

  const Kernels& kernels_;
  Activations activations_;
  Setting shape_;
  std::optional<Elements> keys_, values_;
  std::optional<KvCache> cache_;
  std::vector<KvBlockId> table_;
};

const std::vector<Setting> kSettings = {
    {.head_dim = 64, .group = 3, .first_position = 0, .num_tokens = 1},
    {.head_dim = 64, .group = 3, .first_position = 0, .num_tokens = 130},
    {.head_dim = 64, .group = 1, .first_position = 511, .num_tokens = 3},
    {.head_dim = 128, .group = 4, .first_position = 37, .num_tokens = 70},
    {.head_dim = 16, .group = 2, .first_position = 63, .num_tokens = 2},
    {.head_dim = 80, .group = 7, .first_position = 15, .num_tokens = 20},
    {.head_dim = 256, .group = 1, .first_position = 100, .num_tokens = 9},
    {.head_dim = 64, .group = 3, .first_position = 60, .num_tokens = 140, .window = 50},
    {.head_dim = 64, .group = 3, .first_position = 300, .num_tokens = 1, .window = 128},
    {.head_dim = 32, .group = 2, .first_position = 0, .num_tokens = 40, .window = 1},
};

}  // namespace

TEST_CASE("attention is softmax(q k / sqrt(d)) v over the keys in sight, whatever the unused slots hold") {
  for (const auto& [isa, activations] : runnable_kernels()) {
    for (const Setting& shape : kSettings) {
      CAPTURE(instruction_set_name(isa));
      CAPTURE(shape.head_dim);
      CAPTURE(shape.first_position);
      Stage stage(isa, activations, shape);
      const Distance off = distance(stage.attend(0, shape.num_tokens), stage.reference());
      CHECK(off.relative < (activations == Activations::f32 ? 2e-6 : 5e-3));
    }
  }
}

TEST_CASE("a query's attention has the same bits in any task") {
  for (const auto& [isa, activations] : runnable_kernels()) {
    for (const Setting& shape : kSettings) {
      CAPTURE(instruction_set_name(isa));
      CAPTURE(shape.head_dim);
      Stage stage(isa, activations, shape);
      const auto whole = stage.attend(0, shape.num_tokens);
      for (const int32_t step : {1, 32}) {
        std::vector<float> parts;
        for (int32_t begin = 0; begin < shape.num_tokens; begin += step) {
          const auto part = stage.attend(begin, std::min(shape.num_tokens, begin + step));
          parts.insert(parts.end(), part.begin(), part.end());
        }
        REQUIRE(parts.size() == whole.size());
        CHECK(std::memcmp(parts.data(), whole.data(), parts.size() * sizeof(float)) == 0);
      }
    }
  }
}
