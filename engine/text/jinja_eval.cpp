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

namespace assay::jinja {

// The variables of one entered scope.
struct Scope {
  Scope* outer = nullptr;
  Values slots;
};

namespace {

class Evaluator {
 public:
  Evaluator(const Value& variables, Runtime& runtime) : variables_(variables), runtime_(runtime) {}

  Result<std::string> run(const Template& parsed) {
    const Frame frame(*this, parsed.scope, nullptr, Frame::Leave::keep);
    ASSAY_TRY(run_block(parsed.body));
    return std::move(root_output_);
  }

  int error_line() const { return error_line_; }

 private:
  enum class Flow : uint8_t { normal, break_loop, continue_loop };

  // A scope from entering to leaving it. One that a macro was defined in stays allocated until the rendering ends.
  class Frame {
   public:
    enum class Leave : uint8_t { clear, keep };  // what becomes of the variables of a scope that stays

    Frame(Evaluator& evaluator, const ScopeLayout& layout, Scope* outer, Leave leave)
        : evaluator_(evaluator), layout_(layout), leave_(leave), previous_(evaluator.scope_) {
      scope_ = layout.outlives_statement ? &evaluator.kept_scopes_.emplace_back() : &own_;
      scope_->outer = outer;
      evaluator.scope_ = scope_;
      reset();
    }
    ~Frame() {
      evaluator_.scope_ = previous_;
      if (scope_ != &own_ && leave_ == Leave::clear) std::fill(scope_->slots.begin(), scope_->slots.end(), Value());
    }
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;

    // Every variable as it is when the scope is entered.
    void reset() {
      scope_->slots.assign(layout_.variables.size(), Value());
      for (size_t i = 0; i < scope_->slots.size(); ++i) scope_->slots[i] = initial(layout_.variables[i]);
    }

   private:
    Value initial(const ScopeLayout::Variable& variable) const {
      switch (variable.init) {
        case ScopeLayout::Init::context: return evaluator_.from_context(variable.name);
        case ScopeLayout::Init::copy_outer: return evaluator_.slot(variable.outer);
        default: return {};
      }
    }

    Evaluator& evaluator_;
    const ScopeLayout& layout_;
    const Leave leave_;
    Scope* previous_;
    Scope own_;
    Scope* scope_;
  };

  // Output goes into a text of its own while one of these lives.
  class Capture {
   public:
    explicit Capture(Evaluator& evaluator)
        : evaluator_(evaluator), previous_(std::exchange(evaluator.output_, &text_)) {}
    ~Capture() { evaluator_.output_ = previous_; }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    Value take() { return Value::string(std::move(text_)); }

   private:
    Evaluator& evaluator_;
    std::string* previous_;
    std::string text_;
  };

  // The items for which the `if` of a for statement holds, asked item by item as the body runs.
  class TestedItems final : public Iterator {
   public:
    TestedItems(Evaluator& evaluator, const ForStmt& statement, std::shared_ptr<Iterator> source, Scope* outer)
        : Iterator(source->depth() + 1),
          evaluator_(evaluator),
          statement_(statement),
          source_(std::move(source)),
          outer_(outer) {}

    Result<std::optional<Value>> next(Runtime& runtime) override {
      if (!source_) return std::optional<Value>();
      const Frame frame(evaluator_, statement_.test_scope, outer_, Frame::Leave::clear);
      for (;;) {
        ASSAY_ASSIGN(std::optional<Value> item, source_->next(runtime));
        if (!item) {
          source_.reset();
          return item;
        }
        ASSAY_TRY(evaluator_.assign(statement_.test_target, *item));
        ASSAY_ASSIGN(const Value passes, evaluator_.eval(*statement_.test));
        if (is_true(passes)) return item;
      }
    }

   private:
    Evaluator& evaluator_;
    const ForStmt& statement_;
    std::shared_ptr<Iterator> source_;
    Scope* outer_;
  };

