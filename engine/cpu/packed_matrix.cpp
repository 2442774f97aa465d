#include "engine/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>

#include "engine/base/check.h"

namespace assay::cpu {
namespace {

constexpr int64_t kBlockK = 16;  // k that one vector of int4 lanes covers
constexpr int64_t kHalf = kStripColumns / 2;

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_divide(a, b) * b; }

// Which row of which part a packed column holds; part -1: none, a column of zeros.
struct SourceRow {
  int part = -1;
  int64_t row = 0;
};

std::vector<SourceRow> source_rows(const std::vector<const LinearWeight*>& parts, ColumnLayout layout) {
  std::vector<SourceRow> rows;
  if (layout == ColumnLayout::joined) {
    for (int p = 0; p < static_cast<int>(parts.size()); ++p) {
      for (int64_t row = 0; row < parts[static_cast<size_t>(p)]->out_features; ++row) rows.push_back({p, row});
    }
  } else {
    ASSAY_CHECK(parts.size() == 2 && parts[0]->out_features == parts[1]->out_features);
    const int64_t width = parts[0]->out_features;
    for (int64_t first = 0; first < width; first += kHalf) {
      for (int p = 0; p < 2; ++p) {
        for (int64_t row = first; row < first + kHalf; ++row)
          rows.push_back(row < width ? SourceRow{p, row} : SourceRow{});
      }
    }
  }
  rows.resize(static_cast<size_t>(round_up(static_cast<int64_t>(rows.size()), kStripColumns)));
  return rows;
}

const PackedLinear* quantized(const LinearWeight& linear) { return std::get_if<PackedLinear>(&linear.weight); }

// Bytes of element `index` of a tensor as a T; views need not be aligned.
template <class T>
T element(const TensorView& view, int64_t index) {
  T value;
  std::memcpy(&value, view.bytes.data() + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

float float_element(const TensorView& view, int64_t index) {
  switch (view.dtype) {
    case DType::bf16: return bf16_to_float(element<uint16_t>(view, index));
    case DType::f16: return f16_to_float(element<uint16_t>(view, index));
    default: return element<float>(view, index);
  }
}

// The columns of x in the order in which groups follow each other; empty when that is their own order already.
std::vector<int32_t> group_order(const PackedLinear& linear) {
  if (!linear.g_idx || linear.scheme.group_size == 0) return {};
  std::vector<int32_t> group(static_cast<size_t>(linear.in_features)), order(group.size());
  for (size_t c = 0; c < group.size(); ++c) group[c] = element<int32_t>(*linear.g_idx, static_cast<int64_t>(c));
  if (std::find(group.begin(), group.end(), -1) != group.end()) return {};  // the writer left it unset
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return group[static_cast<size_t>(a)] < group[static_cast<size_t>(b)]; });
  return std::is_sorted(order.begin(), order.end()) ? std::vector<int32_t>{} : order;
}

// Whether groups, once sorted, are whole runs of group_size columns, as the int4 layout needs.
bool groups_are_even(const PackedLinear& linear) {
  if (!linear.g_idx || linear.scheme.group_size == 0) return true;
  std::vector<int32_t> group(static_cast<size_t>(linear.in_features));
  for (size_t c = 0; c < group.size(); ++c) group[c] = element<int32_t>(*linear.g_idx, static_cast<int64_t>(c));
  if (std::find(group.begin(), group.end(), -1) != group.end()) return true;
  std::sort(group.begin(), group.end());
  for (size_t c = 0; c < group.size(); ++c) {
    if (group[c] != static_cast<int32_t>(static_cast<int64_t>(c) / linear.scheme.group_size)) return false;
  }
  return true;
}

// Whether the parts can share one int4 matrix.
bool fits_int4(const std::vector<const LinearWeight*>& parts) {
  const PackedLinear* first = quantized(*parts[0]);
  if (!first) return false;
  for (const LinearWeight* part : parts) {
    const PackedLinear* linear = quantized(*part);
    if (!linear || linear->scheme.bits != 4 || linear->scheme.group_size % kBlockK != 0) return false;
    if (linear->scheme.group_size != first->scheme.group_size || !groups_are_even(*linear)) return false;
    if (linear != first && group_order(*linear) != group_order(*first)) return false;
  }
  return true;
}

// Rows of one linear, whatever it is stored as, in the order of x.
class DenseRows {
 public:
  static Result<DenseRows> open(const LinearWeight& linear) {
    DenseRows rows(linear);
    if (const PackedLinear* packed = quantized(linear)) {
      ASSAY_ASSIGN(UnpackedLinear unpacked, unpack(*packed));
      rows.unpacked_ = std::make_unique<UnpackedLinear>(std::move(unpacked));
    }
    return rows;
  }

