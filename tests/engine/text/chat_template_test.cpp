#include "engine/text/chat_template.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "tests/support/shared_folder.h"

using namespace assay;
using assay::testing::shared_folder;

namespace {

constexpr std::string_view kChatMl =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe "
    "kind<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

using Turns = std::vector<ChatMessage>;

Json read_json(const std::filesystem::path& path) {
  return Json::parse(real_files().read(path).value(), path.string()).value();
}

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::vector<Json> rows;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) rows.push_back(Json::parse(line, path.string()).value());
  }
  return rows;
}

}  // namespace

TEST_CASE("ChatML renders turns, a default system message and the generation prompt") {
  const ChatTemplate chat = ChatTemplate::from_text(std::string(kChatMl), {}, "chatml").value();
  ChatRenderOptions options;
  CHECK(chat.render(Turns{{"user", "Hi"}}, options, 0).value() ==
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  options.add_generation_prompt = false;
  options.continue_final_message = true;
  CHECK(chat.render(Turns{{"system", "S"}, {"user", "Hi"}, {"assistant", "Well, "}}, options, 0).value() ==
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nWell, ");
}

TEST_CASE("a template that raises gives its own message, one that does not parse its line") {
  const ChatTemplate chat =
      ChatTemplate::from_text("a\n{{ raise_exception('roles must alternate') }}", {}, "t").value();
  const auto raised = chat.render(Turns{{"user", "x"}}, {}, 0);
  CHECK(raised.status().code() == Code::bad_data);
  CHECK(raised.status().message().find("roles must alternate") != std::string::npos);
  CHECK(raised.status().message().find("line 2") != std::string::npos);
  const auto broken = ChatTemplate::from_text("a\n{% if %}", {}, "t");
  CHECK_FALSE(broken.ok());
  CHECK(broken.status().message().find("line 2") != std::string::npos);
}

TEST_CASE("recorded renderings of real templates are equal byte for byte") {
  const auto shared = shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const auto folder = *shared / "oracle/model/chat_templates";
  const Json expected = read_json(folder / "expected.json");
  std::map<std::string, std::string> tokens;
  for (const auto& [name, text] : expected.find("special_tokens")->as_object()) tokens[name] = text.as_string();
  const int64_t now = parse_utc("2025-03-17T14:05:09Z");
  int renderings = 0;
  for (const auto& [file, cases] : expected.find("expected")->as_object()) {
    const ChatTemplate chat = ChatTemplate::from_text(real_files().read(folder / file).value(), tokens, file).value();
    for (const auto& [name, want] : cases.as_object()) {
      CAPTURE(file);
      CAPTURE(name);
      const bool nogen = name == "simple_nogen", final = name == "continue_final";
      const Json* input = expected.find("inputs")->find(nogen ? "simple" : name);
      if (final) input = &want;
      REQUIRE(input != nullptr);
      ChatRenderOptions options;
      const Json* generation = input->find("add_generation_prompt");
      options.add_generation_prompt = !nogen && !final && generation && generation->as_bool();
      options.continue_final_message = final;
      for (const auto& [key, value] : input->as_object()) {
        if (key != "messages" && key != "add_generation_prompt" && key != "rendered" && key != "error" &&
            key != "continue_final_message") {
          options.extra.set(key, value);
        }
      }
      const auto got = chat.render(*input->find("messages"), options, now);
      if (const Json* rendered = want.find("rendered")) {
        REQUIRE_MESSAGE(got.ok(), got.status().message());
        CHECK(*got == rendered->as_string());
        ++renderings;
      } else {
        CHECK_FALSE(got.ok());
      }
    }
  }
  CHECK(renderings > 15);
}

TEST_CASE("the recorded renderings of both test models are equal byte for byte") {
  const auto shared = shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const std::pair<const char*, const char*> models[] = {{"oracle/lm_eval", "tokenizer_config.json"},
                                                        {"oracle/lm_eval_qwen", "model_config/tokenizer_config.json"}};
  for (const auto& [folder, config_path] : models) {
    const Json config = read_json(*shared / folder / config_path);
    std::map<std::string, std::string> tokens;
    for (const char* name : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
      if (const Json* token = config.find(name); token && token->is_string()) tokens[name] = token->as_string();
    }
    const ChatTemplate chat =
        ChatTemplate::from_text(config.find("chat_template")->as_string(), tokens, folder).value();
    for (const Json& row : read_lines(*shared / folder / "vectors/chat_template.jsonl")) {
      CAPTURE(row.dump());
      ChatRenderOptions options;
      const Json* generation = row.find("add_generation_prompt");
      options.add_generation_prompt = generation && generation->is_bool() && generation->as_bool();
      const Json* final = row.find("continue_final_message");
      options.continue_final_message = final && final->is_bool() && final->as_bool();
      if (const Json* tools = row.find("tools"); tools && !tools->is_null()) options.extra.set("tools", *tools);
      const Json* want = row.find("rendered") ? row.find("rendered") : row.find("text");
      REQUIRE(want != nullptr);
      const auto got = chat.render(*row.find("messages"), options, 0);
      REQUIRE_MESSAGE(got.ok(), got.status().message());
      CHECK(*got == want->as_string());
    }
  }
}
