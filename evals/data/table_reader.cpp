#include "evals/data/table_reader.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>

#include "engine/base/text_util.h"
#include "evals/data/raw_json.h"

namespace assay {
namespace {

constexpr size_t kMaxTextBytes = size_t{2} << 30;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string_view without_byte_order_mark(std::string_view text) {
  if (starts_with(text, kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return text;
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r\n") == std::string_view::npos; }

// RFC 4180 as Python's csv module reads it: a quote is special only as a field's first character, and doubled inside
// such a field; lines end in LF or CRLF.
class CsvCursor {
 public:
  explicit CsvCursor(std::string_view text) : text_(text) {}
  bool at_end() const { return at_ == text_.size(); }
  size_t offset() const { return at_; }

  // Reads one record into `fields`; a blank line leaves it empty. False when the record breaks the grammar, `error`
  // saying how.
  bool next(std::vector<std::string>& fields, std::string& error) {
    fields.clear();
    if (skip_line_end()) return true;
    while (true) {
      fields.emplace_back();
      if (!read_field(fields.back(), error)) return false;
      if (at_end() || skip_line_end()) return true;
      ++at_;  // the comma
    }
  }

 private:
  bool read_field(std::string& out, std::string& error) {
    if (!at_end() && text_[at_] == '"') return read_quoted(out, error);
    size_t end = std::min(text_.find_first_of(",\n", at_), text_.size());
    size_t stop = end;
    if (stop > at_ && end < text_.size() && text_[end] == '\n' && text_[end - 1] == '\r') --stop;
    out.assign(text_.substr(at_, stop - at_));
    at_ = stop;
    return true;
  }

  bool read_quoted(std::string& out, std::string& error) {
    const size_t opened = at_++;
    while (true) {
      const size_t quote = text_.find('"', at_);
      if (quote == std::string_view::npos) {
        error = fmt::format("the quote opened at byte {} is never closed", opened);
        return false;
      }
      out.append(text_.substr(at_, quote - at_));
      at_ = quote + 1;
      if (at_end() || text_[at_] != '"') break;
      out.push_back('"');
      ++at_;
    }
    if (at_end() || text_[at_] == ',' || text_[at_] == '\n' || text_.substr(at_, 2) == "\r\n") return true;
    error = fmt::format("expected a comma or the line's end after the closing quote at byte {}", at_ - 1);
    return false;
  }

  bool skip_line_end() {
    if (at_end()) return false;
    const size_t length = text_.substr(at_, 2) == "\r\n" ? 2 : text_[at_] == '\n' ? 1 : 0;
    at_ += length;
    return length > 0;
  }

  std::string_view text_;
  size_t at_ = 0;
};

Result<std::vector<std::string>> csv_header(CsvCursor& cursor, std::string_view source) {
  std::vector<std::string> names;
  std::string error;
  while (names.empty()) {
    if (cursor.at_end()) return bad_data(fmt::format("{}: expected a header line, found an empty file", source));
    if (!cursor.next(names, error)) return bad_data(fmt::format("{}: header line: {}", source, error));
  }
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    return bad_data(fmt::format("{}: header line: column \"{}\" is named twice", source, *twice));
  return names;
}

// The kind that a file name's ending stands for, .gz left aside; "" when unknown.
std::string kind_of(std::string_view name) {
  if (ends_with(name, ".gz")) name.remove_suffix(3);
  if (ends_with(name, ".jsonl")) return "jsonl";
  if (ends_with(name, ".json")) return "json";
  if (ends_with(name, ".csv")) return "csv";
  if (ends_with(name, ".parquet")) return "parquet";
  if (ends_with(name, ".arrow")) return "arrow";
  return "";
}

// zlib's inflate as a resource.
class Inflater {
 public:
  Inflater() {
    ready_ = inflateInit2(&stream_, 15 + 16) == Z_OK;
  }  // 15: the largest window; 16: a gzip header is required
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  bool ready() const { return ready_; }
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

Result<std::string> gunzip(std::string_view bytes, size_t max_bytes, std::string_view source) {
  Inflater inflater;
  if (!inflater.ready()) return out_of_memory(fmt::format("{}: no memory to start decompressing", source));
  z_stream& stream = inflater.stream();
  std::string text, piece(size_t{1} << 16, '\0');
  size_t at = 0;
  auto fail = [&](std::string_view why) { return bad_data(fmt::format("{}: gzip: byte {}: {}", source, at, why)); };
  while (true) {
    const size_t given = std::min<size_t>(bytes.size() - at, std::numeric_limits<uInt>::max());
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + at));  // zlib only reads from it
    stream.avail_in = static_cast<uInt>(given);
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    const int code = inflate(&stream, Z_NO_FLUSH);
    at += given - stream.avail_in;
    const size_t produced = piece.size() - stream.avail_out;
    if (produced > max_bytes - text.size()) return fail(fmt::format("the text exceeds {} bytes", max_bytes));
    text.append(piece, 0, produced);
    if (code == Z_STREAM_END) {
      if (at == bytes.size()) return text;
      if (inflateReset(&stream) != Z_OK) return fail("the next member cannot be started");
      continue;
    }
    const bool starved = code == Z_BUF_ERROR || (code == Z_OK && at == bytes.size() && stream.avail_out > 0);
    if (starved) return fail("the file ends inside a member; is it truncated?");
    if (code != Z_OK) return fail(stream.msg ? stream.msg : "not a gzip stream");
  }
}

Result<Rows> parse_jsonl(std::string_view text, std::string_view source, const std::vector<std::string>& raw_columns) {
  text = without_byte_order_mark(text);
  Rows rows;
  size_t line_number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (is_blank(line)) continue;
    std::string where = fmt::format("{}: row {} (line {})", source, rows.size() + 1, line_number);
    ASSAY_ASSIGN(Json row, Json::parse(line, where));
    if (!row.is_object()) return bad_data(where + ": expected a JSON object, one a line");
    if (!raw_columns.empty()) ASSAY_TRY(keep_raw_columns(row, line, raw_columns, where));
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<Rows> parse_json_array(std::string_view text, std::string_view source) {
  ASSAY_ASSIGN(Json json, Json::parse(without_byte_order_mark(text), source));
  Json* list = json.is_array() ? &json : nullptr;
  if (json.is_object()) {
    for (auto& [key, value] : json.as_object()) {
      if (!value.is_array()) continue;
      if (list) return bad_data(fmt::format("{}: expected one array of rows, found another under \"{}\"", source, key));
      list = &value;
    }
  }
  if (!list) return bad_data(fmt::format("{}: expected an array of objects, or an object that holds one", source));
  for (size_t i = 0; i < list->size(); ++i) {
    if (!list->as_array()[i].is_object()) {
      return bad_data(fmt::format("{}: row {}: expected a JSON object", source, i + 1));
    }
  }
  return std::move(list->as_array());
}

Result<Rows> parse_lines(std::string_view text, std::string_view source) {
  Rows rows;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!is_valid_utf8(line)) return bad_data(fmt::format("{}: row {}: expected UTF-8 text", source, rows.size() + 1));
    rows.push_back(Json::object().set("text", line));
  }
  return rows;
}

Result<Rows> parse_csv(std::string_view text, const std::vector<std::string>& columns, std::string_view source) {
  CsvCursor cursor(without_byte_order_mark(text));
  std::vector<std::string> names = columns;
  if (names.empty()) {
    ASSAY_ASSIGN(names, csv_header(cursor, source));
  }
  Rows rows;
  std::vector<std::string> fields;
  std::string error;
  while (!cursor.at_end()) {
    auto where = [&] { return fmt::format("{}: row {}", source, rows.size() + 1); };
    if (!cursor.next(fields, error)) return bad_data(fmt::format("{}: {}", where(), error));
    if (fields.empty()) continue;
    if (fields.size() != names.size()) {
      return bad_data(fmt::format("{}: expected {} columns ({}), found {}", where(), names.size(), join(names, ", "),
                                  fields.size()));
    }
    Json::Object row;
    row.reserve(names.size());
    for (size_t i = 0; i < names.size(); ++i) row.emplace_back(names[i], Json(std::move(fields[i])));
    if (!std::all_of(row.begin(), row.end(),
                     [](const Json::Member& m) { return is_valid_utf8(m.second.as_string()); })) {
      return bad_data(where() + ": expected UTF-8 text");
    }
    rows.emplace_back(std::move(row));
  }
  return rows;
}

Result<Rows> parse_table(std::string_view bytes, std::string_view name, const TableFormat& format) {
  const std::string kind = format.kind.empty() ? kind_of(name) : format.kind;
  if (kind == "parquet") return parse_parquet(bytes, name);
  if (kind == "arrow") return parse_arrow_ipc(bytes, name);
  if (kind != "jsonl" && kind != "json" && kind != "csv" && kind != "lines") {
    return unsupported(
        fmt::format("{}: unknown kind of table{}; expected .jsonl, .json, .csv (also .gz), .parquet or .arrow", name,
                    kind.empty() ? "" : " \"" + kind + "\""));
  }
  std::string plain;
  if (ends_with(name, ".gz")) {
    ASSAY_ASSIGN(plain, gunzip(bytes, kMaxTextBytes, name));
    bytes = plain;
  }
  if (kind == "jsonl") return parse_jsonl(bytes, name, format.raw_columns);
  if (kind == "json") return parse_json_array(bytes, name);
  return kind == "lines" ? parse_lines(bytes, name) : parse_csv(bytes, format.csv_columns, name);
}

Result<Rows> read_table(const Path& path, const TableFormat& format) {
  ASSAY_ASSIGN(MappedFile file, MappedFile::open(path));
  return parse_table(file.text(), path.string(), format);
}

}  // namespace assay
