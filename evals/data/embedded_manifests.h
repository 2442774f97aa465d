#pragma once

#include <string_view>
#include <vector>

namespace assay {

// A manifest's text as built into the program.
struct EmbeddedManifest {
  std::string_view name;
  std::string_view text;
};

// Defined by a source that the build writes from data-manifests/datasets.
std::vector<EmbeddedManifest> embedded_manifests();
// The files of data-manifests/suites/*.json, likewise.
std::vector<EmbeddedManifest> embedded_suites();

}  // namespace assay
