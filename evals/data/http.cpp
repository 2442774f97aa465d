#include "evals/data/http.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr int kMaxRedirects = 8;
constexpr int64_t kFirstFailure = 400, kRangeFailure = 416, kTooMany = 429, kServerFailure = 500;

struct CurlFree {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Curl = std::unique_ptr<CURL, CurlFree>;

Curl make_curl() {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  return Curl(ready == CURLE_OK ? curl_easy_init() : nullptr);
}

std::string header_value(std::string_view line, std::string_view name) {
  if (line.size() <= name.size() || line[name.size()] != ':') return "";
  if (py_lower(line.substr(0, name.size())) != name) return "";
  return std::string(py_strip(line.substr(name.size() + 1)));
}

// W/"abc" -> abc
std::string plain_etag(std::string etag) {
  if (starts_with(etag, "W/")) etag.erase(0, 2);
  std::erase(etag, '"');
  return etag;
}

// The headers of the newest response; a redirect's are forgotten when the next one begins.
struct Headers {
  int64_t status = 0;
  std::string etag, linked_etag, commit, error_code, location;
  int64_t length = -1, linked_size = -1, range_begin = -1;
  int64_t retry_after_s = -1;

  void take(std::string_view line) {
    if (starts_with(line, "HTTP/")) {
      *this = Headers();
      const size_t space = line.find(' ');
      if (space != std::string_view::npos) status = parse_int(line.substr(space + 1, 3)).value_or(0);
      return;
    }
    const auto text = [&](std::string_view name, std::string& into) {
      if (std::string value = header_value(line, name); !value.empty()) into = std::move(value);
    };
    const auto number = [&](std::string_view name, int64_t& into) {
      if (const std::string value = header_value(line, name); !value.empty()) into = parse_int(value).value_or(into);
    };
    text("etag", etag);
    text("x-linked-etag", linked_etag);
    text("x-repo-commit", commit);
    text("x-error-code", error_code);
    text("location", location);
    number("content-length", length);
    number("x-linked-size", linked_size);
    number("retry-after", retry_after_s);
    const std::string range = header_value(line, "content-range");  // bytes 100-199/200
    if (starts_with(range, "bytes ")) range_begin = parse_int(range.substr(6, range.find('-') - 6)).value_or(-1);
  }
};

size_t on_header(char* data, size_t size, size_t count, void* headers) {
  static_cast<Headers*>(headers)->take({data, size * count});
  return size * count;
}

// Where a body goes: the part file, at the place the server begins at.
struct Body {
  const Headers* headers = nullptr;
  bool is_file = false;  // file:// has no status
  int descriptor = -1;
  int64_t offset = 0;  // bytes the part held when the attempt began
  int64_t written = 0;
  bool placed = false, refused = false;
  int error = 0;  // errno of a failed write
  const DownloadProgress* progress = nullptr;

  // False: this body is no part of the file.
  bool place() {
    placed = true;
    const bool partial = is_file || headers->status == 206;
    if (!partial && headers->status != 200) return false;
    if (partial && !is_file && headers->range_begin >= 0 && headers->range_begin != offset) return false;
    if (!partial) offset = 0;
    if (ftruncate(descriptor, offset) == 0 && lseek(descriptor, offset, SEEK_SET) == offset) return true;
    error = errno;
    return false;
  }

  size_t take(const char* data, size_t size) {
    if (!placed) refused = !place();
    if (error) return 0;
    if (refused) return size;  // an error page
    for (size_t done = 0; done < size;) {
      const ssize_t count = ::write(descriptor, data + done, size - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        error = errno;
        return 0;
      }
      done += static_cast<size_t>(count);
    }
    written += static_cast<int64_t>(size);
    if (*progress) (*progress)(offset + written);
    return size;
  }
};

size_t on_body(char* data, size_t size, size_t count, void* body) {
  return static_cast<Body*>(body)->take(data, size * count);
}

void configure(CURL* curl, const std::string& url, const HttpOptions& options, Headers& headers, char* error) {
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, options.allow_file ? "http,https,file" : "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "assay/" ASSAY_VERSION);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options.stall_seconds));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_seconds));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &headers);
  if (!options.bearer_token.empty()) {
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, options.bearer_token.c_str());
  }
}

Status check_scheme(const std::string& url, const HttpOptions& options) {
  const bool web = starts_with(url, "http://") || starts_with(url, "https://");
  if (web || (options.allow_file && starts_with(url, "file://"))) return ok_status();
  return invalid_argument(fmt::format("{}: expected a URL that begins with http://, https://{}", url,
                                      options.allow_file ? " or file://" : ""));
}

std::string cause_of(CURLcode code, const char* error) { return *error ? error : curl_easy_strerror(code); }

bool may_pass(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
  }
}

// What one attempt came to.
struct Attempt {
  Status status;
  bool again = false;
  int64_t wait_s = -1;  // the server's wish
};

Status status_error(const std::string& url, int64_t status) {
  const std::string text = fmt::format("{}: the server answered {}", url, status);
  if (status == 404 || status == 410) return not_found(text);
  return unavailable(text);
}

