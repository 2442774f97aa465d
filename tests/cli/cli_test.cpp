// The program as a user meets it: exit codes, one-line errors, stdout apart from stderr.

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "tests/support/shared_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

using namespace assay;
using namespace assay::testing;

namespace {

struct Outcome {
  int code = -1;
  std::string out, err;
};

// A home of its own, a tiny checkpoint, and the program.
class Cli {
 public:
  Cli() { REQUIRE(write_tiny_checkpoint(model()).ok()); }

  Path model() const { return folder_ / "tiny"; }
  Path path(const std::string& name) const { return folder_ / name; }

  Outcome run(const std::string& arguments, const std::string& environment = "") const {
    const std::string out = path("stdout").string(), err = path("stderr").string();
    const std::string command =
        "env -u ASSAY_DATA_MIRROR -u HF_HOME -u HF_HUB_CACHE HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 ASSAY_HOME=" +
        path("home").string() + " " + environment + " " ASSAY_PROGRAM " " + arguments + " >" + out + " 2>" + err +
        " </dev/null";
    const int status = std::system(command.c_str());
    Outcome outcome;
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome.out = real_files().read(out).value();
    outcome.err = real_files().read(err).value();
    return outcome;
  }

 private:
  TempFolder folder_;
};

size_t lines_of(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

// A failure with this code that says these words in one line and prints nothing else.
void check_failure(const Outcome& outcome, int code, const std::vector<std::string>& words) {
  CHECK_MESSAGE(outcome.code == code, outcome.err);
  CHECK_MESSAGE(lines_of(outcome.err) == 1, outcome.err);
  CHECK(outcome.out.empty());
  CHECK_MESSAGE(starts_with(outcome.err, "assay: "), outcome.err);
  for (const std::string& word : words) CHECK_MESSAGE(outcome.err.find(word) != std::string::npos, outcome.err);
}

Json object_in(const Outcome& outcome) {
  CHECK_MESSAGE(outcome.code == 0, outcome.err);
  const auto json = Json::parse(outcome.out, "stdout");
  REQUIRE_MESSAGE(json.ok(), outcome.out);
  return *json;
}

// Data of the shared folder, or "" where there is none.
std::string mirror() {
  const auto shared = shared_folder();
  return shared ? "ASSAY_DATA_MIRROR=file://" + (*shared / "data").string() : "";
}

}  // namespace

TEST_CASE("words that no verb or option fits name the nearest one") {
  const Cli cli;
  check_failure(cli.run("reprot"), 64, {"no verb \"reprot\"", "did you mean report?"});
  check_failure(cli.run("run --modle x"), 64, {"no option --modle", "did you mean --model?"});
  check_failure(cli.run("ls rnus"), 64, {"did you mean runs?"});
  check_failure(cli.run("report --formt=csv 1"), 64, {"did you mean --format?"});
  CHECK(cli.run("").code == 64);
  CHECK(cli.run("run --threads many").code == 64);
  CHECK(cli.run("--help").code == 0);
  CHECK(cli.run("run --help").code == 0);
  CHECK(starts_with(cli.run("--version").out, "assay "));
}

TEST_CASE("options with values, short ones and numbers below zero are not taken for unknown words") {
  const Cli cli;
  check_failure(cli.run("-q --db " + cli.path("none.db").string() + " report 3 --format csv"), 66, {"none.db"});
  check_failure(cli.run("generate -m nowhere -n4 --prompt=--x --seed 3"), 66, {"nowhere"});
}

TEST_CASE("what is missing is 66, with the nearest name where there is one") {
  const Cli cli;
  const std::string model = " --model " + cli.model().string();
  check_failure(cli.run("run --tasks helaswag" + model), 66, {"helaswag", "did you mean \"hellaswag\"?"});
  check_failure(cli.run("run --suite smok" + model), 66, {"did you mean \"smoke\"?"});
  check_failure(cli.run("run --tasks arc_easy --model " + cli.path("absent").string()), 66, {"absent"});
  check_failure(cli.run("run --tasks arc_easy" + model), 66, {"arc_easy", "assay fetch"});
  check_failure(cli.run("report"), 66, {"assay.db"});
  check_failure(cli.run("resume"), 66, {"assay.db"});
  check_failure(cli.run("import lm-eval " + cli.path("absent").string()), 66, {"absent", "--output_path"});
  check_failure(cli.run("import gguf absent.gguf --out x"), 66, {"absent.gguf"});
}

TEST_CASE("usage that cannot be is 64") {
  const Cli cli;
  const std::string model = " --model " + cli.model().string();
  check_failure(cli.run("run" + model), 64, {"--tasks"});
  check_failure(cli.run("run --tasks arc_easy"), 64, {"--model"});
  check_failure(cli.run("run --suite smoke --tasks arc_easy" + model), 64, {"--tasks"});
  check_failure(cli.run("run --tasks arc_easy --gen-kwargs nonsense" + model), 64, {"nonsense"});
  check_failure(cli.run("fetch"), 64, {"--all"});
}

TEST_CASE("offline, data that is nowhere is an endpoint that cannot be reached") {
  const Cli cli;
  const Outcome outcome = cli.run("fetch gsm8k");
  CHECK(outcome.code == 69);
  CHECK(outcome.err.find("HF_HUB_OFFLINE") != std::string::npos);
  for (const std::string& line : split_any(outcome.err, "\n"))
    CHECK_MESSAGE(starts_with(line, "assay: data set gsm8k"), line);
}

TEST_CASE("damaged files are 65, and name the file") {
  const Cli cli;
  const std::string generate = "generate --prompt hi --model " + cli.model().string();
  REQUIRE(cli.run(generate + " -n 2").code == 0);
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    const std::string whole = real_files().read(cli.model() / name).value();
    REQUIRE(real_files().write_atomic(cli.model() / name, std::string_view(whole).substr(0, whole.size() / 2)).ok());
    check_failure(cli.run(generate), 65, {name});
    REQUIRE(real_files().write_atomic(cli.model() / name, whole).ok());
  }
  REQUIRE(real_files().remove_all(cli.model() / "model.safetensors").ok());
  check_failure(cli.run(generate), 66, {"safetensors"});
  REQUIRE(real_files().write_atomic(cli.path("text.db"), "this is no database at all, but a text of some length").ok());
  check_failure(cli.run("--db " + cli.path("text.db").string() + " ls runs"), 65, {"text.db"});
  REQUIRE(real_files().write_atomic(cli.path("results_x.json"), "{\"results\": 3}").ok());
  check_failure(cli.run("import lm-eval " + cli.path("results_x.json").string()), 65, {"results_x.json"});
}

