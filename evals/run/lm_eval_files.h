#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/status.h"
#include "evals/store/store.h"

namespace assay {

// A results file of lm-eval and the samples files that were written with it.
struct LmEvalRunFiles {
  Path results;
  std::vector<std::pair<std::string, Path>> samples;  // by task
};

// Every results*.json beneath a folder (or the one file named), each with the samples_<task>_<time>.jsonl beside it
// that bear its time; without a time in its name, all of its folder. Errors: not_found when there is none; io.
Result<std::vector<LmEvalRunFiles>> find_lm_eval_runs(const Path& path);

// One line of a samples file: one document under one filter.
struct LmEvalSample {
  std::string filter = "none";
  std::string doc_hash;  // "" in files that have none
  StoredItem item;       // with this filter's metrics and answer
};

// Reads a line as any lm-eval 0.4 wrote it: log-likelihoods as numbers or as strings, arguments as lists or objects,
// with or without hashes, filter and metric names. Errors: bad_data naming the field.
Result<LmEvalSample> parse_lm_eval_sample(std::string_view line, std::string_view source);

// A samples file as items in doc_id order, each (document, filter) once. `mismatched_hashes` counts documents whose
// text does not give the hash that is written beside it.
struct LmEvalItems {
  std::vector<StoredItem> items;
  int64_t matched_hashes = 0, mismatched_hashes = 0;
};
Result<LmEvalItems> read_lm_eval_samples(const Path& path);

}  // namespace assay
