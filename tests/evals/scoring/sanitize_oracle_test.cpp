// evalplus 0.3.1's sanitizer over recorded answers, through the interpreter in the sandbox.
#include <doctest/doctest.h>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "evals/sandbox/sandbox.h"
#include "evals/scoring/code_block.h"
#include "evals/scoring/sanitize.h"
#include "tests/support/shared_folder.h"

using namespace assay;

TEST_CASE("every recorded block and program of evalplus' sanitizer is met") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  SandboxOptions options;
  options.self_test = false;
  auto sandbox = Sandbox::open(options);
  if (!sandbox.ok()) {
    MESSAGE("skipped: " << sandbox.status().message());
    return;
  }
  const BlockFinder find_block = [&](std::string_view text) -> Result<std::string> {
    ProgramRequest request{.program = program_that_finds_block(text)};
    request.limits.cpu_s = request.limits.wall_s = 60;
    const ProgramResult result = (*sandbox)->run(request);
    if (result.verdict != Verdict::pass) return unavailable(result.detail + result.err);
    return block_from_output(text, result.out);
  };
  const std::string records = real_files().read(*shared / "oracle/code/sanitize.jsonl").value();
  int equal_blocks = 0, equal_programs = 0, count = 0;
  for (const std::string& line : split_any(records, "\n")) {
    const Json record = Json::parse(line, "sanitize.jsonl").value();
    const auto text_of = [&](const char* key) { return record.find(key)->as_string(); };
    CAPTURE(text_of("id"));
    ++count;
    const auto block = find_block(text_of("text"));
    REQUIRE_MESSAGE(block.ok(), block.status().message());
    equal_blocks += *block == text_of("code_extract");
    CHECK(*block == text_of("code_extract"));
    const auto program = sanitize_program(text_of("text"), text_of("entry_point"), find_block);
    REQUIRE_MESSAGE(program.ok(), program.status().message());
    equal_programs += *program == text_of("output");
    CHECK(*program == text_of("output"));
    const auto unstripped = reachable_definitions(*block, text_of("entry_point"));
    CHECK(*unstripped == text_of("extract_target_code_or_empty"));
  }
  MESSAGE(count << " answers: " << equal_blocks << " blocks and " << equal_programs << " programs equal");
  CHECK(count >= 60);
}
