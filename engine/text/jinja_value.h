#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/text/jinja.h"

// Values as templates see them: Python's, and Jinja's own few. They are immutable but for namespaces, loops, joiners
// and cyclers, which have identity. Containers know how deeply they nest and none may nest deeper than the limit, so
// that printing, comparing and freeing them needs bounded stack.
namespace assay::jinja {

class Value;
class Runtime;
class Dict;
class Iterator;
struct MacroNode;
struct Scope;

using Values = std::vector<Value>;

enum class Kind : uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  tuple,
  dict,
  range,
  view,      // dict.keys(), .values(), .items()
  iterator,  // what a lazy filter gives: can be walked once
  name_space,
  macro,
  function,  // a global or a bound method
  loop,
  joiner,
  cycler,
};

struct Text {
  std::string bytes;
  bool is_markup = false;  // came through `safe` or `escape`: adding plain text to it escapes that text
};

struct Sequence {
  Values items;
  int depth = 1;
  bool is_group = false;  // a pair of groupby, which also has the attributes `grouper` and `list`
};

struct Range {
  int64_t start = 0, stop = 0, step = 1, length = 0;
  int64_t at(int64_t index) const { return start + index * step; }  // index < length
};

enum class ViewKind : uint8_t { keys, values, items };

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

struct Macro {
  const MacroNode* node = nullptr;
  Scope* closure = nullptr;  // owned by the rendering
};

struct Joiner;
struct Cycler;
class Loop;

struct Arguments {
  Values positional;
  std::vector<std::pair<std::string, Value>> named;
};

using FunctionBody = Result<Value> (*)(Runtime& runtime, const Value& self, const Arguments& arguments);
struct Function;
struct View;

// A cheap handle (32 bytes); copies share what they hold.
class Value {
 public:
  Value() = default;  // missing: a name nobody has assigned; see is_missing()

  static Value undefined(std::string reason);  // reading it again says the reason
  static Value none() { return Value(Kind::none); }
  static Value boolean(bool value);
  static Value integer(int64_t value);
  static Value real(double value);
  static Value string(std::string text, bool is_markup = false);
  static Value range(Range range);
  static Value view(ViewKind kind, const Value& dict);
  static Value iterator(std::shared_ptr<Iterator> iterator);
  static Value name_space(Namespace* name_space);  // owned by the runtime
  static Value macro(Macro macro);
  static Value function(std::string name, FunctionBody body);
  static Value method(std::string name, FunctionBody body, const Value& self);
  static Value loop(std::shared_ptr<Loop> loop);
  static Value joiner(Joiner joiner);
  static Value cycler(Values items);

  // Errors: bad_data when the container nests too deeply or holds too much.
  static Result<Value> list(Runtime& runtime, Values items);
  static Result<Value> tuple(Runtime& runtime, Values items);
  static Result<Value> group(Runtime& runtime, Value grouper, Value items);
  static Result<Value> dict(Runtime& runtime, Dict dict);
  static Result<Value> from_json(Runtime& runtime, const Json& json);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_missing() const { return kind_ == Kind::undefined && !object_; }
  bool is_sequence() const { return kind_ == Kind::list || kind_ == Kind::tuple; }
  bool is_number() const { return kind_ == Kind::boolean || kind_ == Kind::integer || kind_ == Kind::real; }
  bool is_integral() const { return kind_ == Kind::boolean || kind_ == Kind::integer; }

  // Unchecked: the kind must fit.
  bool as_boolean() const { return integer_ != 0; }
  int64_t as_integer() const { return integer_; }  // booleans too
  double as_real() const { return kind_ == Kind::real ? real_ : static_cast<double>(integer_); }
  const std::string& as_string() const { return get<Text>().bytes; }
  bool is_markup() const { return kind_ == Kind::string && get<Text>().is_markup; }
  const Values& as_items() const { return get<Sequence>().items; }  // list or tuple
  bool is_group() const { return kind_ == Kind::tuple && get<Sequence>().is_group; }
  const Dict& as_dict() const { return get<Dict>(); }
  const Range& as_range() const { return get<Range>(); }
  const View& as_view() const { return get<View>(); }
  const Function& as_function() const { return get<Function>(); }
  const Macro& as_macro() const { return get<Macro>(); }
  std::shared_ptr<Iterator> as_iterator() const { return std::static_pointer_cast<Iterator>(object_); }
  Namespace& as_name_space() const { return *static_cast<Namespace*>(object_.get()); }
  Loop& as_loop() const { return *static_cast<Loop*>(object_.get()); }
  Joiner& as_joiner() const { return *static_cast<Joiner*>(object_.get()); }
  Cycler& as_cycler() const { return *static_cast<Cycler*>(object_.get()); }

