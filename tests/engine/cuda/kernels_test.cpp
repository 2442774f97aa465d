// Row operations on the device against plain loops in double.

#include "engine/cuda/kernels.h"

#include <doctest/doctest.h>

#include <numeric>

#include "tests/engine/cpu/random_linear.h"
#include "tests/engine/cuda/on_device.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"

using namespace assay;
using namespace assay::cuda;
using namespace assay::cuda::testing;
using namespace assay::testing;

TEST_CASE("embedding rows come out as floats, and rows are gathered, bit for bit") {
  ASSAY_NEEDS_DEVICE();
  for (const Element element : kElements) {
    for (const int64_t width : {8, 72, 576, 5120}) {
      constexpr int64_t kVocab = 50, kRows = 33;
      const auto table = rounded(element, random_normals(sz(kVocab * width), 1));
      std::vector<int32_t> tokens(kRows), picks = {0, 5, 5, 32};
      for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>((i * 17 + 49) % kVocab);
      const DeviceBuffer on_device = elements_to_device(element, table), ids = to_device(tokens);
      const DeviceBuffer out = nan_buffer(kRows * width * 4), picked = nan_buffer(4 * width * 4);
      done(embed(element, on_device.data(), ids.as<int32_t>(), kRows, width, out.as<float>(), nullptr));
      const auto rows = from_device<float>(out);
      for (size_t r = 0; r < tokens.size(); ++r) {
        REQUIRE(std::equal(rows.begin() + static_cast<long>(r) * width, rows.begin() + static_cast<long>(r + 1) * width,
                           table.begin() + tokens[r] * width));
      }
      const DeviceBuffer wanted = to_device(picks);
      done(gather_rows(out.as<float>(), wanted.as<int32_t>(), 4, width, picked.as<float>(), nullptr));
      const auto got = from_device<float>(picked);
      for (size_t r = 0; r < picks.size(); ++r) {
        REQUIRE(std::equal(got.begin() + static_cast<long>(r) * width, got.begin() + static_cast<long>(r + 1) * width,
                           rows.begin() + picks[r] * width));
      }
    }
  }
}

TEST_CASE("rms_norm is x over its root mean square times the weight, and a row's bits are its own") {
  ASSAY_NEEDS_DEVICE();
  for (const Element element : kElements) {
    for (const int64_t width : {8, 72, 576, 2048, 5120, 8192, 12288}) {
      constexpr int64_t kRows = 7;
      const auto x = random_normals(sz(kRows * width), 1, 3.0f), weight = random_normals(sz(width), 2);
      const DeviceBuffer dx = to_device(x), dw = to_device(weight);
      const DeviceBuffer out = nan_buffer(kRows * width * element_bytes(element));
      const DeviceBuffer alone = nan_buffer(width * element_bytes(element));
      done(rms_norm(element, dx.as<float>(), dw.as<float>(), kRows, width, 1e-5f, out.data(), nullptr));
      const auto got = elements_from_device(element, out);
      for (int64_t r = 0; r < kRows; ++r) {
        const std::vector<double> row(x.begin() + r * width, x.begin() + (r + 1) * width);
        const std::vector<float> mine(got.begin() + r * width, got.begin() + (r + 1) * width);
        CHECK(distance(mine, reference_rms_norm(row, weight, 1e-5)).relative < rounding_of(element));
        done(rms_norm(element, dx.as<float>() + r * width, dw.as<float>(), 1, width, 1e-5f, alone.data(), nullptr));
        CHECK(elements_from_device(element, alone) == mine);
      }
    }
  }
}

TEST_CASE("swiglu is silu(gate) * up") {
  ASSAY_NEEDS_DEVICE();
  for (const Element element : kElements) {
    for (const int64_t width : {8, 104, 1536}) {
      constexpr int64_t kRows = 5;
      const auto gate_up = rounded(element, random_normals(sz(kRows * 2 * width), 3, 3.0f));
      const DeviceBuffer in = elements_to_device(element, gate_up);
      const DeviceBuffer out = nan_buffer(kRows * width * element_bytes(element));
      done(swiglu(element, in.data(), kRows, width, out.data(), width, nullptr));
      std::vector<double> want;
      for (int64_t r = 0; r < kRows; ++r) {
        for (int64_t i = 0; i < width; ++i) {
          const double gate = gate_up[sz(r * 2 * width + i)], up = gate_up[sz(r * 2 * width + width + i)];
          want.push_back(reference_silu(gate) * up);
        }
      }
      CHECK(distance(elements_from_device(element, out), want).relative < rounding_of(element));
    }
  }
}

