#include "evals/run/progress.h"

#include <doctest/doctest.h>

using namespace assay;

TEST_CASE("the progress line shows task, score, half-width, speed and what is left") {
  ProgressState state;
  state.model = "m";
  state.task = "arc_easy";
  state.task_done = 50;
  state.task_total = 100;
  state.items_done = 1050;
  state.items_total = 2000;
  state.score = 0.512;
  state.half_width = 0.031;
  state.tokens_per_s = 1834.4;
  state.eta_s = 125;
  CHECK(Progress::line(state) == "m  arc_easy 50/100  51.2 % ±3.1  1,050/2,000 items  1,834 tok/s  ETA 2:05");
}
