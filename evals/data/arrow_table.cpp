#include <fmt/format.h>

#include "evals/data/table_reader.h"

#ifndef ASSAY_HAVE_ARROW

namespace assay {
namespace {

Status built_without_arrow(std::string_view source) {
  return unsupported(
      fmt::format("{}: built without Apache Arrow, which reads Parquet and Arrow files; install libparquet-dev, or set "
                  "ASSAY_PYARROW_DIR to an unpacked pyarrow wheel, and build again",
                  source));
}

}  // namespace

Result<Rows> parse_arrow_ipc(std::string_view, std::string_view source) { return built_without_arrow(source); }
Result<Rows> parse_parquet(std::string_view, std::string_view source) { return built_without_arrow(source); }

}  // namespace assay

#else

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <parquet/arrow/reader.h>

#include <exception>
#include <limits>

#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr int64_t kMaxArrowBytes = int64_t{2} << 30;  // what decompression may allocate
constexpr int64_t kMaxValues = int64_t{1} << 26;  // JSON values made; a few bytes of a lying file can claim any number
constexpr int64_t kMaxTextBytes = int64_t{2} << 30;  // string bytes copied; a dictionary repeats its strings
constexpr int kMaxNesting = 32;

// An arrow::Status as ours. Arrow's messages may run over several lines; the first says what is wrong.
Status from_arrow(const arrow::Status& status, std::string_view what, std::string_view source) {
  const std::string message = fmt::format("{}: {}: {}", source, what, split(status.message(), "\n").front());
  if (status.IsOutOfMemory()) return out_of_memory(message);
  return status.IsNotImplemented() ? unsupported(message) : bad_data(message);
}

// Turns Arrow arrays into JSON values, column by column, counting what it makes.
class Converter {
 public:
  explicit Converter(std::string_view source) : source_(source) {}

  Status append(const arrow::RecordBatch& batch, Rows& rows) {
    const int64_t first = static_cast<int64_t>(rows.size());
    ASSAY_TRY(count(batch.num_rows(), 0));
    rows.resize(rows.size() + static_cast<size_t>(batch.num_rows()), Json::object());
    for (int column = 0; column < batch.num_columns(); ++column) {
      const std::string& name = batch.column_name(column);
      for (int earlier = 0; earlier < column; ++earlier) {
        if (batch.column_name(earlier) == name) return error(fmt::format("column \"{}\" occurs twice", name));
      }
      for (int64_t i = 0; i < batch.num_rows(); ++i) {
        ASSAY_ASSIGN(Json cell, value(*batch.column(column), i, name, 0));
        rows[static_cast<size_t>(first + i)].as_object().emplace_back(name, std::move(cell));
      }
    }
    return ok_status();
  }

 private:
  Status error(std::string_view what) const { return bad_data(fmt::format("{}: {}", source_, what)); }

  Status count(int64_t values, int64_t text_bytes) {
    if (values > kMaxValues - values_ || text_bytes > kMaxTextBytes - text_bytes_) {
      return error(fmt::format("the table is larger than {} values or {} bytes of text", kMaxValues, kMaxTextBytes));
    }
    values_ += values;
    text_bytes_ += text_bytes;
    return ok_status();
  }

  template <class ArrayType>
  Result<Json> text(const arrow::Array& array, int64_t i, const std::string& column, bool must_be_utf8) {
    const std::string_view bytes = static_cast<const ArrayType&>(array).GetView(i);
    ASSAY_TRY(count(0, static_cast<int64_t>(bytes.size())));
    if (must_be_utf8 && !is_valid_utf8(bytes))
      return error(fmt::format("column {}: row {}: expected UTF-8 text", column, i + 1));
    return Json(bytes);
  }

  template <class ArrayType>
  Result<Json> list(const arrow::Array& array, int64_t i, const std::string& column, int depth) {
    const auto& lists = static_cast<const ArrayType&>(array);
    const int64_t begin = lists.value_offset(i), length = lists.value_length(i);
    Json::Array items;
    for (int64_t k = begin; k < begin + length; ++k) {
      ASSAY_ASSIGN(Json item, value(*lists.values(), k, column, depth + 1));
      items.push_back(std::move(item));
    }
    return Json(std::move(items));
  }

