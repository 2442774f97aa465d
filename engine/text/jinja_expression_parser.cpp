#include "engine/text/jinja_expression_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace assay::jinja {

bool ExpressionParser::at_tuple_end(std::string_view end_name) const {
  return at(TokenType::variable_end) || at(TokenType::block_end) || at_symbol(")") ||
         (!end_name.empty() && at_name(end_name));
}

Result<ExprPtr> ExpressionParser::parse_tuple(const TupleRules& rules) {
  const int line = current().line;
  TupleExpr tuple;
  bool is_tuple = false;
  while (!at_tuple_end(rules.end_name)) {
    ASSAY_ASSIGN(ExprPtr item, rules.with_conditional ? parse_expression() : parse_or());
    tuple.items.push_back(std::move(item));
    if (!skip_symbol(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !tuple.items.empty()) return std::move(tuple.items.front());
  if (!is_tuple && !rules.explicit_parentheses) return unexpected("an expression");
  return make(line, std::move(tuple));
}

Result<ExprPtr> ExpressionParser::parse_expression() {
  const Level level(*this);
  if (level.too_deep()) return too_deep();
  const int line = current().line;
  ASSAY_ASSIGN(ExprPtr value, parse_or());
  while (skip_name("if")) {
    ConditionalExpr conditional;
    conditional.then = std::move(value);
    ASSAY_ASSIGN(conditional.condition, parse_or());
    if (skip_name("else")) {
      ASSAY_ASSIGN(conditional.otherwise, parse_expression());
    }
    ASSAY_ASSIGN(value, make(line, std::move(conditional)));
  }
  return value;
}

Result<ExprPtr> ExpressionParser::parse_or() {
  return parse_logic(false, "or", [this] { return parse_and(); });
}

Result<ExprPtr> ExpressionParser::parse_and() {
  return parse_logic(true, "and", [this] { return parse_not(); });
}

template <class ParseOperand>
Result<ExprPtr> ExpressionParser::parse_logic(bool is_and, std::string_view word, const ParseOperand& parse_operand) {
  const int line = current().line;
  ASSAY_ASSIGN(ExprPtr first, parse_operand());
  if (!at_name(word)) return first;
  LogicExpr logic{is_and, {}};
  logic.operands.push_back(std::move(first));
  while (skip_name(word)) {
    ASSAY_ASSIGN(ExprPtr operand, parse_operand());
    logic.operands.push_back(std::move(operand));
  }
  return make(line, std::move(logic));
}

Result<ExprPtr> ExpressionParser::parse_not() {
  if (!at_name("not")) return parse_compare();
  const Level level(*this);
  if (level.too_deep()) return too_deep();
  const int line = take().line;
  ASSAY_ASSIGN(ExprPtr operand, parse_not());
  return make(line, NotExpr{std::move(operand)});
}

std::optional<CompareOp> ExpressionParser::take_compare_op() {
  static constexpr std::array<std::pair<std::string_view, CompareOp>, 6> kOps = {{{"==", CompareOp::equal},
                                                                                  {"!=", CompareOp::not_equal},
                                                                                  {"<", CompareOp::less},
                                                                                  {"<=", CompareOp::less_equal},
                                                                                  {">", CompareOp::greater},
                                                                                  {">=", CompareOp::greater_equal}}};
  for (const auto& [symbol, op] : kOps) {
    if (skip_symbol(symbol)) return op;
  }
  if (skip_name("in")) return CompareOp::in;
  if (at_name("not") && ahead().is_name("in")) {
    take();
    take();
    return CompareOp::not_in;
  }
  return std::nullopt;
}

Result<ExprPtr> ExpressionParser::parse_compare() {
  const int line = current().line;
  CompareExpr compare;
  ASSAY_ASSIGN(compare.first, parse_sum());
  while (const std::optional<CompareOp> op = take_compare_op()) {
    ASSAY_ASSIGN(ExprPtr operand, parse_sum());
    compare.rest.emplace_back(*op, std::move(operand));
  }
  if (compare.rest.empty()) return std::move(compare.first);
  return make(line, std::move(compare));
}

std::optional<BinaryOp> ExpressionParser::take_binary_op(OpTable table) {
  for (const auto& [symbol, op] : table) {
    if (skip_symbol(symbol)) return op;
  }
  return std::nullopt;
}

template <class ParseOperand>
Result<ExprPtr> ExpressionParser::parse_binary(OpTable table, const ParseOperand& parse_operand) {
  const int line = current().line;
  BinaryExpr binary;
  ASSAY_ASSIGN(binary.first, parse_operand());
  while (const std::optional<BinaryOp> op = take_binary_op(table)) {
    ASSAY_ASSIGN(ExprPtr operand, parse_operand());
    binary.rest.emplace_back(*op, std::move(operand));
  }
  if (binary.rest.empty()) return std::move(binary.first);
  return make(line, std::move(binary));
}

Result<ExprPtr> ExpressionParser::parse_sum() {
  static constexpr std::array<std::pair<std::string_view, BinaryOp>, 2> kOps = {
      {{"+", BinaryOp::add}, {"-", BinaryOp::subtract}}};
  return parse_binary(kOps, [this] { return parse_concat(); });
}

Result<ExprPtr> ExpressionParser::parse_concat() {
  const int line = current().line;
  ASSAY_ASSIGN(ExprPtr first, parse_product());
  if (!at_symbol("~")) return first;
  ConcatExpr concat;
  concat.operands.push_back(std::move(first));
  while (skip_symbol("~")) {
    ASSAY_ASSIGN(ExprPtr operand, parse_product());
    concat.operands.push_back(std::move(operand));
  }
  return make(line, std::move(concat));
}

Result<ExprPtr> ExpressionParser::parse_product() {
  static constexpr std::array<std::pair<std::string_view, BinaryOp>, 4> kOps = {
      {{"*", BinaryOp::multiply}, {"/", BinaryOp::divide}, {"//", BinaryOp::floor_divide}, {"%", BinaryOp::modulo}}};
  return parse_binary(kOps, [this] { return parse_power(); });
}

Result<ExprPtr> ExpressionParser::parse_power() {
  static constexpr std::array<std::pair<std::string_view, BinaryOp>, 1> kOps = {{{"**", BinaryOp::power}}};
  return parse_binary(kOps, [this] { return parse_unary(true); });
}

Result<ExprPtr> ExpressionParser::parse_unary(bool with_filters) {
  const Level level(*this);
  if (level.too_deep()) return too_deep();
  const int line = current().line;
  ExprPtr value;
  if (at_symbol("-") || at_symbol("+")) {
    const bool negative = take().text == "-";
    ASSAY_ASSIGN(ExprPtr operand, parse_unary(false));
    ASSAY_ASSIGN(value, make(line, SignExpr{negative, std::move(operand)}));
  } else {
    ASSAY_ASSIGN(value, parse_primary());
  }
  ASSAY_ASSIGN(value, parse_postfix(std::move(value)));
  return with_filters ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

Result<ExprPtr> ExpressionParser::parse_primary() {
  const Token& token = current();
  switch (token.type) {
    case TokenType::name: return parse_name();
    case TokenType::string: return parse_strings();
    case TokenType::integer: return make(token.line, LiteralExpr{Value::integer(take().integer)});
    case TokenType::real: return make(token.line, LiteralExpr{Value::real(take().real)});
    default: break;
  }
  if (at_symbol("[")) return parse_list();
  if (at_symbol("{")) return parse_dict();
  if (!at_symbol("(")) return unexpected("an expression");
  take();
  ASSAY_ASSIGN(ExprPtr inner, parse_tuple({.explicit_parentheses = true}));
  ASSAY_TRY(expect_symbol(")"));
  return inner;
}

Result<ExprPtr> ExpressionParser::parse_name() {
  const Token& token = take();
  if (token.text == "true" || token.text == "True") return make(token.line, LiteralExpr{Value::boolean(true)});
  if (token.text == "false" || token.text == "False") return make(token.line, LiteralExpr{Value::boolean(false)});
  if (token.text == "none" || token.text == "None") return make(token.line, LiteralExpr{Value::none()});
  if (token.text == "self")
    return unsupported(fmt::format("line {}: 'self' is not supported in chat templates", token.line));
  return make(token.line, NameExpr{token.text, {}});
}

Result<ExprPtr> ExpressionParser::parse_strings() {
  const int line = current().line;
  std::string text;
  while (at(TokenType::string)) text += take().text;
  return make(line, LiteralExpr{Value::string(std::move(text))});
}

Result<ExprPtr> ExpressionParser::parse_list() {
  const int line = take().line;
  ListExpr list;
  while (!at_symbol("]")) {
    if (!list.items.empty()) {
      ASSAY_TRY(expect_symbol(","));
      if (at_symbol("]")) break;
    }
    ASSAY_ASSIGN(ExprPtr item, parse_expression());
    list.items.push_back(std::move(item));
  }
  take();
  return make(line, std::move(list));
}

Result<ExprPtr> ExpressionParser::parse_dict() {
  const int line = take().line;
  DictExpr dict;
  while (!at_symbol("}")) {
    if (!dict.items.empty()) {
      ASSAY_TRY(expect_symbol(","));
      if (at_symbol("}")) break;
    }
    ASSAY_ASSIGN(ExprPtr key, parse_expression());
    ASSAY_TRY(expect_symbol(":"));
    ASSAY_ASSIGN(ExprPtr value, parse_expression());
    dict.items.emplace_back(std::move(key), std::move(value));
  }
  take();
  return make(line, std::move(dict));
}

Result<ExprPtr> ExpressionParser::parse_postfix(ExprPtr value) {
  for (;;) {
    if (at_symbol(".")) {
      ASSAY_ASSIGN(value, parse_attribute(std::move(value)));
    } else if (at_symbol("[")) {
      ASSAY_ASSIGN(value, parse_subscript(std::move(value)));
    } else if (at_symbol("(")) {
      ASSAY_ASSIGN(value, parse_call(std::move(value)));
    } else {
      return value;
    }
  }
}

Result<ExprPtr> ExpressionParser::parse_attribute(ExprPtr object) {
  const int line = take().line;
  if (at(TokenType::name)) return make(line, AttributeExpr{std::move(object), take().text});
  if (!at(TokenType::integer)) return unexpected("a name or a number after '.'");
  ASSAY_ASSIGN(ExprPtr index, make(line, LiteralExpr{Value::integer(take().integer)}));
  return make(line, SubscriptExpr{std::move(object), std::move(index)});
}

Result<ExprPtr> ExpressionParser::parse_subscript(ExprPtr object) {
  const int line = take().line;
  if (at_symbol(":")) return parse_slice(line, std::move(object), nullptr);
  TupleExpr indices;
  while (!at_symbol("]")) {
    if (!indices.items.empty()) ASSAY_TRY(expect_symbol(","));
    ASSAY_ASSIGN(ExprPtr index, parse_expression());
    if (indices.items.empty() && at_symbol(":")) return parse_slice(line, std::move(object), std::move(index));
    indices.items.push_back(std::move(index));
  }
  take();
  if (indices.items.size() == 1) return make(line, SubscriptExpr{std::move(object), std::move(indices.items.front())});
  ASSAY_ASSIGN(ExprPtr tuple, make(line, std::move(indices)));
  return make(line, SubscriptExpr{std::move(object), std::move(tuple)});
}

Result<ExprPtr> ExpressionParser::parse_slice(int line, ExprPtr object, ExprPtr start) {
  SliceExpr slice{std::move(object), std::move(start), nullptr, nullptr};
  ASSAY_TRY(expect_symbol(":"));
  if (!at_symbol(":") && !at_symbol("]")) {
    ASSAY_ASSIGN(slice.stop, parse_expression());
  }
  if (skip_symbol(":") && !at_symbol("]")) {
    ASSAY_ASSIGN(slice.step, parse_expression());
  }
  ASSAY_TRY(expect_symbol("]"));
  return make(line, std::move(slice));
}

Result<ExprPtr> ExpressionParser::parse_call(ExprPtr callee) {
  const int line = current().line;
  CallExpr call;
  call.callee = std::move(callee);
  ASSAY_ASSIGN(call.arguments, parse_arguments());
  return make(line, std::move(call));
}

Result<CallArguments> ExpressionParser::parse_arguments() {
  CallArguments arguments;
  take();  // '('
  bool is_first = true;
  while (!at_symbol(")")) {
    if (!is_first) {
      ASSAY_TRY(expect_symbol(","));
      if (at_symbol(")")) break;
    }
    is_first = false;
    ASSAY_TRY(parse_argument(arguments));
  }
  take();
  return arguments;
}

Status ExpressionParser::parse_argument(CallArguments& arguments) {
  const bool has_starred = arguments.more_positional || arguments.more_named;
  if (skip_symbol("*")) {
    if (has_starred) return fail("a call takes one '*' argument, before '**'");
    ASSAY_ASSIGN(arguments.more_positional, parse_expression());
    return ok_status();
  }
  if (arguments.more_named) return fail("nothing follows a '**' argument");
  if (skip_symbol("**")) {
    ASSAY_ASSIGN(arguments.more_named, parse_expression());
    return ok_status();
  }
  if (at(TokenType::name) && ahead().is_symbol("=")) return parse_named_argument(arguments);
  if (has_starred || !arguments.named.empty()) return fail("a positional argument follows a named one");
  ASSAY_ASSIGN(ExprPtr value, parse_expression());
  arguments.positional.push_back(std::move(value));
  return ok_status();
}

Status ExpressionParser::parse_named_argument(CallArguments& arguments) {
  std::string name = take().text;
  take();  // '='
  const auto is_same = [&](const auto& other) { return other.first == name; };
  if (std::any_of(arguments.named.begin(), arguments.named.end(), is_same)) {
    return fail(fmt::format("the argument '{}' is given twice", name));
  }
  ASSAY_ASSIGN(ExprPtr value, parse_expression());
  arguments.named.emplace_back(std::move(name), std::move(value));
  return ok_status();
}

Result<ExprPtr> ExpressionParser::parse_filters_and_tests(ExprPtr value) {
  for (;;) {
    if (at_symbol("|")) {
      ASSAY_ASSIGN(value, parse_filters(std::move(value)));
    } else if (at_name("is")) {
      ASSAY_ASSIGN(value, parse_test(std::move(value)));
    } else if (at_symbol("(")) {
      ASSAY_ASSIGN(value, parse_call(std::move(value)));
    } else {
      return value;
    }
  }
}

Result<ExprPtr> ExpressionParser::parse_filters(ExprPtr value) {
  while (skip_symbol("|")) {
    ASSAY_ASSIGN(value, parse_filter(std::move(value)));
  }
  return value;
}

Result<std::string> ExpressionParser::parse_dotted_name() {
  ASSAY_ASSIGN(std::string name, expect_any_name());
  while (skip_symbol(".")) {
    ASSAY_ASSIGN(const std::string part, expect_any_name());
    name += "." + part;
  }
  return name;
}

Result<ExprPtr> ExpressionParser::parse_filter(ExprPtr input) {
  FilterExpr filter;
  const int line = current().line;
  filter.input = std::move(input);
  ASSAY_ASSIGN(filter.name, parse_dotted_name());
  if (at_symbol("(")) {
    ASSAY_ASSIGN(filter.arguments, parse_arguments());
  }
  return make(line, std::move(filter));
}

bool ExpressionParser::at_bare_test_argument() const {
  if (at(TokenType::name)) return !at_name("else") && !at_name("or") && !at_name("and");
  return at(TokenType::string) || at(TokenType::integer) || at(TokenType::real) || at_symbol("[") || at_symbol("{");
}

Result<ExprPtr> ExpressionParser::parse_test(ExprPtr input) {
  const int line = take().line;
  const bool negated = skip_name("not");
  TestExpr test;
  test.input = std::move(input);
  ASSAY_ASSIGN(test.name, parse_dotted_name());
  if (at_symbol("(")) {
    ASSAY_ASSIGN(test.arguments, parse_arguments());
  } else if (at_bare_test_argument()) {
    if (at_name("is")) return fail("tests cannot be chained with 'is'");
    ASSAY_ASSIGN(ExprPtr argument, parse_primary());
    ASSAY_ASSIGN(argument, parse_postfix(std::move(argument)));
    test.arguments.positional.push_back(std::move(argument));
  }
  ASSAY_ASSIGN(ExprPtr result, make(line, std::move(test)));
  if (!negated) return result;
  return make(line, NotExpr{std::move(result)});
}

}  // namespace assay::jinja
