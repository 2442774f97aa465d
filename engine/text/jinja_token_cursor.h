#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/jinja_ast.h"
#include "engine/text/jinja_lexer.h"

namespace assay::jinja {

// The tokens of a template with a place in them, and the depth of nesting at that place: what every part of the parser
// stands on.
class TokenCursor {
 protected:
  TokenCursor(std::vector<Token> tokens, int max_depth) : tokens_(std::move(tokens)), max_depth_(max_depth) {}

  // One level of nesting, of statements or of expressions.
  class Level {
   public:
    explicit Level(TokenCursor& cursor) : cursor_(cursor) { ++cursor_.depth_; }
    ~Level() { --cursor_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    bool too_deep() const { return cursor_.depth_ > cursor_.max_depth_; }

   private:
    TokenCursor& cursor_;
  };

  const Token& current() const { return tokens_[pos_]; }
  const Token& ahead() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  const Token& take() { return tokens_[pos_ + 1 < tokens_.size() ? pos_++ : pos_]; }
  bool at(TokenType type) const { return current().type == type; }
  bool at_symbol(std::string_view symbol) const { return current().is_symbol(symbol); }
  bool at_name(std::string_view name) const { return current().is_name(name); }

  bool skip_symbol(std::string_view symbol) {
    if (!at_symbol(symbol)) return false;
    take();
    return true;
  }
  bool skip_name(std::string_view name) {
    if (!at_name(name)) return false;
    take();
    return true;
  }

  Status fail(std::string_view reason) const { return syntax_error(current().line, reason); }
  Status unexpected(std::string_view wanted) const;
  Status too_deep() const { return fail(fmt::format("nested too deeply; the limit is {}", max_depth_)); }

  Status expect(TokenType type, std::string_view wanted) {
    if (!at(type)) return unexpected(wanted);
    take();
    return ok_status();
  }
  Status expect_symbol(std::string_view symbol) {
    return skip_symbol(symbol) ? ok_status() : unexpected(fmt::format("'{}'", symbol));
  }
  Status expect_name(std::string_view name) {
    return skip_name(name) ? ok_status() : unexpected(fmt::format("'{}'", name));
  }
  Result<std::string> expect_any_name() {
    if (!at(TokenType::name)) return unexpected("a name");
    return take().text;
  }

  // A tree of `node`, which must not be higher than the depth allowed.
  template <class Node>
  Result<ExprPtr> make(int line, Node node) const {
    auto expr = std::make_unique<Expr>();
    expr->line = line;
    expr->node = std::move(node);
    int height = 0;
    visit_children(*expr, [&](const ExprPtr& child) { height = std::max(height, child ? child->height : 0); });
    expr->height = height + 1;
    if (expr->height > max_depth_)
      return syntax_error(line, fmt::format("nested too deeply; the limit is {}", max_depth_));
    return expr;
  }

 private:
  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int depth_ = 0;
  const int max_depth_;
};

}  // namespace assay::jinja