  Result<Json> record(const arrow::Array& array, int64_t i, const std::string& column, int depth) {
    const auto& records = static_cast<const arrow::StructArray&>(array);
    Json::Object members;
    for (int k = 0; k < records.num_fields(); ++k) {
      const std::string& name = records.struct_type()->field(k)->name();
      ASSAY_ASSIGN(Json member, value(*records.field(k), i, column + "." + name, depth + 1));
      members.emplace_back(name, std::move(member));
    }
    return Json(std::move(members));
  }

  Result<Json> dictionary(const arrow::Array& array, int64_t i, const std::string& column, int depth) {
    const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
    return value(*coded.dictionary(), coded.GetValueIndex(i), column, depth + 1);
  }

  template <class ArrayType>
  static Json integer(const arrow::Array& array, int64_t i) {
    return Json(static_cast<int64_t>(static_cast<const ArrayType&>(array).Value(i)));
  }

  Result<Json> value(const arrow::Array& array, int64_t i, const std::string& column, int depth) {
    if (depth > kMaxNesting) return error(fmt::format("column {}: nested deeper than {} levels", column, kMaxNesting));
    ASSAY_TRY(count(1, 0));
    if (array.IsNull(i)) return Json(nullptr);
    switch (array.type_id()) {
      case arrow::Type::NA: return Json(nullptr);
      case arrow::Type::BOOL: return Json(static_cast<const arrow::BooleanArray&>(array).Value(i));
      case arrow::Type::INT8: return integer<arrow::Int8Array>(array, i);
      case arrow::Type::INT16: return integer<arrow::Int16Array>(array, i);
      case arrow::Type::INT32: return integer<arrow::Int32Array>(array, i);
      case arrow::Type::INT64: return integer<arrow::Int64Array>(array, i);
      case arrow::Type::UINT8: return integer<arrow::UInt8Array>(array, i);
      case arrow::Type::UINT16: return integer<arrow::UInt16Array>(array, i);
      case arrow::Type::UINT32: return integer<arrow::UInt32Array>(array, i);
      case arrow::Type::UINT64: {
        const uint64_t number = static_cast<const arrow::UInt64Array&>(array).Value(i);
        if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
          return error(fmt::format("column {}: row {}: {} does not fit 64 signed bits", column, i + 1, number));
        }
        return Json(static_cast<int64_t>(number));
      }
      case arrow::Type::FLOAT: return Json(static_cast<double>(static_cast<const arrow::FloatArray&>(array).Value(i)));
      case arrow::Type::DOUBLE: return Json(static_cast<const arrow::DoubleArray&>(array).Value(i));
      case arrow::Type::STRING: return text<arrow::StringArray>(array, i, column, true);
      case arrow::Type::LARGE_STRING: return text<arrow::LargeStringArray>(array, i, column, true);
      case arrow::Type::STRING_VIEW: return text<arrow::StringViewArray>(array, i, column, true);
      case arrow::Type::BINARY: return text<arrow::BinaryArray>(array, i, column, false);
      case arrow::Type::LARGE_BINARY: return text<arrow::LargeBinaryArray>(array, i, column, false);
      case arrow::Type::BINARY_VIEW: return text<arrow::BinaryViewArray>(array, i, column, false);
      case arrow::Type::LIST: return list<arrow::ListArray>(array, i, column, depth);
      case arrow::Type::LARGE_LIST: return list<arrow::LargeListArray>(array, i, column, depth);
      case arrow::Type::FIXED_SIZE_LIST: return list<arrow::FixedSizeListArray>(array, i, column, depth);
      case arrow::Type::STRUCT: return record(array, i, column, depth);
      case arrow::Type::DICTIONARY: return dictionary(array, i, column, depth);
      default:
        return unsupported(
            fmt::format("{}: column {}: values of type {} are not read", source_, column, array.type()->ToString()));
    }
  }

  std::string_view source_;
  int64_t values_ = 0, text_bytes_ = 0;
};

Status append_checked(Converter& converter, const arrow::RecordBatch& batch, std::string_view source, Rows& rows) {
  if (arrow::Status valid = batch.ValidateFull(); !valid.ok()) return from_arrow(valid, "rows", source);
  return converter.append(batch, rows);
}

