#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>

#include "engine/base/clock.h"
#include "engine/base/text_util.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"

namespace assay::cli {
namespace {

struct PromptOptions {
  RunOptions run;
  std::string task;
  int64_t item = 0;
  bool tokens = false, reveal = false;
};

// Only the words of a model: no weights are read to show a prompt.
struct Words {
  std::optional<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat;
  int64_t now_utc_us = 0;
  bool adds_bos = true;
};

Result<Words> open_words(const RunOptions& options) {
  Words words;
  words.now_utc_us = parse_utc(options.now.empty() ? "2025-04-15T00:00:00Z" : options.now);
  if (words.now_utc_us < 0)
    return invalid_argument(fmt::format("--now {}: expected a time such as 2025-04-15T00:00:00Z", options.now));
  words.adds_bos = options.profile == profile_name(Profile::main);
  if (options.model.empty()) return words;
  ASSAY_ASSIGN(auto tokenizer, Tokenizer::open(options.model));
  words.tokenizer.emplace(std::move(tokenizer));
  ASSAY_ASSIGN(words.chat, ChatTemplate::open(options.model));
  return words;
}

Result<Tokens> encode(const Words& words, std::string_view text) {
  TokenizeOptions options;
  const std::string& bos = words.tokenizer->bos_text();
  options.add_special_tokens = words.adds_bos && (bos.empty() || !starts_with(text, bos));
  return words.tokenizer->encode(text, options);
}

// One "id text" a line.
std::string token_list(const Words& words, const Tokens& tokens) {
  std::string text;
  for (const TokenId token : tokens) {
    text += fmt::format("{} {}\n", token, Json(replace_invalid_utf8(words.tokenizer->token_bytes(token))).dump());
  }
  return text;
}

Json ids_json(const Tokens& tokens) {
  Json ids = Json::array();
  for (const TokenId token : tokens) ids.push_back(int64_t{token});
  return ids;
}

// One request as a model is sent it; tokens only where they are asked for.
struct ShownRequest {
  const std::string* context;
  std::string continuation;
  TokenPair pair;
};

// An item with everything that made its prompt.
struct ShownItem {
  Sample sample;
  PromptTexts texts;
  std::vector<Question> shots;
  std::vector<ShownRequest> requests;
};

Status add_tokens(const Words& words, ShownRequest& request) {
  if (request.continuation.empty()) {
    ASSAY_ASSIGN(request.pair.context, encode(words, *request.context));
    return ok_status();
  }
  ASSAY_ASSIGN(request.pair, encode_pair([&](std::string_view text) { return encode(words, text); }, *request.context,
                                         request.continuation, 0, int64_t{1} << 30));
  return ok_status();
}

Status show_item(const PlannedTask& planned, size_t position, const RunSettings& settings, const Words& words,
                 bool tokens, ShownItem& item) {
  const ChatRenderer chat = [&](const std::vector<ChatMessage>& messages, const RenderOptions& render) {
    ChatRenderOptions chat_options;
    chat_options.add_generation_prompt = render.add_generation_prompt;
    chat_options.continue_final_message = render.continue_final_message;
    return words.chat->render(messages, chat_options, words.now_utc_us);
  };
  ASSAY_ASSIGN(item.texts, prompt_of(planned, position, settings, chat));
  ASSAY_ASSIGN(item.sample, sample_of(planned, position));
  ASSAY_ASSIGN(item.shots, shots_of(planned, position));
  const auto& continuations = item.texts.continuations;
  for (size_t i = 0; i < item.texts.num_requests(); ++i) {
    ShownRequest request;
    request.context = &item.texts.context_of(i);
    if (!continuations.empty()) request.continuation = continuations[continuations.size() == 1 ? 0 : i];
    if (tokens) ASSAY_TRY(add_tokens(words, request));
    item.requests.push_back(std::move(request));
  }
  return ok_status();
}

Json item_json(const PlannedTask& planned, size_t position, const ShownItem& item, bool tokens) {
  Json requests = Json::array();
  for (const ShownRequest& request : item.requests) {
    Json json = Json::object();
    json.set("context", *request.context).set("continuation", request.continuation);
    if (tokens) {
      json.set("context_tokens", static_cast<int64_t>(request.pair.context.size()))
          .set("context_ids", ids_json(request.pair.context))
          .set("continuation_ids", ids_json(request.pair.continuation))
          .set("boundary_merge", request.pair.merged);
    }
    requests.push_back(std::move(json));
  }
  Json rows = Json::array(), shots = Json::array();
  for (size_t i = 0; i < item.shots.size(); ++i) {
    rows.push_back(planned.shots[position][i]);
    shots.push_back(Json::object()
                        .set("row", planned.shots[position][i])
                        .set("text", item.shots[i].shot_text())
                        .set("target", item.shots[i].target));
  }
  return Json::object()
      .set("task", planned.stored.name)
      .set("item", item.sample.doc_id)
      .set("split", planned.stored.split)
      .set("label", planned.stored.split_label)
      .set("fewshot_split", planned.stored.fewshot_split)
      .set("shots", std::move(rows))
      .set("shot_texts", std::move(shots))
      .set("target", item.sample.question.target)
      .set("gold", item.sample.question.gold)
      .set("requests", std::move(requests));
}

void print_item(const PlannedTask& planned, size_t position, const ShownItem& item, const Words& words, bool tokens) {
  for (size_t i = 0; i < item.requests.size(); ++i) {
    const ShownRequest& request = item.requests[i];
    const bool new_context = i == 0 || item.texts.contexts.size() > 1;
    if (new_context) std::printf("----- context %zu\n%s\n", i, request.context->c_str());
    if (!request.continuation.empty())
      std::printf("----- continuation %zu: %s\n", i, Json(request.continuation).dump().c_str());
    if (!tokens) continue;
    if (new_context)
      std::printf("----- %zu context tokens\n%s", request.pair.context.size(),
                  token_list(words, request.pair.context).c_str());
    if (!request.continuation.empty())
      std::printf("----- %zu continuation tokens%s\n%s", request.pair.continuation.size(),
                  request.pair.merged ? " (a token spans the boundary)" : "",
                  token_list(words, request.pair.continuation).c_str());
  }
  std::string rows;
  for (const int64_t row : planned.shots[position]) rows += fmt::format("{}{}", rows.empty() ? "" : ", ", row);
  std::printf("----- target: %s\n", Json(item.sample.question.target).dump().c_str());
  if (rows.empty()) {
    std::printf("----- no shots\n");
  } else {
    std::printf("----- shots: rows %s of %s\n", rows.c_str(), planned.stored.fewshot_split.c_str());
  }
}

Result<int> prompt_command(PromptOptions& options, const Globals& globals) {
  ASSAY_TRY(apply_model_args(options.run));
  ASSAY_ASSIGN(const Profile profile, parse_profile(options.run.profile));
  ASSAY_ASSIGN(const auto tasks, registry(profile).expand({options.task}));
  if (tasks.size() != 1)
    return invalid_argument(fmt::format("{}: a group of {} tasks; name one of them", options.task, tasks.size()));
  const std::string& name = tasks[0]->info().name;
  ASSAY_ASSIGN(const DatasetManifest* manifest, find_manifest(tasks[0]->info().dataset));
  if (manifest->gated && !options.reveal) {
    return invalid_argument(
        fmt::format("{}: its authors ask that no question be shown in public; --reveal shows it", name));
  }
  options.run.tasks = {name};
  ASSAY_ASSIGN(RunSettings settings, run_settings(options.run));
  ASSAY_ASSIGN(const Words words, open_words(options.run));
  if (options.tokens && !words.tokenizer)
    return invalid_argument("--tokens needs a tokenizer: name a checkpoint folder with --model");
  if (settings.prompt.apply_chat_template && !words.chat) {
    return invalid_argument(
        "--apply-chat-template needs a chat template: name a checkpoint folder that has one with --model");
  }
  // The shots of an item depend on the draws of all items before it, as in a full run.
  settings.limit = std::to_string(options.item + 1);
  ASSAY_ASSIGN(const PlannedTask planned, plan_task(*tasks[0], settings, DataLocations::from_environment()));
  if (options.item >= planned.stored.rows) {
    return invalid_argument(
        fmt::format("--item {}: {} has {} documents, numbered from 0", options.item, name, planned.stored.rows));
  }
  const auto position = static_cast<size_t>(options.item);
  ShownItem item;
  ASSAY_TRY(show_item(planned, position, settings, words, options.tokens, item));
  if (globals.json) {
    std::printf("%s\n", item_json(planned, position, item, options.tokens).dump().c_str());
  } else {
    print_item(planned, position, item, words, options.tokens);
  }
  return 0;
}

}  // namespace

void add_prompt(CLI::App& app, Globals& globals, Action& chosen) {
  auto options = std::make_shared<PromptOptions>();
  CLI::App* verb = app.add_subcommand("prompt", "show exactly what a model is sent for one item");
  verb->add_option("TASK", options->task, "task")->required();
  verb->add_option("--item", options->item, "document number, from 0")->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  verb->add_flag("--tokens", options->tokens,
                 "also token ids, with the text of each and where the continuation begins");
  verb->add_flag("--reveal", options->reveal, "show it although the data set's authors ask to keep it private");
  add_model_options(*verb, options->run);
  add_prompt_options(*verb, options->run);
  verb->callback(
      [options, &globals, &chosen] { chosen = [options, &globals] { return prompt_command(*options, globals); }; });
}

}  // namespace assay::cli
