#include "evals/sandbox/sandbox.h"

#include <doctest/doctest.h>

#include "evals/sandbox/grader.h"
#include "tests/evals/sandbox/canaries.h"

using namespace assay;

TEST_CASE("with any layer failing or left out, no code is run") {
  for (const std::string& layer : layer_names()) {
    for (const char* kind : {"", "skip:"}) {
      SandboxOptions options;
      options.num_workers = 1;
      options.self_test = false;
      options.fault = kind + layer;
      if (options.fault == "skip:verify") continue;  // leaving out the proof alone leaves every layer in place
      const auto sandbox = Sandbox::open(options);
      INFO(options.fault);
      if (sandbox.ok()) {
        if (layer == "cgroup" && (*sandbox)->isolation().find("no cgroup") != std::string::npos) continue;
        const ProgramResult result = (*sandbox)->run({"print('ran')", {}});
        CHECK(result.verdict == Verdict::infra);
        CHECK(result.out.empty());
        CHECK(result.detail.find("layer") != std::string::npos);
      } else {
        CHECK(sandbox.status().code() == Code::unavailable);
      }
    }
  }
  CHECK(testing::num_children() == 0);
}

TEST_CASE("the self-test refuses a sandbox whose runs are not armed") {
  SandboxOptions options;
  options.fault = "skip:seccomp";
  const auto sandbox = Sandbox::open(options);
  REQUIRE_FALSE(sandbox.ok());
  CHECK(sandbox.status().message().find("layer seccomp") != std::string::npos);
}

TEST_CASE("an interpreter is named by an absolute path, never found on PATH") {
  SandboxOptions options;
  options.interpreter = "python3";
  CHECK(Sandbox::open(options).status().code() == Code::not_found);
  options.interpreter = "/usr/bin/env";
  CHECK_FALSE(Sandbox::open(options).ok());
}

TEST_CASE("without a sandbox the isolation level says so") {
  SandboxOptions options;
  options.no_sandbox = true;
  options.num_workers = 1;
  const auto sandbox = Sandbox::open(options);
  REQUIRE_MESSAGE(sandbox.ok(), sandbox.status().message());
  CHECK((*sandbox)->isolation().find("NONE (--no-sandbox)") == 0);
  CHECK((*sandbox)->run({"print(1)", {}}).out == "1\n");
}

TEST_CASE("results of a batch belong to their programs") {
  SandboxOptions options;
  options.num_workers = 2;
  const auto sandbox = Sandbox::open(options);
  REQUIRE_MESSAGE(sandbox.ok(), sandbox.status().message());
  std::vector<ProgramRequest> requests;
  for (int i = 0; i < 40; ++i) requests.push_back({"print(" + std::to_string(i) + ")", {}});
  int seen = 0;
  (*sandbox)->run_batch(requests, [&](size_t i, const ProgramResult& result) {
    CHECK(result.out == std::to_string(i) + "\n");
    CHECK(result.verdict == Verdict::pass);
    ++seen;
  });
  CHECK(seen == 40);
  CHECK((*sandbox)->interpreter().sha256.size() == 64);
}

TEST_CASE("values pass to a program and back as they are, numbers packed or not") {
  SandboxOptions options;
  options.num_workers = 1;
  const auto sandbox = Sandbox::open(options);
  REQUIRE_MESSAGE(sandbox.ok(), sandbox.status().message());
  Grader grader(**sandbox);
  const char* const arguments[] = {
      "[1, 2, -3, 9223372036854775807]", "[0.5, -0.0, 1e300, NaN]", "[1, 2.0, 3, 4.5, -9223372036854775808]",
      "[1, 2, 3, 9223372036854775808]",  "[true, 1, 1.0, 2]",       "[[1, 2, 3, 4], [1.0, 2, 3, 4], [], \"x\"]"};
  std::vector<Call> calls;
  for (const char* argument : arguments) {
    const auto value = value_from_json(argument);
    REQUIRE(value.ok());
    calls.push_back({{*value}, 5});
    calls.push_back({{Value::tuple(value->items())}, 5});
  }
  const char* const program =
      "def f(x):\n"
      "    def types(v): return [types(i) for i in v] if type(v) in (list, tuple) else type(v).__name__\n"
      "    return (x, repr(x), str(types(x)), x + x)\n";
  const auto answers = grader.answers(program, "f", calls, {});
  REQUIRE_MESSAGE(answers.ok(), answers.status().message());
  REQUIRE(answers->size() == calls.size());
  for (size_t i = 0; i < calls.size(); ++i) {
    const Value& asked = calls[i].arguments[0];
    const Value::Items& parts = (*answers)[i].value.items();
    REQUIRE(parts.size() == 4);
    CHECK(parts[0].repr() == asked.repr());
    CHECK(parts[0].kind() == asked.kind());
    CHECK(parts[3].items().size() == 2 * asked.items().size());
  }
  CHECK((*answers)[4].value.items()[1].as_text() == "[1, 2.0, 3, 4.5, -9223372036854775808]");
  CHECK((*answers)[4].value.items()[2].as_text() == "['int', 'float', 'int', 'float', 'int']");
  CHECK((*answers)[8].value.items()[2].as_text() == "['bool', 'int', 'float', 'int']");
}
