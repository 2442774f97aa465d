#include "engine/text/jinja_token_cursor.h"

namespace assay::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.type) {
    case TokenType::data: return "template text";
    case TokenType::variable_begin: return "'{{'";
    case TokenType::variable_end: return "'}}'";
    case TokenType::block_begin: return "'{%'";
    case TokenType::block_end: return "'%}'";
    case TokenType::name:
    case TokenType::symbol: return fmt::format("'{}'", token.text);
    case TokenType::string: return "a string";
    case TokenType::integer: return "an integer";
    case TokenType::real: return "a number";
    case TokenType::end: return "the end of the template";
  }
  return "something else";
}

}  // namespace

Status TokenCursor::unexpected(std::string_view wanted) const {
  return fail(fmt::format("expected {}, found {}", wanted, describe(current())));
}

}  // namespace assay::jinja
