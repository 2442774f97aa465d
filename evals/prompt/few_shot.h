#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "evals/task/task.h"

namespace assay {

// CPython's random.Random(seed): MT19937 seeded by key array, and its sample, shuffle and choice, draw for draw.
// Based on: Matsumoto and Nishimura. Mersenne Twister. 1998; CPython's random module (algorithm in tasks.md 2.4).
class PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);
  uint32_t next_u32();
  uint32_t random_bits(int k);                                 // getrandbits(k), 1 <= k <= 32
  uint64_t random_below(uint64_t n);                           // randbelow(n), n >= 1
  double random_unit();                                        // random()
  std::vector<int64_t> sample(int64_t population, int64_t k);  // indices, in draw order
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i-- > 1;) std::swap(items[i], items[static_cast<size_t>(random_below(i + 1))]);
  }

 private:
  void refill();
  uint32_t state_[624];
  int index_ = 624;
};

// Picks the shots of each evaluated document in turn, as lm-eval's samplers do (tasks.md 2.4 and its corrections): one
// random stream a task, one draw a document in ascending order; an extra one is drawn where pool and evaluated split
// count as the same, and documents equal to the evaluated one are dropped. Not thread-safe: call pick() in document
// order.
class FewShotPicker {
 public:
  // `pool` must outlive the picker. `same_split`: lm-eval's rule "fewshot_split equals test_split".
  FewShotPicker(FewShotSampler sampler, const std::vector<Json>& pool, int num_fewshot, bool same_split, uint64_t seed);
  // Rows of the pool, in prompt order. Errors: bad_data when the pool has too few documents, saying how many.
  Result<std::vector<int64_t>> pick(const Json& document);

 private:
  Result<std::vector<int64_t>> pick_first(const Json& document) const;
  Result<std::vector<int64_t>> pick_random(const Json& document);
  std::vector<int64_t> other_rows(const Json& document) const;  // of the pool
  Status too_few(int64_t wanted, int64_t there) const;

  FewShotSampler sampler_;
  const std::vector<Json>* pool_;
  int num_fewshot_;
  bool same_split_;
  PythonRandom random_;
};

}  // namespace assay
