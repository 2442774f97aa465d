#include <fmt/format.h>

#include <algorithm>

#include "evals/run/plan.h"

namespace assay {
namespace {

constexpr int kDefaultMaxGenToks = 256;  // lm-eval's, where a task names no limit

// `until` of --gen-kwargs: a string or a list of strings.
Result<std::vector<std::string>> read_until(const JsonField& field) {
  if (field.json().is_string()) return std::vector<std::string>{field.json().as_string()};
  std::vector<std::string> stops;
  ASSAY_ASSIGN(const auto items, field.items());
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(std::string text, item.as_string());
    stops.push_back(std::move(text));
  }
  return stops;
}

Status apply(const std::string& key, const JsonField& value, GenerationPlan& plan, bool& do_sample) {
  SamplingParams& sampling = plan.sampling;
  const auto set_int = [&](int& target, int64_t low) -> Status {
    ASSAY_ASSIGN(const int64_t number, value.as_int(low, 1 << 20));
    target = static_cast<int>(number);
    return ok_status();
  };
  const auto set_real = [&](float& target) -> Status {
    ASSAY_ASSIGN(const double number, value.as_real());
    target = static_cast<float>(number);
    return ok_status();
  };
  if (key == "until") {
    ASSAY_ASSIGN(plan.until, read_until(value));
    return ok_status();
  }
  if (key == "max_gen_toks" || key == "max_new_tokens" || key == "max_tokens") return set_int(sampling.max_tokens, 1);
  if (key == "temperature") return set_real(sampling.temperature);
  if (key == "top_p") return set_real(sampling.top_p);
  if (key == "top_k") return set_int(sampling.top_k, -1);
  if (key == "min_p") return set_real(sampling.min_p);
  if (key == "repetition_penalty") return set_real(sampling.repetition_penalty);
  if (key == "presence_penalty") return set_real(sampling.presence_penalty);
  if (key == "frequency_penalty") return set_real(sampling.frequency_penalty);
  if (key == "min_tokens") return set_int(sampling.min_tokens, 0);
  if (key == "n" || key == "num_samples") return set_int(sampling.num_samples, 1);
  if (key == "do_sample") {
    ASSAY_ASSIGN(do_sample, value.as_bool());
    return ok_status();
  }
  return invalid_argument(
      fmt::format("--gen-kwargs {}: not known; known are until, max_gen_toks, temperature, top_p, top_k, min_p, "
                  "repetition_penalty, "
                  "presence_penalty, frequency_penalty, min_tokens, num_samples, do_sample",
                  key));
}

}  // namespace

AskContext ask_context(const RunSettings& settings) {
  return {.in_chat = settings.prompt.apply_chat_template, .profile = settings.prompt.profile};
}

Result<GenerationPlan> generation_plan(const GenerationSettings& task, const RunSettings& settings,
                                       const EngineInfo& model) {
  GenerationPlan plan;
  plan.until = task.until;
  plan.sampling.max_tokens = task.max_gen_toks > 0 ? task.max_gen_toks : kDefaultMaxGenToks;
  plan.sampling.temperature = task.temperature;
  plan.sampling.top_p = task.top_p;
  plan.sampling.num_samples = task.repeats;
  plan.sampling.seed = settings.seed;
  bool do_sample = true;
  const JsonField overrides(settings.gen_kwargs, "--gen-kwargs");
  ASSAY_ASSIGN(const auto members, overrides.members());
  for (const auto& [key, value] : members) ASSAY_TRY(apply(key, value, plan, do_sample));
  if (!do_sample) plan.sampling.temperature = 0;
  plan.sampling.top_k = std::max(plan.sampling.top_k, 0);
  plan.sampling.stop = plan.until;
  const bool listed = std::find(plan.until.begin(), plan.until.end(), model.eos_text) != plan.until.end();
  if (!model.eos_text.empty() && !listed) plan.sampling.stop.push_back(model.eos_text);
  return plan;
}

}  // namespace assay