  void read_bf16(int64_t row, uint16_t* out) const {
    if (unpacked_) {
      dequantize_rows_bf16(*unpacked_, row, row + 1, out);
    } else if (view().dtype == DType::bf16) {
      const size_t row_bytes = static_cast<size_t>(linear_->in_features) * 2;
      std::memcpy(out, view().bytes.data() + static_cast<size_t>(row) * row_bytes, row_bytes);
    } else {
      const int64_t first = row * linear_->in_features;
      for (int64_t c = 0; c < linear_->in_features; ++c) out[c] = float_to_bf16(float_element(view(), first + c));
    }
  }

  void read_f32(int64_t row, float* out) const {
    if (unpacked_) {
      std::vector<uint16_t> bits(static_cast<size_t>(linear_->in_features));
      dequantize_rows_bf16(*unpacked_, row, row + 1, bits.data());
      std::transform(bits.begin(), bits.end(), out, bf16_to_float);
    } else {
      const int64_t first = row * linear_->in_features;
      for (int64_t c = 0; c < linear_->in_features; ++c) out[c] = float_element(view(), first + c);
    }
  }

 private:
  explicit DenseRows(const LinearWeight& linear) : linear_(&linear) {}
  const TensorView& view() const { return std::get<TensorView>(linear_->weight); }
  const LinearWeight* linear_;
  std::unique_ptr<UnpackedLinear> unpacked_;
};

void pack_bf16_strip(const std::vector<DenseRows>& parts, const SourceRow* rows, int64_t k, int64_t k_padded,
                     std::vector<uint16_t>& row, uint16_t* out) {
  auto* pairs = reinterpret_cast<uint32_t*>(out);
  for (int64_t column = 0; column < kStripColumns; ++column) {
    if (rows[column].part < 0) continue;
    parts[static_cast<size_t>(rows[column].part)].read_bf16(rows[column].row, row.data());
    for (int64_t c = k; c < k_padded; ++c) row[static_cast<size_t>(c)] = 0;
    for (int64_t pair = 0; pair < k_padded / 2; ++pair) {
      std::memcpy(pairs + pair * kStripColumns + column, row.data() + 2 * pair, sizeof(uint32_t));
    }
  }
}

void pack_f32_strip(const std::vector<DenseRows>& parts, const SourceRow* rows, int64_t k, std::vector<float>& row,
                    float* out) {
  for (int64_t column = 0; column < kStripColumns; ++column) {
    if (rows[column].part < 0) continue;
    parts[static_cast<size_t>(rows[column].part)].read_f32(rows[column].row, row.data());
    for (int64_t c = 0; c < k; ++c) out[c * kStripColumns + column] = row[static_cast<size_t>(c)];
  }
}

Status pack_dense(PackedMatrix& matrix, const std::vector<const LinearWeight*>& parts,
                  const std::vector<SourceRow>& rows, Team& team) {
  const int64_t element_bytes = matrix.format == PackedMatrix::Format::bf16 ? 2 : 4;
  const int64_t strip_elements = matrix.k_padded * kStripColumns;
  ASSAY_ASSIGN(matrix.weights, Buffer::allocate(matrix.num_strips * strip_elements * element_bytes, parts[0]->name));
  std::vector<DenseRows> sources;
  for (const LinearWeight* part : parts) {
    ASSAY_ASSIGN(DenseRows source, DenseRows::open(*part));
    sources.push_back(std::move(source));
  }
  return team.run([&](Worker& worker) {
    std::vector<uint16_t> row_bf16(static_cast<size_t>(matrix.k_padded));
    std::vector<float> row_f32(static_cast<size_t>(matrix.k_padded));
    worker.for_each(matrix.num_strips, 4, [&](int64_t begin, int64_t end) {
      for (int64_t strip = begin; strip < end; ++strip) {
        const SourceRow* strip_rows = rows.data() + strip * kStripColumns;
        if (matrix.format == PackedMatrix::Format::bf16) {
          pack_bf16_strip(sources, strip_rows, matrix.k, matrix.k_padded, row_bf16,
                          matrix.weights.as<uint16_t>() + strip * strip_elements);
        } else {
          pack_f32_strip(sources, strip_rows, matrix.k, row_f32, matrix.weights.as<float>() + strip * strip_elements);
        }
      }
    });
  });
}

int zero_of(const PackedLinear& linear, int64_t row, int64_t group) {
  if (!linear.zero_point) return 0;
  const int64_t groups = linear.scheme.num_groups(linear.in_features);
  if (linear.zero_point->dtype == DType::i8) return element<int8_t>(*linear.zero_point, row * groups + group);
  const auto word = element<uint32_t>(*linear.zero_point, row / 8 * groups + group);
  return static_cast<int>(word >> (row % 8 * 4) & 15u) - 8;
}

// Scales and zeros of one strip; groups that only padding fills keep scale 0.
void pack_groups(PackedMatrix& matrix, const std::vector<const PackedLinear*>& parts, const SourceRow* rows,
                 int64_t strip) {
  for (int64_t column = 0; column < kStripColumns; ++column) {
    if (rows[column].part < 0) continue;
    const PackedLinear& linear = *parts[static_cast<size_t>(rows[column].part)];
    const int64_t groups = linear.scheme.num_groups(linear.in_features), row = rows[column].row;
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t at = (strip * matrix.num_groups + group) * kStripColumns + column;
      if (matrix.scales_are_bf16) {
        matrix.scales.as<uint16_t>()[at] = element<uint16_t>(linear.scale, row * groups + group);
      } else {
        matrix.scales.as<float>()[at] = float_element(linear.scale, row * groups + group);
      }
      if (matrix.asymmetric) matrix.zeros.as<int8_t>()[at] = static_cast<int8_t>(zero_of(linear, row, group));
    }
  }
}

