#include "engine/text/jinja_scope.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "engine/text/jinja_lexer.h"

namespace assay::jinja {
namespace {

// Visits every name that a tree reads or assigns, nested blocks included, in the order that the tree lists them.
template <class Visit>
void visit_names(ExprPtr& expr, const Visit& visit) {
  if (!expr) return;
  if (auto* name = std::get_if<NameExpr>(&expr->node)) visit(name->name, true);
  visit_children(*expr, [&](ExprPtr& child) { visit_names(child, visit); });
}

template <class Visit>
void visit_names(Target& target, const Visit& visit) {
  if (target.form == Target::Form::name) visit(target.name, false);
  for (Target& item : target.items) visit_names(item, visit);
}

template <class Visit>
void visit_names(Block& block, const Visit& visit);

template <class Visit>
void visit_names(MacroNode& macro, const Visit& visit) {
  for (const std::string& parameter : macro.parameters) visit(parameter, false);
  for (ExprPtr& value : macro.defaults) visit_names(value, visit);
  visit_names(macro.body, visit);
}

template <class Visit>
void visit_names(Stmt& statement, const Visit& visit) {
  std::visit(Overloaded{
                 [](TextStmt&) {},
                 [](BreakStmt&) {},
                 [](ContinueStmt&) {},
                 [&](OutputStmt& s) {
                   for (ExprPtr& value : s.values) visit_names(value, visit);
                 },
                 [&](IfStmt& s) {
                   for (auto& [condition, body] : s.branches) {
                     visit_names(condition, visit);
                     visit_names(body, visit);
                   }
                   visit_names(s.otherwise, visit);
                 },
                 [&](ForStmt& s) {
                   visit_names(s.target, visit);
                   visit_names(s.iterable, visit);
                   visit_names(s.body, visit);
                   visit_names(s.otherwise, visit);
                   visit_names(s.test, visit);
                 },
                 [&](SetStmt& s) {
                   visit_names(s.target, visit);
                   visit_names(s.value, visit);
                 },
                 [&](SetBlockStmt& s) {
                   visit_names(s.target, visit);
                   visit_names(s.value, visit);
                   visit_names(s.body, visit);
                 },
                 [&](MacroStmt& s) { visit_names(s.macro, visit); },
                 [&](CallBlockStmt& s) {
                   visit_names(s.call, visit);
                   visit_names(s.macro, visit);
                 },
                 [&](GenerationStmt& s) { visit_names(s.macro, visit); },
                 [&](FilterBlockStmt& s) {
                   visit_names(s.body, visit);
                   visit_names(s.value, visit);
                 },
                 [&](WithStmt& s) {
                   for (auto& [target, value] : s.assignments) visit_names(target, visit);
                   for (auto& [target, value] : s.assignments) visit_names(value, visit);
                   visit_names(s.body, visit);
                 },
             },
             statement.node);
}

template <class Visit>
void visit_names(Block& block, const Visit& visit) {
  for (StmtPtr& statement : block) visit_names(*statement, visit);
}

// Which of some names a block reads before it assigns them.
std::unordered_set<std::string> names_read_first(Block& block, std::unordered_set<std::string> candidates) {
  std::unordered_set<std::string> read;
  visit_names(block, [&](const std::string& name, bool is_read) {
    if (!candidates.contains(name)) return;
    if (is_read) read.insert(name);
    if (!is_read) candidates.erase(name);
  });
  return read;
}

bool assigns(Block& block, std::string_view wanted) {
  bool found = false;
  visit_names(block, [&](const std::string& name, bool is_read) { found |= !is_read && name == wanted; });
  return found;
}

bool assigns(Target& target, std::string_view wanted) {
  bool found = false;
  visit_names(target, [&](const std::string& name, bool) { found |= name == wanted; });
  return found;
}

// One scope while its names are settled. Based on: the symbol analysis of Jinja's compiler (jinja2.idtracking), which
// copies the table for each branch of an `if`; a name first assigned in a branch comes out the same without copies.
class ScopeBuilder {
 public:
  ScopeBuilder(ScopeLayout& layout, ScopeBuilder* outer) : layout_(layout), outer_(outer) {}

  ScopeBuilder* outer() const { return outer_; }
  ScopeLayout& layout() { return layout_; }

  void declare_parameter(const std::string& name) { define(name, ScopeLayout::Init::parameter, {}); }