  // Names ------------------------------------------------------------------------------------------------------------
  Value from_context(const std::string& name) const {
    const Value* value = variables_.as_dict().find(name);
    return value != nullptr ? *value : find_global(name);
  }

  Value& slot(Slot place) {
    Scope* scope = scope_;
    for (int up = place.up; up > 0; --up) scope = scope->outer;
    return scope->slots[static_cast<size_t>(place.index)];
  }

  Status assign(const Target& target, const Value& value) {
    switch (target.form) {
      case Target::Form::name: slot(target.slot) = value; return ok_status();
      case Target::Form::attribute: return at_line(target.line, assign_attribute(target, value));
      case Target::Form::tuple: return at_line(target.line, assign_items(target, value));
    }
    return ok_status();
  }

  Status check_name_space(const Target& target) {
    if (target.form == Target::Form::attribute && !slot(target.slot).is(Kind::name_space)) {
      return at_line(target.line,
                     bad_data(fmt::format("'{}' is no namespace: its attributes cannot be assigned", target.name)));
    }
    for (const Target& item : target.items) ASSAY_TRY(check_name_space(item));
    return ok_status();
  }

  Status assign_attribute(const Target& target, const Value& value) {
    ASSAY_TRY(check_name_space(target));
    if (starts_with(target.attribute, "_")) {
      return bad_data(fmt::format("a namespace has no attribute '{}' that begins with _", target.attribute));
    }
    auto& attributes = slot(target.slot).as_name_space().attributes;
    const auto found =
        std::find_if(attributes.begin(), attributes.end(), [&](const auto& a) { return a.first == target.attribute; });
    if (found != attributes.end()) {
      found->second = value;
    } else {
      attributes.emplace_back(target.attribute, value);
    }
    return ok_status();
  }

  Status assign_items(const Target& target, const Value& value) {
    if (!is_iterable(value)) return bad_data(fmt::format("cannot unpack non-iterable {} object", type_name(value)));
    ASSAY_ASSIGN(const Values items, collect(runtime_, value));
    if (items.size() != target.items.size()) {
      return bad_data(fmt::format("{} values cannot be unpacked into {} names", items.size(), target.items.size()));
    }
    for (size_t i = 0; i < items.size(); ++i) ASSAY_TRY(assign(target.items[i], items[i]));
    return ok_status();
  }

  // Errors -----------------------------------------------------------------------------------------------------------
  // The innermost line that a failure passes is the one it is reported at.
  void note_line(int line) {
    if (error_line_ == 0) error_line_ = line;
  }
  Status at_line(int line, Status status) {
    if (!status.ok()) note_line(line);
    return status;
  }

  // Statements -------------------------------------------------------------------------------------------------------
  Status run_block(const Block& body) {
    const Runtime::Nested nested(runtime_);
    if (nested.too_deep()) return runtime_.too_deep();
    for (const StmtPtr& statement : body) {
      if (!runtime_.spend()) return at_line(statement->line, runtime_.out_of_steps());
      ASSAY_TRY(at_line(statement->line, std::visit([&](const auto& node) { return run(node); }, statement->node)));
      if (flow_ != Flow::normal) break;
    }
    return ok_status();
  }

  Status check_output() {
    const size_t limit = runtime_.limits().max_output_bytes;
    if (output_->size() <= limit) return ok_status();
    return bad_data(fmt::format("the output is over the limit of {} bytes", limit));
  }

  Status refuse_undefined(const Value& value) const {
    return runtime_.strict() && value.is(Kind::undefined) ? bad_data(value.undefined_reason()) : ok_status();
  }

  Status print(const Value& value) {
    ASSAY_TRY(refuse_undefined(value));
    ASSAY_TRY(append_str(runtime_, value, *output_));
    return check_output();
  }

