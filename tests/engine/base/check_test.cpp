#include "engine/base/check.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>

#include "engine/base/status.h"

namespace assay {
namespace {

struct Death {
  int signal = 0;
  std::string message;
};

// Runs `body` in a child process and reports which signal ended it and what it wrote on stderr.
Death die(const std::function<void()>& body) {
  std::array<int, 2> ends;
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    ::dup2(ends[1], STDERR_FILENO);
    body();
    ::_exit(0);
  }
  ::close(ends[1]);
  Death death;
  std::array<char, 512> buffer;
  for (ssize_t count; (count = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    death.message.append(buffer.data(), static_cast<size_t>(count));
  }
  ::close(ends[0]);
  int state = 0;
  ::waitpid(child, &state, 0);
  death.signal = WIFSIGNALED(state) ? WTERMSIG(state) : 0;
  return death;
}

TEST_CASE("a check that holds does nothing and evaluates its values once") {
  int calls = 0;
  ASSAY_CHECK(++calls == 1);
  ASSAY_CHECK_EQ(++calls, 2);
  ASSAY_CHECK_LT(calls, 3);
  ASSAY_CHECK_LE(calls, 2);
  CHECK(calls == 2);
}

TEST_CASE("a failing check shows the condition and both values, then aborts") {
  const Death death = die([] { ASSAY_CHECK_EQ(1 + 1, 3); });
  CHECK(death.signal == SIGABRT);
  CHECK(death.message.find("check_test.cpp:") != std::string::npos);
  CHECK(death.message.find("1 + 1 == 3: 2 against 3") != std::string::npos);
}

TEST_CASE("a plain failing check shows its condition") {
  const Death death = die([] { ASSAY_CHECK(2 < 1); });
  CHECK(death.signal == SIGABRT);
  CHECK(death.message.find("check failed: 2 < 1\n") != std::string::npos);
}

TEST_CASE("reading the value of a failed result aborts with its reason") {
  const Death death = die([] {
    const Result<int> failed = not_found("no such run");
    ::_exit(*failed);
  });
  CHECK(death.signal == SIGABRT);
  CHECK(death.message.find("not_found: no such run") != std::string::npos);
}

}  // namespace
}  // namespace assay
