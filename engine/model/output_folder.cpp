#include "engine/model/output_folder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

namespace assay {
namespace fs = std::filesystem;

namespace {

// Absolute and without a trailing slash, so that the folder's own name is its last part.
Result<Path> settle(const Path& out) {
  std::error_code error;
  Path path = fs::absolute(out, error).lexically_normal();
  if (error) return io_error(fmt::format("{}: no such place for an output folder: {}", out.string(), error.message()));
  if (!path.has_filename()) path = path.parent_path();
  if (out.empty() || !path.has_filename()) return invalid_argument("the output folder has no name; give one");
  return path;
}

Status require_vacant(const Path& out) {
  std::error_code error;
  const fs::file_status status = fs::status(out, error);
  if (status.type() == fs::file_type::not_found) return ok_status();
  if (status.type() == fs::file_type::directory && fs::is_empty(out, error) && !error) return ok_status();
  return invalid_argument(
      fmt::format("{}: already there and not an empty folder; choose another name or remove it", out.string()));
}

Status require_space(const Path& folder, int64_t bytes_needed) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error || space.available >= static_cast<uintmax_t>(bytes_needed)) return ok_status();
  return io_error(fmt::format("{}: {} bytes are needed, {} are free; make room or choose another place",
                              folder.string(), bytes_needed, space.available));
}

}  // namespace

Result<OutputFolder> OutputFolder::create(const Path& out, int64_t bytes_needed) {
  ASSAY_ASSIGN(const Path path, settle(out));
  ASSAY_TRY(require_vacant(path));
  const Path temporary = path.parent_path() / fmt::format(".{}.partial-{}", path.filename().string(), getpid());
  ASSAY_TRY(real_files().remove_all(temporary));
  ASSAY_TRY(real_files().create_directories(temporary));
  OutputFolder folder(path, temporary);
  ASSAY_TRY(require_space(temporary, bytes_needed));
  return folder;
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

Status OutputFolder::commit() {
  ASSAY_TRY(require_vacant(out_));
  ASSAY_TRY(real_files().rename(temporary_, out_));
  temporary_.clear();
  return ok_status();
}

}  // namespace assay