  Status run(const TextStmt& statement) {
    ASSAY_TRY(runtime_.admit(statement.text.size()));
    *output_ += statement.text;
    return check_output();
  }

  Status run(const OutputStmt& statement) {
    for (const ExprPtr& expr : statement.values) {
      ASSAY_ASSIGN(const Value value, eval(*expr));
      ASSAY_TRY(print(value));
    }
    return ok_status();
  }

  Status run(const IfStmt& statement) {
    for (const auto& [condition, body] : statement.branches) {
      ASSAY_ASSIGN(const Value value, eval(*condition));
      ASSAY_TRY(refuse_undefined(value));
      if (is_true(value)) return run_block(body);
    }
    return run_block(statement.otherwise);
  }

  Status run(const ForStmt& statement) {
    ASSAY_ASSIGN(const Value iterable, eval(*statement.iterable));
    ASSAY_TRY(refuse_undefined(iterable));
    return run_loop(statement, iterable, scope_, 0);
  }

  Status run_loop(const ForStmt& statement, const Value& iterable, Scope* outer, int depth0) {
    ASSAY_ASSIGN(std::shared_ptr<Iterator> source, iterate(runtime_, iterable));
    std::optional<int64_t> length = length_of(iterable);
    if (statement.test) {
      source = std::make_shared<TestedItems>(*this, statement, std::move(source), outer);
      length.reset();
    }
    const auto loop = std::make_shared<Loop>(std::move(source), length, depth0);
    if (statement.recursive) {
      loop->statement = &statement;
      loop->scope = outer;
    }
    const Result<bool> completed = run_iterations(statement, loop, outer);
    loop->close();
    ASSAY_TRY(completed);
    if (*completed || statement.otherwise.empty()) return ok_status();
    const Frame frame(*this, statement.otherwise_scope, outer, Frame::Leave::clear);
    return run_block(statement.otherwise);
  }

  // Whether any iteration ran to the end of the body: Jinja renders the `else` otherwise, also after a break.
  Result<bool> run_iterations(const ForStmt& statement, const std::shared_ptr<Loop>& loop, Scope* outer) {
    Frame frame(*this, statement.body_scope, outer, Frame::Leave::clear);
    bool completed = false;
    for (bool is_first = true;; is_first = false) {
      ASSAY_ASSIGN(const bool has_item, loop->advance(runtime_));
      if (!has_item) return completed;
      if (!is_first) frame.reset();
      if (statement.uses_loop) slot(statement.loop_slot) = Value::loop(loop);
      ASSAY_TRY(assign(statement.target, loop->current()));
      ASSAY_TRY(run_block(statement.body));
      const Flow flow = std::exchange(flow_, Flow::normal);
      if (flow == Flow::break_loop) return completed;
      completed |= flow == Flow::normal;
    }
  }

  Status run(const SetStmt& statement) {
    ASSAY_TRY(check_name_space(statement.target));
    ASSAY_ASSIGN(const Value value, eval(*statement.value));
    return assign(statement.target, value);
  }

  // Renders a block into a text and applies an expression to that; nothing when the block ends in break or continue.
  Result<std::optional<Value>> capture(const Block& body, const ScopeLayout& layout, const Expr& expr) {
    const Frame frame(*this, layout, scope_, Frame::Leave::clear);
    {
      Capture text(*this);
      ASSAY_TRY(run_block(body));
      captured_ = text.take();
    }
    if (flow_ != Flow::normal) return std::optional<Value>();
    ASSAY_ASSIGN(Value value, eval(expr));
    return std::optional(std::move(value));
  }

  Status run(const SetBlockStmt& statement) {
    ASSAY_ASSIGN(const std::optional<Value> value, capture(statement.body, statement.scope, *statement.value));
    return value ? assign(statement.target, *value) : ok_status();
  }

  Status run(const FilterBlockStmt& statement) {
    ASSAY_ASSIGN(const std::optional<Value> value, capture(statement.body, statement.scope, *statement.value));
    return value ? print(*value) : ok_status();
  }

