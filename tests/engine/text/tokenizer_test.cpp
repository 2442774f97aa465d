#include "engine/text/tokenizer.h"

#include <doctest/doctest.h>

#include <string>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/text_util.h"

using namespace assay;

namespace {

Tokens ids_of(const Json& list) {
  Tokens ids;
  for (const Json& id : list.as_array()) ids.push_back(static_cast<TokenId>(id.as_int()));
  return ids;
}

Json recorded() {
  const std::string path = "tests/golden/text/tokenizer_cases.json";
  return Json::parse(real_files().read(path).value(), path).value();
}

}  // namespace

TEST_CASE("ids and decoded text equal those of Hugging Face tokenizers for every split pattern and normalizer") {
  const Json golden = recorded();
  for (const Json& setup : golden.find("setups")->as_array()) {
    INFO("setup: ", setup.find("name")->as_string());
    const auto tokenizer = Tokenizer::from_json(setup.find("tokenizer")->dump(), "", "recorded");
    REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().message());
    for (const Json& item : setup.find("cases")->as_array()) {
      const std::string& text = item.find("text")->as_string();
      INFO("text: ", escape_controls(text));
      const Tokens ids = ids_of(*item.find("ids"));
      const auto ours = tokenizer->encode(text);
      REQUIRE_MESSAGE(ours.ok(), ours.status().message());
      CHECK(*ours == ids);
      const Json* special = item.find("with_special");
      TokenizeOptions with_special;
      with_special.add_special_tokens = true;
      CHECK(tokenizer->encode(text, with_special).value() == (special ? ids_of(*special) : ids));
      CHECK(tokenizer->decode(ids, false) == item.find("decoded")->as_string());
      CHECK(tokenizer->decode(ids, true) == item.find("skipped")->as_string());
    }
  }
}

TEST_CASE("with special tokens not parsed, text that spells one stays text and comes back whole") {
  const Json golden = recorded();
  const Json& setup = golden.find("setups")->as_array().front();
  const auto tokenizer = Tokenizer::from_json(setup.find("tokenizer")->dump(), "", "recorded").value();
  TokenizeOptions as_text;
  as_text.parse_special_tokens = false;
  const Tokens ids = tokenizer.encode("a <s> b", as_text).value();
  for (const TokenId id : ids) CHECK_FALSE(tokenizer.is_special(id));
  CHECK(tokenizer.decode(ids, true) == "a <s> b");
}

TEST_CASE("the bytes of the tokens, one after another, are the text's bytes") {
  const Json golden = recorded();
  const Json& setup = golden.find("setups")->as_array().front();
  const auto tokenizer = Tokenizer::from_json(setup.find("tokenizer")->dump(), "", "recorded").value();
  for (const Json& item : setup.find("cases")->as_array()) {
    std::string bytes;
    for (const TokenId id : ids_of(*item.find("ids"))) bytes += tokenizer.token_bytes(id);
    CHECK(bytes == item.find("decoded")->as_string());
  }
}

TEST_CASE("text that is not UTF-8 and files that lie are refused by name") {
  const Json golden = recorded();
  Json file = *golden.find("setups")->as_array().front().find("tokenizer");
  const auto tokenizer = Tokenizer::from_json(file.dump(), "", "recorded").value();
  CHECK(tokenizer.encode("\xff").status().code() == Code::bad_data);
  CHECK(Tokenizer::from_json("{", "", "broken.json").status().message().find("broken.json") != std::string::npos);
  Json* type = file.find("pre_tokenizer")->find("type");
  *type = Json("Telepathy");
  const auto unknown = Tokenizer::from_json(file.dump(), "", "tokenizer.json");
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.status().code() == Code::unsupported);
  CHECK(unknown.status().message().find("Telepathy") != std::string::npos);
}