// Codes 0 to 15 of a row in packed order; padding gets its group's zero, so that its weight is 0.
void read_codes(const PackedMatrix& matrix, const PackedLinear& linear, int64_t row, uint8_t* codes) {
  const int64_t words = ceil_divide(linear.in_features, 8);
  for (int64_t word = 0; word < words; ++word) {
    const auto bits = element<uint32_t>(linear.packed, row * words + word);
    for (int64_t j = 0; j < 8; ++j) codes[word * 8 + j] = static_cast<uint8_t>(bits >> (4 * j) & 15u);
  }
  for (int64_t c = matrix.k; c < matrix.k_padded; ++c) {
    const int64_t group = std::min(c / matrix.group_size, linear.scheme.num_groups(linear.in_features) - 1);
    codes[c] = static_cast<uint8_t>(8 + zero_of(linear, row, group));
  }
  if (matrix.column_order.empty()) return;
  const std::vector<uint8_t> original(codes, codes + matrix.k);
  for (int64_t c = 0; c < matrix.k; ++c) {
    codes[c] = original[static_cast<size_t>(matrix.column_order[static_cast<size_t>(c)])];
  }
}

void pack_int4_strip(const PackedMatrix& matrix, const std::vector<const PackedLinear*>& parts, const SourceRow* rows,
                     std::vector<uint8_t>& codes, uint32_t* out) {
  for (int64_t column = 0; column < kStripColumns; ++column) {
    if (rows[column].part >= 0) {
      read_codes(matrix, *parts[static_cast<size_t>(rows[column].part)], rows[column].row, codes.data());
    } else {
      std::fill(codes.begin(), codes.end(), uint8_t{8});
    }
    for (int64_t k = 0; k < matrix.k_padded; k += kBlockK) {
      uint32_t* lanes = out + k / kBlockK * 64 + column * 2;
      for (int64_t j = 0; j < 8; ++j) {
        lanes[0] |= uint32_t{codes[static_cast<size_t>(k + 2 * j)]} << (4 * j);
        lanes[1] |= uint32_t{codes[static_cast<size_t>(k + 2 * j + 1)]} << (4 * j);
      }
    }
  }
}

Status pack_int4(PackedMatrix& matrix, const std::vector<const LinearWeight*>& parts,
                 const std::vector<SourceRow>& rows, Team& team) {
  std::vector<const PackedLinear*> linears;
  for (const LinearWeight* part : parts) linears.push_back(quantized(*part));
  matrix.column_order = group_order(*linears[0]);
  const int64_t group_size = linears[0]->scheme.group_size;
  matrix.group_size = group_size == 0 ? matrix.k_padded : group_size;
  matrix.num_groups = ceil_divide(matrix.k_padded, matrix.group_size);
  for (const PackedLinear* linear : linears) {
    matrix.scales_are_bf16 &= linear->scale.dtype == DType::bf16;
    matrix.asymmetric |= linear->zero_point.has_value();
  }
  const int64_t num_scales = matrix.num_strips * matrix.num_groups * kStripColumns;
  const std::string& name = parts[0]->name;
  ASSAY_ASSIGN(matrix.weights, Buffer::allocate(matrix.num_strips * matrix.k_padded * kHalf, name));
  ASSAY_ASSIGN(matrix.scales, Buffer::allocate(num_scales * (matrix.scales_are_bf16 ? 2 : 4), name));
  ASSAY_ASSIGN(matrix.zeros, Buffer::allocate(matrix.asymmetric ? num_scales : 0, name));
  return team.run([&](Worker& worker) {
    std::vector<uint8_t> codes(static_cast<size_t>(matrix.k_padded));
    worker.for_each(matrix.num_strips, 4, [&](int64_t begin, int64_t end) {
      for (int64_t strip = begin; strip < end; ++strip) {
        const SourceRow* strip_rows = rows.data() + strip * kStripColumns;
        pack_groups(matrix, linears, strip_rows, strip);
        pack_int4_strip(matrix, linears, strip_rows, codes,
                        matrix.weights.as<uint32_t>() + strip * matrix.strip_bytes() / 4);
      }
    });
  });
}