  Status run(const MacroStmt& statement) {
    slot(statement.slot) = Value::macro({&statement.macro, scope_});
    return ok_status();
  }

  Status run(const CallBlockStmt& statement) {
    const auto& call = std::get<CallExpr>(statement.call->node);
    ASSAY_ASSIGN(const Value callee, eval(*call.callee));
    ASSAY_ASSIGN(Arguments arguments, eval_arguments(call.arguments));
    arguments.named.emplace_back("caller", Value::macro({&statement.macro, scope_}));
    ASSAY_ASSIGN(const Value value, this->call(callee, arguments));
    return print(value);
  }

  Status run(const GenerationStmt& statement) {
    ASSAY_ASSIGN(const Value value, call_macro({&statement.macro, scope_}, {}));
    return print(value);
  }

  Status run(const WithStmt& statement) {
    Values values;
    for (const auto& [target, expr] : statement.assignments) {
      ASSAY_ASSIGN(Value value, eval(*expr));
      values.push_back(std::move(value));
    }
    const Frame frame(*this, statement.scope, scope_, Frame::Leave::clear);
    for (size_t i = 0; i < values.size(); ++i) ASSAY_TRY(assign(statement.assignments[i].first, values[i]));
    return run_block(statement.body);
  }

  Status run(const BreakStmt&) {
    flow_ = Flow::break_loop;
    return ok_status();
  }
  Status run(const ContinueStmt&) {
    flow_ = Flow::continue_loop;
    return ok_status();
  }

  // Calls ------------------------------------------------------------------------------------------------------------
  Result<Value> call(const Value& callee, const Arguments& arguments) {
    switch (callee.kind()) {
      case Kind::function: return callee.as_function().body(runtime_, callee.as_function().self, arguments);
      case Kind::macro: return call_macro(callee.as_macro(), arguments);
      case Kind::loop: return call_loop(callee, arguments);
      case Kind::joiner: return call_joiner(callee.as_joiner(), arguments);
      case Kind::undefined: return bad_data(callee.undefined_reason());
      default: return bad_data(fmt::format("'{}' object is not callable", type_name(callee)));
    }
  }

  static Result<Value> call_joiner(Joiner& joiner, const Arguments& arguments) {
    if (!arguments.positional.empty() || !arguments.named.empty()) return bad_data("a joiner takes no arguments");
    return Value::string(std::exchange(joiner.used, true) ? joiner.separator : "");
  }

  // loop(items) inside a recursive loop: the same statement over other items, one level deeper.
  Result<Value> call_loop(const Value& callee, const Arguments& arguments) {
    const Loop& loop = callee.as_loop();
    if (loop.statement == nullptr) return bad_data("only a running loop that is marked 'recursive' can be called");
    if (arguments.positional.size() != 1 || !arguments.named.empty())
      return bad_data("a loop is called with one iterable");
    const Runtime::Nested nested(runtime_);
    if (nested.too_deep() || loop.depth0 >= runtime_.limits().max_depth) return runtime_.too_deep();
    Capture text(*this);
    const auto& statement = *static_cast<const ForStmt*>(loop.statement);
    ASSAY_TRY(run_loop(statement, arguments.positional[0], loop.scope, loop.depth0 + 1));
    return text.take();
  }

  Result<Value> call_macro(const Macro& macro, const Arguments& arguments) {
    const MacroNode& node = *macro.node;
    const CallLevel level(*this);
    if (call_depth_ > runtime_.limits().max_depth) return runtime_.too_deep();
    const Frame frame(*this, node.scope, macro.closure, Frame::Leave::keep);
    ASSAY_TRY(bind_arguments(node, arguments));
    ASSAY_TRY(fill_defaults(node));
    Capture text(*this);
    ASSAY_TRY(run_block(node.body));
    return text.take();
  }

