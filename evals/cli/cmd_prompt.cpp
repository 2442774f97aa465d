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

// "12 |Question|": ids with the text of each.
std::string token_list(const Words& words, const Tokens& tokens) {
  std::string text;
  for (const TokenId token : tokens) {
    text += fmt::format("{} {}\n", token, Json(replace_invalid_utf8(words.tokenizer->token_bytes(token))).dump());
  }
  return text;
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
  const ChatRenderer chat = [&](const std::vector<ChatMessage>& messages, const RenderOptions& render) {
    ChatRenderOptions chat_options;
    chat_options.add_generation_prompt = render.add_generation_prompt;
    chat_options.continue_final_message = render.continue_final_message;
    return words.chat->render(messages, chat_options, words.now_utc_us);
  };
  const auto position = static_cast<size_t>(options.item);
  ASSAY_ASSIGN(const PromptTexts texts, prompt_of(planned, position, settings, chat));
  ASSAY_ASSIGN(const Sample sample, sample_of(planned, position));
  Json requests = Json::array();
  for (size_t i = 0; i < texts.num_requests(); ++i) {
    const std::string continuation = texts.continuations.empty()       ? ""
                                     : texts.continuations.size() == 1 ? texts.continuations[0]
                                                                       : texts.continuations[i];
    Json request = Json::object();
    request.set("context", texts.context_of(i)).set("continuation", continuation);
    if (!globals.json && (i == 0 || texts.contexts.size() > 1))
      std::printf("----- context %zu\n%s\n", i, texts.context_of(i).c_str());
    if (!globals.json && !continuation.empty())
      std::printf("----- continuation %zu: %s\n", i, Json(continuation).dump().c_str());
    if (options.tokens && continuation.empty()) {
      ASSAY_ASSIGN(const Tokens tokens, encode(words, texts.context_of(i)));
      if (!globals.json) std::printf("----- %zu tokens\n%s", tokens.size(), token_list(words, tokens).c_str());
      request.set("context_tokens", static_cast<int64_t>(tokens.size()));
    } else if (options.tokens) {
      ASSAY_ASSIGN(const TokenPair pair, encode_pair([&](std::string_view text) { return encode(words, text); },
                                                     texts.context_of(i), continuation, 0, int64_t{1} << 30));
      Json ids = Json::array();
      for (const TokenId token : pair.continuation) ids.push_back(int64_t{token});
      request.set("context_tokens", static_cast<int64_t>(pair.context.size())).set("continuation_ids", std::move(ids));
      if (!globals.json) {
        if (i == 0)
          std::printf("----- %zu context tokens\n%s", pair.context.size(), token_list(words, pair.context).c_str());
        std::printf("----- %zu continuation tokens\n%s", pair.continuation.size(),
                    token_list(words, pair.continuation).c_str());
      }
    }
    requests.push_back(std::move(request));
  }
  Json shots = Json::array();
  for (const int64_t row : planned.shots[position]) shots.push_back(row);
  if (globals.json) {
    std::printf("%s\n", Json::object()
                            .set("task", name)
                            .set("item", options.item)
                            .set("split", planned.stored.split)
                            .set("label", planned.stored.split_label)
                            .set("fewshot_split", planned.stored.fewshot_split)
                            .set("shots", std::move(shots))
                            .set("target", sample.question.target)
                            .set("gold", sample.question.gold)
                            .set("requests", std::move(requests))
                            .dump()
                            .c_str());
  } else {
    std::printf("----- target: %s\n----- shots: %s of %s\n", Json(sample.question.target).dump().c_str(),
                shots.dump().c_str(),
                planned.stored.fewshot_split.empty() ? "none" : planned.stored.fewshot_split.c_str());
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
