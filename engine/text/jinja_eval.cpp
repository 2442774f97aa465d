#include "engine/text/jinja_eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "engine/base/text_util.h"
#include "engine/text/jinja_access.h"
#include "engine/text/jinja_globals.h"
#include "engine/text/jinja_iterators.h"
#include "engine/text/jinja_operators.h"
#include "engine/text/jinja_text.h"

namespace assay::jinja {

// The variables of one scope, in the order of its layout.
struct Scope {
  Scope* outer = nullptr;
  Values variables;
};

namespace {

// What a statement does to the loop around it.
enum class Flow : uint8_t { next, break_loop, continue_loop };

Scope& scope_of(Scope& scope, const Slot& slot) {
  Scope* found = &scope;
  for (int up = 0; up < slot.up; ++up) found = found->outer;
  return *found;
}

Value& variable(Scope& scope, const Slot& slot) { return scope_of(scope, slot).variables[static_cast<size_t>(slot.index)]; }

// The same failure, told once which line it happened on.
Status at_line(const Status& status, int line) {
  if (status.ok() || starts_with(status.message(), "line ")) return status;
  return {status.code(), fmt::format("line {}: {}", line, status.message())};
}

class Renderer {
 public:
  Renderer(const Dict& variables, Runtime& runtime) : variables_(variables), runtime_(runtime) {}

  Result<std::string> render(const Template& parsed) {
    std::string text;
    out_ = &text;
    Scope& scope = enter(parsed.scope, nullptr);
    ASSAY_TRY(run(parsed.body, scope));
    return text;
  }

 private:
  friend class TestedIterator;

  // Scopes -----------------------------------------------------------------------------------------------------------
  // Every scope lives as long as the rendering: macros may be called after the statement that defined them. Steps bound how many there are.
  Scope& enter(const ScopeLayout& layout, Scope* outer) {
    Scope& scope = scopes_.emplace_back();
    scope.outer = outer;
    scope.variables.reserve(layout.variables.size());
    for (const ScopeLayout::Variable& each : layout.variables) scope.variables.push_back(initial(each, scope));
    return scope;
  }

  Value initial(const ScopeLayout::Variable& each, Scope& scope) const {
    switch (each.init) {
      case ScopeLayout::Init::context: {
        const Value* given = variables_.find(each.name);
        return given ? *given : find_global(each.name);
      }
      case ScopeLayout::Init::copy_outer: return variable(scope, each.outer);
      case ScopeLayout::Init::parameter:
      case ScopeLayout::Init::missing: break;
    }
    return {};
  }

  // Statements ---------------------------------------------------------------------------------------------------------
  Result<Flow> run(const Block& block, Scope& scope) {
    for (const StmtPtr& statement : block) {
      if (!runtime_.spend()) return runtime_.out_of_steps();
      Result<Flow> flow = std::visit([&](const auto& node) { return run_node(node, scope); }, statement->node);
      if (!flow.ok()) return at_line(flow.status(), statement->line);
      if (*flow != Flow::next) return flow;
    }
    return Flow::next;
  }

  Status emit(std::string_view text) {
    if (out_->size() + text.size() > runtime_.limits().max_output_bytes) {
      return bad_data(fmt::format("the output is over the limit of {} bytes", runtime_.limits().max_output_bytes));
    }
    ASSAY_TRY(runtime_.charge(static_cast<int64_t>(text.size() / 64)));
    out_->append(text);
    return ok_status();
  }

  // Runs a block with its output going into a string.
  Result<std::string> capture(const Block& block, Scope& scope) {
    std::string text;
    std::string* const outside = std::exchange(out_, &text);
    const Result<Flow> flow = run(block, scope);
    out_ = outside;
    ASSAY_TRY(flow);
    return text;
  }

  Result<Flow> run_node(const TextStmt& statement, Scope&) {
    ASSAY_TRY(emit(statement.text));
    return Flow::next;
  }

  Result<Flow> run_node(const OutputStmt& statement, Scope& scope) {
    for (const ExprPtr& expr : statement.values) {
      ASSAY_ASSIGN(const Value value, eval(*expr, scope));
      ASSAY_ASSIGN(const std::string text, to_str(runtime_, value));
      ASSAY_TRY(emit(text));
    }
    return Flow::next;
  }

