#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/base/file.h"
#include "engine/base/status.h"

namespace assay {

struct HttpOptions {
  std::string bearer_token;  // sent to the host of the first URL only, never to one it redirects to
  bool allow_file = false;   // file:// as well as http:// and https://
  int stall_seconds = 10;    // no byte for this long ends an attempt
  int attempts = 5;          // for failures that may pass: no connection, a stall, 429, 5xx
  int first_wait_ms = 500;   // before the second attempt, doubled for each further one
};

// What a server says about a resource without sending it.
struct HttpHead {
  int64_t status = 0;
  std::string etag;        // without quotes and weakness mark; a Hub file's own one, not that of the store behind it
  std::string commit;      // the Hub's x-repo-commit
  std::string error_code;  // the Hub's x-error-code: "GatedRepo", "EntryNotFound"
  int64_t size = -1;       // bytes, -1: not said
};

// HEAD. Redirects are followed as long as they stay on the same host: beyond it the Hub's headers are lost.
// Errors: unavailable when no answer comes.
Result<HttpHead> http_head(const std::string& url, const HttpOptions& options);

// Called with the bytes that are there so far.
using DownloadProgress = std::function<void(int64_t bytes)>;

// GET into `part`, which may hold the beginning of the file already: only what is missing is asked for (Range), and a
// server that sends everything again is obeyed. What has arrived stays in `part` when it breaks off. Errors:
// unavailable names the URL and the cause; not_found for 404 and 410; invalid_argument for a URL of another scheme; io.
Status http_download(const std::string& url, const HttpOptions& options, const Path& part,
                     const DownloadProgress& progress = {});

// `text` as one segment of a URL's path.
std::string url_escape(const std::string& text);

}  // namespace assay