TEST_CASE("a prompt longer than the model's context is refused") {
  const Cli cli;
  const std::string text(5000, 'x');
  check_failure(cli.run("generate --prompt " + text + " --model " + cli.model().string()), 64, {"4096"});
}

TEST_CASE("a folder that cannot be written is 74") {
  const Cli cli;
  check_failure(cli.run("quantize " + cli.model().string() + " --group-size 32 --out /proc/assay"), 74, {"/proc/"});
}

TEST_CASE("generate prints text on stdout, or one object") {
  const Cli cli;
  const Json json = object_in(cli.run("--json generate --prompt hi -n 3 --model " + cli.model().string()));
  REQUIRE(json.find("completions"));
  CHECK(json.find("completions")->size() == 1);
}

TEST_CASE("run, report, export, import, compare, rescore and resume work together") {
  if (mirror().empty()) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const Cli cli;
  const std::string ask = "run --tasks arc_easy --limit 3 --model " + cli.model().string();
  const Json run = object_in(cli.run("--json " + ask, mirror()));
  CHECK(run.find("tasks")->find("arc_easy")->find("scored")->as_int() == 3);
  CHECK(run.find("findings")->is_array());
  CHECK(cli.run("report").out.find("arc_easy") != std::string::npos);
  const std::string out = cli.path("out").string();
  CHECK(cli.run("export 1 --output-path " + out).code == 0);
  const Json imported = object_in(cli.run("--json import lm-eval " + out));
  CHECK(imported.find("runs")->as_array()[0].find("matched_hashes")->as_int() == 3);
  const Json compared = object_in(cli.run("--json compare 1 2"));
  CHECK(compared.find("rows")->as_array()[0].find("items")->as_int() == 3);
  CHECK(object_in(cli.run("--json rescore 1")).find("changed")->as_int() == 0);
  check_failure(cli.run("resume"), 66, {"no unfinished run"});
  check_failure(cli.run("report 9"), 66, {"no run 9"});
  check_failure(
      cli.run("run --tasks arc_easy --samples '{\"arc_easy\":[99999]}' --model " + cli.model().string(), mirror()), 64,
      {"99999"});
}

TEST_CASE("a plan asks nothing, and a session of two models ends in one table") {
  if (mirror().empty()) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const Cli cli;
  REQUIRE(write_tiny_checkpoint(cli.path("other"), {.seed = 2}).ok());
  const std::string suite = cli.path("suite.json").string();
  REQUIRE(real_files()
              .write_atomic(suite, R"({"name": "two parts", "parts": [
                  {"tasks": ["arc_easy"], "limit": 4},
                  {"tasks": ["arc_challenge", "no_such_task"], "limit": {"arc_challenge": 3}, "apply_chat_template": true}]})")
              .ok());
  const std::string models = " --baseline " + cli.model().string() + " " + cli.path("other").string();
  const Json plan = object_in(cli.run("--json run --plan --suite " + suite + models, mirror()));
  CHECK(plan.find("plan")->size() == 2);
  CHECK(plan.find("plan")->as_array()[0].find("items")->as_int() == 4);
  CHECK(plan.find("models")->size() == 2);
  CHECK(cli.run("ls runs").code == 66);
  const Outcome table = cli.run("run --suite " + suite + models, mirror());
  CHECK_MESSAGE(table.code == 0, table.err);
  CHECK(table.err.find("no_such_task; left out") != std::string::npos);
  for (const char* word : {"arc_easy", "arc_challenge", "average"}) CHECK(table.out.find(word) != std::string::npos);
  CHECK(lines_of(cli.run("ls runs").out) == 6);
  CHECK(cli.run("resume 1", mirror()).out == table.out);
}

TEST_CASE("figures of benchmark programs are imported once and listed") {
  const Cli cli;
  const std::string file = cli.path("bench_engine.json").string();
  REQUIRE(real_files()
              .write_atomic(file, R"({"context": {"build": "assay 9"}, "benchmarks": [
                  {"name": "prefill/w4a16", "real_time": 2.5, "time_unit": "ms", "tokens_per_s": 15000}]})")
              .ok());
  CHECK(cli.run("bench import " + file).out.find("1 rows of assay 9") != std::string::npos);
  CHECK(cli.run("bench import " + file).out.find("already there") != std::string::npos);
  const std::string listed = cli.run("bench ls").out;
  for (const char* word : {"assay 9", "bench_engine", "prefill/w4a16", "tokens_per_s 15000", "2.5 ms"})
    CHECK_MESSAGE(listed.find(word) != std::string::npos, listed);
  const Json json = object_in(cli.run("--json bench ls --filter decode"));
  CHECK(json.find("benches")->as_array()[0].find("rows")->size() == 0);
  CHECK(cli.run("bench import " + cli.path("nothing.json").string()).code != 0);
}
