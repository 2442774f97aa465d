#include "evals/data/hub_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "evals/data/environment.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

// A name that is one plain folder or file.
bool is_plain(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of("/\\") == std::string_view::npos &&
         name.find('\0') == std::string_view::npos && name.size() < 200;
}

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string escaped_path(const std::string& path) {
  std::vector<std::string> parts = split(path, "/");
  for (std::string& part : parts) part = url_escape(part);
  return join(parts, "/");
}

std::string url_of(const HubAccess& access, const HubFile& file) {
  return fmt::format("{}/datasets/{}/resolve/{}/{}", access.endpoint, file.repository, url_escape(file.revision),
                     escaped_path(file.path));
}

std::string token_from_environment() {
  if (std::string token = environment("HF_TOKEN"); !token.empty()) return std::string(py_strip(token));
  Path path = environment("HF_TOKEN_PATH");
  if (path.empty()) {
    const std::string home = environment("HF_HOME");
    path = (home.empty() ? Path(environment("HOME")) / ".cache" / "huggingface" : Path(home)) / "token";
  }
  const Result<std::string> text = real_files().read(path, 1 << 12);
  return text.ok() ? std::string(py_strip(*text)) : "";
}

Status refusal(const HubAccess& access, const HubFile& file, const HttpHead& head) {
  const std::string page =
      file.terms_url.empty() ? fmt::format("{}/datasets/{}", access.endpoint, file.repository) : file.terms_url;
  if (head.status == 401 || head.status == 403) {
    const char* next = access.http.bearer_token.empty() ? "then set HF_TOKEN to a token of that account"
                                                        : "with the account that the token belongs to";
    return unavailable(fmt::format("hub {}: gated or private (the Hub answered {}): accept its terms at {}, {}",
                                   file.repository, head.status, page, next));
  }
  const std::string what = fmt::format("hub {}@{}: {}", file.repository, file.revision.substr(0, 12), file.path);
  if (head.status == 404) return not_found(fmt::format("{}: the Hub answered 404 {}", what, head.error_code));
  return unavailable(fmt::format("{}: the Hub answered {}", what, head.status));
}

// Held while a blob is written, as the Hub's own libraries hold it.
class BlobLock {
 public:
  static Result<BlobLock> take(const Path& path) {
    ASSAY_TRY(real_files().create_directories(path.parent_path()));
    const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor < 0 || flock(descriptor, LOCK_EX) != 0) {
      const Status status = io_error(fmt::format("{}: {}", path.string(), std::strerror(errno)));
      if (descriptor >= 0) close(descriptor);
      return status;
    }
    return BlobLock(descriptor);
  }
  BlobLock(BlobLock&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  BlobLock& operator=(BlobLock&&) = delete;
  ~BlobLock() {
    if (descriptor_ >= 0) close(descriptor_);
  }

 private:
  explicit BlobLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

// What vouches for a blob's bytes.
struct Proof {
  std::string sha256;  // "": nothing but the size
  int64_t size = -1;
};

Status prove(const Path& path, const Proof& proof) {
  std::error_code error;
  const auto size = static_cast<int64_t>(fs::file_size(path, error));
  if (error) return io_error(fmt::format("{}: {}", path.string(), error.message()));
  if (proof.size >= 0 && size != proof.size)
    return bad_data(fmt::format("{}: expected {} bytes, found {}", path.string(), proof.size, size));
  if (proof.sha256.empty()) return ok_status();
  ASSAY_ASSIGN(const std::string found, sha256_file(path));
  if (found == proof.sha256) return ok_status();
  return bad_data(fmt::format("{}: expected SHA-256 {}, found {}", path.string(), proof.sha256, found));
}

// Downloads until the bytes prove right; a beginning left by an interrupted attempt may be of other bytes, so that one
// fresh attempt follows a failed proof.
Status download_proved(const std::string& url, const HttpOptions& http, const Path& part, const Proof& proof,
                       const DownloadProgress& progress) {
  std::error_code error;
  const bool begun = fs::exists(part, error) && fs::file_size(part, error) > 0;
  ASSAY_TRY(http_download(url, http, part, progress));
  Status proved = prove(part, proof);
  if (!proved.ok() && begun) {
    fs::remove(part, error);
    ASSAY_TRY(http_download(url, http, part, progress));
    proved = prove(part, proof);
  }
  if (!proved.ok()) fs::remove(part, error);
  return proved;
}

Status link_snapshot(const Path& link, const Path& blob) {
  ASSAY_TRY(real_files().create_directories(link.parent_path()));
  const Path target = fs::proximate(blob, link.parent_path());
  std::error_code error;
  if (fs::read_symlink(link, error) == target && !error) return ok_status();
  Path temporary = link;
  temporary += fmt::format(".{}", getpid());
  fs::remove(temporary, error);
  fs::create_symlink(target, temporary, error);
  if (!error) fs::rename(temporary, link, error);
  return error ? io_error(fmt::format("{}: {}", link.string(), error.message())) : ok_status();
}

}  // namespace

HubAccess HubAccess::from_environment() {
  HubAccess access;
  if (std::string endpoint = environment("HF_ENDPOINT"); !endpoint.empty()) {
    while (ends_with(endpoint, "/")) endpoint.pop_back();
    access.endpoint = std::move(endpoint);
  }
  access.offline = is_true(environment("HF_HUB_OFFLINE"));
  access.http.bearer_token = token_from_environment();
  if (const auto seconds = parse_int(environment("HF_HUB_DOWNLOAD_TIMEOUT"));
      seconds && *seconds > 0 && *seconds < 86400)
    access.http.stall_seconds = static_cast<int>(*seconds);
  return access;
}

Result<Path> fetch_hub_file(const HubAccess& access, const Path& cache, const HubFile& file,
                            const DownloadProgress& progress) {
  if (access.offline) return unavailable(fmt::format("hub {}: HF_HUB_OFFLINE is set", file.repository));
  const std::string url = url_of(access, file);
  ASSAY_ASSIGN(const HttpHead head, http_head(url, access.http));
  if (head.status >= 400 || head.status < 200) return refusal(access, file, head);
  const std::string commit = head.commit.empty() ? file.revision : head.commit;
  if (!is_plain(head.etag) || !is_plain(commit)) {
    return unavailable(
        fmt::format("{}: the server gave no usable ETag and commit (\"{}\", \"{}\"); is HF_ENDPOINT a Hub?", url,
                    excerpt(head.etag), excerpt(commit)));
  }
  const std::string name = "datasets--" + replace_all(file.repository, "/", "--");
  const Path folder = cache / name, blob = folder / "blobs" / head.etag;
  const Proof proof{!file.sha256.empty() ? file.sha256 : is_hex(head.etag, 64) ? head.etag : "", head.size};
  ASSAY_TRY(real_files().create_directories(folder / "blobs"));
  ASSAY_ASSIGN(const BlobLock lock, BlobLock::take(cache / ".locks" / name / (head.etag + ".lock")));
  std::error_code error;
  if (!fs::exists(blob, error) || !prove(blob, proof).ok()) {
    Path part = blob;
    part += ".incomplete";
    ASSAY_TRY(download_proved(url, access.http, part, proof, progress));
    ASSAY_TRY(real_files().rename(part, blob));
  }
  const Path link = folder / "snapshots" / commit / file.path;
  ASSAY_TRY(link_snapshot(link, blob));
  if (commit != file.revision && is_plain(file.revision)) {
    ASSAY_TRY(real_files().create_directories(folder / "refs"));
    ASSAY_TRY(real_files().write_atomic(folder / "refs" / file.revision, commit));
  }
  return link;
}

}  // namespace assay