  Result<Flow> run_node(const IfStmt& statement, Scope& scope) {
    for (const auto& [condition, body] : statement.branches) {
      ASSAY_ASSIGN(const Value value, eval(*condition, scope));
      if (is_true(value)) return run(body, scope);
    }
    return run(statement.otherwise, scope);
  }

  Result<Flow> run_node(const ForStmt& statement, Scope& scope) {
    ASSAY_ASSIGN(const Value iterable, eval(*statement.iterable, scope));
    ASSAY_TRY(loop_over(statement, iterable, scope, 0));
    return Flow::next;
  }

  Result<Flow> run_node(const SetStmt& statement, Scope& scope) {
    ASSAY_ASSIGN(Value value, eval(*statement.value, scope));
    ASSAY_TRY(assign(statement.target, std::move(value), scope));
    return Flow::next;
  }

  Result<Flow> run_node(const SetBlockStmt& statement, Scope& scope) {
    ASSAY_ASSIGN(Value value, captured(statement.body, *statement.value, statement.scope, scope));
    ASSAY_TRY(assign(statement.target, std::move(value), scope));
    return Flow::next;
  }

  Result<Flow> run_node(const FilterBlockStmt& statement, Scope& scope) {
    ASSAY_ASSIGN(const Value value, captured(statement.body, *statement.value, statement.scope, scope));
    ASSAY_ASSIGN(const std::string text, to_str(runtime_, value));
    ASSAY_TRY(emit(text));
    return Flow::next;
  }

  Result<Flow> run_node(const MacroStmt& statement, Scope& scope) {
    variable(scope, statement.slot) = Value::macro({&statement.macro, &scope});
    return Flow::next;
  }

  Result<Flow> run_node(const CallBlockStmt& statement, Scope& scope) {
    const auto& call = std::get<CallExpr>(statement.call->node);
    ASSAY_ASSIGN(const Value callee, eval(*call.callee, scope));
    ASSAY_ASSIGN(Arguments arguments, eval_arguments(call.arguments, scope));
    arguments.named.emplace_back("caller", Value::macro({&statement.macro, &scope}));
    ASSAY_ASSIGN(const Value value, call_value(callee, std::move(arguments)));
    ASSAY_ASSIGN(const std::string text, to_str(runtime_, value));
    ASSAY_TRY(emit(text));
    return Flow::next;
  }

  Result<Flow> run_node(const GenerationStmt& statement, Scope& scope) {
    ASSAY_ASSIGN(const Value value, call_macro({&statement.macro, &scope}, {}));
    ASSAY_TRY(emit(value.as_string()));
    return Flow::next;
  }

  Result<Flow> run_node(const WithStmt& statement, Scope& scope) {
    Values values;
    for (const auto& [target, expr] : statement.assignments) {
      ASSAY_ASSIGN(Value value, eval(*expr, scope));
      values.push_back(std::move(value));
    }
    Scope& inner = enter(statement.scope, &scope);
    for (size_t i = 0; i < values.size(); ++i) ASSAY_TRY(assign(statement.assignments[i].first, std::move(values[i]), inner));
    return run(statement.body, inner);
  }

  Result<Flow> run_node(const BreakStmt&, Scope&) { return Flow::break_loop; }
  Result<Flow> run_node(const ContinueStmt&, Scope&) { return Flow::continue_loop; }

  Result<Value> captured(const Block& body, const Expr& value, const ScopeLayout& layout, Scope& scope) {
    Scope& inner = enter(layout, &scope);
    ASSAY_ASSIGN(std::string text, capture(body, inner));
    Value outside = std::exchange(captured_, Value::string(std::move(text)));
    Result<Value> result = eval(value, inner);
    captured_ = std::move(outside);
    return result;
  }

  Status assign(const Target& target, Value value, Scope& scope) {
    switch (target.form) {
      case Target::Form::name: variable(scope, target.slot) = std::move(value); return ok_status();
      case Target::Form::attribute: return assign_attribute(target, std::move(value), scope);
      case Target::Form::tuple: break;
    }
    if (value.is(Kind::undefined)) return bad_data(value.undefined_reason());
    ASSAY_ASSIGN(Values items, collect(runtime_, value));
    if (items.size() != target.items.size()) {
      return bad_data(fmt::format("{} values to unpack, expected {}", items.size(), target.items.size()));
    }
    for (size_t i = 0; i < items.size(); ++i) ASSAY_TRY(assign(target.items[i], std::move(items[i]), scope));
    return ok_status();
  }

