#include "evals/scoring/remembered_answers.h"

#include <doctest/doctest.h>

#include "tests/support/memory_files.h"

using namespace assay;

namespace {

// Answers each call with its number, an exception for the second, and counts how often it is asked.
class CountingRunner final : public ProgramRunner {
 public:
  explicit CountingRunner(int& asked, std::string sha256 = "a") : asked_(asked), sha256_(std::move(sha256)) {}
  Result<std::vector<ReferenceAnswer>> answers(const std::string&, const std::string&, const std::vector<Call>& calls,
                                               const GradeLimits&) override {
    ++asked_;
    if (calls.empty()) return bad_data("no calls");
    std::vector<ReferenceAnswer> answers;
    for (size_t i = 0; i < calls.size(); ++i) {
      const Value value = Value::list({Value::integer(static_cast<int64_t>(i)), Value::real(0.5)}).as_subclass();
      answers.push_back({i == 1, value, i == 1 ? "ValueError: no" : "", 0.25});
    }
    return answers;
  }
  Result<std::string> output_of(const std::string&) override { return std::string("out"); }
  GradeResult grade(const GradeRequest&) override { return {}; }
  int num_workers() const override { return 1; }
  const std::string& isolation() const override { return isolation_; }
  Json provenance() const override { return Json::object().set("sha256", sha256_); }

 private:
  int& asked_;
  std::string sha256_, isolation_ = "none";
};

std::vector<Call> two_calls() { return {{{Value::integer(1)}, 5}, {{Value::text("x")}, 5}}; }

Result<std::vector<ReferenceAnswer>> ask(Files& files, int& asked, const std::string& program = "def f(x): return x",
                                         const std::string& sha256 = "a") {
  const auto runner = remember_answers(std::make_unique<CountingRunner>(asked, sha256), files, "cache");
  return runner->answers(program, "f", two_calls(), {});
}

}  // namespace

TEST_CASE("a reference is asked once, and its answers come back as they were") {
  testing::MemoryFiles files;
  int asked = 0;
  REQUIRE(ask(files, asked).ok());
  const auto again = ask(files, asked);
  CHECK(asked == 1);
  REQUIRE(again.ok());
  REQUIRE(again->size() == 2);
  CHECK((*again)[0].value.repr() == "[0, 0.5]");
  CHECK((*again)[0].value.is_subclass());
  CHECK_FALSE((*again)[0].raised);
  CHECK((*again)[1].raised);
  CHECK((*again)[1].exception == "ValueError: no");
  CHECK((*again)[1].wall_s == 0.25);
}

TEST_CASE("another program or another interpreter is asked anew") {
  testing::MemoryFiles files;
  int asked = 0;
  REQUIRE(ask(files, asked).ok());
  REQUIRE(ask(files, asked, "def f(x): return 1").ok());
  CHECK(asked == 2);
  REQUIRE(ask(files, asked, "def f(x): return x", "b").ok());
  CHECK(asked == 3);
}

TEST_CASE("a file that was cut or changed is asked for anew") {
  int asked = 0;
  for (const bool cut : {true, false}) {
    testing::MemoryFiles files;
    REQUIRE(ask(files, asked).ok());
    const auto names = files.list("cache");
    REQUIRE(names.ok());
    REQUIRE(names->size() == 1);
    const Path path = Path("cache") / names->front();
    std::string bytes = files.read(path).value();
    if (cut)
      bytes.resize(bytes.size() - 3);
    else
      bytes.back() = static_cast<char>(bytes.back() ^ 1);
    REQUIRE(files.write_atomic(path, bytes).ok());
    const int before = asked;
    const auto again = ask(files, asked);
    CHECK(asked == before + 1);
    REQUIRE(again.ok());
    CHECK(again->size() == 2);
  }
}
