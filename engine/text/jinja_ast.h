#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/text/jinja_filters.h"
#include "engine/text/jinja_tests.h"
#include "engine/text/jinja_value.h"

// A parsed template. Chains of operators, filters and tests of one precedence are flat lists, so that the depth of the
// tree is what the author nested, never how long an expression is.
namespace assay::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;
using ExprList = std::vector<ExprPtr>;

// Where a variable lives: `up` scopes outward, in place `index`. Set by resolve_names().
struct Slot {
  int up = 0;
  int index = 0;
};

struct CallArguments {
  ExprList positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr more_positional, more_named;  // *sequence, **mapping
};

enum class BinaryOp : uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };

struct LiteralExpr {
  Value value;
};
struct NameExpr {
  std::string name;
  Slot slot;
};
struct TupleExpr {
  ExprList items;
};
struct ListExpr {
  ExprList items;
};
struct DictExpr {
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
};
struct ConditionalExpr {
  ExprPtr condition, then, otherwise;
};  // otherwise may be absent
struct LogicExpr {
  bool is_and;
  ExprList operands;
};
struct NotExpr {
  ExprPtr operand;
};
struct CompareExpr {
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};
struct BinaryExpr {
  ExprPtr first;
  std::vector<std::pair<BinaryOp, ExprPtr>> rest;
};  // left to right
struct SignExpr {
  bool negative;
  ExprPtr operand;
};
struct ConcatExpr {
  ExprList operands;
};
struct AttributeExpr {
  ExprPtr object;
  std::string name;
};
struct SubscriptExpr {
  ExprPtr object, index;
};
struct SliceExpr {
  ExprPtr object, start, stop, step;
};  // the last three may be absent
struct CallExpr {
  ExprPtr callee;
  CallArguments arguments;
};
struct FilterExpr {
  ExprPtr input;
  std::string name;
  CallArguments arguments;
  const Filter* filter = nullptr;
};
struct TestExpr {
  ExprPtr input;
  std::string name;
  CallArguments arguments;
  const Test* test = nullptr;
};
struct CapturedExpr {};  // the text that a filter or set block has rendered

struct Expr {
  int line = 0;
  int height = 1;  // of this tree
  std::variant<LiteralExpr, NameExpr, TupleExpr, ListExpr, DictExpr, ConditionalExpr, LogicExpr, NotExpr, CompareExpr,
               BinaryExpr, SignExpr, ConcatExpr, AttributeExpr, SubscriptExpr, SliceExpr, CallExpr, FilterExpr,
               TestExpr, CapturedExpr>
      node;
};

struct Stmt;
using StmtPtr = std::unique_ptr<Stmt>;
using Block = std::vector<StmtPtr>;

// What an assignment assigns to: a name, an attribute of a namespace, or several targets.
struct Target {
  enum class Form : uint8_t { name, attribute, tuple } form = Form::name;
  int line = 0;
  std::string name;
  std::string attribute;
  Slot slot;
  std::vector<Target> items;
};

// What a scope does to each of its variables when it is entered.
struct ScopeLayout {
  enum class Init : uint8_t { parameter, missing, context, copy_outer };
  struct Variable {
    std::string name;
    Init init = Init::missing;
    Slot outer;  // of copy_outer, seen from inside
  };
  std::vector<Variable> variables;
  bool outlives_statement = false;  // a macro is defined in it, which may be called later
};

struct OutputStmt {
  ExprList values;
};
struct TextStmt {
  std::string text;
};
struct IfStmt {
  std::vector<std::pair<ExprPtr, Block>> branches;
  Block otherwise;
};

struct ForStmt {
  Target target, test_target;  // the same names, in the scope of the body and in that of the test
  ExprPtr iterable, test;      // test may be absent
  Block body, otherwise;
  bool recursive = false;
  bool uses_loop = false;
  Slot loop_slot;
  ScopeLayout body_scope, test_scope, otherwise_scope;
};