  void read(const std::string& name) {
    if (!find(name)) define(name, ScopeLayout::Init::context, {});
  }

  void assign(const std::string& name, bool in_branch) {
    if (places_.contains(name)) return;
    if (const std::optional<Slot> outside = outer_ == nullptr ? std::nullopt : outer_->find(name)) {
      define(name, ScopeLayout::Init::copy_outer, {outside->up + 1, outside->index});
    } else {
      define(name, in_branch ? ScopeLayout::Init::context : ScopeLayout::Init::missing, {});
    }
  }

  std::optional<Slot> find(const std::string& name) const {
    int up = 0;
    for (const ScopeBuilder* scope = this; scope != nullptr; scope = scope->outer_, ++up) {
      if (const auto place = scope->places_.find(name); place != scope->places_.end()) return Slot{up, place->second};
    }
    return std::nullopt;
  }

  void mark_outliving() {
    for (ScopeBuilder* scope = this; scope != nullptr; scope = scope->outer_) scope->layout_.outlives_statement = true;
  }

 private:
  void define(const std::string& name, ScopeLayout::Init init, Slot outer) {
    const auto [place, is_new] = places_.emplace(name, static_cast<int>(layout_.variables.size()));
    if (is_new) layout_.variables.push_back({name, init, outer});
  }

  ScopeLayout& layout_;
  ScopeBuilder* outer_;
  std::unordered_map<std::string, int> places_;
};

// First pass over one scope: which names it reads and assigns itself. Nested scopes are left alone.
class Collector {
 public:
  explicit Collector(ScopeBuilder& scope) : scope_(scope) {}

  void expression(ExprPtr& expr) {
    visit_names(expr, [this](const std::string& name, bool) { scope_.read(name); });
  }

  void parameters(Target& target) {
    visit_names(target, [this](const std::string& name, bool) { scope_.declare_parameter(name); });
  }

  void block(Block& body) {
    for (StmtPtr& statement : body) std::visit([this](auto& node) { collect(node); }, statement->node);
  }

 private:
  void target(Target& assigned) {
    if (assigned.form == Target::Form::name) scope_.assign(assigned.name, branches_ > 0);
    if (assigned.form == Target::Form::attribute) scope_.read(assigned.name);
    for (Target& item : assigned.items) target(item);
  }

  void collect(TextStmt&) {}
  void collect(BreakStmt&) {}
  void collect(ContinueStmt&) {}
  void collect(GenerationStmt&) {}
  void collect(OutputStmt& statement) {
    for (ExprPtr& value : statement.values) expression(value);
  }
  void collect(IfStmt& statement) {
    bool is_first = true;
    for (auto& [condition, body] : statement.branches) {
      branches_ += is_first ? 0 : 1;
      expression(condition);
      branches_ -= is_first ? 0 : 1;
      is_first = false;
      branch(body);
    }
    branch(statement.otherwise);
  }
  void branch(Block& body) {
    ++branches_;
    block(body);
    --branches_;
  }
  void collect(ForStmt& statement) { expression(statement.iterable); }
  void collect(SetStmt& statement) {
    expression(statement.value);
    target(statement.target);
  }
  void collect(SetBlockStmt& statement) { target(statement.target); }
  void collect(MacroStmt& statement) { scope_.assign(statement.macro.name, branches_ > 0); }
  void collect(CallBlockStmt& statement) { expression(statement.call); }
  void collect(FilterBlockStmt& statement) { expression(statement.value); }
  void collect(WithStmt& statement) {
    for (auto& [assigned, value] : statement.assignments) expression(value);
  }

  ScopeBuilder& scope_;
  int branches_ = 0;
};

// Second pass: places for all names, scope by scope inward.
class Resolver {
 public:
  Status run(Template& parsed) {
    ScopeBuilder root(parsed.scope, nullptr);
    Collector(root).block(parsed.body);
    return block(parsed.body, {&root, false, false});
  }

 private:
  struct Place {
    ScopeBuilder* scope;
    bool in_if;    // an unknown filter is an error only when it is reached
    bool in_loop;  // break and continue have a loop to act on
    Place within(ScopeBuilder& inner, bool loop) const { return {&inner, false, loop}; }
  };