  const std::string& undefined_reason() const;
  const void* identity() const { return object_.get(); }
  int depth() const;  // 0 for what holds no values

 private:
  explicit Value(Kind kind) : kind_(kind) {}
  Value(Kind kind, std::shared_ptr<void> object) : kind_(kind), object_(std::move(object)) {}
  template <class T>
  const T& get() const {
    return *static_cast<const T*>(object_.get());
  }

  Kind kind_ = Kind::undefined;
  union {
    int64_t integer_ = 0;
    double real_;
  };
  std::shared_ptr<void> object_;
};

struct View {
  ViewKind kind;
  Value dict;
};

struct Function {
  std::string name;
  FunctionBody body;
  Value self;  // of a bound method
};

struct Joiner {
  std::string separator;
  bool used = false;
};

struct Cycler {
  Values items;
  size_t index = 0;
  int depth = 0;
};

// A mapping in the order of insertion. Keys are hashable values; 1, 1.0 and true are one key, as in Python.
class Dict {
 public:
  using Item = std::pair<Value, Value>;
  const std::vector<Item>& items() const { return items_; }
  size_t size() const { return items_.size(); }
  int depth() const { return depth_; }

  const Value* find(std::string_view key) const;
  // Errors: bad_data when the key is not hashable.
  Result<const Value*> find(Runtime& runtime, const Value& key) const;
  Status set(Runtime& runtime, Value key, Value value);  // only while it is being built
  Status set(Runtime& runtime, std::string_view key, Value value);

 private:
  std::vector<Item> items_;
  std::unordered_multimap<uint64_t, uint32_t> index_;  // hash -> place in items_; empty while there are few
  int depth_ = 1;
};

// Values one after another, each once.
class Iterator {
 public:
  explicit Iterator(int depth) : depth_(depth) {}
  virtual ~Iterator() = default;
  virtual Result<std::optional<Value>> next(Runtime& runtime) = 0;  // nullopt at the end, and ever after
  int depth() const { return depth_; }

 private:
  int depth_;
};

// The `loop` of one running for statement: one item of look-ahead, as Jinja has it.
class Loop {
 public:
  Loop(std::shared_ptr<Iterator> source, std::optional<int64_t> known_length, int nesting)
      : depth0(nesting), source_(std::move(source)), length_(known_length) {}

  Result<bool> advance(Runtime& runtime);  // false at the end
  const Value& current() const { return current_; }
  Result<int64_t> length(Runtime& runtime);  // walks the rest when it is not known
  Result<bool> is_last(Runtime& runtime);
  Result<Value> next_item(Runtime& runtime);
  Value previous_item() const;
  Result<bool> changed(Runtime& runtime, const Values& values);
  // The statement is over: lets go of everything that could refer back to the loop.
  void close();

  int64_t index0 = -1;
  const int depth0;
  const void* statement = nullptr;  // the for statement, when it is recursive and still running
  Scope* scope = nullptr;           // where that statement stands

 private:
  Status peek(Runtime& runtime);

  std::shared_ptr<Iterator> source_;
  std::optional<int64_t> length_;
  std::optional<Value> after_;
  Value before_, current_;
  std::optional<Values> last_changed_;
  bool closed_ = false;
};

// "str", "NoneType", "list": Python's name of the type.
std::string_view type_name(const Value& value);
// "'dict object'", "None": how Jinja's messages name a value.
std::string describe(const Value& value);

bool is_true(const Value& value);
// str() and repr(). Errors: bad_data for values whose text would be an address (generators, bound methods).
Status append_str(Runtime& runtime, const Value& value, std::string& out);
Status append_repr(Runtime& runtime, const Value& value, std::string& out);
Result<std::string> to_str(Runtime& runtime, const Value& value);

enum class CompareOp : uint8_t { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };

Result<bool> equal(Runtime& runtime, const Value& a, const Value& b);  // ==, deep
Result<bool> less(Runtime& runtime, const Value& a, const Value& b);   // <
Result<bool> compare(Runtime& runtime, CompareOp op, const Value& a, const Value& b);
Result<bool> contains(Runtime& runtime, const Value& container, const Value& item);
// Equal values hash alike. Errors: bad_data for lists, dicts and other unhashable values.
Result<uint64_t> hash(Runtime& runtime, const Value& value);

// len(): nullopt for values that have none.
std::optional<int64_t> length_of(const Value& value);

}  // namespace assay::jinja