  Status assign_attribute(const Target& target, Value value, Scope& scope) {
    const Value& object = variable(scope, target.slot);
    if (!object.is(Kind::name_space)) return bad_data(fmt::format("cannot assign attribute '{}': '{}' is no namespace", target.attribute, target.name));
    auto& attributes = object.as_name_space().attributes;
    const auto found = std::find_if(attributes.begin(), attributes.end(), [&](const auto& each) { return each.first == target.attribute; });
    if (found != attributes.end()) {
      found->second = std::move(value);
    } else {
      attributes.emplace_back(target.attribute, std::move(value));
    }
    return ok_status();
  }

  // Loops ----------------------------------------------------------------------------------------------------------------
  Status loop_over(const ForStmt& statement, const Value& iterable, Scope& scope, int depth0);
  Result<Flow> run_pass(const ForStmt& statement, Value item, const Value& loop, Scope& scope) {
    Scope& body = enter(statement.body_scope, &scope);
    if (statement.uses_loop) variable(body, statement.loop_slot) = loop;
    ASSAY_TRY(assign(statement.target, std::move(item), body));
    return run(statement.body, body);
  }

  Result<bool> passes_test(const ForStmt& statement, const Value& item, Scope& scope) {
    Scope& inner = enter(statement.test_scope, &scope);
    ASSAY_TRY(assign(statement.test_target, item, inner));
    ASSAY_ASSIGN(const Value verdict, eval(*statement.test, inner));
    return is_true(verdict);
  }

  // `loop(items)` inside a recursive for statement: the statement again, over other items, as text.
  Result<Value> call_loop(Loop& loop, const Arguments& arguments) {
    if (!loop.statement) return bad_data("'loop' can be called only inside a running for statement that is marked 'recursive'");
    if (arguments.positional.size() != 1 || !arguments.named.empty()) return bad_data("loop() takes the items to walk, and nothing else");
    const Runtime::Nested nested(runtime_);
    if (nested.too_deep()) return runtime_.too_deep();
    std::string text;
    std::string* const outside = std::exchange(out_, &text);
    const Status status = loop_over(*static_cast<const ForStmt*>(loop.statement), arguments.positional[0], *loop.scope, loop.depth0 + 1);
    out_ = outside;
    ASSAY_TRY(status);
    return Value::string(std::move(text));
  }

  // Calls ----------------------------------------------------------------------------------------------------------------
  Result<Value> call_value(const Value& callee, Arguments arguments) {
    switch (callee.kind()) {
      case Kind::function: return callee.as_function().body(runtime_, callee.as_function().self, arguments);
      case Kind::macro: return call_macro(callee.as_macro(), std::move(arguments));
      case Kind::loop: return call_loop(callee.as_loop(), arguments);
      case Kind::joiner: return Value::string(std::exchange(callee.as_joiner().used, true) ? callee.as_joiner().separator : std::string());
      case Kind::undefined: return bad_data(callee.undefined_reason());
      default: return bad_data(fmt::format("'{}' object is not callable", type_name(callee)));
    }
  }

  Result<Value> call_macro(const Macro& macro, Arguments arguments) {
    const Runtime::Nested nested(runtime_);
    if (nested.too_deep()) return runtime_.too_deep();
    const MacroNode& node = *macro.node;
    Scope& scope = enter(node.scope, macro.closure);
    ASSAY_TRY(bind_parameters(node, arguments, scope));
    ASSAY_TRY(bind_specials(node, arguments, scope));
    ASSAY_ASSIGN(std::string text, capture(node.body, scope));
    return Value::string(std::move(text));
  }

