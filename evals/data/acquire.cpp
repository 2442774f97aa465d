#include "evals/data/acquire.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "evals/data/environment.h"

extern char** environ;

namespace assay {
namespace {

namespace fs = std::filesystem;

std::string title_of(const ManifestSource& source) {
  if (source.kind == "mirror") return "mirror";
  return fmt::format("{} {} {}", source.kind, source.name, source.version.substr(0, 12));
}

std::string escaped(const std::string& path) {
  std::vector<std::string> parts = split(path, "/");
  for (std::string& part : parts) part = url_escape(part);
  return join(parts, "/");
}

bool proves(const Path& path, const ManifestFile& file) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  if (file.bytes > 0 && fs::file_size(path, error) != static_cast<uintmax_t>(file.bytes)) return false;
  if (file.sha256.empty()) return true;
  const Result<std::string> found = sha256_file(path);
  return found.ok() && *found == file.sha256;
}

Status from_mirror(const DataLocations& locations, const AcquireSettings& settings, const ManifestSource& source,
                   const ManifestFile& file, const DownloadProgress& progress) {
  if (settings.mirror_url.empty()) return unavailable("ASSAY_DATA_MIRROR is not set");
  const std::string inside = source.root.empty() ? file.path : source.root + "/" + file.path;
  const Path target = locations.copies / inside;
  if (proves(target, file)) return ok_status();
  ASSAY_TRY(real_files().create_directories(target.parent_path()));
  Path part = target;
  part += ".incomplete";
  HttpOptions http = settings.hub.http;
  http.bearer_token.clear();  // the Hub's token is the Hub's alone
  http.allow_file = true;
  std::error_code error;
  for (const bool begun : {fs::exists(part, error), false}) {
    ASSAY_TRY(http_download(settings.mirror_url + "/" + escaped(inside), http, part, progress));
    if (proves(part, file)) return real_files().rename(part, target);
    fs::remove(part, error);
    if (!begun) break;
  }
  return bad_data(fmt::format("{}/{}: other bytes than the manifest's (SHA-256 {}); the mirror holds another version",
                              settings.mirror_url, inside, file.sha256));
}

Status from_package(const DataLocations& locations, const AcquireSettings& settings, const ManifestSource& source,
                    const ManifestFile& file) {
  const Path folder = locations.packages / (source.name + "-" + source.version);
  if (proves(folder / source.root / file.path, file)) return ok_status();
  if (settings.hub.offline) return unavailable("HF_HUB_OFFLINE is set");
  ASSAY_TRY(settings.install_package(source, folder));
  if (proves(folder / source.root / file.path, file)) return ok_status();
  return bad_data(fmt::format("{}: missing from the package, or other bytes than the manifest's", file.path));
}

Status from_hub(const DataLocations& locations, const AcquireSettings& settings, const DatasetManifest& manifest,
                const ManifestSource& source, const ManifestFile& file, const DownloadProgress& progress) {
  const std::string inside = source.root.empty() ? file.path : source.root + "/" + file.path;
  return fetch_hub_file(settings.hub, locations.hub,
                        {source.name, source.version, inside, file.sha256, manifest.terms_url}, progress)
      .status();
}

Status acquire_from(const DataLocations& locations, const AcquireSettings& settings, const DatasetManifest& manifest,
                    const ManifestSource& source, const std::vector<const ManifestFile*>& shards,
                    const DownloadProgress& progress) {
  for (const ManifestFile* file : shards) {
    if (source.kind == "mirror") {
      ASSAY_TRY(from_mirror(locations, settings, source, *file, progress));
    } else if (source.kind == "package") {
      ASSAY_TRY(from_package(locations, settings, source, *file));
    } else {
      ASSAY_TRY(from_hub(locations, settings, manifest, source, *file, progress));
    }
  }
  return ok_status();
}

bool wanted(const AcquireSettings& settings, const ManifestSource& source) {
  return settings.only.empty() ||
         std::find(settings.only.begin(), settings.only.end(), source.kind) != settings.only.end();
}

AcquiredSplit described(const LoadedSplit& split, bool was_here) {
  return {was_here, split.source, split.sha256, static_cast<int64_t>(split.rows.size())};
}

// Runs a program found on the PATH, its output going to stderr. Its exit status, or -1.
int run_program(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) return -1;
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

AcquireSettings AcquireSettings::from_environment() {
  AcquireSettings settings;
  settings.mirror_url = environment("ASSAY_DATA_MIRROR");
  if (starts_with(settings.mirror_url, "/")) settings.mirror_url = "file://" + settings.mirror_url;
  while (ends_with(settings.mirror_url, "/")) settings.mirror_url.pop_back();
  settings.mirror_url = replace_all(settings.mirror_url, " ", "%20");
  settings.hub = HubAccess::from_environment();
  settings.install_package = install_with_pip;
  return settings;
}

Status install_with_pip(const ManifestSource& source, const Path& folder) {
  ASSAY_TRY(real_files().create_directories(folder.parent_path()));
  Path part = folder;
  part += fmt::format(".part-{}", getpid());
  ASSAY_TRY(real_files().remove_all(part));
  const int code = run_program({"python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                                "--no-deps", "--no-compile", "--only-binary=:all:", "--target", part.string(),
                                source.name + "==" + source.version});
  if (code != 0) {
    (void)real_files().remove_all(part);
    return unavailable(fmt::format("python3 -m pip install {}=={} failed (exit {}): is there a network, and pip?",
                                   source.name, source.version, code));
  }
  ASSAY_TRY(real_files().remove_all(folder));
  return real_files().rename(part, folder);
}

Result<AcquiredSplit> acquire_split(const DataLocations& locations, const AcquireSettings& settings,
                                    const DatasetManifest& manifest, std::string_view subset, std::string_view split,
                                    const DownloadProgress& progress) {
  Result<LoadedSplit> here = load_split(locations, manifest, subset, split);
  if (here.ok()) return described(*here, true);
  std::vector<std::string> reasons;
  Status first;
  for (const ManifestSource& source : manifest.sources) {
    const auto shards = shards_of(source, subset, split);
    if (shards.empty() || !wanted(settings, source)) continue;
    Status status = acquire_from(locations, settings, manifest, source, shards, progress);
    if (status.ok()) {
      Result<LoadedSplit> loaded = load_split(locations, manifest, subset, split);
      if (loaded.ok()) return described(*loaded, false);
      status = loaded.status();
    }
    reasons.push_back(fmt::format("{}: {}", title_of(source), status.message()));
    if (first.ok() || first.code() == Code::unavailable) first = status;
  }
  if (reasons.empty()) return here.status();
  const std::string gate =
      manifest.gated
          ? fmt::format(" (a gated set: its terms are accepted at {})",
                        manifest.terms_url.empty() ? settings.hub.endpoint + "/datasets/" + manifest.hub_repository
                                                   : manifest.terms_url)
          : "";
  return Status(first.code(),
                fmt::format("data set {}{}, split {}{}: {}", manifest.name,
                            subset.empty() ? "" : fmt::format(" ({})", subset), split, gate, join(reasons, "; ")));
}

}  // namespace assay
