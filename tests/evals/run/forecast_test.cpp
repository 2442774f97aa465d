#include "evals/run/forecast.h"

#include <doctest/doctest.h>

#include <set>

#include "tests/support/scripted_client.h"
#include "tests/support/toy_tasks.h"

using namespace assay;
using namespace assay::testing;

namespace {

ModelWords words_of(const ScriptedClient& client) {
  return {[&client](std::string_view text) { return client.encode(text, false); },
          [&client](const std::vector<ChatMessage>& messages, const RenderOptions& options) {
            return client.render_chat(messages, options);
          }};
}

}  // namespace

TEST_CASE("a trie's tokens are its distinct beginnings") {
  std::vector<Tokens> lists = {{1, 2, 3}, {1, 2}, {1, 2, 4}, {5}, {1, 2, 3}, {}};
  CHECK(trie_tokens(lists) == 5);
  std::vector<Tokens> none;
  CHECK(trie_tokens(none) == 0);
}

TEST_CASE("a forecast counts what the requests would hold, against counting every beginning") {
  const ScriptedClient client;
  const ToyChoiceTask task("toy");
  const PlannedTask planned = plan_toy(task, 25);
  const RunSettings settings;
  const TaskForecast forecast = forecast_task(planned, settings, words_of(client), client.info()).value();
  int64_t asked = 0, longest = 0;
  std::set<std::string> beginnings;
  for (size_t i = 0; i < 25; ++i) {
    const PromptTexts texts = prompt_of(planned, i, settings, {}).value();
    for (const std::string& continuation : texts.continuations) {
      const std::string whole = texts.contexts[0] + continuation;  // one token a byte
      asked += static_cast<int64_t>(whole.size());
      longest = std::max(longest, static_cast<int64_t>(whole.size()));
      for (size_t n = 1; n < whole.size(); ++n) beginnings.insert(whole.substr(0, n));
    }
  }
  CHECK(forecast.items == 25);
  CHECK(forecast.requests == 100);
  CHECK(forecast.tokens_asked == asked);
  CHECK(forecast.tokens_computed == static_cast<int64_t>(beginnings.size()));
  CHECK(forecast.longest == longest);
  CHECK(forecast.truncated == 0);
  CHECK(forecast.score_half_width == doctest::Approx(0.196));
}

TEST_CASE("prompts that do not fit the context are counted as cut") {
  ScriptedClient client;
  const ToyChoiceTask task("toy");
  const PlannedTask planned = plan_toy(task, 5);
  RunSettings settings;
  settings.max_length = 12;
  const TaskForecast forecast = forecast_task(planned, settings, words_of(client), client.info()).value();
  CHECK(forecast.truncated == 5);
  CHECK(forecast.longest <= 13);
}
