// Token ids recorded from the real tokenizers and mistral-common libraries (../shared/oracle, see its README).

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "engine/text/tokenizer.h"
#include "tests/support/shared_folder.h"
#include "tests/support/source_folder.h"

using namespace assay;
using assay::testing::shared_folder;

namespace {

Tokens ids_of(const Json& list) {
  Tokens ids;
  for (const Json& id : list.as_array()) ids.push_back(static_cast<TokenId>(id.as_int()));
  return ids;
}

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::vector<Json> rows;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) rows.push_back(Json::parse(line, path.string()).value());
  }
  return rows;
}

Json read_json(const std::filesystem::path& path) {
  return Json::parse(real_files().read(path).value(), path.string()).value();
}

// A column that says "=other" holds what the other column holds.
const Json& column(const Json& row, const std::string& name) {
  const Json* value = row.find(name);
  while (value->is_string()) value = row.find(value->as_string().substr(1));
  return *value;
}

}  // namespace

TEST_CASE("the real tekken vocabulary encodes as mistral-common and as tokenizers did") {
  const auto shared = shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const auto files = *shared / "oracle/tokenizer_files";
  const std::string shipped_json = real_files().read(files / "tekken_240911.hf_as_shipped.tokenizer.json").value();
  const Tokenizer tekken =
      Tokenizer::from_tekken(real_files().read(files / "tekken_240911.json").value(), "tekken.json").value();
  const Tokenizer shipped = Tokenizer::from_json(shipped_json, "", "tokenizer.json").value();
  const Tokenizer fixed = Tokenizer::from_json(shipped_json, "", "tokenizer.json", {}, TekkenRegex::fixed).value();
  TokenizeOptions text_only;
  text_only.parse_special_tokens = false;
  int texts = 0;
  for (const Json& row : read_lines(*shared / "oracle/model/tokenizer/encode.jsonl")) {
    const std::string& text = row.find("text")->as_string();
    CAPTURE(text);
    CHECK(tekken.encode(text, text_only).value() == ids_of(column(row, "tekken")));
    CHECK(shipped.encode(text).value() == ids_of(column(row, "hf_as_shipped")));
    CHECK(fixed.encode(text).value() == ids_of(column(row, "hf_fixed")));
    ++texts;
  }
  const Json file1 = read_json(*shared / "oracle/model/tokenizer/regex_difference.json");
  for (const Json& row : file1.as_array()) {
    const std::string& text = row.find("text")->as_string();
    CAPTURE(text);
    CHECK(shipped.encode(text).value() == ids_of(column(row, "hf_as_shipped")));
    CHECK(fixed.encode(text).value() == ids_of(column(row, "hf_fixed")));
    CHECK(tekken.encode(text, text_only).value() == ids_of(column(row, "tekken")));
    ++texts;
  }
  CHECK(texts > 100);
  const Json file2 = read_json(*shared / "oracle/model/tokenizer/decode.json");
  for (const Json& row : file2.as_array()) {
    const Tokens ids = ids_of(*row.find("ids"));
    if (const Json* want = row.find("hf_keep")) CHECK(shipped.decode(ids, false) == want->as_string());
    if (const Json* want = row.find("hf_skip")) CHECK(shipped.decode(ids, true) == want->as_string());
  }
}

TEST_CASE("the tiny tokenizer encodes as its own library did, with and without BOS") {
  const auto shared = shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const auto model = *shared / "oracle/model/model";
  const Tokenizer shipped = Tokenizer::open(model / "bf16").value();
  const Tokenizer tekken =
      Tokenizer::from_tekken(real_files().read(model / "tekken/tekken.json").value(), "tekken.json").value();
  const Tokenizer fixed =
      Tokenizer::from_json(real_files().read(model / "tekken/tokenizer.fixed_regex.json").value(), "", "fixed").value();
  TokenizeOptions with_special, text_only;
  with_special.add_special_tokens = true;
  text_only.parse_special_tokens = false;
  const Json file3 = read_json(model / "expected/tiny_tokenizer.json");
  for (const Json& row : file3.as_array()) {
    const std::string& text = row.find("text")->as_string();
    CAPTURE(text);
    CHECK(shipped.encode(text).value() == ids_of(*row.find("as_shipped")));
    CHECK(shipped.encode(text, with_special).value() == ids_of(*row.find("as_shipped_with_bos")));
    CHECK(fixed.encode(text).value() == ids_of(*row.find("fixed")));
    CHECK(tekken.encode(text, text_only).value() == ids_of(*row.find("tekken")));
  }
}

TEST_CASE("the tokenizers of the imported test models encode and decode as recorded") {
  const auto shared = shared_folder();
  const char* home = std::getenv("ASSAY_HOME");
  const std::filesystem::path models =
      (home ? std::filesystem::path(home) : assay::testing::source_folder() / ".assay") / "models";
  if (!shared || !std::filesystem::exists(models)) {
    MESSAGE("skipped: no ../shared, or no imported model (make demo makes one)");
    return;
  }
  const std::pair<const char*, const char*> pairs[] = {{"smollm2-135m-instruct-bf16", "oracle/lm_eval"},
                                                       {"qwen2.5-coder-1.5b-instruct-bf16", "oracle/lm_eval_qwen"}};
  for (const auto& [folder, oracle] : pairs) {
    if (!std::filesystem::exists(models / folder)) continue;
    const Tokenizer tokenizer = Tokenizer::open(models / folder).value();
    for (const Json& row : read_lines(*shared / oracle / "vectors/tokenizer.jsonl")) {
      CAPTURE(row.dump());
      const Tokens ids = ids_of(*row.find("ids"));
      CHECK(tokenizer.encode(row.find("text")->as_string()).value() == ids);
      CHECK(tokenizer.decode(ids, false) == row.find("decoded")->as_string());
      CHECK(tokenizer.decode(ids, true) == row.find("decoded_skip_special")->as_string());
    }
  }
}
