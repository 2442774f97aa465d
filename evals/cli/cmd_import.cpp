#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "engine/formats/gguf.h"
#include "engine/model/import_gguf.h"
#include "evals/cli/commands.h"

namespace assay::cli {
namespace {

Result<int> import_gguf_command(const std::string& file, const std::string& out, const Globals& globals) {
  ASSAY_ASSIGN(const GgufFile gguf, GgufFile::open(file));
  ASSAY_ASSIGN(const GgufImportReport report, import_gguf(gguf, out));
  if (globals.json) {
    std::printf("%s\n", Json::object()
                            .set("out", out)
                            .set("architecture", report.architecture)
                            .set("tensors", report.num_tensors)
                            .set("parameters", report.num_parameters)
                            .set("bytes", report.bytes_written)
                            .dump()
                            .c_str());
  } else {
    std::printf("%s: %s, %s parameters in %lld tensors, %s bytes of bf16 weights\n", out.c_str(),
                report.architecture.c_str(), with_thousands(report.num_parameters).c_str(),
                static_cast<long long>(report.num_tensors), with_thousands(report.bytes_written).c_str());
  }
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Globals& globals, Action& chosen) {
  CLI::App* verb = app.add_subcommand("import", "make a checkpoint folder from another format");
  verb->require_subcommand(1);
  auto file = std::make_shared<std::string>(), out = std::make_shared<std::string>();
  CLI::App* gguf = verb->add_subcommand("gguf", "a GGUF file as a bf16 checkpoint folder");
  gguf->add_option("FILE", *file, "the GGUF file")->required();
  gguf->add_option("--out,-o", *out, "folder to make")->required();
  gguf->callback([file, out, &globals, &chosen] {
    chosen = [file, out, &globals] { return import_gguf_command(*file, *out, globals); };
  });
}

}  // namespace assay::cli
