#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "engine/base/text_util.h"
#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"

namespace assay::cli {
namespace {

struct GenerateVerb {
  RunOptions run;
  std::string prompt;
  bool chat = false;
  SamplingParams sampling;
};

Result<std::string> prompt_text(const GenerateVerb& verb, const ModelClient& client) {
  if (!verb.chat) return verb.prompt;
  std::vector<ChatMessage> messages;
  if (!verb.run.system_instruction.empty()) messages.push_back({"system", verb.run.system_instruction});
  messages.push_back({"user", verb.prompt});
  return client.render_chat(messages, {});
}

Result<int> generate_command(GenerateVerb& verb, const Globals& globals) {
  ASSAY_TRY(apply_model_args(verb.run));
  ASSAY_ASSIGN(const EngineOptions engine, engine_options(verb.run, verb.run.model));
  ASSAY_ASSIGN(auto client, open_model(engine));
  ASSAY_ASSIGN(const std::string text, prompt_text(verb, *client));
  const std::string& bos = client->info().bos_text;
  ASSAY_ASSIGN(Tokens tokens, client->encode(text, bos.empty() || !starts_with(text, bos)));
  if (tokens.empty()) return invalid_argument("the prompt is empty: give some text with --prompt");
  const auto prompt_tokens = static_cast<int64_t>(tokens.size());
  ASSAY_TRY(client->submit(GenerateRequest{std::make_shared<const Tokens>(std::move(tokens)), verb.sampling}));
  Json list = Json::array();
  while (client->num_pending() > 0) {
    ASSAY_ASSIGN(const auto answers, client->wait());
    for (const Answer& answer : answers) {
      if (!answer.error.empty()) return internal_error(answer.error);
      for (const Completion& completion : answer.completions) {
        if (!globals.json) std::printf("%s\n", completion.text.c_str());
        list.push_back(Json::object()
                           .set("text", completion.text)
                           .set("tokens", static_cast<int64_t>(completion.tokens.size()))
                           .set("finish", completion.finish == FinishReason::length ? "length" : "stop"));
      }
    }
  }
  const EngineStats stats = client->stats();
  const double seconds = stats.seconds_in_steps;
  if (globals.json) {
    std::printf("%s\n", Json::object()
                            .set("completions", std::move(list))
                            .set("prompt_tokens", prompt_tokens)
                            .set("tokens_generated", stats.tokens_generated)
                            .set("seconds", seconds)
                            .set("peak_memory_bytes", peak_memory_bytes())
                            .dump()
                            .c_str());
  } else if (!globals.quiet) {
    std::fprintf(stderr, "%lld prompt tokens, %lld generated, %.2f s\n", static_cast<long long>(prompt_tokens),
                 static_cast<long long>(stats.tokens_generated), seconds);
  }
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Globals& globals, Action& chosen) {
  auto verb = std::make_shared<GenerateVerb>();
  CLI::App* app_verb = app.add_subcommand("generate", "complete one prompt, to see that a checkpoint works");
  add_model_options(*app_verb, verb->run);
  app_verb->add_option("--prompt,-p", verb->prompt, "the prompt")->required();
  app_verb->add_flag("--chat", verb->chat, "render it as a user's message with the chat template");
  app_verb->add_option("--system-instruction,--system_instruction", verb->run.system_instruction,
                       "system message, with --chat");
  SamplingParams& sampling = verb->sampling;
  app_verb->add_option("--max-tokens,-n", sampling.max_tokens, "tokens to generate at most");
  app_verb->add_option("--temperature", sampling.temperature, "0: greedy");
  app_verb->add_option("--top-p", sampling.top_p, "nucleus");
  app_verb->add_option("--top-k", sampling.top_k, "0: off");
  app_verb->add_option("--min-p", sampling.min_p, "0: off");
  app_verb->add_option("--repetition-penalty", sampling.repetition_penalty, "1: off");
  app_verb->add_option("--seed", sampling.seed, "of the draws");
  app_verb->add_option("--num-samples", sampling.num_samples, "completions");
  app_verb->add_option("--stop", sampling.stop, "stop strings");
  app_verb->add_flag("--ignore-eos", sampling.ignore_eos, "go on after the end of sequence");
  app_verb->callback(
      [verb, &globals, &chosen] { chosen = [verb, &globals] { return generate_command(*verb, globals); }; });
}

}  // namespace assay::cli
