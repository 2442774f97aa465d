#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "engine/quantize/quantize_model.h"
#include "evals/cli/commands.h"

namespace assay::cli {
namespace {

struct QuantizeVerb {
  std::string model, out, method = "rtn", group_size = "128";
  bool asymmetric = false;
  std::vector<std::string> ignore = {"lm_head"};
};

Result<int> quantize_command(const QuantizeVerb& verb, const Globals& globals) {
  QuantizeOptions options;
  options.model = verb.model;
  options.out = verb.out;
  options.method = verb.method;
  options.ignore = verb.ignore;
  options.scheme.symmetric = !verb.asymmetric;
  const auto group_size = parse_int(verb.group_size);
  if (verb.group_size != "channel" && (!group_size || *group_size < 1)) {
    return invalid_argument(fmt::format("--group-size {}: expected 32, 64, 128 or channel", verb.group_size));
  }
  options.scheme.group_size = group_size.value_or(0);
  const bool show = !globals.quiet && isatty(STDERR_FILENO) == 1;
  ASSAY_ASSIGN(const QuantizeReport report, quantize_model(options, [show](int64_t done, int64_t total) {
                 if (show)
                   std::fprintf(stderr, "\rquantize %lld/%lld%s", static_cast<long long>(done),
                                static_cast<long long>(total), done == total ? "\n" : "");
               }));
  if (globals.json) {
    std::printf("%s\n", Json::object()
                            .set("out", verb.out)
                            .set("scheme", options.scheme.text())
                            .set("method", verb.method)
                            .set("quantized", report.num_quantized)
                            .set("ignored", report.num_ignored)
                            .set("bytes_before", report.bytes_before)
                            .set("bytes_after", report.bytes_after)
                            .set("mean_relative_error", report.mean_relative_error)
                            .dump()
                            .c_str());
  } else {
    std::printf("%s: %lld linears as %s by %s, %lld left alone, %s -> %s bytes, mean relative error %.4f\n",
                verb.out.c_str(), static_cast<long long>(report.num_quantized), options.scheme.text().c_str(),
                verb.method.c_str(), static_cast<long long>(report.num_ignored),
                with_thousands(report.bytes_before).c_str(), with_thousands(report.bytes_after).c_str(),
                report.mean_relative_error);
  }
  return 0;
}

}  // namespace

void add_quantize(CLI::App& app, Globals& globals, Action& chosen) {
  auto options = std::make_shared<QuantizeVerb>();
  CLI::App* verb = app.add_subcommand("quantize", "make a W4A16 checkpoint folder from a bf16 one");
  verb->add_option("MODEL", options->model, "checkpoint folder")->required();
  verb->add_option("--out,-o", options->out, "folder to make")->required();
  verb->add_option("--method", options->method, "rtn")->check(CLI::IsMember({"rtn"}));
  verb->add_option("--group-size", options->group_size, "columns a scale serves: 32, 64, 128, channel");
  verb->add_flag("--asymmetric", options->asymmetric, "with zero points");
  verb->add_option("--ignore", options->ignore, "modules left alone: names, or re:PATTERN (default lm_head)")
      ->delimiter(',');
  verb->callback(
      [options, &globals, &chosen] { chosen = [options, &globals] { return quantize_command(*options, globals); }; });
}

}  // namespace assay::cli
