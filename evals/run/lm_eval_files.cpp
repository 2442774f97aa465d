#include "evals/run/lm_eval_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "engine/base/text_util.h"
#include "evals/scoring/extract.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxSamplesBytes = size_t{8} << 30;
constexpr size_t kMaxRequests = 4096;

// Keys of a line that are no metrics.
const std::set<std::string, std::less<>>& known_keys() {
  static const std::set<std::string, std::less<>> keys = {
      "doc_id",   "doc",         "target",      "arguments", "resps",   "filtered_resps", "filter", "metrics",
      "doc_hash", "prompt_hash", "target_hash", "outcome",   "task_id", "is_greedy",      "repeats"};
  return keys;
}

// A number, a boolean, or either as text.
std::optional<double> number_in(const Json& json) {
  if (json.is_number()) return json.as_real();
  if (json.is_bool()) return json.as_bool() ? 1.0 : 0.0;
  if (json.is_string()) return parse_double(json.as_string());
  return std::nullopt;
}

bool truth_in(const Json& json) {
  if (json.is_bool()) return json.as_bool();
  return json.is_string() && json.as_string() == "True";
}

std::string text_of(const Json& json) { return json.is_string() ? json.as_string() : json.dump(); }

// [-1.25, false] or ["-1.25", "False"].
std::optional<Loglikelihood> loglikelihood_in(const Json& json) {
  if (!json.is_array() || json.size() != 2) return std::nullopt;
  const auto sum = number_in(json.as_array()[0]);
  const Json& greedy = json.as_array()[1];
  const bool is_flag =
      greedy.is_bool() || (greedy.is_string() && (greedy.as_string() == "True" || greedy.as_string() == "False"));
  if (!sum || !is_flag) return std::nullopt;
  Loglikelihood answer;
  answer.sum = *sum;
  answer.is_greedy = truth_in(greedy);
  return answer;
}

void read_arguments(const Json& arguments, StoredItem& item) {
  const auto add = [&](const Json& context, const Json& continuation) {
    if (item.requests.size() >= kMaxRequests) return;
    StoredRequest request;
    request.context = text_of(context);
    if (continuation.is_string()) request.continuation = continuation.as_string();
    item.requests.push_back(std::move(request));
  };
  if (arguments.is_object()) {
    for (const auto& [name, pair] : arguments.as_object()) {
      const Json* context = pair.find("arg_0");
      const Json* continuation = pair.find("arg_1");
      if (context) add(*context, continuation ? *continuation : Json());
    }
  } else if (arguments.is_array()) {
    for (const Json& pair : arguments.as_array()) {
      if (pair.is_array() && pair.size() > 0) add(pair.as_array()[0], pair.size() > 1 ? pair.as_array()[1] : Json());
    }
  }
}

// resps: a list a request, of that request's answers.
Status read_responses(const JsonField& field, StoredItem& item) {
  ASSAY_ASSIGN(const auto requests, field.items());
  for (const JsonField& request : requests) {
    if (!request.json().is_array()) return request.error("a list of answers");
    for (const Json& answer : request.json().as_array()) {
      if (const auto scored = loglikelihood_in(answer)) {
        item.response.loglikelihoods.push_back(*scored);
      } else if (answer.is_string()) {
        Completion completion;
        completion.sample_index = static_cast<int>(item.response.completions.size());
        completion.text = answer.as_string();
        completion.finish = FinishReason::stop_token;
        item.response.completions.push_back(std::move(completion));
      } else if (const auto rolling = number_in(answer)) {
        Loglikelihood only;
        only.sum = *rolling;
        item.response.loglikelihoods.push_back(only);
      }
    }
  }
  return ok_status();
}

void read_extracted(const Json* filtered, LmEvalSample& sample) {
  if (sample.item.response.completions.empty() || !filtered || !filtered->is_array() || filtered->size() == 0) return;
  const Json& first = filtered->as_array()[0];
  sample.item.score.extracted.push_back(
      {sample.filter, text_of(first.is_array() && first.size() ? first.as_array()[0] : first)});
}

// [sum, words or bytes]: what a perplexity is made of.
std::optional<std::pair<double, double>> weighted_in(const Json& value) {
  if (!value.is_array() || value.size() != 2) return std::nullopt;
  const Json &sum = value.as_array()[0], &weight = value.as_array()[1];
  if (!sum.is_number() || !weight.is_number()) return std::nullopt;
  return std::pair(sum.as_real(), weight.as_real());
}

void read_metrics(const Json& line, LmEvalSample& sample) {
  const Json* named = line.find("metrics");
  for (const auto& [key, value] : line.as_object()) {
    if (known_keys().count(key)) continue;
    const bool listed = !named || !named->is_array() ||
                        std::any_of(named->as_array().begin(), named->as_array().end(),
                                    [&k = key](const Json& name) { return name.is_string() && name.as_string() == k; });
    if (!listed) continue;
    if (value.is_number() || value.is_bool())
      sample.item.score.metrics.push_back({key, sample.filter, *number_in(value)});
    if (const auto weighted = weighted_in(value))
      sample.item.score.metrics.push_back({key, sample.filter, weighted->first, weighted->second});
  }
}