std::vector<float> pack_bias(const std::vector<const LinearWeight*>& parts, const std::vector<SourceRow>& rows) {
  if (std::none_of(parts.begin(), parts.end(), [](const LinearWeight* part) { return part->bias.has_value(); }))
    return {};
  std::vector<float> bias(rows.size());
  for (size_t column = 0; column < rows.size(); ++column) {
    if (rows[column].part < 0) continue;
    const auto& part_bias = parts[static_cast<size_t>(rows[column].part)]->bias;
    if (part_bias) bias[column] = float_element(*part_bias, rows[column].row);
  }
  return bias;
}

void release(const LinearWeight& linear, const FilePages& pages) {
  if (const PackedLinear* packed = quantized(linear)) {
    pages.release(packed->packed.bytes);
    pages.release(packed->scale.bytes);
    if (packed->zero_point) pages.release(packed->zero_point->bytes);
  } else {
    pages.release(std::get<TensorView>(linear.weight).bytes);
  }
}

PackedMatrix::Format choose_format(const std::vector<const LinearWeight*>& parts, bool keep_float32) {
  if (fits_int4(parts)) return PackedMatrix::Format::int4;
  const bool wide = std::any_of(parts.begin(), parts.end(), [](const LinearWeight* part) {
    return !part->is_quantized() && std::get<TensorView>(part->weight).dtype != DType::bf16;
  });
  return keep_float32 && wide ? PackedMatrix::Format::f32 : PackedMatrix::Format::bf16;
}

}  // namespace

int64_t PackedMatrix::bytes() const { return weights.bytes() + scales.bytes() + zeros.bytes(); }
int64_t PackedMatrix::strip_bytes() const { return num_strips == 0 ? 0 : weights.bytes() / num_strips; }

Result<PackedMatrix> pack_matrix(const std::vector<const LinearWeight*>& parts, const PackOptions& options,
                                 const FilePages& pages, Team& team) {
  ASSAY_CHECK(!parts.empty());
  const std::vector<SourceRow> rows = source_rows(parts, options.layout);
  PackedMatrix matrix;
  matrix.format = choose_format(parts, options.keep_float32);
  matrix.k = parts[0]->in_features;
  matrix.k_padded = round_up(matrix.k, kDepthPadding);
  matrix.num_strips = static_cast<int64_t>(rows.size()) / kStripColumns;
  for (const LinearWeight* part : parts) {
    ASSAY_CHECK_EQ(part->in_features, matrix.k);
    matrix.columns += part->out_features;
  }
  if (matrix.format == PackedMatrix::Format::int4) {
    ASSAY_TRY(pack_int4(matrix, parts, rows, team));
  } else {
    ASSAY_TRY(pack_dense(matrix, parts, rows, team));
  }
  matrix.bias = pack_bias(parts, rows);
  for (const LinearWeight* part : parts) release(*part, pages);
  return matrix;
}

void copy_packed_row(const PackedMatrix& matrix, int64_t column, float* out) {
  ASSAY_CHECK(matrix.format != PackedMatrix::Format::int4);
  const int64_t strip_elements = matrix.k_padded * kStripColumns;
  const int64_t strip = column / kStripColumns, lane = column % kStripColumns;
  if (matrix.format == PackedMatrix::Format::f32) {
    const float* weights = matrix.weights.as<float>() + strip * strip_elements + lane;
    for (int64_t c = 0; c < matrix.k; ++c) out[c] = weights[c * kStripColumns];
    return;
  }
  const uint16_t* pairs = matrix.weights.as<uint16_t>() + strip * strip_elements + 2 * lane;
  for (int64_t c = 0; c < matrix.k; ++c) out[c] = bf16_to_float(pairs[c / 2 * 2 * kStripColumns + c % 2]);
}

}  // namespace assay::cpu