  // Arguments to the variables of the macro's scope, which is the current one.
  Status bind_arguments(const MacroNode& node, const Arguments& arguments) {
    const size_t num_parameters = node.parameters.size();
    const size_t num_positional = std::min(arguments.positional.size(), num_parameters);
    for (size_t i = 0; i < num_positional; ++i) slot(node.parameter_slots[i]) = arguments.positional[i];
    Dict more_named;
    Value caller;
    for (const auto& [name, value] : arguments.named) {
      const auto parameter =
          std::find(node.parameters.begin() + static_cast<ptrdiff_t>(num_positional), node.parameters.end(), name);
      if (parameter != node.parameters.end()) {
        slot(node.parameter_slots[static_cast<size_t>(parameter - node.parameters.begin())]) = value;
      } else if (name == "caller" && node.uses_caller) {
        caller = value;
      } else if (node.uses_kwargs) {
        ASSAY_TRY(more_named.set(runtime_, name, value));
      } else {
        return bad_data(fmt::format("macro '{}' takes no keyword argument '{}'", node.name, name));
      }
    }
    if (node.uses_caller) slot(node.caller_slot) = caller.is_missing() ? Value::undefined("No caller defined") : caller;
    if (node.uses_kwargs) {
      ASSAY_ASSIGN(slot(node.kwargs_slot), Value::dict(runtime_, std::move(more_named)));
    }
    if (node.uses_varargs) {
      const auto more = arguments.positional.begin() + static_cast<ptrdiff_t>(num_positional);
      ASSAY_ASSIGN(slot(node.varargs_slot), Value::tuple(runtime_, Values(more, arguments.positional.end())));
    } else if (arguments.positional.size() > num_parameters) {
      return bad_data(fmt::format("macro '{}' takes not more than {} arguments", node.name, num_parameters));
    }
    return ok_status();
  }

  Status fill_defaults(const MacroNode& node) {
    const size_t num_required = node.parameters.size() - node.defaults.size();
    for (size_t i = 0; i < node.parameters.size(); ++i) {
      if (!slot(node.parameter_slots[i]).is_missing()) continue;
      if (i < num_required) {
        slot(node.parameter_slots[i]) =
            Value::undefined(fmt::format("parameter '{}' was not provided", node.parameters[i]));
        continue;
      }
      ASSAY_ASSIGN(const Value value, eval(*node.defaults[i - num_required]));
      slot(node.parameter_slots[i]) = value;
    }
    return ok_status();
  }

  Result<Arguments> eval_arguments(const CallArguments& given) {
    Arguments arguments;
    for (const ExprPtr& expr : given.positional) {
      ASSAY_ASSIGN(Value value, eval(*expr));
      arguments.positional.push_back(std::move(value));
    }
    for (const auto& [name, expr] : given.named) {
      ASSAY_ASSIGN(Value value, eval(*expr));
      arguments.named.emplace_back(name, std::move(value));
    }
    if (given.more_positional) {
      ASSAY_ASSIGN(const Value sequence, eval(*given.more_positional));
      ASSAY_ASSIGN(const Values items, collect(runtime_, sequence));
      arguments.positional.insert(arguments.positional.end(), items.begin(), items.end());
    }
    if (given.more_named) ASSAY_TRY(add_named_arguments(*given.more_named, arguments));
    return arguments;
  }

  Status add_named_arguments(const Expr& expr, Arguments& arguments) {
    ASSAY_ASSIGN(const Value mapping, eval(expr));
    if (!mapping.is(Kind::dict))
      return bad_data(fmt::format("the argument after ** must be a mapping, not {}", type_name(mapping)));
    for (const auto& [key, value] : mapping.as_dict().items()) {
      if (!key.is(Kind::string)) return bad_data("the names of arguments are strings");
      const auto is_same = [&](const auto& other) { return other.first == key.as_string(); };
      if (std::any_of(arguments.named.begin(), arguments.named.end(), is_same)) {
        return bad_data(fmt::format("the argument '{}' is given twice", key.as_string()));
      }
      arguments.named.emplace_back(key.as_string(), value);
    }
    return ok_status();
  }