  // Gives each parameter its argument, default, or an undefined value; what was used leaves `arguments`.
  Status bind_parameters(const MacroNode& node, Arguments& arguments, Scope& scope) {
    const size_t count = node.parameters.size();
    const size_t given = std::min(count, arguments.positional.size());
    const size_t first_default = count - node.defaults.size();
    for (size_t i = 0; i < count; ++i) {
      Value& place = variable(scope, node.parameter_slots[i]);
      const auto named = std::find_if(arguments.named.begin(), arguments.named.end(), [&](const auto& each) { return each.first == node.parameters[i]; });
      if (i < given) {
        if (named != arguments.named.end()) return bad_data(fmt::format("macro '{}' got two values for '{}'", node.name, node.parameters[i]));
        place = arguments.positional[i];
      } else if (named != arguments.named.end()) {
        place = named->second;
        arguments.named.erase(named);
      } else if (i >= first_default) {
        ASSAY_ASSIGN(Value value, eval(*node.defaults[i - first_default], scope));
        variable(scope, node.parameter_slots[i]) = std::move(value);
      } else {
        place = Value::undefined(fmt::format("parameter '{}' was not provided", node.parameters[i]));
      }
    }
    arguments.positional.erase(arguments.positional.begin(), arguments.positional.begin() + static_cast<ptrdiff_t>(given));
    return ok_status();
  }

  // caller, varargs and kwargs; arguments that are left over without them are errors.
  Status bind_specials(const MacroNode& node, Arguments& arguments, Scope& scope) {
    if (node.uses_caller) {
      const auto caller = std::find_if(arguments.named.begin(), arguments.named.end(), [](const auto& each) { return each.first == "caller"; });
      variable(scope, node.caller_slot) = caller == arguments.named.end() ? Value::undefined("No caller defined") : caller->second;
      if (caller != arguments.named.end()) arguments.named.erase(caller);
    }
    if (node.uses_kwargs) {
      Dict rest;
      for (auto& [name, value] : arguments.named) ASSAY_TRY(rest.set(runtime_, name, std::move(value)));
      ASSAY_ASSIGN(variable(scope, node.kwargs_slot), Value::dict(runtime_, std::move(rest)));
    } else if (!arguments.named.empty()) {
      return bad_data(fmt::format("macro '{}' takes no keyword argument '{}'", node.name, arguments.named[0].first));
    }
    if (node.uses_varargs) {
      ASSAY_ASSIGN(variable(scope, node.varargs_slot), Value::tuple(runtime_, std::move(arguments.positional)));
    } else if (!arguments.positional.empty()) {
      return bad_data(fmt::format("macro '{}' takes not more than {} argument(s)", node.name, node.parameters.size()));
    }
    return ok_status();
  }

  Result<Arguments> eval_arguments(const CallArguments& call, Scope& scope) {
    Arguments arguments;
    ASSAY_ASSIGN(arguments.positional, eval_all(call.positional, scope));
    for (const auto& [name, expr] : call.named) {
      ASSAY_ASSIGN(Value value, eval(*expr, scope));
      arguments.named.emplace_back(name, std::move(value));
    }
    if (call.more_positional) {
      ASSAY_ASSIGN(const Value more, eval(*call.more_positional, scope));
      ASSAY_ASSIGN(Values items, collect(runtime_, more));
      for (Value& item : items) arguments.positional.push_back(std::move(item));
    }
    if (call.more_named) ASSAY_TRY(add_mapping(*call.more_named, scope, arguments));
    return arguments;
  }

  Status add_mapping(const Expr& expr, Scope& scope, Arguments& arguments) {
    ASSAY_ASSIGN(const Value mapping, eval(expr, scope));
    if (!mapping.is(Kind::dict)) return bad_data(fmt::format("argument after ** must be a mapping, not {}", type_name(mapping)));
    for (const auto& [key, value] : mapping.as_dict().items()) {
      if (!key.is(Kind::string)) return bad_data("keywords must be strings");
      arguments.named.emplace_back(key.as_string(), value);
    }
    return ok_status();
  }

  // Expressions ----------------------------------------------------------------------------------------------------------
  Result<Value> eval(const Expr& expr, Scope& scope) {
    if (!runtime_.spend()) return runtime_.out_of_steps();
    const Runtime::Nested nested(runtime_);
    if (nested.too_deep()) return runtime_.too_deep();
    Result<Value> value = std::visit([&](const auto& node) { return eval_node(node, scope); }, expr.node);
    if (!value.ok()) return at_line(value.status(), expr.line);
    return value;
  }