template <class Try>
Status with_retries(const HttpOptions& options, const Try& attempt) {
  int wait_ms = options.first_wait_ms;
  for (int i = 1;; ++i) {
    const Attempt result = attempt();
    if (result.status.ok() || !result.again || i >= options.attempts) return result.status;
    const int64_t asked_ms = std::min<int64_t>(result.wait_s, 60) * 1000;
    std::this_thread::sleep_for(std::chrono::milliseconds(std::max<int64_t>(wait_ms, asked_ms)));
    wait_ms *= 2;
  }
}

Attempt head_once(const std::string& url, const HttpOptions& options, Headers& headers) {
  const Curl curl = make_curl();
  if (!curl) return {internal_error("libcurl could not be started"), false, -1};
  char error[CURL_ERROR_SIZE] = "";
  configure(curl.get(), url, options, headers, error);
  curl_easy_setopt(curl.get(), CURLOPT_NOBODY, 1L);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return {unavailable(fmt::format("{}: {}", url, cause_of(code, error))), may_pass(code), -1};
  if (headers.status == kTooMany || headers.status >= kServerFailure)
    return {status_error(url, headers.status), true, headers.retry_after_s};
  return {};
}

// scheme://host of a URL.
std::string origin_of(const std::string& url) { return url.substr(0, url.find('/', url.find("://") + 3)); }

Attempt get_once(const std::string& url, const HttpOptions& options, int descriptor, const Path& part,
                 const DownloadProgress& progress) {
  const Curl curl = make_curl();
  if (!curl) return {internal_error("libcurl could not be started"), false, -1};
  char error[CURL_ERROR_SIZE] = "";
  Headers headers;
  configure(curl.get(), url, options, headers, error);
  Body body{
      .headers = &headers, .is_file = starts_with(url, "file://"), .descriptor = descriptor, .progress = &progress};
  body.offset = lseek(descriptor, 0, SEEK_END);
  const std::string range = fmt::format("{}-", body.offset);
  if (body.offset > 0) curl_easy_setopt(curl.get(), CURLOPT_RANGE, range.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_MAXREDIRS, static_cast<long>(kMaxRedirects));
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &body);
  const CURLcode code = curl_easy_perform(curl.get());
  if (body.error) return {io_error(fmt::format("{}: {}", part.string(), std::strerror(body.error))), false, -1};
  const bool range_refused = headers.status == kRangeFailure || code == CURLE_RANGE_ERROR ||
                             code == CURLE_BAD_DOWNLOAD_RESUME ||
                             (body.placed && body.refused && headers.status == 206);
  if (range_refused && body.offset > 0) {  // what is there is no beginning of this file
    if (ftruncate(descriptor, 0) != 0)
      return {io_error(fmt::format("{}: {}", part.string(), std::strerror(errno))), false, -1};
    return {unavailable(fmt::format("{}: the server does not continue at byte {}", url, body.offset)), true, -1};
  }
  if (code == CURLE_FILE_COULDNT_READ_FILE) return {not_found(fmt::format("{}: no such file", url)), false, -1};
  if (code != CURLE_OK) return {unavailable(fmt::format("{}: {}", url, cause_of(code, error))), may_pass(code), -1};
  if (headers.status >= kFirstFailure) {
    return {status_error(url, headers.status), headers.status == kTooMany || headers.status >= kServerFailure,
            headers.retry_after_s};
  }
  if (!body.placed && !body.place()) return {unavailable(fmt::format("{}: no content came", url)), false, -1};
  if (fsync(descriptor) != 0) return {io_error(fmt::format("{}: {}", part.string(), std::strerror(errno))), false, -1};
  return {};
}

}  // namespace

Result<HttpHead> http_head(const std::string& url, const HttpOptions& options) {
  ASSAY_TRY(check_scheme(url, options));
  std::string at = url;
  Headers headers;
  for (int i = 0;; ++i) {
    ASSAY_TRY(with_retries(options, [&] { return head_once(at, options, headers); }));
    const bool redirected = headers.status >= 300 && headers.status < 400 && !headers.location.empty();
    const bool same_host = starts_with(headers.location, "/") || origin_of(headers.location) == origin_of(at);
    if (!redirected || !same_host) break;
    if (i == kMaxRedirects) return unavailable(fmt::format("{}: redirected {} times", url, i));
    at = starts_with(headers.location, "/") ? origin_of(at) + headers.location : headers.location;
  }
  HttpHead head;
  head.status = headers.status;
  head.etag = plain_etag(headers.linked_etag.empty() ? headers.etag : headers.linked_etag);
  head.commit = headers.commit;
  head.error_code = headers.error_code;
  head.size = headers.linked_size >= 0 ? headers.linked_size : headers.status == 200 ? headers.length : -1;
  return head;
}

Status http_download(const std::string& url, const HttpOptions& options, const Path& part,
                     const DownloadProgress& progress) {
  ASSAY_TRY(check_scheme(url, options));
  const int descriptor = open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return io_error(fmt::format("{}: {}", part.string(), std::strerror(errno)));
  const Status status = with_retries(options, [&] { return get_once(url, options, descriptor, part, progress); });
  close(descriptor);
  return status;
}

std::string url_escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::strchr("-._~", c) != nullptr;
    if (plain && c != '\0') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace assay
