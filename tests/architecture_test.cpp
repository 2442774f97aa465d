// The include rule of the house: an include goes down or stays in its folder; rooms side by side do not see each other.

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/source_folder.h"

namespace {

namespace fs = std::filesystem;

// Which rooms a room may include besides itself. "engine.front" is request.h, engine.h and openai_wire.h.
const std::map<std::string, std::set<std::string>>& allowed() {
  static const std::set<std::string> words = {"engine/base", "engine/request"};
  static const auto table = [] {
    std::map<std::string, std::set<std::string>> rooms;
    const auto add = [&](const std::string& room, std::set<std::string> beneath) {
      beneath.insert(words.begin(), words.end());
      rooms[room] = std::move(beneath);
    };
    const std::set<std::string> bytes_words_pixels = {"engine/formats", "engine/text", "engine/vision"};
    const auto with = [](std::set<std::string> a, const std::set<std::string>& b) {
      a.insert(b.begin(), b.end());
      return a;
    };
    rooms["engine/base"] = {};
    rooms["engine/request"] = {};
    add("engine/formats", {});
    add("engine/text", {});
    add("engine/vision", {});
    add("engine/model", bytes_words_pixels);
    const auto model = with({"engine/model"}, bytes_words_pixels);
    add("engine/backend", model);
    const auto backend = with({"engine/backend"}, model);
    add("engine/cpu", backend);
    add("engine/cuda", backend);
    add("engine/runtime", backend);
    add("engine/quantize", with({"engine/cpu", "engine/cuda"}, backend));
    const auto all_engine =
        with({"engine/cpu", "engine/cuda", "engine/runtime", "engine/quantize", "engine/front"}, backend);
    add("engine/front", all_engine);
    add("engine/server", all_engine);

    const std::set<std::string> door = {"engine/front"};
    add("evals/data", door);
    add("evals/sandbox", door);
    const std::set<std::string> ground = {"evals/data", "evals/sandbox", "engine/front"};
    add("evals/task", ground);
    add("evals/stats", ground);
    const auto first = with({"evals/task", "evals/stats"}, ground);
    for (const char* room : {"evals/prompt", "evals/scoring", "evals/model", "evals/store"}) add(room, first);
    add("evals/run", with({"evals/prompt", "evals/scoring", "evals/model", "evals/store"}, first));
    add("tasks", {"evals/task", "evals/data", "evals/prompt", "evals/scoring", "engine/front"});
    add("reports", {"evals/store", "evals/stats", "evals/task", "engine/front"});
    return rooms;
  }();
  return table;
}

// The room a path relative to the project belongs to; "" for the roof, tests and bench, which see everything.
std::string room_of(const std::string& path) {
  if (path.rfind("engine/request.h", 0) == 0) return "engine/request";
  const size_t first = path.find('/');
  const std::string top = path.substr(0, first);
  if (top == "tasks" || top == "reports") return top;
  if (top != "engine" && top != "evals") return "";
  const size_t second = path.find('/', first + 1);
  if (second == std::string::npos) return top + "/front";
  const std::string room = path.substr(0, second);
  return room == "evals/cli" ? "" : room;
}

std::vector<std::string> included_paths(const fs::path& file) {
  std::vector<std::string> paths;
  std::ifstream in(file);
  const std::string mark = "#include \"";
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(mark, 0) == 0) paths.push_back(line.substr(mark.size(), line.find('"', mark.size()) - mark.size()));
  }
  return paths;
}

bool is_source(const fs::path& path) {
  const std::string ending = path.extension().string();
  return ending == ".h" || ending == ".cpp" || ending == ".cu" || ending == ".cuh";
}

std::vector<std::string> sources_of(const std::string& top) {
  std::vector<std::string> files;
  const fs::path root = assay::testing::source_folder();
  for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
    if (entry.is_regular_file() && is_source(entry.path())) files.push_back(fs::relative(entry.path(), root).string());
  }
  return files;
}

