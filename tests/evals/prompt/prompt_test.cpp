#include "evals/prompt/prompt.h"

#include <doctest/doctest.h>

#include "engine/base/text_util.h"
#include "tests/support/recorded.h"

namespace assay {
namespace {

// Writes every message it is given, as make_vectors.py's template does.
Result<std::string> show(const std::vector<ChatMessage>& messages, const RenderOptions& options) {
  std::string text;
  for (const ChatMessage& m : messages) text += "<" + m.role + ">" + m.content + "</" + m.role + ">\n";
  if (options.add_generation_prompt) return text + "<assistant>";
  if (options.continue_final_message) text.resize(text.size() - std::string_view("</assistant>\n").size());
  return text;
}

Question question_of(const Json& json, bool several, const std::string& prefix) {
  Question question;
  question.text = json.find("text")->as_string();
  question.choices = testing::strings_of(*json.find("choices"));
  question.target = json.find("target")->as_string();
  question.gold = static_cast<int>(json.find("gold")->as_int());
  question.answer_prefix = prefix;
  if (several) {
    question.contexts = testing::strings_of(*json.find("contexts"));
    question.choices = {question.target};
  }
  return question;
}

RequestKind kind_of(const std::string& name) {
  for (RequestKind kind : {RequestKind::multiple_choice, RequestKind::loglikelihood, RequestKind::generate_until}) {
    if (request_kind_name(kind) == name) return kind;
  }
  FAIL("unknown kind ", name);
  return RequestKind::multiple_choice;
}

TEST_CASE("prompts and continuations equal lm-eval's in every mode, with prefixes, empty answers and system texts") {
  const Json recorded = testing::recorded_json("lm_eval/prompts.json");
  REQUIRE(recorded.size() == 432);
  for (const Json& item : recorded.as_array()) {
    const bool several = item.find("several")->as_bool();
    const std::string& prefix = item.find("prefix")->as_string();
    const std::string& mode = item.find("mode")->as_string();
    TaskInfo task;
    task.kind = kind_of(item.find("kind")->as_string());
    task.description = item.find("description")->as_string();
    PromptSettings settings;
    settings.system_instruction = item.find("system")->as_string();
    settings.apply_chat_template = mode != "plain";
    settings.fewshot_as_multiturn = mode == "multi";
    std::vector<Question> shots;
    for (const Json& shot : item.find("shots")->as_array()) shots.push_back(question_of(shot, several, prefix));
    std::vector<const Question*> pointers;
    for (const Question& shot : shots) pointers.push_back(&shot);
    const Question question = question_of(*item.find("question"), several, prefix);
    Result<PromptTexts> texts = build_prompt(task, question, pointers, settings, show);
    REQUIRE_MESSAGE(texts.ok(), texts.status().message());
    CAPTURE(item.dump());
    const std::vector<std::string> contexts = testing::strings_of(*item.find("contexts"));
    for (size_t i = 0; i < contexts.size(); ++i) CHECK(texts->context_of(i) == contexts[i]);
    CHECK(texts->continuations == testing::strings_of(*item.find("continuations")));
    CHECK(texts->num_requests() == contexts.size());
  }
}

TEST_CASE("a template that refuses system messages is asked again without one, and that is told") {
  const ChatRenderer strict = [](const std::vector<ChatMessage>& messages,
                                 const RenderOptions& options) -> Result<std::string> {
    for (const ChatMessage& m : messages) {
      if (m.role == "system") return bad_data("no system role");
    }
    return show(messages, options);
  };
  TaskInfo task;
  task.description = "Topic.";
  const Question question{.text = "Why?", .choices = {"a"}};
  Result<PromptTexts> texts = build_prompt(task, question, {}, {.apply_chat_template = true}, strict);
  REQUIRE_MESSAGE(texts.ok(), texts.status().message());
  CHECK(texts->system_dropped);
  CHECK(texts->contexts[0] == "<user>Why?</user>\n<assistant>");
  const ChatRenderer broken = [](const std::vector<ChatMessage>&, const RenderOptions&) -> Result<std::string> {
    return bad_data("broken");
  };
  CHECK(build_prompt(task, question, {}, {.apply_chat_template = true}, broken).status().message() == "broken");
}

TEST_CASE("April 2025: contexts as choices are a second conversation, rendered after that of the shots") {
  TaskInfo task;
  const Question shot{.contexts = {"a", "b"}, .choices = {"rest"}, .gold = 1, .target = "rest"};
  const Question question{.contexts = {"x", "y"}, .choices = {"end"}, .gold = 0, .target = "end"};
  PromptSettings settings = {
      .apply_chat_template = true, .fewshot_as_multiturn = true, .profile = Profile::card_2025_04};
  Result<PromptTexts> texts = build_prompt(task, question, {&shot}, settings, show);
  REQUIRE(texts->contexts.size() == 2);
  CHECK(texts->contexts[1] == "<user>b</user>\n<assistant>rest</assistant>\n<assistant><user>y</user>\n<assistant>");
  CHECK(texts->continuations == std::vector<std::string>{"end", "end"});
  CHECK(build_prompt(task, question, {}, settings, show)->contexts[0] == "<user>x</user>\n<assistant>");
  settings.fewshot_as_multiturn = false;
  CHECK(build_prompt(task, question, {&shot}, settings, show)->contexts[0] ==
        "<user>b rest\n\n</user>\n<assistant><user>x</user>\n<assistant>");
  settings.fewshot_as_multiturn = true;
  settings.profile = Profile::main;
  CHECK(build_prompt(task, question, {&shot}, settings, show)->contexts[1] ==
        "<user>b</user>\n<assistant>rest</assistant>\n<user>y</user>\n<assistant>");
}

TEST_CASE("April 2025: a shot without answer still has an assistant's turn, and texts are always delimited") {
  TaskInfo task;
  task.kind = RequestKind::generate_until;
  task.description = "Topic.";
  const Question shot{.text = "worked\n\n"}, question{.text = "asked"};
  PromptSettings settings = {.apply_chat_template = true,
                             .fewshot_as_multiturn = true,
                             .system_instruction = "Be brief. ",
                             .profile = Profile::card_2025_04};
  const std::string system = "<system>Be brief. \n\nTopic.</system>\n";
  CHECK(build_prompt(task, question, {&shot}, settings, show)->contexts[0] ==
        system + "<user>worked\n\n</user>\n<assistant></assistant>\n<user>asked</user>\n<assistant>");
  settings.apply_chat_template = false;
  CHECK(build_prompt(task, question, {&shot}, settings, show)->contexts[0] == "Be brief. \n\nTopic.worked\n\nasked");
  settings.profile = Profile::main;
  CHECK(build_prompt(task, question, {&shot}, settings, show)->contexts[0] == "Be brief. Topic.worked\n\nasked");
}

TEST_CASE("rolling tasks send the whole text, without shots or template") {
  TaskInfo task;
  task.kind = RequestKind::loglikelihood_rolling;
  Result<PromptTexts> texts = build_prompt(task, Question{.target = "a page"}, {}, {}, show);
  CHECK(texts->contexts == std::vector<std::string>{"a page"});
  CHECK(texts->continuations.empty());
  CHECK(texts->num_requests() == 1);
}

// One token a word; spaces and line ends are tokens of their own; "ab" is one token.
Result<Tokens> encode(std::string_view text) {
  Tokens tokens;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool pair = text.substr(i, 2) == "ab";
    tokens.push_back(pair ? 1000 : text[i]);
    if (pair) ++i;
  }
  return tokens;
}

Tokens codes(std::string_view text) { return Tokens(text.begin(), text.end()); }

TEST_CASE("trailing whitespace of the context is scored with the continuation") {
  Result<TokenPair> pair = encode_pair(encode, "x \n", "y", 1, 100);
  REQUIRE_MESSAGE(pair.ok(), pair.status().message());
  CHECK(pair->context == codes("x"));
  CHECK(pair->continuation == codes(" \ny"));
  // U+00A0 is whitespace to Python.
  pair = encode_pair(encode, "x\xC2\xA0", "y", 1, 100);
  CHECK(pair->context == codes("x"));
}

TEST_CASE("a token that spans the boundary is counted as lm-eval counts it") {
  // "xa" alone is two tokens, "xab" is two as well: nothing is left for the continuation.
  CHECK(encode_pair(encode, "xa", "b", 1, 100).status().code() == Code::bad_data);
  Result<TokenPair> pair = encode_pair(encode, "xa", "bc", 1, 100);
  CHECK(pair->continuation == codes("c"));
}

TEST_CASE("nothing before the continuation means the prefix token, which is not doubled") {
  Result<TokenPair> pair = encode_pair(encode, "", "yz", 7, 100);
  CHECK(pair->context == Tokens{7});
  CHECK(pair->continuation == codes("yz"));
  pair = encode_pair(encode, "", "yz", 'y', 100);
  CHECK(pair->context == Tokens{'y'});
  CHECK(pair->continuation == codes("z"));
  pair = encode_pair(encode, " \n", "z", 7, 100);
  CHECK(pair->context == Tokens{7});
  CHECK(pair->continuation == codes(" \nz"));
}

TEST_CASE("a pair is cut from the left to one token more than the model reads") {
  Result<TokenPair> pair = encode_pair(encode, "cdefg", "yz", 1, 6);
  CHECK_FALSE(pair->truncated);
  CHECK(pair->context == codes("cdefg"));
  pair = encode_pair(encode, "cdefg", "yz", 1, 4);
  CHECK(pair->truncated);
  CHECK(pair->context == codes("efg"));
  CHECK(pair->continuation == codes("yz"));
  pair = encode_pair(encode, "cdefg", "yz", 1, 2);
  CHECK(pair->context == codes("g"));
  CHECK(encode_pair(encode, "cdefg", "yz", 1, 1).status().code() == Code::bad_data);
}

TEST_CASE("an encoder's failure is passed on") {
  const Encoder broken = [](std::string_view) -> Result<Tokens> { return bad_data("no such byte"); };
  CHECK(encode_pair(broken, "x", "y", 1, 10).status().message() == "no such byte");
}

}  // namespace
}  // namespace assay
