#pragma once

#include <string_view>

#include "engine/text/jinja_value.h"

namespace assay::jinja {

// A method of Python's str, list, tuple or dict, of a loop or of a cycler.
struct Method {
  std::string_view name;
  FunctionBody body;     // called with the object as `self`
  bool mutates = false;  // withheld by the immutable sandbox
};

// nullptr when values of this kind have no such method. Methods that Python has and Assay does not are here too, and
// say so when they are called.
const Method* find_method(Kind kind, std::string_view name);

}  // namespace assay::jinja
