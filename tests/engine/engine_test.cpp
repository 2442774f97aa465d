#include "engine/engine.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <random>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "engine/formats/safetensors.h"
#include "tests/support/recorded.h"
#include "tests/support/shared_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

namespace assay {
namespace {

using testing::kTinyFirstByte;
using testing::TinyModel;

// A tiny checkpoint on disk, and a cache folder of the test's own.
class Model {
 public:
  explicit Model(const TinyModel& model = {}) {
    ::setenv("ASSAY_HOME", (folder_.path() / "home").c_str(), 1);
    REQUIRE(testing::write_tiny_checkpoint(path(), model).ok());
  }
  Path path() const { return folder_.path() / "tiny"; }

  // Rewrites one JSON file of the checkpoint.
  template <class Change>
  void change(const char* file, Change&& change) const {
    Json json = testing::read_json(path() / file);
    change(json);
    REQUIRE(real_files().write_atomic(path() / file, json.dump()).ok());
  }

 private:
  testing::TempFolder folder_;
};

EngineOptions options_for(const Path& path) {
  EngineOptions options;
  options.model = path;
  options.dtype = "float32";
  options.num_threads = 2;
  options.kv_bytes = 4 << 20;
  return options;
}

std::unique_ptr<Engine> open(const EngineOptions& options) {
  auto engine = Engine::open(options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  return std::move(engine).value();
}

Status refusal(const EngineOptions& options) { return Engine::open(options).status(); }

SharedTokens shared(Tokens tokens) { return std::make_shared<const Tokens>(std::move(tokens)); }

std::map<RequestId, Answer> run(Engine& engine) {
  std::map<RequestId, Answer> answers;
  for (;;) {
    const auto more = engine.step();
    REQUIRE_MESSAGE(more.ok(), more.status().message());
    for (Answer& answer : engine.poll()) answers[answer.id] = std::move(answer);
    if (!*more) return answers;
  }
}

Answer ask(Engine& engine, LoglikelihoodRequest request) {
  REQUIRE(engine.submit(std::move(request)).ok());
  return run(engine).begin()->second;
}

Answer ask(Engine& engine, GenerateRequest request) {
  REQUIRE(engine.submit(std::move(request)).ok());
  return run(engine).begin()->second;
}

TEST_CASE("an opened engine says what it is made of") {
  TinyModel tiny;
  tiny.shards = 2;
  const Model model(tiny);
  const auto engine = open(options_for(model.path()));
  const EngineInfo& info = engine->info();
  CHECK(info.model_name == "tiny");
  CHECK(info.architecture == "LlamaForCausalLM");
  CHECK(info.quantization == "none");
  CHECK(info.backend == "cpu");
  CHECK_FALSE(info.backend_detail.empty());
  CHECK(info.dtype == "float32");
  CHECK(info.num_parameters > 50'000);
  CHECK(info.checkpoint_bytes > 2 * info.num_parameters);
  CHECK(info.kv_bytes > 0);
  CHECK(info.kv_bytes <= 4 << 20);
  CHECK(info.vocab_size == TinyModel::kTinyVocab);
  CHECK(info.max_model_len == 4096);
  CHECK(info.eos_tokens == Tokens{testing::kTinyImEnd, testing::kTinyEos});
  CHECK(info.bos_token == testing::kTinyBos);
  CHECK(info.bos_text == "<s>");
  CHECK(info.has_chat_template);
  CHECK(info.chat_template_sha256 == sha256_hex(info.chat_template));
  CHECK(info.weights_sha256.size() == 64);
  CHECK(info.tokenizer_sha256.size() == 64);
  CHECK(info.now_utc == "2025-04-15T00:00:00Z");
}

TEST_CASE("the weights' digest is the same on every opening and follows the weights") {
  const Model model;
  const std::string first = open(options_for(model.path()))->info().weights_sha256;
  CHECK(open(options_for(model.path()))->info().weights_sha256 == first);
  TinyModel other;
  other.seed = 2;
  const Model other_model(other);
  CHECK(open(options_for(other_model.path()))->info().weights_sha256 != first);
}

TEST_CASE("text goes to tokens and back") {
  const Model model;
  const auto engine = open(options_for(model.path()));
  const auto tokens = engine->encode("Zebra<|im_end|>");
  REQUIRE(tokens.ok());
  CHECK(tokens->back() == testing::kTinyImEnd);
  CHECK(engine->decode(*tokens, false) == "Zebra<|im_end|>");
  CHECK(engine->decode(*tokens, true) == "Zebra");
  EncodeOptions literal;
  literal.parse_special_tokens = false;
  CHECK(engine->encode("<|im_end|>", literal)->size() > 1);
  CHECK(engine->encode("\xFF").status().code() == Code::bad_data);
}

TEST_CASE("a chat is rendered by the checkpoint's template, or by the one that was given") {
  const Model model;
  const std::vector<ChatMessage> messages = {{"user", "Hi"}, {"assistant", "The answer is"}};
  const auto engine = open(options_for(model.path()));
  RenderOptions open_end;
  open_end.add_generation_prompt = false;
  open_end.continue_final_message = true;
  const auto continued = engine->render_chat(messages, open_end);
  REQUIRE(continued.ok());
  CHECK(ends_with(*continued, "The answer is"));
  const auto prompted = engine->render_chat({{"user", "Hi"}}, {});
  REQUIRE(prompted.ok());
  CHECK(ends_with(*prompted, "<|im_start|>assistant\n"));

  EngineOptions given = options_for(model.path());
  given.chat_template = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}{{ strftime_now('%Y') }}";
  given.now_utc = "1999-12-31T00:00:00Z";
  const auto other = open(given);
  CHECK(*other->render_chat({{"user", "Hi"}}, {}) == "<s>[Hi]1999");
  CHECK(other->info().chat_template_sha256 == sha256_hex(given.chat_template));
  CHECK(other->info().now_utc == given.now_utc);
}

TEST_CASE("a checkpoint without a chat template opens, and says so when a chat is rendered") {
  const Model model;
  model.change("tokenizer_config.json", [](Json& json) { json.set("chat_template", Json()); });
  const auto engine = open(options_for(model.path()));
  CHECK_FALSE(engine->info().has_chat_template);
  CHECK(engine->render_chat({{"user", "Hi"}}, {}).status().code() == Code::not_found);
}

TEST_CASE("options that make no sense are refused by name") {
  const Model model;
  const auto with = [&](auto&& change) {
    EngineOptions options = options_for(model.path());
    change(options);
    return refusal(options);
  };
  CHECK(with([](EngineOptions& o) { o.backend = "tpu"; }).message() ==
        "backend: 'tpu' is not known, expected auto, cpu or cuda");
  EngineOptions on_cuda = options_for(model.path());
  on_cuda.backend = "cuda";
  if (const auto opened = Engine::open(on_cuda); !opened.ok()) CHECK(opened.status().code() == Code::unavailable);
  CHECK_FALSE(with([](EngineOptions& o) { o.dtype = "float8"; }).ok());
  CHECK(with([](EngineOptions& o) { o.max_model_len = 4097; }).message() ==
        "max_model_len: 4097 is beyond the model's max_position_embeddings, expected at most 4096");
  CHECK(with([](EngineOptions& o) { o.kv_bytes = -1; }).code() == Code::invalid_argument);
  CHECK(with([](EngineOptions& o) { o.now_utc = "yesterday"; }).code() == Code::invalid_argument);
  CHECK(with([](EngineOptions& o) { o.chat_template = "{% if %}"; }).code() == Code::bad_data);
  CHECK(with([](EngineOptions& o) { o.model /= "nothing-here"; }).code() == Code::not_found);
}

TEST_CASE("a broken checkpoint is refused, naming what is broken") {
  const Model model;
  SUBCASE("an architecture that is not known") {
    model.change("config.json", [](Json& json) { json.set("architectures", Json(Json::Array{"GPT5ForCausalLM"})); });
    const Status status = refusal(options_for(model.path()));
    CHECK(status.code() == Code::unsupported);
    CHECK(status.message().find("GPT5ForCausalLM") != std::string::npos);
  }
  SUBCASE("a config that promises other shapes than the weights have") {
    model.change("config.json", [](Json& json) { json.set("intermediate_size", 96); });
    CHECK(refusal(options_for(model.path())).code() == Code::bad_data);
  }
  SUBCASE("no tokenizer") {
    REQUIRE(real_files().remove_all(model.path() / "tokenizer.json").ok());
    CHECK(refusal(options_for(model.path())).code() == Code::not_found);
  }
}

TEST_CASE("probabilities over the whole vocabulary add up to one, and the sum is the sum of its terms") {
  const Model model;
  const auto engine = open(options_for(model.path()));
  const Answer answer = ask(*engine, LoglikelihoodRequest{shared({10, 20, 30}), {40, 50, 60}, 300});
  const Loglikelihood& scored = answer.loglikelihoods.at(0);
  double sum = 0;
  for (size_t i = 0; i < 3; ++i) {
    sum += static_cast<double>(scored.logprobs[i]);
    double total = 0;
    for (const TokenLogprob& top : scored.top_logprobs[i]) total += std::exp(static_cast<double>(top.logprob));
    CHECK(total == doctest::Approx(1.0).epsilon(1e-5));
  }
  CHECK(scored.sum == sum);
  CHECK(answer.prompt_tokens == 6);
  CHECK(answer.computed_tokens == 5);
}

TEST_CASE("what greedy decoding writes is scored as greedy, with the same log-probabilities") {
  const Model model;
  const auto engine = open(options_for(model.path()));
  GenerateRequest request{shared({50, 60, 70, 80}), {}};
  request.sampling.max_tokens = 24;
  request.sampling.ignore_eos = true;
  const Completion written = ask(*engine, request).completions.at(0);
  CHECK(written.tokens.size() == 24);
  CHECK(written.finish == FinishReason::length);
  CHECK(written.text == engine->decode(written.tokens, true));
  const Loglikelihood scored =
      ask(*engine, LoglikelihoodRequest{request.prompt, written.tokens, 0}).loglikelihoods.at(0);
  CHECK(scored.is_greedy);
  CHECK(scored.logprobs == written.logprobs);
  Tokens other = written.tokens;
  other.back() = other.back() == 5 ? 6 : 5;
  CHECK_FALSE(ask(*engine, LoglikelihoodRequest{request.prompt, other, 0}).loglikelihoods.at(0).is_greedy);
}

TEST_CASE("a stop string is cut from the text it ends") {
  const Model model;
  const auto engine = open(options_for(model.path()));
  GenerateRequest request{shared({50, 60, 70, 80}), {}};
  request.sampling.max_tokens = 24;
  request.sampling.ignore_eos = true;
  request.sampling.temperature = 1.0f;
  request.sampling.seed = 5;
  const Completion whole = ask(*engine, request).completions.at(0);
  size_t stop_at = 4;  // of plain ASCII, so that cutting the text is cutting its bytes
  Tokens ascii;
  for (const TokenId token : whole.tokens) {
    if (token >= kTinyFirstByte && token < kTinyFirstByte + 128) ascii.push_back(token);
  }
  REQUIRE(ascii.size() > stop_at);
  request.sampling.stop = {engine->decode({ascii[stop_at]}, true)};
  const Completion cut = ask(*engine, request).completions.at(0);
  CHECK(cut.finish == FinishReason::stop_string);
  CHECK(cut.stop_match == request.sampling.stop[0]);
  CHECK(cut.text == whole.text.substr(0, whole.text.find(request.sampling.stop[0])));
  CHECK(std::equal(cut.tokens.begin(), cut.tokens.end(), whole.tokens.begin()));
}

// Questions in groups that share shots, contexts and choices; some of them generate.
struct Exam {
  std::vector<LoglikelihoodRequest> scored;
  std::vector<GenerateRequest> generated;
};

Exam make_exam(uint32_t seed) {
  std::mt19937 random(seed);
  const auto tokens = [&](size_t count) {
    Tokens list(count);
    for (TokenId& token : list) token = 4 + static_cast<TokenId>(random() % 290);
    return list;
  };
  Exam exam;
  for (int group = 0; group < 3; ++group) {
    const Tokens shots = tokens(25 + random() % 30);
    for (int question = 0; question < 4; ++question) {
      Tokens context = shots;
      const Tokens own = tokens(3 + random() % 12);
      context.insert(context.end(), own.begin(), own.end());
      const SharedTokens at = shared(std::move(context));
      for (int choice = 0; choice < 4; ++choice) {
        exam.scored.push_back({at, tokens(question % 2 == 0 ? 1 : 1 + random() % 7), choice == 0 ? 2 : 0});
      }
      GenerateRequest request{at, {}};
      request.sampling.max_tokens = 12;
      request.sampling.seed = random();
      if (question % 2 == 0) request.sampling.temperature = 0.8f;
      if (question == 3) request.sampling.num_samples = 2;
      exam.generated.push_back(std::move(request));
    }
  }
  return exam;
}

// Every number an exam's answers hold, by question.
using Marks = std::vector<std::vector<double>>;

Marks sit(const EngineOptions& options, const Exam& exam, uint32_t order_seed) {
  const auto engine = open(options);
  std::vector<size_t> order(exam.scored.size() + exam.generated.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (order_seed > 0) std::shuffle(order.begin(), order.end(), std::mt19937(order_seed));
  std::map<RequestId, size_t> asked;
  for (const size_t i : order) {
    const auto id = i < exam.scored.size() ? engine->submit(exam.scored[i])
                                           : engine->submit(exam.generated[i - exam.scored.size()]);
    REQUIRE(id.ok());
    asked[*id] = i;
    if (order_seed > 0 && i % 7 == 0) REQUIRE(engine->step().ok());
  }
  Marks marks(order.size());
  std::vector<double>* row = nullptr;
  const auto note_top = [&](const std::vector<std::vector<TokenLogprob>>& all) {
    for (const auto& top : all) {
      for (const TokenLogprob& each : top) row->insert(row->end(), {double(each.token), double(each.logprob)});
    }
  };
  for (const auto& [id, answer] : run(*engine)) {
    REQUIRE(answer.error.empty());
    row = &marks[asked.at(id)];
    for (const Loglikelihood& scored : answer.loglikelihoods) {
      row->insert(row->end(), {scored.sum, double(scored.is_greedy)});
      row->insert(row->end(), scored.logprobs.begin(), scored.logprobs.end());
      note_top(scored.top_logprobs);
    }
    for (const Completion& completion : answer.completions) {
      row->insert(row->end(), completion.tokens.begin(), completion.tokens.end());
      row->insert(row->end(), completion.logprobs.begin(), completion.logprobs.end());
    }
  }
  return marks;
}

TEST_CASE("every answer has the same bits in any order, batch, cache and sharing") {
  for (const char* dtype : {"float32", "bfloat16"}) {
    TinyModel tiny;
    tiny.architecture = std::strcmp(dtype, "float32") == 0 ? "LlamaForCausalLM" : "Qwen2ForCausalLM";
    const Model model(tiny);
    const Exam exam = make_exam(3);
    EngineOptions options = options_for(model.path());
    options.dtype = dtype;
    options.max_model_len = 128;
    const Marks expected = sit(options, exam, 0);
    CAPTURE(dtype);
    CHECK(sit(options, exam, 1) == expected);
    for (const int budget : {1, 7, 64}) {
      for (const bool prefix_tree : {true, false}) {
        CAPTURE(budget);
        CAPTURE(prefix_tree);
        options.max_batch_tokens = budget;
        options.prefix_tree = prefix_tree;
        CHECK(sit(options, exam, 2 + static_cast<uint32_t>(budget)) == expected);
      }
    }
    options.max_batch_tokens = 64;
    options.prefix_tree = true;
    options.num_threads = 1;
    options.kv_bytes = 160 * 1024;  // a few sequences' worth
    CHECK(sit(options, exam, 5) == expected);
  }
}

TEST_CASE("distinct prefixes are computed once and every token is accounted for") {
  const Model model;
  const auto engine = open(options_for(model.path()));
  const Exam exam = make_exam(9);
  int64_t asked = 0;
  for (const LoglikelihoodRequest& request : exam.scored) {
    asked += static_cast<int64_t>(request.context->size() + request.continuation.size());
    REQUIRE(engine->submit(request).ok());
  }
  CHECK(engine->num_pending() == static_cast<int64_t>(exam.scored.size()));
  int64_t computed = 0;
  for (const auto& [id, answer] : run(*engine)) computed += answer.computed_tokens;
  const EngineStats stats = engine->stats();
  CHECK(stats.tokens_asked == asked);
  CHECK(stats.tokens_computed == computed);
  CHECK(stats.tokens_computed == stats.tokens_minimum);
  CHECK(stats.tokens_computed * 3 < stats.tokens_asked);
  CHECK(stats.steps > 0);
  CHECK(stats.seconds_in_steps > 0);
  CHECK(engine->num_pending() == 0);
  CHECK_FALSE(*engine->step());
}

TEST_CASE("ids beyond the vocabulary and contexts beyond the model are refused when submitted") {
  const Model model;
  EngineOptions options = options_for(model.path());
  options.max_model_len = 32;
  const auto engine = open(options);
  CHECK(engine->submit(LoglikelihoodRequest{shared({300}), {5}, 0}).status().code() == Code::invalid_argument);
  CHECK(engine->submit(LoglikelihoodRequest{shared(Tokens(33, 5)), {5}, 0}).status().code() == Code::invalid_argument);
  CHECK(engine->submit(LoglikelihoodRequest{shared(Tokens(32, 5)), {5}, 0}).ok());
  CHECK(run(*engine).size() == 1);
}

TEST_CASE("log-probabilities of the recorded checkpoints agree with Transformers, through the whole engine") {
  const auto folder = testing::shared_folder();
  if (!folder) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const Path models = *folder / "oracle/model/model";
  const testing::TempFolder home;
  ::setenv("ASSAY_HOME", home.path().c_str(), 1);
  const std::pair<const char*, const char*> variants[] = {{"bf16", "none"},
                                                          {"w4a16_gptq", "w4a16 int4 group 128 symmetric"},
                                                          {"w4a16_rtn", "w4a16 int4 group 128 symmetric"}};
  for (const auto& [variant, quantization] : variants) {
    CAPTURE(variant);
    EngineOptions options = options_for(models / variant);
    options.kv_bytes = 8 << 20;
    options.max_model_len = 1024;
    options.max_batch_tokens = 48;
    const auto engine = open(options);
    CHECK(engine->info().quantization == quantization);
    for (const char* text : {"text_short", "text_mid", "text_long"}) {
      const auto recorded = SafetensorsFile::open(models / "expected" / variant / (std::string(text) + ".safetensors"));
      REQUIRE(recorded.ok());
      const TensorView& ids = *recorded->find("input_ids");
      Tokens tokens(ids.bytes.size() / sizeof(TokenId));
      std::memcpy(tokens.data(), ids.bytes.data(), ids.bytes.size());
      const std::vector<float> expected = to_floats(*recorded->find("next_token_logprob")).value();
      const Answer answer =
          ask(*engine, LoglikelihoodRequest{shared({tokens[0]}), {tokens.begin() + 1, tokens.end()}, 0});
      const std::vector<float>& ours = answer.loglikelihoods.at(0).logprobs;
      REQUIRE(ours.size() + 1 == expected.size());
      float worst = 0;
      for (size_t i = 0; i < ours.size(); ++i) worst = std::max(worst, std::abs(ours[i] - expected[i]));
      CAPTURE(text);
      CHECK(worst < 2e-3f);
    }
  }
}

}  // namespace
}  // namespace assay
