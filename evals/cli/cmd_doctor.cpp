#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "engine/base/json.h"
#include "evals/cli/commands.h"
#include "evals/cli/sandbox_options.h"

namespace assay::cli {
namespace {

void print_layers(const std::vector<SandboxLayer>& layers) {
  for (const SandboxLayer& layer : layers) {
    const char* mark = layer.available ? "ok" : layer.required ? "MISSING" : "absent";
    std::printf("  %-10s %-8s %s\n", layer.name.c_str(), mark, layer.detail.c_str());
  }
}

Json layers_json(const std::vector<SandboxLayer>& layers) {
  Json list = Json::array();
  for (const SandboxLayer& layer : layers) {
    list.push_back(Json::object()
                       .set("name", layer.name)
                       .set("available", layer.available)
                       .set("required", layer.required)
                       .set("detail", layer.detail));
  }
  return list;
}

// The layers one by one, then the launcher itself with its self-test, warm and cold.
Result<int> doctor(const SandboxOptions& given, const Globals& globals) {
  const std::vector<SandboxLayer> layers = probe_layers(given);
  Json modes = Json::array();
  bool sound = true;
  if (!globals.json) {
    std::printf("sandbox layers\n");
    print_layers(layers);
  }
  for (const LaunchMode mode : {LaunchMode::warm, LaunchMode::cold}) {
    SandboxOptions options = given;
    options.mode = mode;
    const auto sandbox = Sandbox::open(options);
    sound = sound && sandbox.ok();
    const char* name = mode == LaunchMode::warm ? "warm" : "cold";
    const std::string said = sandbox.ok() ? (*sandbox)->isolation() : sandbox.status().message();
    Json row = Json::object().set("mode", name).set("ok", sandbox.ok()).set("isolation", said);
    if (sandbox.ok()) row.set("interpreter", interpreter_json((*sandbox)->interpreter()));
    modes.push_back(std::move(row));
    if (globals.json) continue;
    std::printf("self-test %s: %s\n  %s\n", name, sandbox.ok() ? "8 of 8 probes as expected" : "REFUSED", said.c_str());
    if (sandbox.ok() && mode == LaunchMode::cold) {
      const InterpreterInfo& info = (*sandbox)->interpreter();
      std::printf("interpreter %s, %s\n  sha256 %s, library %s\n", info.path.c_str(), info.version.c_str(),
                  info.sha256.c_str(), info.library_sha256.c_str());
    }
  }
  if (globals.json)
    std::printf("%s\n", Json::object()
                            .set("sandbox", Json::object().set("layers", layers_json(layers)).set("self_test", modes))
                            .dump()
                            .c_str());
  return sound ? 0 : exit_code(Code::unavailable);
}

}  // namespace

void add_doctor(CLI::App& app, Globals& globals, Action& chosen) {
  auto options = std::make_shared<SandboxOptions>();
  CLI::App* verb = app.add_subcommand("doctor", "what this machine can do: each sandbox layer, and the self-test");
  verb->add_option("--interpreter", options->interpreter, "absolute path (default /usr/bin/python3)");
  verb->add_flag_callback(
      "--no-cgroup", [options] { options->use_cgroups = false; }, "as without control groups");
  verb->callback([options, &globals, &chosen] { chosen = [options, &globals] { return doctor(*options, globals); }; });
}

}  // namespace assay::cli
