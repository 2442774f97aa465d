#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

namespace assay::jinja {

// What one rendering has used of its allowance, and the namespaces it made. Every value operation takes it, so that no
// template can spend more than its steps: a step for each node, item or comparison, and one for each 64 bytes produced.
class Runtime {
 public:
  Runtime(const JinjaLimits& limits, int64_t now_utc_us, bool strict = false)
      : limits_(limits), now_utc_us_(now_utc_us), strict_(strict), steps_left_(limits.max_steps) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  bool spend(int64_t steps = 1) { return (steps_left_ -= steps) >= 0; }
  Status charge(int64_t steps = 1) { return spend(steps) ? ok_status() : out_of_steps(); }
  // A value of `bytes` is about to be made: refuses those over the limit, and charges for them.
  Status admit(size_t bytes);
  Status out_of_steps() const;

  const JinjaLimits& limits() const { return limits_; }
  int64_t now_utc_us() const { return now_utc_us_; }
  bool strict() const { return strict_; }
  Namespace* new_name_space();

  // Bounds the recursion of evaluation itself.
  class Nested {
   public:
    explicit Nested(Runtime& runtime) : runtime_(runtime) { ++runtime_.nesting_; }
    ~Nested() { --runtime_.nesting_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;
    bool too_deep() const { return runtime_.nesting_ > 10 * runtime_.limits_.max_depth; }

   private:
    Runtime& runtime_;
  };
  Status too_deep() const;

 private:
  JinjaLimits limits_;
  int64_t now_utc_us_;
  bool strict_;
  int64_t steps_left_;
  int nesting_ = 0;
  std::deque<Namespace> name_spaces_;
};

}  // namespace assay::jinja
