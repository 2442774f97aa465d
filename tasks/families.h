#pragma once

#include "evals/task/profile.h"
#include "evals/task/registry.h"

namespace assay {

// One function a family: adds its tasks and groups. Defined in the family's own file.
void add_mmlu(Registry& registry);
void add_arc(Registry& registry);
void add_hellaswag(Registry& registry);
void add_winogrande(Registry& registry);
void add_gsm8k(Registry& registry);
void add_humaneval(Registry& registry);
void add_mbpp(Registry& registry);
void add_evalplus(Registry& registry);
void add_truthfulqa(Registry& registry);
void add_mmlu_pro(Registry& registry, Profile profile);
void add_gpqa(Registry& registry, Profile profile);
void add_lambada(Registry& registry);
void add_wikitext(Registry& registry);
void add_bbh(Registry& registry);
void add_ifeval(Registry& registry);

}  // namespace assay
