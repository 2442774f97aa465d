#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace assay::ifeval {

// English sentences as NLTK's Punkt splitter with its pretrained parameters finds them: without the white space
// between them. `text` is valid UTF-8. Thread-safe.
// Based on: Kiss and Strunk. Unsupervised Multilingual Sentence Boundary Detection. 2006
std::vector<std::string_view> sentences_of(std::string_view text);

// Words and punctuation as NLTK's word_tokenize cuts them: sentences, then the Penn Treebank's rules.
std::vector<std::string> treebank_words(std::string_view text);

// How many runs of word characters there are, by Unicode's word property (marks and connectors included).
size_t count_words(std::string_view text);

}  // namespace assay::ifeval
