#include "tasks/all_tasks.h"

#include "tasks/families.h"

namespace assay {

void add_all_tasks(Registry& registry) {
  add_mmlu(registry);
  add_arc(registry);
  add_hellaswag(registry);
  add_winogrande(registry);
  add_gsm8k(registry);
  add_humaneval(registry);
  add_mbpp(registry);
  add_evalplus(registry);
}

}  // namespace assay
