#include "engine/text/jinja_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "engine/text/jinja_lexer.h"
#include "engine/text/jinja_scope.h"

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

// A recursive descent over Jinja's grammar, which is Python's but for filters, tests and the places of `not` and `**`.
class Parser {
 public:
  Parser(std::vector<Token> tokens, int max_depth) : tokens_(std::move(tokens)), max_depth_(max_depth) {}

  Result<Block> parse() {
    ASSAY_ASSIGN(Block body, parse_block({}));
    return body;
  }

 private:
  using EndTags = std::span<const std::string_view>;

  // One level of nesting, of statements or of expressions.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) { ++parser_.depth_; }
    ~Level() { --parser_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    bool too_deep() const { return parser_.depth_ > parser_.max_depth_; }

   private:
    Parser& parser_;
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
  Status unexpected(std::string_view wanted) const {
    return fail(fmt::format("expected {}, found {}", wanted, describe(current())));
  }
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

  // Trees ------------------------------------------------------------------------------------------------------------
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

  template <class Node>
  static StmtPtr make_statement(int line, Node node) {
    auto statement = std::make_unique<Stmt>();
    statement->line = line;
    statement->node = std::move(node);
    return statement;
  }

  // Statements -------------------------------------------------------------------------------------------------------
  // Statements up to one of the end tags, whose name is then the current token; without end tags, up to the end.
  Result<Block> parse_block(EndTags end_tags) {
    const Level level(*this);
    if (level.too_deep()) return too_deep();
    Block body;
    for (;;) {
      const Token& token = current();
      if (token.type == TokenType::end) {
        if (end_tags.empty()) return body;
        return fail(fmt::format("the template ends where '{}' is awaited", end_tags.back()));
      }
      if (token.type == TokenType::data) {
        body.push_back(make_statement(token.line, TextStmt{token.text}));
        take();
      } else if (token.type == TokenType::variable_begin) {
        ASSAY_ASSIGN(StmtPtr output, parse_output());
        body.push_back(std::move(output));
      } else {
        take();  // block_begin
        if (at(TokenType::name) && std::find(end_tags.begin(), end_tags.end(), current().text) != end_tags.end())
          return body;
        ASSAY_ASSIGN(StmtPtr statement, parse_statement());
        body.push_back(std::move(statement));
        ASSAY_TRY(expect(TokenType::block_end, "'%}'"));
      }
    }
  }

  // The rest of an opening tag, a block, and the name of the tag that closes it.
  Result<Block> parse_body(EndTags end_tags) {
    skip_symbol(":");
    ASSAY_TRY(expect(TokenType::block_end, "'%}'"));
    return parse_block(end_tags);
  }

  Result<Block> parse_whole_body(std::string_view end_tag) {
    const std::array end_tags = {end_tag};
    ASSAY_ASSIGN(Block body, parse_body(end_tags));
    take();
    return body;
  }

  Result<StmtPtr> parse_output() {
    const int line = take().line;
    ASSAY_ASSIGN(ExprPtr value, parse_tuple({}));
    ASSAY_TRY(expect(TokenType::variable_end, "'}}'"));
    OutputStmt output;
    output.values.push_back(std::move(value));
    return make_statement(line, std::move(output));
  }

  Result<StmtPtr> parse_statement() {
    if (!at(TokenType::name)) return unexpected("the name of a tag");
    const Token tag = take();
    if (tag.text == "if") return parse_if(tag.line);
    if (tag.text == "for") return parse_for(tag.line);
    if (tag.text == "set") return parse_set(tag.line);
    if (tag.text == "macro") return parse_macro(tag.line);
    if (tag.text == "call") return parse_call_block(tag.line);
    if (tag.text == "filter") return parse_filter_block(tag.line);
    if (tag.text == "with") return parse_with(tag.line);
    if (tag.text == "print") return parse_print(tag.line);
    if (tag.text == "generation") return parse_generation(tag.line);
    if (tag.text == "break") return make_statement(tag.line, BreakStmt{});
    if (tag.text == "continue") return make_statement(tag.line, ContinueStmt{});
    return unknown_tag(tag);
  }

  static Status unknown_tag(const Token& tag) {
    static constexpr std::array<std::string_view, 6> kOfJinja = {"block",  "extends", "include",
                                                                 "import", "from",    "autoescape"};
    if (std::find(kOfJinja.begin(), kOfJinja.end(), tag.text) != kOfJinja.end()) {
      return unsupported(fmt::format("line {}: the tag '{}' is not supported in chat templates", tag.line, tag.text));
    }
    return unsupported(fmt::format("line {}: unknown tag '{}'", tag.line, tag.text));
  }

  Result<StmtPtr> parse_if(int line) {
    static constexpr std::array<std::string_view, 3> kEnds = {"elif", "else", "endif"};
    IfStmt statement;
    for (;;) {
      ASSAY_ASSIGN(ExprPtr condition, parse_tuple({.with_conditional = false}));
      ASSAY_ASSIGN(Block body, parse_body(kEnds));
      statement.branches.emplace_back(std::move(condition), std::move(body));
      const std::string end = take().text;
      if (end == "elif") continue;
      if (end == "else") {
        ASSAY_ASSIGN(statement.otherwise, parse_whole_body("endif"));
      }
      return make_statement(line, std::move(statement));
    }
  }

  Result<StmtPtr> parse_for(int line) {
    static constexpr std::array<std::string_view, 2> kEnds = {"else", "endfor"};
    ForStmt statement;
    ASSAY_ASSIGN(statement.target, parse_target({.end_name = "in"}));
    ASSAY_TRY(expect_name("in"));
    ASSAY_ASSIGN(statement.iterable, parse_tuple({.with_conditional = false, .end_name = "recursive"}));
    if (skip_name("if")) {
      ASSAY_ASSIGN(statement.test, parse_expression());
    }
    statement.recursive = skip_name("recursive");
    ASSAY_ASSIGN(statement.body, parse_body(kEnds));
    if (take().text == "else") {
      ASSAY_ASSIGN(statement.otherwise, parse_whole_body("endfor"));
    }
    statement.test_target = statement.target;
    return make_statement(line, std::move(statement));
  }

  Result<StmtPtr> parse_set(int line) {
    ASSAY_ASSIGN(Target target, parse_target({.with_attribute = true}));
    if (skip_symbol("=")) {
      ASSAY_ASSIGN(ExprPtr value, parse_tuple({}));
      return make_statement(line, SetStmt{std::move(target), std::move(value)});
    }
    SetBlockStmt statement;
    statement.target = std::move(target);
    ASSAY_ASSIGN(ExprPtr captured, make(line, CapturedExpr{}));
    ASSAY_ASSIGN(statement.value, parse_filters(std::move(captured)));
    ASSAY_ASSIGN(statement.body, parse_whole_body("endset"));
    return make_statement(line, std::move(statement));
  }

  Status parse_signature(MacroNode& macro) {
    ASSAY_TRY(expect_symbol("("));
    while (!at_symbol(")")) {
      if (!macro.parameters.empty()) ASSAY_TRY(expect_symbol(","));
      if (at(TokenType::name) && is_constant_name(current().text)) return fail("a constant cannot be a parameter");
      ASSAY_ASSIGN(std::string name, expect_any_name());
      if (std::find(macro.parameters.begin(), macro.parameters.end(), name) != macro.parameters.end()) {
        return fail(fmt::format("the parameter '{}' is named twice", name));
      }
      macro.parameters.push_back(std::move(name));
      if (skip_symbol("=")) {
        ASSAY_ASSIGN(ExprPtr value, parse_expression());
        macro.defaults.push_back(std::move(value));
      } else if (!macro.defaults.empty()) {
        return fail("a parameter without a default follows one with a default");
      }
    }
    return expect_symbol(")");
  }

  Result<StmtPtr> parse_macro(int line) {
    MacroStmt statement;
    if (at(TokenType::name) && is_constant_name(current().text)) return fail("a constant cannot name a macro");
    ASSAY_ASSIGN(statement.macro.name, expect_any_name());
    ASSAY_TRY(parse_signature(statement.macro));
    ASSAY_ASSIGN(statement.macro.body, parse_whole_body("endmacro"));
    return make_statement(line, std::move(statement));
  }

  Result<StmtPtr> parse_call_block(int line) {
    CallBlockStmt statement;
    if (at_symbol("(")) ASSAY_TRY(parse_signature(statement.macro));
    ASSAY_ASSIGN(statement.call, parse_expression());
    if (!std::holds_alternative<CallExpr>(statement.call->node)) return fail("a call block needs a call");
    ASSAY_ASSIGN(statement.macro.body, parse_whole_body("endcall"));
    return make_statement(line, std::move(statement));
  }

  // The no-op block that marks what an assistant wrote.
  Result<StmtPtr> parse_generation(int line) {
    GenerationStmt statement;
    ASSAY_ASSIGN(statement.macro.body, parse_whole_body("endgeneration"));
    return make_statement(line, std::move(statement));
  }

  Result<StmtPtr> parse_filter_block(int line) {
    FilterBlockStmt statement;
    ASSAY_ASSIGN(ExprPtr captured, make(line, CapturedExpr{}));
    ASSAY_ASSIGN(ExprPtr first, parse_filter(std::move(captured)));
    ASSAY_ASSIGN(statement.value, parse_filters(std::move(first)));
    ASSAY_ASSIGN(statement.body, parse_whole_body("endfilter"));
    return make_statement(line, std::move(statement));
  }

  Result<StmtPtr> parse_with(int line) {
    WithStmt statement;
    while (!at(TokenType::block_end)) {
      if (!statement.assignments.empty()) ASSAY_TRY(expect_symbol(","));
      ASSAY_ASSIGN(Target target, parse_target({}));
      ASSAY_TRY(expect_symbol("="));
      ASSAY_ASSIGN(ExprPtr value, parse_expression());
      statement.assignments.emplace_back(std::move(target), std::move(value));
    }
    ASSAY_ASSIGN(statement.body, parse_whole_body("endwith"));
    return make_statement(line, std::move(statement));
  }

  Result<StmtPtr> parse_print(int line) {
    OutputStmt output;
    while (!at(TokenType::block_end)) {
      if (!output.values.empty()) ASSAY_TRY(expect_symbol(","));
      ASSAY_ASSIGN(ExprPtr value, parse_expression());
      output.values.push_back(std::move(value));
    }
    return make_statement(line, std::move(output));
  }

  // Targets ----------------------------------------------------------------------------------------------------------
  struct TupleRules {
    bool with_conditional = true;
    std::string_view end_name = {};  // a name that ends the tuple
    bool explicit_parentheses = false;
    bool with_attribute = false;  // targets: `namespace.attribute` may be assigned to
  };

  static bool is_constant_name(std::string_view name) {
    static constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none", "True", "False", "None"};
    return std::find(kConstants.begin(), kConstants.end(), name) != kConstants.end();
  }

  bool at_tuple_end(std::string_view end_name) const {
    return at(TokenType::variable_end) || at(TokenType::block_end) || at_symbol(")") ||
           (!end_name.empty() && at_name(end_name));
  }

  Result<Target> parse_target(const TupleRules& rules) {
    Target tuple;
    tuple.form = Target::Form::tuple;
    tuple.line = current().line;
    bool is_tuple = false;
    while (!at_tuple_end(rules.end_name)) {
      ASSAY_ASSIGN(Target item, parse_single_target(rules));
      tuple.items.push_back(std::move(item));
      if (!skip_symbol(",")) break;
      is_tuple = true;
    }
    if (is_tuple) return tuple;
    if (tuple.items.empty()) return unexpected("a name to assign to");
    return Target(std::move(tuple.items.front()));
  }

  Result<Target> parse_single_target(const TupleRules& rules) {
    const Level level(*this);
    if (level.too_deep()) return too_deep();
    if (skip_symbol("(")) {
      ASSAY_ASSIGN(Target inner, parse_target({}));
      ASSAY_TRY(expect_symbol(")"));
      return inner;
    }
    if (at(TokenType::name) && is_constant_name(current().text)) return fail("a constant cannot be assigned to");
    Target target;
    target.line = current().line;
    ASSAY_ASSIGN(target.name, expect_any_name());
    if (rules.with_attribute && skip_symbol(".")) {
      target.form = Target::Form::attribute;
      ASSAY_ASSIGN(target.attribute, expect_any_name());
    }
    return target;
  }

  // Expressions ------------------------------------------------------------------------------------------------------
  // One expression, or several with commas between them as a tuple.
  Result<ExprPtr> parse_tuple(const TupleRules& rules) {
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

  Result<ExprPtr> parse_expression() {
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

  Result<ExprPtr> parse_or() {
    return parse_logic(false, "or", [this] { return parse_and(); });
  }
  Result<ExprPtr> parse_and() {
    return parse_logic(true, "and", [this] { return parse_not(); });
  }

  template <class ParseOperand>
  Result<ExprPtr> parse_logic(bool is_and, std::string_view word, const ParseOperand& parse_operand) {
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

  Result<ExprPtr> parse_not() {
    if (!at_name("not")) return parse_compare();
    const Level level(*this);
    if (level.too_deep()) return too_deep();
    const int line = take().line;
    ASSAY_ASSIGN(ExprPtr operand, parse_not());
    return make(line, NotExpr{std::move(operand)});
  }

  std::optional<CompareOp> take_compare_op() {
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

  Result<ExprPtr> parse_compare() {
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

  using OpTable = std::span<const std::pair<std::string_view, BinaryOp>>;

  std::optional<BinaryOp> take_binary_op(OpTable table) {
    for (const auto& [symbol, op] : table) {
      if (skip_symbol(symbol)) return op;
    }
    return std::nullopt;
  }

  template <class ParseOperand>
  Result<ExprPtr> parse_binary(OpTable table, const ParseOperand& parse_operand) {
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

  Result<ExprPtr> parse_sum() {
    static constexpr std::array<std::pair<std::string_view, BinaryOp>, 2> kOps = {
        {{"+", BinaryOp::add}, {"-", BinaryOp::subtract}}};
    return parse_binary(kOps, [this] { return parse_concat(); });
  }

  Result<ExprPtr> parse_concat() {
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

  Result<ExprPtr> parse_product() {
    static constexpr std::array<std::pair<std::string_view, BinaryOp>, 4> kOps = {
        {{"*", BinaryOp::multiply}, {"/", BinaryOp::divide}, {"//", BinaryOp::floor_divide}, {"%", BinaryOp::modulo}}};
    return parse_binary(kOps, [this] { return parse_power(); });
  }

  // Unlike Python's, Jinja's ** takes its operands from left to right.
  Result<ExprPtr> parse_power() {
    static constexpr std::array<std::pair<std::string_view, BinaryOp>, 1> kOps = {{{"**", BinaryOp::power}}};
    return parse_binary(kOps, [this] { return parse_unary(true); });
  }

  Result<ExprPtr> parse_unary(bool with_filters) {
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

  Result<ExprPtr> parse_primary() {
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

  Result<ExprPtr> parse_name() {
    const Token& token = take();
    if (token.text == "true" || token.text == "True") return make(token.line, LiteralExpr{Value::boolean(true)});
    if (token.text == "false" || token.text == "False") return make(token.line, LiteralExpr{Value::boolean(false)});
    if (token.text == "none" || token.text == "None") return make(token.line, LiteralExpr{Value::none()});
    if (token.text == "self")
      return unsupported(fmt::format("line {}: 'self' is not supported in chat templates", token.line));
    return make(token.line, NameExpr{token.text, {}});
  }

  // Strings side by side are one.
  Result<ExprPtr> parse_strings() {
    const int line = current().line;
    std::string text;
    while (at(TokenType::string)) text += take().text;
    return make(line, LiteralExpr{Value::string(std::move(text))});
  }

  Result<ExprPtr> parse_list() {
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

  Result<ExprPtr> parse_dict() {
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

  Result<ExprPtr> parse_postfix(ExprPtr value) {
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

  Result<ExprPtr> parse_attribute(ExprPtr object) {
    const int line = take().line;
    if (at(TokenType::name)) return make(line, AttributeExpr{std::move(object), take().text});
    if (!at(TokenType::integer)) return unexpected("a name or a number after '.'");
    ASSAY_ASSIGN(ExprPtr index, make(line, LiteralExpr{Value::integer(take().integer)}));
    return make(line, SubscriptExpr{std::move(object), std::move(index)});
  }

  Result<ExprPtr> parse_subscript(ExprPtr object) {
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
    if (indices.items.size() == 1)
      return make(line, SubscriptExpr{std::move(object), std::move(indices.items.front())});
    ASSAY_ASSIGN(ExprPtr tuple, make(line, std::move(indices)));
    return make(line, SubscriptExpr{std::move(object), std::move(tuple)});
  }

  Result<ExprPtr> parse_slice(int line, ExprPtr object, ExprPtr start) {
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

  Result<ExprPtr> parse_call(ExprPtr callee) {
    const int line = current().line;
    CallExpr call;
    call.callee = std::move(callee);
    ASSAY_ASSIGN(call.arguments, parse_arguments());
    return make(line, std::move(call));
  }

  Result<CallArguments> parse_arguments() {
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

  Status parse_argument(CallArguments& arguments) {
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

  Status parse_named_argument(CallArguments& arguments) {
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

  Result<ExprPtr> parse_filters_and_tests(ExprPtr value) {
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

  Result<ExprPtr> parse_filters(ExprPtr value) {
    while (skip_symbol("|")) {
      ASSAY_ASSIGN(value, parse_filter(std::move(value)));
    }
    return value;
  }

  // A name, or several with dots between them.
  Result<std::string> parse_dotted_name() {
    ASSAY_ASSIGN(std::string name, expect_any_name());
    while (skip_symbol(".")) {
      ASSAY_ASSIGN(const std::string part, expect_any_name());
      name += "." + part;
    }
    return name;
  }

  Result<ExprPtr> parse_filter(ExprPtr input) {
    FilterExpr filter;
    const int line = current().line;
    filter.input = std::move(input);
    ASSAY_ASSIGN(filter.name, parse_dotted_name());
    if (at_symbol("(")) {
      ASSAY_ASSIGN(filter.arguments, parse_arguments());
    }
    return make(line, std::move(filter));
  }

  // A test may take one argument without parentheses: `is divisibleby 3`.
  bool at_bare_test_argument() const {
    if (at(TokenType::name)) return !at_name("else") && !at_name("or") && !at_name("and");
    return at(TokenType::string) || at(TokenType::integer) || at(TokenType::real) || at_symbol("[") || at_symbol("{");
  }

  Result<ExprPtr> parse_test(ExprPtr input) {
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

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int depth_ = 0;
  const int max_depth_;
};

}  // namespace

Result<Template> parse_template(std::string_view source, int max_depth) {
  ASSAY_ASSIGN(std::vector<Token> tokens, tokenize(source));
  Template parsed;
  ASSAY_ASSIGN(parsed.body, Parser(std::move(tokens), max_depth).parse());
  ASSAY_TRY(resolve_names(parsed));
  return parsed;
}

}  // namespace assay::jinja
