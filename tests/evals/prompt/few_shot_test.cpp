#include "evals/prompt/few_shot.h"

#include <doctest/doctest.h>

#include <numeric>

#include "engine/base/text_util.h"
#include "tests/support/recorded.h"

namespace assay {
namespace {

using Rows = std::vector<int64_t>;

std::vector<Json> pool_of(int64_t size, int64_t copies = 1) {
  std::vector<Json> pool;
  for (int64_t i = 0; i < size; ++i) pool.push_back(Json::object().set("q", i / copies));
  return pool;
}

TEST_CASE("the generator's first words are CPython's") {
  PythonRandom random(1234);
  for (uint32_t word : {4150886329u, 3342196574u, 1892932127u, 501869158u}) CHECK(random.next_u32() == word);
  CHECK(PythonRandom(0).next_u32() == 3626764237u);
  CHECK(PythonRandom(42).next_u32() == 2746317213u);
}

TEST_CASE("words, bits, bounds, units, samples and shuffles are CPython's draw for draw") {
  const Json recorded = testing::recorded_json("lm_eval/shots.json");
  REQUIRE(recorded.find("random")->size() == 6);
  for (const Json& item : recorded.find("random")->as_array()) {
    CAPTURE(item.find("seed")->as_string());
    PythonRandom random(std::stoull(item.find("seed")->as_string()));
    Rows words;
    for (int i = 0; i < 700; ++i) words.push_back(random.next_u32());
    CHECK(Rows(words.end() - 5, words.end()) == testing::integers_of(*item.find("words")));
    Rows bits, below, large;
    for (int k : {1, 5, 17, 32}) bits.push_back(random.random_bits(k));
    CHECK(bits == testing::integers_of(*item.find("bits")));
    for (uint64_t n : {1ull, 2ull, 3ull, 4ull, 1000ull, 1ull << 31, (1ull << 32) - 1})
      below.push_back(static_cast<int64_t>(random.random_below(n)));
    CHECK(below == testing::integers_of(*item.find("below")));
    for (const Json& expected : item.find("below_large")->as_array()) {
      const uint64_t n = &expected == &item.find("below_large")->as_array()[0] ? (1ull << 40) + 1 : (1ull << 63) + 9;
      CHECK(std::to_string(random.random_below(n)) == expected.as_string());
    }
    for (const Json& expected : item.find("unit")->as_array()) CHECK(random.random_unit() == expected.as_real());
    for (const Json& expected : item.find("sample")->as_array()) {
      const Json::Array& parts = expected.as_array();
      CHECK(random.sample(parts[0].as_int(), parts[1].as_int()) == testing::integers_of(parts[2]));
    }
    Rows shuffled(50);
    std::iota(shuffled.begin(), shuffled.end(), 0);
    random.shuffle(shuffled);
    CHECK(shuffled == testing::integers_of(*item.find("shuffle")));
  }
}

TEST_CASE("shots are those that lm-eval's samplers pick, extra draws, removals and draws again included") {
  const Json recorded = testing::recorded_json("lm_eval/shots.json");
  for (const Json& item : recorded.find("picks")->as_array()) {
    const std::string& name = item.find("pool")->as_string();
    const bool first_n = item.find("sampler")->as_string() == "first_n";
    CAPTURE(item.dump().substr(0, 90));
    const std::vector<Json> pool = name == "distinct" ? pool_of(400) : name == "small" ? pool_of(12) : pool_of(30, 3);
    FewShotPicker picker(first_n ? FewShotSampler::first_n : FewShotSampler::random, pool,
                         static_cast<int>(item.find("n")->as_int()), item.find("same")->as_bool(),
                         static_cast<uint64_t>(item.find("seed")->as_int()));
    size_t document = 0;
    for (const Json& expected : item.find("picks")->as_array()) {
      Result<Rows> shots = picker.pick(pool[document++]);
      REQUIRE_MESSAGE(shots.ok(), shots.status().message());
      CHECK(*shots == testing::integers_of(expected));
    }
  }
}

// Draws of a task over a pool that the evaluated documents are not in, for documents 0, 1, 2 (tasks.md 2.4).
void check_draws(int64_t pool_size, int shots, bool same_split, const std::vector<Rows>& expected) {
  const std::vector<Json> pool = pool_of(pool_size);
  FewShotPicker picker(FewShotSampler::random, pool, shots, same_split, 1234);
  for (const Rows& rows : expected) CHECK(*picker.pick(Json::object().set("q", "elsewhere")) == rows);
}

TEST_CASE("the card's tasks draw the recorded shots") {
  SUBCASE("gsm8k, 8 shots") {
    check_draws(7473, 8, false,
                {{6374, 3610, 957, 61, 742, 7462, 6610, 4769},
                 {286, 5501, 5677, 687, 806, 6279, 2905, 1939},
                 {142, 252, 6461, 129, 2835, 5311, 5105, 3966}});
  }
  SUBCASE("gsm8k, 5 shots") {
    check_draws(7473, 5, false,
                {{6374, 3610, 957, 61, 742}, {7462, 6610, 4769, 286, 5501}, {5677, 687, 806, 6279, 2905}});
  }
  SUBCASE("hellaswag") {
    check_draws(39905, 10, true,
                {{28883, 7657, 490, 5940, 38156, 2288, 5500, 6450, 23241, 15519},
                 {2019, 1038, 22681, 31735, 30379, 9735, 5982, 11999, 7498, 958},
                 {31899, 16372, 4231, 35460, 30533, 4493, 39417, 5828, 33753, 37945}});
  }
  SUBCASE("winogrande") {
    check_draws(
        40398, 5, true,
        {{28883, 7657, 490, 5940, 38156}, {5500, 6450, 23241, 15519, 1142}, {1038, 22681, 31735, 40358, 30379}});
  }
  SUBCASE("arc_challenge") {
    check_draws(1119, 25, false,
                {{902, 239, 15,  185, 71,  171, 201, 726,  484, 35,  63,  32,  708,
                  991, 949, 304, 186, 374, 234, 29,  1030, 996, 511, 132, 1108},
                 {954, 140,  182, 1054, 94,  552, 129, 619, 985, 727, 545, 510, 409,
                  928, 1085, 39,  1040, 144, 11,  683, 294, 968, 772, 342, 110},
                 {156, 1016, 335, 154, 440, 295, 55,  709, 227, 1084, 289, 625, 930,
                  81,  852,  566, 82,  363, 556, 316, 614, 951, 84,   790, 715}});
  }
}

TEST_CASE("a pool that is its own evaluated split loses the evaluated document") {
  const std::vector<Json> pool = pool_of(198);
  FewShotPicker picker(FewShotSampler::random, pool, 5, true, 1234);
  CHECK(*picker.pick(pool[0]) == Rows{112, 29, 1, 23, 149});
  CHECK(*picker.pick(pool[1]) == Rows{171, 177, 21, 25, 196});
  CHECK(*picker.pick(pool[64]) == Rows{60, 4, 7, 88, 165});
}

TEST_CASE("a pool with too few documents is refused, saying how many there are") {
  const std::vector<Json> pool = pool_of(5);
  for (FewShotSampler sampler : {FewShotSampler::first_n, FewShotSampler::random}) {
    CHECK(FewShotPicker(sampler, pool, 5, false, 1).pick(pool[0]).ok());
    const Status status = FewShotPicker(sampler, pool, 5, true, 1).pick(pool[0]).status();
    CHECK(status.code() == Code::bad_data);
    CHECK(status.message().find("only") != std::string::npos);
  }
  const std::vector<Json> same = pool_of(6, 6);
  CHECK_FALSE(FewShotPicker(FewShotSampler::random, same, 2, true, 1).pick(same[0]).ok());
  const std::vector<Json> none;
  CHECK(FewShotPicker(FewShotSampler::random, none, 0, true, 1).pick(Json::object())->empty());
}

}  // namespace
}  // namespace assay
