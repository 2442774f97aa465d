#include "evals/run/rows.h"

#include <fmt/format.h>

#include <string>
#include <unordered_map>

#include "engine/base/log.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr int64_t kMaxLogged = 20;

class RowChecker {
 public:
  RowChecker(const Task& task, const LoadedSplit& split) : task_(task), split_(split) {}

  // The row's document, or what is wrong with it.
  Result<Json> document(size_t row) {
    Result<Json> document = task_.to_document(split_.rows[row], split_.layout);
    if (!document.ok()) return document.status();
    const std::string& column = task_.info().id_column;
    if (column.empty()) return document;
    const Json* id = document->find(column);
    if (!id) return bad_data(fmt::format("column \"{}\" is missing", column));
    const auto [first, is_new] = rows_by_id_.emplace(id->dump(), row + 1);
    if (is_new) return document;
    return bad_data(fmt::format("{}: expected an id of its own, found {}, which row {} has", column,
                                excerpt(id->dump()), first->second));
  }

 private:
  const Task& task_;
  const LoadedSplit& split_;
  std::unordered_map<std::string, size_t> rows_by_id_;
};

}  // namespace

Result<CheckedRows> check_rows(const Task& task, const LoadedSplit& split, bool skip_bad_rows) {
  CheckedRows checked;
  checked.documents.reserve(split.rows.size());
  RowChecker checker(task, split);
  Status first;
  for (size_t row = 0; row < split.rows.size(); ++row) {
    Result<Json> document = checker.document(row);
    if (document.ok()) {
      checked.documents.push_back(std::move(*document));
      continue;
    }
    if (document.status().code() != Code::bad_data) return document.status();
    const Status named = document.status().with_context(fmt::format("{} row {}", split.source, row + 1));
    if (++checked.skipped == 1) first = named;
    if (skip_bad_rows && checked.skipped <= kMaxLogged) log_warning("skipped: " + named.message());
  }
  if (checked.skipped == 0) return checked;
  if (!skip_bad_rows) {
    const std::string more = checked.skipped > 1 ? fmt::format("; {} more rows are bad", checked.skipped - 1) : "";
    return bad_data(
        fmt::format("{}{}; repair the file, or leave bad rows out with --skip-bad-rows", first.message(), more));
  }
  if (checked.documents.empty()) return bad_data(first.message() + "; every row is bad");
  return checked;
}

}  // namespace assay