  Result<Values> eval_all(const ExprList& list, Scope& scope) {
    Values values;
    for (const ExprPtr& expr : list) {
      ASSAY_ASSIGN(Value value, eval(*expr, scope));
      values.push_back(std::move(value));
    }
    return values;
  }

  // An absent expression is none.
  Result<Value> eval_optional(const ExprPtr& expr, Scope& scope) { return expr ? eval(*expr, scope) : Result<Value>(Value::none()); }

  Result<Value> eval_node(const LiteralExpr& e, Scope&) { return e.value; }
  Result<Value> eval_node(const CapturedExpr&, Scope&) { return captured_; }

  Result<Value> eval_node(const NameExpr& e, Scope& scope) {
    const Value& value = variable(scope, e.slot);
    return value.is_missing() ? Value::undefined(fmt::format("'{}' is undefined", e.name)) : value;
  }

  Result<Value> eval_node(const TupleExpr& e, Scope& scope) {
    ASSAY_ASSIGN(Values items, eval_all(e.items, scope));
    return Value::tuple(runtime_, std::move(items));
  }

  Result<Value> eval_node(const ListExpr& e, Scope& scope) {
    ASSAY_ASSIGN(Values items, eval_all(e.items, scope));
    return Value::list(runtime_, std::move(items));
  }

  Result<Value> eval_node(const DictExpr& e, Scope& scope) {
    Dict dict;
    for (const auto& [key_expr, value_expr] : e.items) {
      ASSAY_ASSIGN(Value key, eval(*key_expr, scope));
      ASSAY_ASSIGN(Value value, eval(*value_expr, scope));
      ASSAY_TRY(dict.set(runtime_, std::move(key), std::move(value)));
    }
    return Value::dict(runtime_, std::move(dict));
  }

  Result<Value> eval_node(const ConditionalExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Value condition, eval(*e.condition, scope));
    if (is_true(condition)) return eval(*e.then, scope);
    if (e.otherwise) return eval(*e.otherwise, scope);
    return Value::undefined("the inline if-expression evaluated to false and no else section was defined");
  }

  Result<Value> eval_node(const LogicExpr& e, Scope& scope) {
    Value value;
    for (const ExprPtr& operand : e.operands) {
      ASSAY_ASSIGN(value, eval(*operand, scope));
      if (is_true(value) != e.is_and) return value;
    }
    return value;
  }

  Result<Value> eval_node(const NotExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Value value, eval(*e.operand, scope));
    return Value::boolean(!is_true(value));
  }

  Result<Value> eval_node(const CompareExpr& e, Scope& scope) {
    ASSAY_ASSIGN(Value left, eval(*e.first, scope));
    for (const auto& [op, operand] : e.rest) {
      ASSAY_ASSIGN(Value right, eval(*operand, scope));
      ASSAY_ASSIGN(const bool holds, compare(runtime_, op, left, right));
      if (!holds) return Value::boolean(false);
      left = std::move(right);
    }
    return Value::boolean(true);
  }

  Result<Value> eval_node(const BinaryExpr& e, Scope& scope) {
    ASSAY_ASSIGN(Value value, eval(*e.first, scope));
    for (const auto& [op, operand] : e.rest) {
      ASSAY_ASSIGN(const Value right, eval(*operand, scope));
      ASSAY_ASSIGN(value, apply_binary(runtime_, op, value, right));
    }
    return value;
  }

