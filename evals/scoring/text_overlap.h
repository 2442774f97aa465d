#pragma once

#include <string_view>

#include "engine/base/status.h"

namespace assay {

// BLEU of one sentence against one reference, in percent: up to four words, "international" tokenization, exponential
// smoothing, no effective order (so that a prediction of fewer than four words scores 0).
// Based on: Papineni et al. BLEU. ACL 2002; Post. A Call for Clarity in Reporting BLEU Scores. WMT 2018 (sacreBLEU)
Result<double> sentence_bleu(std::string_view prediction, std::string_view reference);

// ROUGE F-measures in percent: of single words, of pairs, and of the longest common subsequences of lines.
// Based on: Lin. ROUGE: A Package for Automatic Evaluation of Summaries. 2004
struct Rouge {
  double rouge1 = 0, rouge2 = 0, rouge_lsum = 0;
};
Rouge rouge(std::string_view prediction, std::string_view reference);

}  // namespace assay