  // Expressions ------------------------------------------------------------------------------------------------------
  Result<Value> eval(const Expr& expr) {
    const Runtime::Nested nested(runtime_);
    Result<Value> value = !runtime_.spend() ? Result<Value>(runtime_.out_of_steps())
                          : nested.too_deep()
                              ? Result<Value>(runtime_.too_deep())
                              : std::visit([&](const auto& node) { return eval(node, expr.line); }, expr.node);
    if (!value.ok()) note_line(expr.line);
    return value;
  }

  Result<Value> eval_or_none(const ExprPtr& expr) { return expr ? eval(*expr) : Result<Value>(Value::none()); }

  Result<Values> eval_all(const ExprList& list) {
    Values values;
    values.reserve(list.size());
    for (const ExprPtr& expr : list) {
      ASSAY_ASSIGN(Value value, eval(*expr));
      values.push_back(std::move(value));
    }
    return values;
  }

  Result<Value> eval(const LiteralExpr& expr, int) { return expr.value; }
  Result<Value> eval(const CapturedExpr&, int) { return captured_; }

  Result<Value> eval(const NameExpr& expr, int) {
    const Value& value = slot(expr.slot);
    return value.is_missing() ? Value::undefined(fmt::format("'{}' is undefined", expr.name)) : value;
  }

  Result<Value> eval(const TupleExpr& expr, int) {
    ASSAY_ASSIGN(Values items, eval_all(expr.items));
    return Value::tuple(runtime_, std::move(items));
  }

  Result<Value> eval(const ListExpr& expr, int) {
    ASSAY_ASSIGN(Values items, eval_all(expr.items));
    return Value::list(runtime_, std::move(items));
  }

  Result<Value> eval(const DictExpr& expr, int) {
    Dict dict;
    for (const auto& [key_expr, value_expr] : expr.items) {
      ASSAY_ASSIGN(Value key, eval(*key_expr));
      ASSAY_ASSIGN(Value value, eval(*value_expr));
      ASSAY_TRY(dict.set(runtime_, std::move(key), std::move(value)));
    }
    return Value::dict(runtime_, std::move(dict));
  }

  Result<Value> eval(const ConditionalExpr& expr, int line) {
    ASSAY_ASSIGN(const Value condition, eval(*expr.condition));
    if (is_true(condition)) return eval(*expr.then);
    if (expr.otherwise) return eval(*expr.otherwise);
    return Value::undefined(
        fmt::format("the inline if-expression on line {} evaluated to false and no else section was defined.", line));
  }

  Result<Value> eval(const LogicExpr& expr, int) {
    Value value;
    for (const ExprPtr& operand : expr.operands) {
      ASSAY_ASSIGN(value, eval(*operand));
      if (is_true(value) != expr.is_and) break;
    }
    return value;
  }

  Result<Value> eval(const NotExpr& expr, int) {
    ASSAY_ASSIGN(const Value value, eval(*expr.operand));
    return Value::boolean(!is_true(value));
  }

  Result<Value> eval(const CompareExpr& expr, int) {
    ASSAY_ASSIGN(Value left, eval(*expr.first));
    for (const auto& [op, operand] : expr.rest) {
      ASSAY_ASSIGN(Value right, eval(*operand));
      ASSAY_ASSIGN(const bool holds, compare(runtime_, op, left, right));
      if (!holds) return Value::boolean(false);
      left = std::move(right);
    }
    return Value::boolean(true);
  }

  Result<Value> eval(const BinaryExpr& expr, int) {
    ASSAY_ASSIGN(Value value, eval(*expr.first));
    for (const auto& [op, operand] : expr.rest) {
      ASSAY_ASSIGN(const Value right, eval(*operand));
      ASSAY_ASSIGN(value, apply_binary(runtime_, op, value, right));
    }
    return value;
  }