TEST_CASE("a bias joins float32 sums before anything is rounded") {
  ASSAY_NEEDS_DEVICE();
  constexpr int64_t kRows = 3, kN = 301;
  const auto sums = random_normals(kRows * kN, 4), bias = random_normals(kN, 5), before = random_normals(kRows * kN, 6);
  const DeviceBuffer ds = to_device(sums), db = to_device(bias);
  for (const Element element : kElements) {
    const DeviceBuffer stored = nan_buffer(kRows * kN * element_bytes(element)), added = to_device(before);
    done(finish_product(element, ds.as<float>(), db.as<float>(), kRows, kN, {Epilogue::Kind::store, stored.data(), kN},
                        nullptr));
    done(finish_product(element, ds.as<float>(), db.as<float>(), kRows, kN, {Epilogue::Kind::add, added.data(), kN},
                        nullptr));
    const auto got = elements_from_device(element, stored);
    const auto stream = from_device<float>(added);
    for (size_t i = 0; i < got.size(); ++i) {
      const float sum = sums[i] + bias[i % kN];
      REQUIRE(got[i] == rounded(element, {sum})[0]);
      REQUIRE(stream[i] == before[i] + sum);
    }
  }
}

TEST_CASE("int4 codes become round_bf16((q - z) * s), whatever the groups") {
  ASSAY_NEEDS_DEVICE();
  for (const bool symmetric : {true, false}) {
    for (const int64_t group_size : {0, 8, 32, 128}) {
      for (const bool order : {false, true}) {
        if (order && group_size == 0) continue;
        constexpr int64_t kOut = 37, kIn = 256;
        QuantScheme scheme{4, group_size, symmetric, order};
        const auto linear = assay::cpu::testing::RandomLinear::int4(kOut, kIn, scheme, DType::bf16, 9);
        const auto& packed = std::get<PackedLinear>(linear.linear().weight);
        const UnpackedLinear unpacked = unpack(packed).value();
        Int4Weight weight;
        weight.group_size = group_size == 0 ? kIn : group_size;
        weight.num_groups = unpacked.num_groups;
        std::vector<uint32_t> words(packed.packed.bytes.size() / 4);
        std::memcpy(words.data(), packed.packed.bytes.data(), packed.packed.bytes.size());
        weight.codes = to_device(words);
        weight.scales = to_device(unpacked.scales);
        if (!symmetric) weight.zeros = to_device(unpacked.zero_points);
        if (order) weight.group_of_column = to_device(unpacked.group_of_column);
        const auto want = linear.weight();
        for (const Element element : kElements) {
          const DeviceBuffer out = nan_buffer(30 * kIn * element_bytes(element));
          done(dequantize_int4(element, weight, kIn, 5, 30, out.data(), nullptr));
          const auto got = elements_from_device(element, out);
          REQUIRE(std::equal(got.begin(), got.end(), want.begin() + 5 * kIn));
        }
      }
    }
  }
}

namespace {

struct RopeStage {
  static constexpr int32_t kHeads = 6, kKvHeads = 2, kBlocks = 8;
  int32_t head_dim;
  Element element;
  int64_t width() const { return (kHeads + 2 * kKvHeads) * head_dim; }
  int64_t slot_of(int64_t slot, int64_t head, bool values) const {  // offset of a row in the cache
    return (((slot / 16 * kKvHeads + head) * 2 + (values ? 1 : 0)) * 16 + slot % 16) * head_dim;
  }
};

}  // namespace

