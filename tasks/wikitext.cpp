// WikiText-2: how well whole Wikipedia articles are predicted, as perplexity a word, a byte and as bits a byte.
//   Paper     Merity et al. Pointer Sentinel Mixture Models. ICLR 2017. arXiv:1609.07843
//   Data      Hub EleutherAI/wikitext_document_level, wikitext-2-raw-v1: test 62 articles
//   License   CC-BY-SA-3.0
//   Version   2.0; text and scores as in lm-eval 0.4.13 (tasks/wikitext)
// Based on: EleutherAI/lm-evaluation-harness (tasks.md 2.11 and its corrections)

#include <array>

#include "engine/base/regex.h"
#include "engine/base/text_util.h"
#include "evals/scoring/metrics.h"
#include "tasks/families.h"

namespace assay {
namespace {

TaskInfo wikitext_info() {
  TaskInfo info;
  info.name = info.alias = "wikitext";
  info.version = "2.0";
  info.dataset = "wikitext";
  info.dataset_path = "EleutherAI/wikitext_document_level";
  info.dataset_name = info.subset = "wikitext-2-raw-v1";
  info.training_split = "train";
  info.validation_split = "validation";
  info.test_split = "test";
  info.kind = RequestKind::loglikelihood_rolling;
  info.fixed_num_fewshot = true;
  for (const char* name : {"word_perplexity", "byte_perplexity"})
    info.metrics.push_back({.name = name, .higher_is_better = false, .aggregation = "weighted_perplexity"});
  info.metrics.push_back({.name = "bits_per_byte", .higher_is_better = false, .aggregation = "bits_per_byte"});
  info.primary_metric = "word_perplexity,none";
  return info;
}

// A line such as " = Title = ": an article begins. " = = Section = = " does not count.
bool is_title(std::string_view line) {
  const std::string marks = replace_all(replace_all(line, "= = =", "==="), "= =", "==");
  const std::string_view text = py_strip(marks);
  return starts_with(text, "= ") && ends_with(text, " =");
}

using Pair = std::pair<std::string_view, std::string_view>;

// Every match of `pattern` replaced by its group 1 between two characters.
Result<std::string> tightened(const std::string& text, std::string_view pattern, std::string_view open,
                              std::string_view close) {
  ASSAY_ASSIGN(const Regex regex, Regex::compile(pattern));
  ASSAY_ASSIGN(const std::vector<RegexMatch> matches, regex.find_all(text));
  std::string result;
  size_t at = 0;
  for (const RegexMatch& match : matches) {
    const RegexMatch::Span& inner = match.groups[1];
    result.append(text, at, match.begin() - at).append(open);
    result.append(text, inner.begin, inner.end - inner.begin).append(close);
    at = match.end();
  }
  return result.append(text, at);
}

// Undoes the data set's tokenization, step by step in lm-eval's order.
Result<std::string> detokenized(std::string text) {
  constexpr std::array<Pair, 10> kBefore = {{{"s '", "s'"},
                                             {" @-@ ", "-"},
                                             {" @,@ ", ","},
                                             {" @.@ ", "."},
                                             {" : ", ": "},
                                             {" ; ", "; "},
                                             {" . ", ". "},
                                             {" ! ", "! "},
                                             {" ? ", "? "},
                                             {" , ", ", "}}};
  constexpr std::array<Pair, 8> kAfter = {{{"= = = =", "===="},
                                           {"= = =", "==="},
                                           {"= =", "=="},
                                           {" \u00b0 ", "\u00b0"},
                                           {" \n", "\n"},
                                           {"\n ", "\n"},
                                           {" N ", " 1 "},
                                           {" 's", "'s"}}};
  ASSAY_ASSIGN(const Regex slashed, Regex::compile("/' [0-9]/"));
  for (size_t i = 0; i < kBefore.size(); ++i) {
    text = replace_all(text, kBefore[i].first, kBefore[i].second);
    // lm-eval writes the pattern's own text here, a slip that stays part of its numbers.
    if (i > 0) continue;
    ASSAY_ASSIGN(text, slashed.replace_all(text, "/'[0-9]/"));
  }
  ASSAY_ASSIGN(text, tightened(text, R"(\(\s*([^\)]*?)\s*\))", "(", ")"));
  ASSAY_ASSIGN(text, tightened(text, R"(\[\s*([^\]]*?)\s*\])", "[", "]"));
  ASSAY_ASSIGN(text, tightened(text, R"({\s*([^}]*?)\s*})", "{", "}"));
  ASSAY_ASSIGN(text, tightened(text, R"("\s*([^"]*?)\s*")", "\"", "\""));
  ASSAY_ASSIGN(text, tightened(text, R"('\s*([^']*?)\s*')", "'", "'"));
  for (const auto& [from, to] : kAfter) text = replace_all(text, from, to);
  return text;
}

class WikiText final : public Task {
 public:
  using Task::Task;

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (layout == "raw-lines") return select_columns(row, {"text"});
    if (layout != "hub") return Task::to_document(row, layout);
    return select_columns(row, {"page"});
  }

  // The raw file's lines, cut before every title, are the Hub's articles.
  Status prepare(std::vector<Json>& documents, SplitRole) const override {
    if (documents.empty() || documents[0].find("page")) return ok_status();
    std::vector<Json> pages;
    std::string page;
    const auto finish = [&] {
      if (!py_strip(page).empty()) pages.push_back(Json::object().set("page", page));
      page.clear();
    };
    for (const Json& line : documents) {
      ASSAY_ASSIGN(const std::string text, JsonField(line, info().name).get_string("text"));
      if (is_title(text)) {
        // Lines are joined, not ended, by line feeds: the one before a title belongs to no article.
        if (!page.empty()) page.pop_back();
        finish();
      }
      page += text + "\n";
    }
    finish();
    documents = std::move(pages);
    return ok_status();
  }

  Result<Question> ask(const Json& document) const override {
    ASSAY_ASSIGN(std::string page, JsonField(document, info().name).get_string("page"));
    Question question;
    ASSAY_ASSIGN(question.target, detokenized(std::move(page)));
    return question;
  }

  // Words and bytes are the article's own, counted before its tokenization was undone.
  Score judge(const Sample& sample, const Response& response) const override {
    const std::string& page = sample.document.find("page")->as_string();
    return judge_rolling(info(), response.loglikelihoods, count_words(page), static_cast<int64_t>(page.size()));
  }
};

}  // namespace

void add_wikitext(Registry& registry) { registry.add(std::make_unique<WikiText>(wikitext_info())); }

}  // namespace assay