  Status block(Block& body, Place place) {
    for (StmtPtr& statement : body) {
      const int line = statement->line;
      ASSAY_TRY(std::visit([&](auto& node) { return resolve(node, line, place); }, statement->node));
    }
    return ok_status();
  }

  Status expression(ExprPtr& expr, Place place) {
    if (!expr) return ok_status();
    if (auto* name = std::get_if<NameExpr>(&expr->node)) ASSAY_TRY(slot_of(name->name, expr->line, place, name->slot));
    if (auto* filter = std::get_if<FilterExpr>(&expr->node)) ASSAY_TRY(bind_filter(*filter, expr->line, place));
    if (auto* test = std::get_if<TestExpr>(&expr->node)) ASSAY_TRY(bind_test(*test, expr->line, place));
    if (std::holds_alternative<ConditionalExpr>(expr->node)) place.in_if = true;
    Status status;
    visit_children(*expr, [&](ExprPtr& child) {
      if (status.ok()) status = expression(child, place);
    });
    return status;
  }

  static Status bind_filter(FilterExpr& filter, int line, Place place) {
    filter.filter = find_filter(filter.name);
    const bool usable = filter.filter != nullptr && filter.filter->body != nullptr;
    if (usable || place.in_if) return ok_status();
    return unsupported(fmt::format("line {}: unknown filter '{}'", line, filter.name));
  }

  static Status bind_test(TestExpr& test, int line, Place place) {
    test.test = find_test(test.name);
    if (test.test != nullptr || place.in_if) return ok_status();
    return unsupported(fmt::format("line {}: unknown test '{}'", line, test.name));
  }

  static Status slot_of(const std::string& name, int line, Place place, Slot& slot) {
    const std::optional<Slot> found = place.scope->find(name);
    if (!found) return internal_error(fmt::format("line {}: the name '{}' was not collected", line, name));
    slot = *found;
    return ok_status();
  }

  Status target(Target& assigned, Place place) {
    if (assigned.form != Target::Form::tuple) return slot_of(assigned.name, assigned.line, place, assigned.slot);
    for (Target& item : assigned.items) ASSAY_TRY(target(item, place));
    return ok_status();
  }

  Status resolve(TextStmt&, int, Place) { return ok_status(); }
  Status resolve(BreakStmt&, int line, Place place) { return in_loop("break", line, place); }
  Status resolve(ContinueStmt&, int line, Place place) { return in_loop("continue", line, place); }

  static Status in_loop(std::string_view tag, int line, Place place) {
    return place.in_loop ? ok_status() : syntax_error(line, fmt::format("'{}' stands outside a loop", tag));
  }

  Status resolve(OutputStmt& statement, int, Place place) {
    for (ExprPtr& value : statement.values) ASSAY_TRY(expression(value, place));
    return ok_status();
  }

  Status resolve(IfStmt& statement, int, Place place) {
    place.in_if = true;
    for (auto& [condition, body] : statement.branches) {
      ASSAY_TRY(expression(condition, place));
      ASSAY_TRY(block(body, place));
    }
    return block(statement.otherwise, place);
  }

  Status resolve(ForStmt& statement, int line, Place place) {
    if (assigns(statement.target, "loop") || assigns(statement.body, "loop") || assigns(statement.otherwise, "loop")) {
      return syntax_error(line, "'loop' cannot be assigned inside a for statement");
    }
    ASSAY_TRY(expression(statement.iterable, place));
    ASSAY_TRY(resolve_test(statement, place));
    ASSAY_TRY(resolve_loop_body(statement, place));
    ScopeBuilder otherwise(statement.otherwise_scope, place.scope);
    Collector(otherwise).block(statement.otherwise);
    return block(statement.otherwise, place.within(otherwise, place.in_loop));
  }

  Status resolve_test(ForStmt& statement, Place place) {
    if (!statement.test) return ok_status();
    ScopeBuilder scope(statement.test_scope, place.scope);
    Collector collector(scope);
    collector.parameters(statement.test_target);
    collector.expression(statement.test);
    ASSAY_TRY(target(statement.test_target, place.within(scope, false)));
    return expression(statement.test, place.within(scope, false));
  }

