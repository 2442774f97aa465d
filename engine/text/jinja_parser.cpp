#include "engine/text/jinja_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "engine/text/jinja_expression_parser.h"
#include "engine/text/jinja_scope.h"

namespace assay::jinja {
namespace {

// A recursive descent over Jinja's statements.
class Parser : ExpressionParser {
 public:
  Parser(std::vector<Token> tokens, int max_depth) : ExpressionParser(std::move(tokens), max_depth) {}

  Result<Block> parse() {
    ASSAY_ASSIGN(Block body, parse_block({}));
    return body;
  }

 private:
  using EndTags = std::span<const std::string_view>;

  template <class Node>
  static StmtPtr make_statement(int line, Node node) {
    auto statement = std::make_unique<Stmt>();
    statement->line = line;
    statement->node = std::move(node);
    return statement;
  }

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
  static bool is_constant_name(std::string_view name) {
    static constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none", "True", "False", "None"};
    return std::find(kConstants.begin(), kConstants.end(), name) != kConstants.end();
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
