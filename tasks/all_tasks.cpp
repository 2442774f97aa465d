#include "tasks/all_tasks.h"

#include "tasks/families.h"

namespace assay {

void add_all_tasks(Registry& registry, Profile profile) {
  add_mmlu(registry);
  add_arc(registry);
  add_hellaswag(registry);
  add_winogrande(registry);
  add_gsm8k(registry);
  add_humaneval(registry);
  add_mbpp(registry);
  add_evalplus(registry);
  add_truthfulqa(registry);
  add_mmlu_pro(registry, profile);
  add_gpqa(registry, profile);
  add_lambada(registry);
  add_wikitext(registry);
  add_bbh(registry);
  add_ifeval(registry);
}

}  // namespace assay