// results_2024-05-01T10-00-00.123.json -> _2024-05-01T10-00-00.123; "" without a time.
std::string time_suffix(const std::string& name) {
  constexpr std::string_view kPrefix = "results", kEnding = ".json";
  return name.substr(kPrefix.size(), name.size() - kPrefix.size() - kEnding.size());
}

bool is_results_name(const std::string& name) { return starts_with(name, "results") && ends_with(name, ".json"); }

LmEvalRunFiles with_samples(const Path& results) {
  LmEvalRunFiles run{results, {}};
  const std::string name = results.filename().string();
  const std::string ending = (is_results_name(name) ? time_suffix(name) : "") + ".jsonl";
  const auto names = real_files().list(results.parent_path().empty() ? Path(".") : results.parent_path());
  if (!names.ok()) return run;
  constexpr std::string_view kPrefix = "samples_";
  for (const std::string& each : *names) {
    if (!starts_with(each, kPrefix) || !ends_with(each, ending) || each.size() <= kPrefix.size() + ending.size())
      continue;
    std::string task = each.substr(kPrefix.size(), each.size() - kPrefix.size() - ending.size());
    run.samples.emplace_back(std::move(task), results.parent_path() / each);
  }
  return run;
}

}  // namespace

Result<std::vector<LmEvalRunFiles>> find_lm_eval_runs(const Path& path) {
  std::error_code error;
  std::vector<Path> results;
  if (fs::is_regular_file(path, error)) {
    results.push_back(path);
  } else if (fs::is_directory(path, error)) {
    for (fs::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
      if (it->is_regular_file(error) && is_results_name(it->path().filename().string())) results.push_back(it->path());
    }
    if (error) return io_error(fmt::format("{}: {}", path.string(), error.message()));
  } else {
    return not_found(fmt::format("{}: no such folder; name what lm_eval was given as --output_path", path.string()));
  }
  if (results.empty())
    return not_found(fmt::format("{}: no results*.json in it or beneath; name what lm_eval was given as --output_path",
                                 path.string()));
  std::sort(results.begin(), results.end());
  std::vector<LmEvalRunFiles> runs;
  for (const Path& each : results) runs.push_back(with_samples(each));
  return runs;
}

Result<LmEvalSample> parse_lm_eval_sample(std::string_view text, std::string_view source) {
  ASSAY_ASSIGN(Json line, Json::parse(text, source));
  const JsonField root(line, source);
  LmEvalSample sample;
  StoredItem& item = sample.item;
  ASSAY_ASSIGN(item.doc_id, root.get_int("doc_id", 0));
  ASSAY_ASSIGN(sample.filter, root.string_or("filter", "none"));
  ASSAY_ASSIGN(sample.doc_hash, root.string_or("doc_hash", ""));
  if (const Json* target = line.find("target")) item.target = text_of(*target);
  if (const Json* arguments = line.find("arguments")) read_arguments(*arguments, item);
  ASSAY_ASSIGN(const JsonField responses, root.get("resps"));
  ASSAY_TRY(read_responses(responses, item));
  read_extracted(line.find("filtered_resps"), sample);
  read_metrics(line, sample);
  item.score.outcome = Outcome::scored;
  if (!item.score.extracted.empty() && item.score.extracted[0].text == kInvalidAnswer)
    item.score.outcome = Outcome::no_answer;
  if (Json* document = line.find("doc")) item.document = std::move(*document);
  if (!item.document.is_object())
    item.document = Json::object().set("doc_hash", sample.doc_hash).set("doc_id", item.doc_id);
  return sample;
}

Result<LmEvalItems> read_lm_eval_samples(const Path& path) {
  ASSAY_ASSIGN(const std::string text, real_files().read(path, kMaxSamplesBytes));
  std::map<int64_t, StoredItem> by_id;
  std::set<std::pair<int64_t, std::string>> seen;
  LmEvalItems result;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    const std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (py_strip(line).empty()) continue;
    ASSAY_ASSIGN(LmEvalSample sample, parse_lm_eval_sample(line, fmt::format("{} line {}", path.string(), number)));
    if (!seen.insert({sample.item.doc_id, sample.filter}).second) continue;
    const auto found = by_id.find(sample.item.doc_id);
    if (found == by_id.end()) {
      if (!sample.doc_hash.empty()) {
        const bool equal = document_hash(sample.item.document) == sample.doc_hash;
        ++(equal ? result.matched_hashes : result.mismatched_hashes);
      }
      by_id.emplace(sample.item.doc_id, std::move(sample.item));
      continue;
    }
    Score& score = found->second.score;
    for (MetricValue& metric : sample.item.score.metrics) score.metrics.push_back(std::move(metric));
    for (Extracted& extracted : sample.item.score.extracted) score.extracted.push_back(std::move(extracted));
    if (sample.item.score.outcome == Outcome::scored) score.outcome = Outcome::scored;  // one filter found an answer
  }
  for (auto& [id, item] : by_id) result.items.push_back(std::move(item));
  return result;
}

}  // namespace assay