  Result<Value> eval(const SignExpr& expr, int) {
    ASSAY_ASSIGN(const Value value, eval(*expr.operand));
    return apply_sign(expr.negative, value);
  }

  Result<Value> eval(const ConcatExpr& expr, int) {
    std::string text;
    for (const ExprPtr& operand : expr.operands) {
      ASSAY_ASSIGN(const Value value, eval(*operand));
      ASSAY_TRY(refuse_undefined(value));
      ASSAY_TRY(append_str(runtime_, value, text));
      if (text.size() > runtime_.limits().max_value_bytes) return runtime_.admit(text.size());
    }
    return Value::string(std::move(text));
  }

  Result<Value> eval(const AttributeExpr& expr, int) {
    ASSAY_ASSIGN(const Value object, eval(*expr.object));
    return get_attribute(runtime_, object, expr.name);
  }

  Result<Value> eval(const SubscriptExpr& expr, int) {
    ASSAY_ASSIGN(const Value object, eval(*expr.object));
    ASSAY_ASSIGN(const Value index, eval(*expr.index));
    return get_item(runtime_, object, index);
  }

  Result<Value> eval(const SliceExpr& expr, int) {
    ASSAY_ASSIGN(const Value object, eval(*expr.object));
    ASSAY_ASSIGN(const Value start, eval_or_none(expr.start));
    ASSAY_ASSIGN(const Value stop, eval_or_none(expr.stop));
    ASSAY_ASSIGN(const Value step, eval_or_none(expr.step));
    return get_slice(runtime_, object, start, stop, step);
  }

  Result<Value> eval(const CallExpr& expr, int) {
    ASSAY_ASSIGN(const Value callee, eval(*expr.callee));
    ASSAY_ASSIGN(const Arguments arguments, eval_arguments(expr.arguments));
    return call(callee, arguments);
  }

  Result<Value> eval(const FilterExpr& expr, int) {
    ASSAY_ASSIGN(const Value input, eval(*expr.input));
    if (expr.name != "default" && expr.name != "d") ASSAY_TRY(refuse_undefined(input));
    ASSAY_ASSIGN(const Arguments arguments, eval_arguments(expr.arguments));
    return apply_filter(runtime_, expr.filter, expr.name, input, arguments);
  }

  Result<Value> eval(const TestExpr& expr, int) {
    ASSAY_ASSIGN(const Value input, eval(*expr.input));
    ASSAY_ASSIGN(const Arguments arguments, eval_arguments(expr.arguments));
    ASSAY_ASSIGN(const bool passes, apply_test(runtime_, expr.test, expr.name, input, arguments));
    return Value::boolean(passes);
  }

  class CallLevel {
   public:
    explicit CallLevel(Evaluator& evaluator) : evaluator_(evaluator) { ++evaluator_.call_depth_; }
    ~CallLevel() { --evaluator_.call_depth_; }
    CallLevel(const CallLevel&) = delete;
    CallLevel& operator=(const CallLevel&) = delete;

   private:
    Evaluator& evaluator_;
  };

  const Value& variables_;
  Runtime& runtime_;
  std::string root_output_;
  std::string* output_ = &root_output_;
  Scope* scope_ = nullptr;
  std::deque<Scope> kept_scopes_;
  Value captured_;  // the text that CapturedExpr stands for
  Flow flow_ = Flow::normal;
  int call_depth_ = 0;
  int error_line_ = 0;
};

}  // namespace

Rendering evaluate(const Template& parsed, const Value& variables, Runtime& runtime) {
  Evaluator evaluator(variables, runtime);
  Result<std::string> text = evaluator.run(parsed);
  return {std::move(text), evaluator.error_line()};
}

}  // namespace assay::jinja
