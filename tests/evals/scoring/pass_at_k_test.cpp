#include "evals/scoring/pass_at_k.h"

#include <doctest/doctest.h>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "tests/support/shared_folder.h"

using namespace assay;

TEST_CASE("pass@1 is the share of right programs, pass@k the chance that k drawn ones hold a right one") {
  CHECK(pass_at_k(1, 0, 1) == 0);
  CHECK(pass_at_k(1, 1, 1) == 1);
  CHECK(pass_at_k(50, 7, 1) == doctest::Approx(0.14).epsilon(1e-12));
  CHECK(pass_at_k(4, 2, 2) == doctest::Approx(1 - 1.0 / 6).epsilon(1e-12));  // of 6 pairs one holds two wrong programs
  CHECK(pass_at_k(10, 0, 10) == 0);
}

TEST_CASE("with fewer than k wrong programs some drawn one is right") {
  CHECK(pass_at_k(10, 1, 10) == 1);
  CHECK(pass_at_k(5, 2, 10) == 1);
}

TEST_CASE("every recorded value of evalplus' estimator is met to the last bit but two") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const Json records =
      Json::parse(real_files().read(*shared / "oracle/code/pass_at_k.json").value(), "records").value();
  int checked = 0;
  for (const char* list : {"cases", "k_greater_than_n"}) {
    for (const Json& record : records.find(list)->as_array()) {
      const double value =
          pass_at_k(record.find("n")->as_int(), record.find("c")->as_int(), record.find("k")->as_int());
      CHECK(value == doctest::Approx(record.find("value")->as_real()).epsilon(1e-15));
      ++checked;
    }
  }
  const Json& mixed = *records.find("mixed");
  for (size_t i = 0; i < mixed.find("n")->size(); ++i, ++checked) {
    CHECK(pass_at_k(mixed.find("n")->as_array()[i].as_int(), mixed.find("c")->as_array()[i].as_int(),
                    mixed.find("k")->as_int()) ==
          doctest::Approx(mixed.find("values")->as_array()[i].as_real()).epsilon(1e-15));
  }
  CHECK(checked == 16);
}
