#include "evals/task/sample.h"

#include "engine/base/hash.h"

namespace assay {

std::string_view request_kind_name(RequestKind kind) {
  switch (kind) {
    case RequestKind::multiple_choice: return "multiple_choice";
    case RequestKind::loglikelihood: return "loglikelihood";
    case RequestKind::loglikelihood_rolling: return "loglikelihood_rolling";
    case RequestKind::generate_until: return "generate_until";
  }
  return "";
}

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::scored: return "scored";
    case Outcome::no_answer: return "no_answer";
    case Outcome::failed: return "failed";
    case Outcome::skipped: return "skipped";
  }
  return "";
}

std::string document_hash(const Json& document) { return sha256_hex(document.dump({.indent = 2})); }

}  // namespace assay