Result<Rows> read_batches(arrow::RecordBatchReader& reader, std::string_view source) {
  Rows rows;
  Converter converter(source);
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    if (arrow::Status read = reader.ReadNext(&batch); !read.ok()) return from_arrow(read, "rows", source);
    if (!batch) return rows;
    ASSAY_TRY(append_checked(converter, *batch, source, rows));
  }
}

Result<Rows> read_ipc_stream(arrow::io::InputStream& input, const arrow::ipc::IpcReadOptions& options,
                             std::string_view source) {
  auto reader = arrow::ipc::RecordBatchStreamReader::Open(&input, options);
  if (!reader.ok()) return from_arrow(reader.status(), "Arrow IPC stream", source);
  return read_batches(**reader, source);
}

Result<Rows> read_ipc_file(arrow::io::RandomAccessFile& input, const arrow::ipc::IpcReadOptions& options,
                           std::string_view source) {
  auto reader = arrow::ipc::RecordBatchFileReader::Open(&input, options);
  if (!reader.ok()) return from_arrow(reader.status(), "Arrow IPC file", source);
  Rows rows;
  Converter converter(source);
  for (int i = 0; i < (*reader)->num_record_batches(); ++i) {
    auto batch = (*reader)->ReadRecordBatch(i);
    if (!batch.ok()) return from_arrow(batch.status(), "rows", source);
    ASSAY_TRY(append_checked(converter, **batch, source, rows));
  }
  return rows;
}

Result<Rows> read_parquet(std::shared_ptr<arrow::io::RandomAccessFile> input, arrow::MemoryPool* pool,
                          std::string_view source) {
  parquet::arrow::FileReaderBuilder builder;
  if (arrow::Status opened = builder.Open(std::move(input), parquet::ReaderProperties(pool)); !opened.ok()) {
    return from_arrow(opened, "Parquet", source);
  }
  parquet::ArrowReaderProperties properties;
  properties.set_use_threads(false);
  properties.set_pre_buffer(false);
  std::unique_ptr<parquet::arrow::FileReader> reader;
  if (arrow::Status built = builder.memory_pool(pool)->properties(properties)->Build(&reader); !built.ok()) {
    return from_arrow(built, "Parquet", source);
  }
  auto batches = reader->GetRecordBatchReader();
  if (!batches.ok()) return from_arrow(batches.status(), "Parquet", source);
  return read_batches(**batches, source);
}

// Runs a reader over the bytes with bounded memory, and turns what Arrow may throw into a Status.
template <class Read>
Result<Rows> guarded(std::string_view bytes, std::string_view source, const Read& read) {
  try {
    arrow::ProxyMemoryPool counted(arrow::system_memory_pool());
    arrow::CappedMemoryPool pool(&counted, kMaxArrowBytes);
    auto input = std::make_shared<arrow::io::BufferReader>(std::make_shared<arrow::Buffer>(
        reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int64_t>(bytes.size())));
    return read(input, &pool);
  } catch (const std::bad_alloc&) {
    return out_of_memory(fmt::format("{}: no memory to read the table", source));
  } catch (const std::exception& thrown) {
    return bad_data(fmt::format("{}: {}", source, split(thrown.what(), "\n").front()));
  }
}

}  // namespace

Result<Rows> parse_arrow_ipc(std::string_view bytes, std::string_view source) {
  return guarded(bytes, source, [&](const std::shared_ptr<arrow::io::BufferReader>& input, arrow::MemoryPool* pool) {
    arrow::ipc::IpcReadOptions options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = pool;
    options.use_threads = false;
    options.max_recursion_depth = kMaxNesting;
    options.ensure_alignment = arrow::ipc::Alignment::kDataTypeSpecificAlignment;
    return starts_with(bytes, "ARROW1") ? read_ipc_file(*input, options, source)
                                        : read_ipc_stream(*input, options, source);
  });
}

Result<Rows> parse_parquet(std::string_view bytes, std::string_view source) {
  return guarded(bytes, source, [&](const std::shared_ptr<arrow::io::BufferReader>& input, arrow::MemoryPool* pool) {
    return read_parquet(input, pool, source);
  });
}

}  // namespace assay

#endif
