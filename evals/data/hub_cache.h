#pragma once

#include <string>

#include "engine/base/file.h"
#include "engine/base/status.h"
#include "evals/data/http.h"

namespace assay {

// The Hub where HF_ENDPOINT names no other. The only host that the program knows by name.
inline constexpr const char* kDefaultHubEndpoint = "https://huggingface.co";

// How to reach the Hub.
struct HubAccess {
  std::string endpoint = kDefaultHubEndpoint;  // HF_ENDPOINT
  HttpOptions http;                            // token: HF_TOKEN, HF_TOKEN_PATH, HF_HOME/token
  bool offline = false;                        // HF_HUB_OFFLINE
  static HubAccess from_environment();
};

// A file of a data set's repository and what is known about it.
struct HubFile {
  std::string repository, revision, path;
  std::string sha256;  // "" where the manifest does not know it
  std::string terms_url;
};

// Puts a file into the Hub's local cache, laid out as the Hub's own libraries do: blobs/<etag> under a lock, arrived in
// blobs/<etag>.incomplete, proved and renamed; then the link snapshots/<commit>/<path>, and refs/<revision> where the
// revision is no commit. A blob that is there and proves right is not fetched again. Returns the snapshot's path.
// Errors: unavailable when offline, unreachable or gated (says where terms are accepted and what to set); not_found;
// bad_data when the bytes have another digest or size.
Result<Path> fetch_hub_file(const HubAccess& access, const Path& cache, const HubFile& file,
                            const DownloadProgress& progress = {});

}  // namespace assay
