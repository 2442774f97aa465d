#pragma once

#include <sstream>
#include <string>

namespace assay::detail {

// Prints file, line, the condition and the two values, then aborts: an invariant of ours is broken.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& values);

template <class A, class B>
[[noreturn]] void check_op_failed(const char* file, int line, const char* condition, const A& a, const B& b) {
  std::ostringstream values;
  values << a << " against " << b;
  check_failed(file, line, condition, values.str());
}

}  // namespace assay::detail

// For our own mistakes only: no input, file or model may ever reach a failing check (those are Status).
#define ASSAY_CHECK(condition)                                                           \
  do {                                                                                   \
    if (!(condition)) ::assay::detail::check_failed(__FILE__, __LINE__, #condition, ""); \
  } while (false)

#define ASSAY_CHECK_OP(a, op, b)                                                                 \
  do {                                                                                           \
    const auto& assay_a = (a);                                                                   \
    const auto& assay_b = (b);                                                                   \
    if (!(assay_a op assay_b))                                                                   \
      ::assay::detail::check_op_failed(__FILE__, __LINE__, #a " " #op " " #b, assay_a, assay_b); \
  } while (false)

#define ASSAY_CHECK_EQ(a, b) ASSAY_CHECK_OP(a, ==, b)
#define ASSAY_CHECK_LT(a, b) ASSAY_CHECK_OP(a, <, b)
#define ASSAY_CHECK_LE(a, b) ASSAY_CHECK_OP(a, <=, b)