TEST_CASE("queries and keys are turned, keys and values land in every slot that wants them and nowhere else") {
  ASSAY_NEEDS_DEVICE();
  for (const Element element : kElements) {
    for (const int32_t head_dim : {16, 48, 64, 128, 256}) {
      const RopeStage stage{head_dim, element};
      constexpr int64_t kRows = 5;
      const int64_t half = head_dim / 2;
      const auto qkv = rounded(element, random_normals(sz(kRows * stage.width()), 11));
      const std::vector<int32_t> positions = {0, 3, 9, 4, 1}, first = {0, 1, 3, 4, 5, 6},
                                 slots = {0, 17, 50, 127, 33, 96};
      const auto cos = random_normals(sz(10 * half), 12), sin = random_normals(sz(10 * half), 13);
      const DeviceBuffer dq = elements_to_device(element, qkv), dp = to_device(positions), df = to_device(first);
      const DeviceBuffer ds = to_device(slots), dc = to_device(cos), dn = to_device(sin);
      const DeviceBuffer cache =
          nan_buffer(RopeStage::kBlocks * 16 * RopeStage::kKvHeads * 2 * head_dim * element_bytes(element));
      RopeKvWrite work;
      work.qkv = dq.data();
      work.ld = stage.width();
      work.rows = kRows;
      work.num_heads = RopeStage::kHeads;
      work.positions = dp.as<int32_t>();
      work.cos = dc.as<float>();
      work.sin = dn.as<float>();
      work.first_write = df.as<int32_t>();
      work.write_slots = ds.as<int32_t>();
      work.cache = {cache.data(), RopeStage::kKvHeads, head_dim};
      done(rope_kv_write(element, work, nullptr));
      const auto turned = elements_from_device(element, dq), stored = elements_from_device(element, cache);
      size_t finite = 0;
      for (int64_t r = 0; r < kRows; ++r) {
        const auto row = qkv.begin() + r * stage.width();
        std::vector<double> want(row, row + (RopeStage::kHeads + RopeStage::kKvHeads) * head_dim);
        const size_t angle = sz(positions[sz(r)] * half);
        reference_rotate(want, head_dim, {cos.data() + angle, sz(half)}, {sin.data() + angle, sz(half)});
        const std::vector<float> queries(turned.begin() + r * stage.width(),
                                         turned.begin() + r * stage.width() + RopeStage::kHeads * head_dim);
        CHECK(
            distance(queries, std::vector<double>(want.begin(), want.begin() + RopeStage::kHeads * head_dim)).relative <
            rounding_of(element));
        for (int32_t w = first[sz(r)]; w < first[sz(r) + 1]; ++w) {
          for (int64_t h = 0; h < RopeStage::kKvHeads; ++h) {
            const auto key = stored.begin() + stage.slot_of(slots[sz(w)], h, false);
            const auto want_key = want.begin() + (RopeStage::kHeads + h) * head_dim;
            CHECK(distance(std::vector<float>(key, key + head_dim), std::vector<double>(want_key, want_key + head_dim))
                      .relative < rounding_of(element));
            const auto value = stored.begin() + stage.slot_of(slots[sz(w)], h, true);
            REQUIRE(
                std::equal(value, value + head_dim, row + (RopeStage::kHeads + RopeStage::kKvHeads + h) * head_dim));
          }
        }
      }
      for (const float value : stored) finite += std::isfinite(value) ? 1 : 0;
      CHECK(finite == slots.size() * RopeStage::kKvHeads * 2 * sz(head_dim));
    }
  }
}

TEST_CASE("block copies run one after the other, in every layer, and touch the copied slots only") {
  ASSAY_NEEDS_DEVICE();
  for (const Element element : kElements) {
    constexpr int64_t kLayers = 3, kBlocks = 5, kHeads = 2, kDim = 64, kHead = 2 * 16 * kDim;
    auto cache = rounded(element, random_normals(kLayers * kBlocks * kHeads * kHead, 21));
    const std::vector<int32_t> copies = {0, 1, 16, 1, 2, 7, 3, 4, 0, 2, 3, 5};  // the second reads what the first wrote
    const DeviceBuffer on_device = elements_to_device(element, cache), list = to_device(copies);
    const KvLayer layer{on_device.data(), kHeads, kDim};
    done(copy_kv_blocks(element, layer, kLayers, kBlocks * kHeads * kHead * element_bytes(element), list.as<int32_t>(),
                        static_cast<int64_t>(copies.size()) / 3, nullptr));
    for (int64_t l = 0; l < kLayers; ++l) {
      for (size_t c = 0; c < copies.size(); c += 3) {
        for (int64_t h = 0; h < kHeads; ++h) {
          for (int64_t part = 0; part < 2; ++part) {
            const auto at = [&](int64_t block) {
              return cache.begin() + ((l * kBlocks + block) * kHeads + h) * kHead + part * 16 * kDim;
            };
            std::copy_n(at(copies[c]), copies[c + 2] * kDim, at(copies[c + 1]));
          }
        }
      }
    }
    CHECK(elements_from_device(element, on_device) == cache);
  }
}