struct SetStmt {
  Target target;
  ExprPtr value;
};
struct SetBlockStmt {
  Target target;
  Block body;
  ExprPtr value;
  ScopeLayout scope;
};  // value: CapturedExpr or filters on it

struct MacroNode {
  std::string name;  // empty: the caller of a call block
  std::vector<std::string> parameters;
  ExprList defaults;  // of the last parameters
  Block body;
  ScopeLayout scope;
  std::vector<Slot> parameter_slots;
  // The special variables that the body reads, and where they are.
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
  Slot caller_slot, kwargs_slot, varargs_slot;
};

struct MacroStmt {
  MacroNode macro;
  Slot slot;
};
struct CallBlockStmt {
  MacroNode macro;
  ExprPtr call;
};
struct GenerationStmt {
  MacroNode macro;
};
struct FilterBlockStmt {
  Block body;
  ExprPtr value;
  ScopeLayout scope;
};
struct WithStmt {
  std::vector<std::pair<Target, ExprPtr>> assignments;
  Block body;
  ScopeLayout scope;
};
struct BreakStmt {};
struct ContinueStmt {};

struct Stmt {
  int line = 0;
  std::variant<TextStmt, OutputStmt, IfStmt, ForStmt, SetStmt, SetBlockStmt, MacroStmt, CallBlockStmt, GenerationStmt,
               FilterBlockStmt, WithStmt, BreakStmt, ContinueStmt>
      node;
};

struct Template {
  Block body;
  ScopeLayout scope;
};

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

template <class Visit>
void visit_arguments(CallArguments& arguments, const Visit& visit) {
  for (ExprPtr& argument : arguments.positional) visit(argument);
  for (auto& [name, argument] : arguments.named) visit(argument);
  visit(arguments.more_positional);
  visit(arguments.more_named);
}

// Calls visit(ExprPtr&) for each child of an expression, absent ones included.
template <class Visit>
void visit_children(Expr& expr, const Visit& visit) {
  const auto visit_all = [&](ExprList& list) {
    for (ExprPtr& child : list) visit(child);
  };
  std::visit(Overloaded{
                 [](LiteralExpr&) {},
                 [](NameExpr&) {},
                 [](CapturedExpr&) {},
                 [&](TupleExpr& e) { visit_all(e.items); },
                 [&](ListExpr& e) { visit_all(e.items); },
                 [&](DictExpr& e) {
                   for (auto& [key, value] : e.items) {
                     visit(key);
                     visit(value);
                   }
                 },
                 [&](ConditionalExpr& e) {
                   visit(e.condition);
                   visit(e.then);
                   visit(e.otherwise);
                 },
                 [&](LogicExpr& e) { visit_all(e.operands); },
                 [&](NotExpr& e) { visit(e.operand); },
                 [&](CompareExpr& e) {
                   visit(e.first);
                   for (auto& [op, operand] : e.rest) visit(operand);
                 },
                 [&](BinaryExpr& e) {
                   visit(e.first);
                   for (auto& [op, operand] : e.rest) visit(operand);
                 },
                 [&](SignExpr& e) { visit(e.operand); },
                 [&](ConcatExpr& e) { visit_all(e.operands); },
                 [&](AttributeExpr& e) { visit(e.object); },
                 [&](SubscriptExpr& e) {
                   visit(e.object);
                   visit(e.index);
                 },
                 [&](SliceExpr& e) {
                   visit(e.object);
                   visit(e.start);
                   visit(e.stop);
                   visit(e.step);
                 },
                 [&](CallExpr& e) {
                   visit(e.callee);
                   visit_arguments(e.arguments, visit);
                 },
                 [&](FilterExpr& e) {
                   visit(e.input);
                   visit_arguments(e.arguments, visit);
                 },
                 [&](TestExpr& e) {
                   visit(e.input);
                   visit_arguments(e.arguments, visit);
                 },
             },
             expr.node);
}

}  // namespace assay::jinja