  Result<Value> eval_node(const SignExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Value value, eval(*e.operand, scope));
    return apply_sign(e.negative, value);
  }

  Result<Value> eval_node(const ConcatExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Values parts, eval_all(e.operands, scope));
    const bool is_markup = std::any_of(parts.begin(), parts.end(), [](const Value& part) { return part.is_markup(); });
    std::string text;
    for (const Value& part : parts) {
      ASSAY_ASSIGN(const std::string piece, to_str(runtime_, part));
      text += is_markup && !part.is_markup() ? escape_html(piece) : piece;
      ASSAY_TRY(runtime_.admit(text.size()));
    }
    return Value::string(std::move(text), is_markup);
  }

  Result<Value> eval_node(const AttributeExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Value object, eval(*e.object, scope));
    return get_attribute(runtime_, object, e.name);
  }

  Result<Value> eval_node(const SubscriptExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Value object, eval(*e.object, scope));
    ASSAY_ASSIGN(const Value index, eval(*e.index, scope));
    return get_item(runtime_, object, index);
  }

  Result<Value> eval_node(const SliceExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Value object, eval(*e.object, scope));
    ASSAY_ASSIGN(const Value start, eval_optional(e.start, scope));
    ASSAY_ASSIGN(const Value stop, eval_optional(e.stop, scope));
    ASSAY_ASSIGN(const Value step, eval_optional(e.step, scope));
    return get_slice(runtime_, object, start, stop, step);
  }

  Result<Value> eval_node(const CallExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Value callee, eval(*e.callee, scope));
    ASSAY_ASSIGN(Arguments arguments, eval_arguments(e.arguments, scope));
    return call_value(callee, std::move(arguments));
  }

  Result<Value> eval_node(const FilterExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Value input, eval(*e.input, scope));
    ASSAY_ASSIGN(const Arguments arguments, eval_arguments(e.arguments, scope));
    return apply_filter(runtime_, e.filter, e.name, input, arguments);
  }

  Result<Value> eval_node(const TestExpr& e, Scope& scope) {
    ASSAY_ASSIGN(const Value input, eval(*e.input, scope));
    ASSAY_ASSIGN(const Arguments arguments, eval_arguments(e.arguments, scope));
    ASSAY_ASSIGN(const bool holds, apply_test(runtime_, e.test, e.name, input, arguments));
    return Value::boolean(holds);
  }

  const Dict& variables_;
  Runtime& runtime_;
  std::deque<Scope> scopes_;
  std::string* out_ = nullptr;
  Value captured_;
};

// The items of a for statement that pass its test, found as they are asked for.
class TestedIterator final : public Iterator {
 public:
  TestedIterator(std::shared_ptr<Iterator> source, Renderer& renderer, const ForStmt& statement, Scope& scope)
      : Iterator(source->depth()), source_(std::move(source)), renderer_(renderer), statement_(statement), scope_(scope) {}

  Result<std::optional<Value>> next(Runtime& runtime) override {
    for (;;) {
      ASSAY_ASSIGN(std::optional<Value> item, source_->next(runtime));
      if (!item) return item;
      ASSAY_ASSIGN(const bool passes, renderer_.passes_test(statement_, *item, scope_));
      if (passes) return item;
    }
  }

 private:
  std::shared_ptr<Iterator> source_;
  Renderer& renderer_;
  const ForStmt& statement_;
  Scope& scope_;
};

Status Renderer::loop_over(const ForStmt& statement, const Value& iterable, Scope& scope, int depth0) {
  ASSAY_ASSIGN(std::shared_ptr<Iterator> items, iterate(runtime_, iterable));
  std::optional<int64_t> length;
  if (statement.test) {
    items = std::make_shared<TestedIterator>(std::move(items), *this, statement, scope);
  } else {
    length = length_of(iterable);
  }
  const auto loop = std::make_shared<Loop>(items, length, depth0);
  if (statement.recursive) loop->statement = &statement;
  loop->scope = &scope;
  const Value loop_value = statement.uses_loop ? Value::loop(loop) : Value();
  bool walked = false;
  Status status;
  for (;;) {
    Value item;
    if (statement.uses_loop) {
      const Result<bool> more = loop->advance(runtime_);
      if (!more.ok()) status = more.status();
      if (!more.ok() || !*more) break;
      item = loop->current();
    } else {
      Result<std::optional<Value>> next = items->next(runtime_);
      if (!next.ok()) status = next.status();
      if (!next.ok() || !*next) break;
      item = std::move(**next);
    }
    walked = true;
    const Result<Flow> flow = run_pass(statement, std::move(item), loop_value, scope);
    if (!flow.ok()) status = flow.status();
    if (!flow.ok() || *flow == Flow::break_loop) break;
  }
  loop->close();
  ASSAY_TRY(status);
  if (walked) return ok_status();
  Scope& otherwise = enter(statement.otherwise_scope, &scope);
  return run(statement.otherwise, otherwise).status();
}

}  // namespace

Result<std::string> render_template(const Template& parsed, const Dict& variables, Runtime& runtime) {
  return Renderer(variables, runtime).render(parsed);
}

}  // namespace assay::jinja
