#include "evals/prompt/lint.h"

#include <doctest/doctest.h>

using namespace assay;

TEST_CASE("two BOS are two of the same at the very beginning") {
  CHECK(begins_with_two_bos({1, 1, 5}, 1));
  CHECK_FALSE(begins_with_two_bos({1, 5, 1, 1}, 1));
  CHECK_FALSE(begins_with_two_bos({1}, 1));
  CHECK_FALSE(begins_with_two_bos({1, 1}, std::nullopt));
}

TEST_CASE("a special token's spelling is found wherever a question or its answer holds it") {
  const SpecialTexts specials({"<|im_end|>", "[INST]", ""});
  CHECK(specials.occur_in("a <|im_end|>"));
  CHECK(specials.occur_in("[INST]"));
  CHECK_FALSE(specials.occur_in("a <|im_end |> [INS"));
  CHECK_FALSE(specials.occur_in(""));
  Question question;
  question.text = "what";
  question.choices = {"yes", "no"};
  CHECK_FALSE(specials.occur_in(question));
  for (std::string* part : {&question.text, &question.target, &question.choices[1]}) {
    Question spoiled = question;
    *part += " [INST]";
    CHECK(specials.occur_in(question));
    question = spoiled;
  }
  question.contexts = {"plain", "x<|im_end|>y"};
  CHECK(specials.occur_in(question));
}

TEST_CASE("a token over the boundary is told by the pair") {
  // "ab" is one token, "a" another.
  const Encoder encode = [](std::string_view text) -> Result<Tokens> {
    Tokens tokens;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text.substr(i, 2) == "ab") {
        tokens.push_back(1000);
        ++i;
      } else {
        tokens.push_back(static_cast<unsigned char>(text[i]));
      }
    }
    return tokens;
  };
  CHECK(encode_pair(encode, "xa", "bc", 0, 100)->merged);
  CHECK_FALSE(encode_pair(encode, "xa", " bc", 0, 100)->merged);
  CHECK_FALSE(encode_pair(encode, "", "ab", 0, 100)->merged);
}