TEST_CASE("a chunk of logits is read as plain loops would") {
  ASSAY_NEEDS_DEVICE();
  constexpr int64_t kRows = 4, kAllRows = 6, kFirstRow = 2;
  for (const auto& [vocab, chunk] : {std::pair{1601, 640}, {640, 640}, {5, 640}, {1281, 640}}) {
    const int64_t ld = vocab + 3, chunks = (vocab + chunk - 1) / chunk;
    auto logits = random_normals(sz(kRows * ld), 31, 4.0f);
    if (vocab > 700) logits[660] = logits[670] = 99.0f;  // a tie in row 0
    logits[sz(ld * 3)] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<int32_t> first_target = {0, 0, 0, 2, 2, 3, 3}, targets = {1, vocab - 1, 3};
    const std::vector<int32_t> num_top = {9, 9, 4, 0, 32, 0}, kept_row = {-1, -1, -1, 0, -1, -1};
    const DeviceBuffer dl = to_device(logits), df = to_device(first_target), dt = to_device(targets);
    const DeviceBuffer dn = to_device(num_top), dk = to_device(kept_row);
    const DeviceBuffer stats = nan_buffer(kAllRows * chunks * 16), found = nan_buffer(3 * 4),
                       top = nan_buffer(kAllRows * chunks * 32 * 8), kept = nan_buffer(vocab * 4);
    ReadLogits work;
    work.logits = dl.as<float>();
    work.ld = ld;
    work.rows = kRows;
    work.first_row = kFirstRow;
    work.vocab_size = vocab;
    work.chunk_tokens = chunk;
    work.stats = stats.as<ChunkStats>();
    work.first_target = df.as<int32_t>();
    work.targets = dt.as<int32_t>();
    work.target_logits = found.as<float>();
    work.num_top = dn.as<int32_t>();
    work.max_top = 32;
    work.top = top.as<TopEntry>();
    work.kept_row = dk.as<int32_t>();
    work.kept = kept.as<float>();
    done(read_logits(work, nullptr));
    const auto got = from_device<ChunkStats>(stats);
    const auto tops = from_device<TopEntry>(top);
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t first = c * chunk, count = std::min<int64_t>(chunk, vocab - first);
      for (int64_t r = 0; r < 3; ++r) {
        const auto begin = logits.begin() + r * ld + first, largest = std::max_element(begin, begin + count);
        double sum = 0;
        for (auto it = begin; it != begin + count; ++it) sum += std::exp(static_cast<double>(*it - *largest));
        const ChunkStats& mine = got[sz((kFirstRow + r) * chunks + c)];
        CHECK(mine.max == *largest);
        CHECK(mine.argmax == first + (largest - begin));
        CHECK(mine.bad == 0);
        CHECK(std::abs(static_cast<double>(mine.sum) / sum - 1) < 1e-5);
        std::vector<int32_t> order(sz(count));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return begin[a] > begin[b]; });
        const auto wanted = std::min<int64_t>(num_top[sz(kFirstRow + r)], count);
        for (int64_t i = 0; i < wanted; ++i) {
          const TopEntry& entry = tops[sz(((kFirstRow + r) * chunks + c) * 32 + i)];
          REQUIRE(entry.token == first + order[sz(i)]);
          REQUIRE(entry.logit == begin[order[sz(i)]]);
        }
      }
    }
    CHECK(got[sz((kFirstRow + 3) * chunks)].bad != 0);
    CHECK(std::isnan(got[0].max));  // other rows are left alone
    CHECK(from_device<float>(found) == std::vector<float>{logits[1], logits[sz(vocab - 1)], logits[sz(2 * ld + 3)]});
    const auto row = from_device<float>(kept);
    CHECK(std::equal(row.begin(), row.end(), logits.begin() + ld));
  }
}
