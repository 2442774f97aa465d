#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace assay {

// Why an operation failed, coarse enough to choose an exit code by (docs/cli.md lists the exit codes).
enum class Code : uint8_t {
  ok,
  invalid_argument,  // the caller asked for something impossible: exit 64
  bad_data,          // a file or a field holds something it may not hold: exit 65
  not_found,         // a file, a task, a run that should be there is not: exit 66
  unsupported,       // well formed, but Assay does not implement it: exit 65
  unavailable,       // an endpoint or a device cannot be reached: exit 69
  internal,          // our own fault: exit 70
  out_of_memory,     // host or device memory, or KV blocks: exit 70
  io,                // the operating system refused a read or a write: exit 74
  interrupted,       // stopped by the user; the run can be resumed: exit 75
};

// One lower-case word for a code, for example "bad_data".
std::string_view code_name(Code code);

// The process exit code that stands for `code`.
int exit_code(Code code);

// Success, or a code and one line that says what, where, what was expected and what to do next.
// A value type; thread-compatible.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::ok; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same failure with "<where>: " set before its message; success stays success.
  Status with_context(std::string_view where) const;

 private:
  Code code_ = Code::ok;
  std::string message_;
};

inline Status ok_status() { return {}; }
Status invalid_argument(std::string message);
Status bad_data(std::string message);
Status not_found(std::string message);
Status unsupported(std::string message);
Status unavailable(std::string message);
Status internal_error(std::string message);
Status out_of_memory(std::string message);
Status io_error(std::string message);
Status interrupted(std::string message);

// A T, or the Status that says why there is none. Reading the value of a failed Result aborts.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Status& status() const { return status_; }

  T& value() & {
    require();
    return *value_;
  }
  const T& value() const& {
    require();
    return *value_;
  }
  T&& value() && {
    require();
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T value_or(T other) const { return ok() ? *value_ : std::move(other); }

  // The same result, a failure carrying "<where>: " before its message.
  Result with_context(std::string_view where) && {
    if (ok()) return std::move(*this);
    return Result(status_.with_context(where));
  }

 private:
  void require() const;
  std::optional<T> value_;
  Status status_;
};

namespace detail {
[[noreturn]] void abort_on_empty_result(const Status& status);
inline const Status& status_of(const Status& status) { return status; }
template <class T>
const Status& status_of(const Result<T>& result) {
  return result.status();
}
}  // namespace detail

template <class T>
void Result<T>::require() const {
  if (!value_) detail::abort_on_empty_result(status_);
}

#define ASSAY_CONCAT_INNER(a, b) a##b
#define ASSAY_CONCAT(a, b) ASSAY_CONCAT_INNER(a, b)

// Returns the failure of a Status or Result expression from the enclosing function.
#define ASSAY_TRY(expression) ASSAY_TRY_IMPL(ASSAY_CONCAT(assay_try_, __COUNTER__), expression)
#define ASSAY_TRY_IMPL(name, expression)                     \
  do {                                                       \
    auto&& name = (expression);                              \
    if (!name.ok()) return ::assay::detail::status_of(name); \
  } while (false)

// ASSAY_ASSIGN(auto header, read_header(file)): declares `header`, or returns the failure.
#define ASSAY_ASSIGN(declaration, expression) \
  ASSAY_ASSIGN_IMPL(ASSAY_CONCAT(assay_result_, __LINE__), declaration, expression)
#define ASSAY_ASSIGN_IMPL(name, declaration, expression) \
  auto name = (expression);                              \
  if (!name.ok()) return name.status();                  \
  declaration = std::move(name).value()

}  // namespace assay