  Status resolve_loop_body(ForStmt& statement, Place place) {
    ScopeBuilder scope(statement.body_scope, place.scope);
    statement.uses_loop = statement.recursive || names_read_first(statement.body, {"loop"}).contains("loop");
    if (statement.uses_loop) {
      scope.declare_parameter("loop");
      statement.loop_slot = *scope.find("loop");
    }
    Collector collector(scope);
    collector.parameters(statement.target);
    collector.block(statement.body);
    ASSAY_TRY(target(statement.target, place.within(scope, true)));
    return block(statement.body, place.within(scope, true));
  }

  Status resolve(SetStmt& statement, int, Place place) {
    ASSAY_TRY(expression(statement.value, place));
    return target(statement.target, place);
  }

  Status resolve(SetBlockStmt& statement, int, Place place) {
    ScopeBuilder scope(statement.scope, place.scope);
    Collector collector(scope);
    collector.block(statement.body);
    collector.expression(statement.value);
    ASSAY_TRY(block(statement.body, place.within(scope, place.in_loop)));
    ASSAY_TRY(expression(statement.value, place.within(scope, place.in_loop)));
    return target(statement.target, place);
  }

  Status resolve(FilterBlockStmt& statement, int, Place place) {
    ScopeBuilder scope(statement.scope, place.scope);
    Collector collector(scope);
    collector.block(statement.body);
    collector.expression(statement.value);
    ASSAY_TRY(block(statement.body, place.within(scope, place.in_loop)));
    return expression(statement.value, place.within(scope, place.in_loop));
  }

  Status resolve(WithStmt& statement, int, Place place) {
    for (auto& [assigned, value] : statement.assignments) ASSAY_TRY(expression(value, place));
    ScopeBuilder scope(statement.scope, place.scope);
    Collector collector(scope);
    for (auto& [assigned, value] : statement.assignments) collector.parameters(assigned);
    collector.block(statement.body);
    for (auto& [assigned, value] : statement.assignments)
      ASSAY_TRY(target(assigned, place.within(scope, place.in_loop)));
    return block(statement.body, place.within(scope, place.in_loop));
  }

  Status resolve(MacroStmt& statement, int line, Place place) {
    ASSAY_TRY(slot_of(statement.macro.name, line, place, statement.slot));
    return macro(statement.macro, line, place);
  }

  Status resolve(CallBlockStmt& statement, int line, Place place) {
    ASSAY_TRY(expression(statement.call, place));
    return macro(statement.macro, line, place);
  }

  Status resolve(GenerationStmt& statement, int line, Place place) { return macro(statement.macro, line, place); }

  Status macro(MacroNode& node, int line, Place place) {
    place.scope->mark_outliving();
    ScopeBuilder scope(node.scope, place.scope);
    for (const std::string& parameter : node.parameters) {
      scope.declare_parameter(parameter);
      node.parameter_slots.push_back(*scope.find(parameter));
    }
    ASSAY_TRY(declare_specials(node, scope, line));
    Collector collector(scope);
    for (ExprPtr& value : node.defaults) collector.expression(value);
    collector.block(node.body);
    for (ExprPtr& value : node.defaults) ASSAY_TRY(expression(value, place.within(scope, false)));
    return block(node.body, place.within(scope, false));
  }

  static Status declare_specials(MacroNode& node, ScopeBuilder& scope, int line) {
    const auto is_parameter = [&](std::string_view name) {
      return std::find(node.parameters.begin(), node.parameters.end(), name) != node.parameters.end();
    };
    const auto read = names_read_first(node.body, {"caller", "kwargs", "varargs"});
    const auto declare = [&](const char* name, bool& uses, Slot& slot) {
      if (!read.contains(name) || is_parameter(name)) return;
      scope.declare_parameter(name);
      uses = true;
      slot = *scope.find(name);
    };
    const size_t num_required = node.parameters.size() - node.defaults.size();
    const auto required_end = node.parameters.begin() + static_cast<ptrdiff_t>(num_required);
    if (read.contains("caller") && std::find(node.parameters.begin(), required_end, "caller") != required_end) {
      return syntax_error(line, "the special variable 'caller' can be a parameter only with a default");
    }
    declare("caller", node.uses_caller, node.caller_slot);
    declare("kwargs", node.uses_kwargs, node.kwargs_slot);
    declare("varargs", node.uses_varargs, node.varargs_slot);
    return ok_status();
  }
};

}  // namespace

Status resolve_names(Template& parsed) { return Resolver().run(parsed); }

}  // namespace assay::jinja
