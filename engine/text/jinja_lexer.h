#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace assay::jinja {

enum class TokenType : uint8_t {
  data,  // template text, whitespace control applied
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  string,  // text holds the characters it stands for
  integer,
  real,
  symbol,  // an operator, a bracket or a delimiter; text holds it
  end,
};

struct Token {
  TokenType type = TokenType::end;
  int line = 1;
  std::string text;
  int64_t integer = 0;
  double real = 0;

  bool is_name(std::string_view name) const { return type == TokenType::name && text == name; }
  bool is_symbol(std::string_view symbol) const { return type == TokenType::symbol && text == symbol; }
};

// "line N: reason" as a bad_data Status.
Status syntax_error(int line, std::string_view reason);

// Cuts a template into tokens, with trim_blocks and lstrip_blocks on and keep_trailing_newline off: the whitespace
// rules of the environment that chat templates are written for. The last token is `end`. Linear in the length of the
// source. Errors: bad_data "line N: reason"; the source must be UTF-8 of at most 4 MiB.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace assay::jinja
