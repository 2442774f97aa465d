#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "evals/cli/commands.h"
#include "evals/cli/sandbox_options.h"

namespace assay::cli {
namespace {

struct RunVerb {
  std::string file;
  SandboxOptions options;
  SandboxLimits limits;
  std::string memory_mib = "1024";
};

// Program text may drive a terminal: what a terminal would not print as it is, is shown escaped.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n' || c == '\t' || (byte >= 32 && byte < 127))
      out += c;
    else
      out += fmt::format("\\x{:02x}", byte);
  }
  return out;
}

Result<int> run_file(const RunVerb& verb, const Globals& globals) {
  ASSAY_ASSIGN(const std::string program, real_files().read(verb.file, 64 << 20));
  ASSAY_ASSIGN(const auto sandbox, Sandbox::open(verb.options));
  const ProgramResult result = sandbox->run({program, verb.limits});
  if (globals.json) {
    std::printf("%s\n", Json::object()
                            .set("verdict", verdict_name(result.verdict))
                            .set("detail", result.detail)
                            .set("exit_code", result.exit_code)
                            .set("signal", result.signal)
                            .set("stdout", result.out)
                            .set("stderr", result.err)
                            .set("wall_s", result.wall_s)
                            .set("cpu_s", result.cpu_s)
                            .set("kill_ms", result.kill_ms)
                            .set("peak_memory_bytes", result.peak_memory_bytes)
                            .set("isolation", sandbox->isolation())
                            .set("interpreter", interpreter_json(sandbox->interpreter()))
                            .dump()
                            .c_str());
  } else {
    std::fputs(escaped(result.out).c_str(), stdout);
    std::fputs(escaped(result.err).c_str(), stderr);
    std::fprintf(stderr, "%s%s%s (%.3f s wall, %.3f s CPU)\nisolation: %s\n",
                 std::string(verdict_name(result.verdict)).c_str(), result.detail.empty() ? "" : ": ",
                 escaped(result.detail).c_str(), result.wall_s, result.cpu_s, sandbox->isolation().c_str());
  }
  if (result.verdict == Verdict::infra) return unavailable(result.detail);
  return result.verdict == Verdict::pass ? 0 : 1;
}

}  // namespace

void add_sandbox_options(CLI::App& verb, SandboxOptions& options) {
  verb.add_option("--interpreter", options.interpreter, "absolute path (default /usr/bin/python3)");
  verb.add_flag_callback(
      "--cold", [&options] { options.mode = LaunchMode::cold; }, "a new interpreter each time");
  verb.add_flag_callback(
      "--no-cgroup", [&options] { options.use_cgroups = false; }, "limits and polling only");
  verb.add_flag("--no-sandbox", options.no_sandbox,
                "run model-written code with no isolation at all; printed with every score");
}

Json interpreter_json(const InterpreterInfo& info) {
  return Json::object()
      .set("path", info.path)
      .set("version", info.version)
      .set("sha256", info.sha256)
      .set("library_sha256", info.library_sha256);
}

void add_sandbox(CLI::App& app, Globals& globals, Action& chosen) {
  CLI::App* verb = app.add_subcommand("sandbox", "run untrusted programs");
  verb->require_subcommand(1);
  auto state = std::make_shared<RunVerb>();
  CLI::App* run = verb->add_subcommand("run", "one Python program, as a score's programs run");
  run->add_option("FILE", state->file, "Python source")->required();
  run->add_option("--cpu", state->limits.cpu_s, "seconds of CPU time")->check(CLI::Range(0.01, 3600.0));
  run->add_option("--wall", state->limits.wall_s, "seconds of wall time")->check(CLI::Range(0.01, 36000.0));
  auto memory = run->add_option("--memory", state->memory_mib, "MiB of the whole process tree");
  memory->check(CLI::Range(16, 1 << 20));
  add_sandbox_options(*run, state->options);
  run->callback([state, &globals, &chosen] {
    state->options.num_workers = 1;
    state->limits.memory_bytes = std::stoll(state->memory_mib) << 20;
    chosen = [state, &globals] { return run_file(*state, globals); };
  });
}

}  // namespace assay::cli
