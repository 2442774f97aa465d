#include "engine/base/status.h"

#include <doctest/doctest.h>

#include <memory>

namespace assay {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return invalid_argument("odd");
  return value / 2;
}

Status check_half(int value) {
  ASSAY_TRY(half(value));
  return ok_status();
}

Result<std::string> quarter(int value) {
  ASSAY_ASSIGN(const int once, half(value));
  ASSAY_ASSIGN(const int twice, half(once));
  return std::to_string(twice);
}

TEST_CASE("a default status is success and stays success under context") {
  CHECK(Status().ok());
  CHECK(ok_status().with_context("here").ok());
  CHECK(ok_status().with_context("here").message().empty());
}

TEST_CASE("context stands before the message and keeps the code") {
  const Status status = bad_data("found 3").with_context("field").with_context("file");
  CHECK(status.code() == Code::bad_data);
  CHECK(status.message() == "file: field: found 3");
}

TEST_CASE("every code has its own word and its exit code") {
  const struct {
    Status status;
    std::string_view name;
    int exit;
  } cases[] = {
      {ok_status(), "ok", 0},
      {invalid_argument("m"), "invalid_argument", 64},
      {bad_data("m"), "bad_data", 65},
      {unsupported("m"), "unsupported", 65},
      {not_found("m"), "not_found", 66},
      {unavailable("m"), "unavailable", 69},
      {internal_error("m"), "internal", 70},
      {out_of_memory("m"), "out_of_memory", 70},
      {io_error("m"), "io", 74},
      {interrupted("m"), "interrupted", 75},
  };
  for (const auto& c : cases) {
    CHECK(code_name(c.status.code()) == c.name);
    CHECK(exit_code(c.status.code()) == c.exit);
  }
}

TEST_CASE("a result holds a value or the reason why there is none") {
  CHECK(half(4).ok());
  CHECK(*half(4) == 2);
  CHECK(half(3).status().message() == "odd");
  CHECK(half(3).value_or(7) == 7);
  CHECK(half(8).value_or(7) == 4);
}

TEST_CASE("ASSAY_TRY and ASSAY_ASSIGN hand a failure to the caller") {
  CHECK(check_half(2).ok());
  CHECK(check_half(1).code() == Code::invalid_argument);
  CHECK(*quarter(12) == "3");
  CHECK(quarter(6).status().message() == "odd");
}

TEST_CASE("a result carries context without losing a move-only value") {
  Result<std::unique_ptr<int>> good(std::make_unique<int>(5));
  Result<std::unique_ptr<int>> same = std::move(good).with_context("here");
  REQUIRE(same.ok());
  CHECK(**same == 5);
  CHECK(half(1).with_context("halving 1").status().message() == "halving 1: odd");
}

}  // namespace
}  // namespace assay
