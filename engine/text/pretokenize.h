#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/text/split_scanner.h"

namespace assay {

// A text and the pieces that it is cut into: in order, none empty, none overlapping; bytes between them are dropped.
// To be used again for the next text, so that its memory is too. Not thread-safe.
class PieceList {
 public:
  // Starts over: one piece, all of `text`, which must outlive the list's use and is valid UTF-8. `at_start`: it begins
  // the original text.
  void reset(std::string_view text, bool at_start);

  std::string_view text() const { return text_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  std::string_view operator[](size_t i) const {
    return text_.substr(pieces_[i].begin, pieces_[i].end - pieces_[i].begin);
  }

  // Replaces every piece by those that cut(text of the piece, its offset, vector to append to) puts in its place.
  template <class Cut>
  Status cut_each(Cut cut) {
    spare_.clear();
    for (size_t i = 0; i < pieces_.size(); ++i) ASSAY_TRY(cut((*this)[i], pieces_[i].begin, spare_));
    take_spare();
    return ok_status();
  }
  // Rewrites every piece: write(text of the piece, whether it begins the original text, string to append to).
  template <class Write>
  void rewrite_each(Write write) {
    std::string rewritten;
    spare_.clear();
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const auto begin = static_cast<uint32_t>(rewritten.size());
      write((*this)[i], at_start_ && pieces_[i].begin == 0, rewritten);
      spare_.push_back({begin, static_cast<uint32_t>(rewritten.size())});
    }
    at_start_ = at_start_ && !pieces_.empty() && pieces_.front().begin == 0;
    owned_ = std::move(rewritten);
    text_ = owned_;
    take_spare();
  }

  std::vector<uint8_t>& class_scratch() { return classes_; }

 private:
  void take_spare();  // makes spare_ the pieces, less the empty ones
  std::string_view text_;
  std::string owned_;
  bool at_start_ = true;
  std::vector<Piece> pieces_;
  std::vector<Piece> spare_;
  std::vector<uint8_t> classes_;
};

// A pre-tokenizer of tokenizer.json. Immutable, thread-safe.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Cuts and rewrites the pieces in place. Errors: when a pattern's search gives up.
  virtual Status split(PieceList& pieces) const = 0;
  // What the step does to a text that may be cut where a space stands between two ASCII letters, before the space:
  enum class WordCut : uint8_t {
    changes,  // its pieces may depend on what lies beyond the cut
    keeps,    // the halves' pieces are the whole's, but one piece may reach over the cut
    makes,    // it cuts there itself
  };
  virtual WordCut word_cut() const { return WordCut::changes; }
};

struct PreTokenization {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  // The last step writes bytes as printable stand-ins. It is left out of `steps`: a BpeModel of bytes takes the pieces.
  bool byte_level = false;

  Status split(PieceList& pieces) const;
  // Whether every text may be cut before a space that stands between two ASCII letters, its halves split one by one.
  bool cuts_between_words() const;
};

// By its "type": ByteLevel, Split, Digits, Metaspace, Whitespace, WhitespaceSplit, Punctuation, Sequence; null does
// nothing. A Split by a pattern that split_scanner.h knows uses the scanner.
// Errors: bad_data naming the field; unsupported for other types and for patterns that cannot be translated.
Result<PreTokenization> make_pre_tokenizer(const JsonField& field);

// The one-step pre-tokenization of a tekken.json. Errors: unsupported for a pattern that does not compile.
Result<PreTokenization> make_tekken_pre_tokenizer(std::string_view pattern, std::string_view source);

}  // namespace assay
