#include "evals/scoring/sanitize.h"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "engine/base/text_util.h"

#ifdef ASSAY_HAVE_PYTHON_GRAMMAR
#include <tree_sitter/api.h>
extern "C" const TSLanguage* tree_sitter_python();
#endif

namespace assay {

#ifdef ASSAY_HAVE_PYTHON_GRAMMAR
namespace {

struct ParserDeleter {
  void operator()(TSParser* parser) const { ts_parser_delete(parser); }
};
struct TreeDeleter {
  void operator()(TSTree* tree) const { ts_tree_delete(tree); }
};
class Cursor {
 public:
  explicit Cursor(TSNode node) : cursor_(ts_tree_cursor_new(node)) {}
  ~Cursor() { ts_tree_cursor_delete(&cursor_); }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  TSTreeCursor* get() { return &cursor_; }
  TSNode node() { return ts_tree_cursor_current_node(&cursor_); }

 private:
  TSTreeCursor cursor_;
};

bool is(TSNode node, std::string_view type) { return type == ts_node_type(node); }

std::string_view text_of(std::string_view source, TSNode node) {
  return source.substr(ts_node_start_byte(node), ts_node_end_byte(node) - ts_node_start_byte(node));
}

// A definition's name: its first direct identifier, if any. Without one evalplus files it under None, once.
using Name = std::optional<std::string>;

Name name_of(std::string_view source, TSNode node) {
  for (uint32_t i = 0; i < ts_node_child_count(node); ++i) {
    const TSNode child = ts_node_child(node, i);
    if (is(child, "identifier")) return std::string(text_of(source, child));
  }
  return std::nullopt;
}

// Whether evalplus' walk meets a return statement. The walk counts leaves up and closed nodes down and stops where the
// count is zero, so that long runs of bare `yield` end it early.
bool seems_to_return(TSNode function) {
  Cursor cursor(function);
  int64_t count = 0;
  bool below_done = false;
  for (;;) {
    if (!below_done) {
      if (is(cursor.node(), "return_statement")) return true;
      if (!ts_tree_cursor_goto_first_child(cursor.get())) {
        ++count;
        below_done = true;
      }
    } else if (ts_tree_cursor_goto_next_sibling(cursor.get())) {
      below_done = false;
    } else if (!ts_tree_cursor_goto_parent(cursor.get()) || count == 0) {
      return false;
    } else {
      --count;
    }
  }
}

// Every identifier beneath a node; evalplus does not look below one.
std::set<std::string> mentions(std::string_view source, TSNode top) {
  std::set<std::string> names;
  std::vector<TSNode> open = {top};
  while (!open.empty()) {
    const TSNode node = open.back();
    open.pop_back();
    Cursor cursor(node);
    if (!ts_tree_cursor_goto_first_child(cursor.get())) continue;
    do {
      const TSNode child = cursor.node();
      if (is(child, "identifier")) {
        names.emplace(text_of(source, child));
      } else {
        open.push_back(child);
      }
    } while (ts_tree_cursor_goto_next_sibling(cursor.get()));
  }
  return names;
}

struct Definition {
  Name name;
  TSNode node;
};

struct TopLevel {
  std::vector<TSNode> imports;
  std::vector<Definition> definitions;
};

TopLevel read_top_level(std::string_view source, TSNode root) {
  TopLevel top;
  std::set<Name> taken;
  const auto define = [&](TSNode node) {
    const Name name = name_of(source, node);
    if (taken.insert(name).second) top.definitions.push_back({name, node});
  };
  for (uint32_t i = 0; i < ts_node_child_count(root); ++i) {
    const TSNode child = ts_node_child(root, i);
    if (is(child, "import_statement") || is(child, "import_from_statement")) {
      top.imports.push_back(child);
    } else if (is(child, "class_definition")) {
      define(child);
    } else if (is(child, "function_definition")) {
      if (seems_to_return(child)) define(child);
    } else if (is(child, "expression_statement") && ts_node_child_count(child) > 0 &&
               is(ts_node_child(child, 0), "assignment")) {
      define(ts_node_child(child, 0));
    }
  }
  return top;
}

std::set<Name> reachable_from(std::string_view entry_point, std::string_view source,
                              const std::vector<Definition>& definitions) {
  std::map<Name, TSNode> by_name;
  for (const Definition& definition : definitions) by_name.emplace(definition.name, definition.node);
  std::set<Name> seen = {std::string(entry_point)};
  std::deque<Name> queue = {std::string(entry_point)};
  while (!queue.empty()) {
    const auto found = by_name.find(queue.front());
    queue.pop_front();
    if (found == by_name.end()) continue;
    for (const std::string& name : mentions(source, found->second)) {
      if (seen.insert(name).second) queue.push_back(name);
    }
  }
  return seen;
}

}  // namespace

Result<std::string> reachable_definitions(std::string_view block, std::string_view entry_point) {
  if (block.size() > size_t{16} << 20) return bad_data("a program of more than 16 MiB");
  const std::unique_ptr<TSParser, ParserDeleter> parser(ts_parser_new());
  if (!parser || !ts_parser_set_language(parser.get(), tree_sitter_python()))
    return internal_error("the Python grammar does not fit its library");
  const std::unique_ptr<TSTree, TreeDeleter> tree(
      ts_parser_parse_string(parser.get(), nullptr, block.data(), static_cast<uint32_t>(block.size())));
  if (!tree) return internal_error("the Python grammar gave no tree");
  const TopLevel top = read_top_level(block, ts_tree_root_node(tree.get()));
  const std::set<Name> reachable = reachable_from(entry_point, block, top.definitions);
  std::string program;
  for (const TSNode& node : top.imports) program.append(text_of(block, node)).append("\n");
  for (const Definition& definition : top.definitions) {
    if (reachable.count(definition.name)) program.append(text_of(block, definition.node)).append("\n");
  }
  if (!program.empty()) program.pop_back();
  return program;
}

#else

Result<std::string> reachable_definitions(std::string_view, std::string_view) {
  return unsupported(
      "this build has no Python grammar, by which programs are cut out of answers; run scripts/setup.sh and build "
      "again");
}

#endif

Result<std::string> sanitize_program(std::string_view text, std::string_view entry_point, const BlockFinder& find_block,
                                     bool fall_back) {
  ASSAY_ASSIGN(const std::string block, find_block(text));
  ASSAY_ASSIGN(std::string program, reachable_definitions(block, entry_point));
  if (!fall_back) return program;
  program = std::string(py_strip(program));
  return program.empty() ? block : program;
}

}  // namespace assay