// What is wrong with `file` including `included`, "" if nothing.
std::string complaint(const std::string& file, const std::string& included) {
  const std::string from = room_of(file);
  if (from.empty()) return "";
  if (!fs::exists(assay::testing::source_folder() / included))
    return file + " includes " + included + ", which is written relative to no project file";
  const std::string to = room_of(included);
  if (to.empty()) return file + " includes " + included + ": no room sees the roof, the tests or the benchmarks";
  if (from == to) return "";
  const auto rule = allowed().find(from);
  if (rule == allowed().end()) return file + " lies in " + from + ", a room that is not in the house's plan";
  return rule->second.count(to) ? "" : file + " includes " + included + ": " + from + " may not see " + to;
}

}  // namespace

TEST_CASE("every include goes down or stays in its room") {
  size_t checked = 0;
  for (const char* top : {"engine", "evals", "tasks", "reports"}) {
    for (const std::string& file : sources_of(top)) {
      for (const std::string& included : included_paths(assay::testing::source_folder() / file)) {
        const std::string wrong = complaint(file, included);
        CHECK_MESSAGE(wrong.empty(), wrong);
        ++checked;
      }
    }
  }
  CHECK(checked > 200);
}

TEST_CASE("the rule refuses an upward, a sideways and a backdoor include") {
  CHECK_FALSE(complaint("engine/base/json.cpp", "engine/formats/tensor.h").empty());
  CHECK_FALSE(complaint("engine/cpu/ops.cpp", "engine/runtime/scheduler.h").empty());
  CHECK_FALSE(complaint("engine/runtime/scheduler.cpp", "engine/cpu/cpu_backend.h").empty());
  CHECK_FALSE(complaint("evals/run/runner.cpp", "engine/runtime/scheduler.h").empty());
  CHECK_FALSE(complaint("reports/recovery.cpp", "tasks/all_tasks.h").empty());
  CHECK_FALSE(complaint("evals/run/plan.cpp", "evals/cli/commands.h").empty());
  CHECK(complaint("engine/cpu/ops.cpp", "engine/backend/batch.h").empty());
  CHECK(complaint("evals/run/runner.cpp", "engine/engine.h").empty());
}

TEST_CASE("a header starts with #pragma once and shows no heavy third-party header") {
  for (const char* top : {"engine", "evals", "tasks", "reports"}) {
    for (const std::string& file : sources_of(top)) {
      if (fs::path(file).extension() != ".h") continue;
      std::ifstream in(assay::testing::source_folder() / file);
      std::string text((std::istreambuf_iterator<char>(in)), {});
      CHECK_MESSAGE(text.rfind("#pragma once", 0) == 0, file);
      for (const char* heavy : {"nlohmann/", "<regex>", "sqlite3.h>", "dnnl.h", "arrow/", "CLI/"}) {
        CHECK_MESSAGE(text.find(std::string("#include <") + heavy) == std::string::npos, file << " shows " << heavy);
      }
    }
  }
}

TEST_CASE("no source names a host of its own, but for the Hub's default endpoint") {
  size_t endpoints = 0;
  for (const char* top : {"engine", "evals", "tasks", "reports"}) {
    for (const std::string& file : sources_of(top)) {
      std::ifstream in(assay::testing::source_folder() / file);
      for (std::string line; std::getline(in, line);) {
        const bool is_comment = line.find("//") < line.find("://");
        if (line.find("xmlns=") != std::string::npos) continue;  // a name that XML gives the look of an address
        for (const char* scheme : {"\"http://", "\"https://"}) {
          const size_t at = line.find(scheme);
          if (at == std::string::npos || is_comment) continue;
          const size_t host = at + std::string(scheme).size();
          if (host >= line.size() || line[host] == '"') continue;
          CHECK_MESSAGE(line.find("kDefaultHubEndpoint") != std::string::npos, file << ": " << line);
          ++endpoints;
        }
      }
    }
  }
  CHECK(endpoints == 1);
}
