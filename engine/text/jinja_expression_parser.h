#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/jinja_token_cursor.h"

namespace assay::jinja {

// Expressions: Python's grammar but for filters, tests and the places of `not` and `**`.
class ExpressionParser : protected TokenCursor {
 protected:
  using TokenCursor::TokenCursor;

  struct TupleRules {
    bool with_conditional = true;
    std::string_view end_name = {};  // a name that ends the tuple
    bool explicit_parentheses = false;
    bool with_attribute = false;  // targets: `namespace.attribute` may be assigned to
  };

  bool at_tuple_end(std::string_view end_name) const;
  // One expression, or several with commas between them as a tuple.
  Result<ExprPtr> parse_tuple(const TupleRules& rules);
  Result<ExprPtr> parse_expression();
  Result<ExprPtr> parse_filters(ExprPtr value);
  Result<ExprPtr> parse_filter(ExprPtr input);

 private:
  using OpTable = std::span<const std::pair<std::string_view, BinaryOp>>;

  Result<ExprPtr> parse_or();
  Result<ExprPtr> parse_and();
  template <class ParseOperand>
  Result<ExprPtr> parse_logic(bool is_and, std::string_view word, const ParseOperand& parse_operand);
  Result<ExprPtr> parse_not();
  std::optional<CompareOp> take_compare_op();
  Result<ExprPtr> parse_compare();
  std::optional<BinaryOp> take_binary_op(OpTable table);
  template <class ParseOperand>
  Result<ExprPtr> parse_binary(OpTable table, const ParseOperand& parse_operand);
  Result<ExprPtr> parse_sum();
  Result<ExprPtr> parse_concat();
  Result<ExprPtr> parse_product();
  // Unlike Python's, Jinja's ** takes its operands from left to right.
  Result<ExprPtr> parse_power();
  Result<ExprPtr> parse_unary(bool with_filters);
  Result<ExprPtr> parse_primary();
  Result<ExprPtr> parse_name();
  // Strings side by side are one.
  Result<ExprPtr> parse_strings();
  Result<ExprPtr> parse_list();
  Result<ExprPtr> parse_dict();
  Result<ExprPtr> parse_postfix(ExprPtr value);
  Result<ExprPtr> parse_attribute(ExprPtr object);
  Result<ExprPtr> parse_subscript(ExprPtr object);
  Result<ExprPtr> parse_slice(int line, ExprPtr object, ExprPtr start);
  Result<ExprPtr> parse_call(ExprPtr callee);
  Result<CallArguments> parse_arguments();
  Status parse_argument(CallArguments& arguments);
  Status parse_named_argument(CallArguments& arguments);
  Result<ExprPtr> parse_filters_and_tests(ExprPtr value);
  // A name, or several with dots between them.
  Result<std::string> parse_dotted_name();
  // A test may take one argument without parentheses: `is divisibleby 3`.
  bool at_bare_test_argument() const;
  Result<ExprPtr> parse_test(ExprPtr input);
};

}  // namespace assay::jinja
