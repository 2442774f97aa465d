#include "engine/base/status.h"

#include <cstdio>
#include <cstdlib>

namespace assay {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::ok: return "ok";
    case Code::invalid_argument: return "invalid_argument";
    case Code::bad_data: return "bad_data";
    case Code::not_found: return "not_found";
    case Code::unsupported: return "unsupported";
    case Code::unavailable: return "unavailable";
    case Code::internal: return "internal";
    case Code::out_of_memory: return "out_of_memory";
    case Code::io: return "io";
    case Code::interrupted: return "interrupted";
  }
  return "internal";
}

int exit_code(Code code) {
  switch (code) {
    case Code::ok: return 0;
    case Code::invalid_argument: return 64;
    case Code::bad_data: return 65;
    case Code::unsupported: return 65;
    case Code::not_found: return 66;
    case Code::unavailable: return 69;
    case Code::internal: return 70;
    case Code::out_of_memory: return 70;
    case Code::io: return 74;
    case Code::interrupted: return 75;
  }
  return 70;
}

Status Status::with_context(std::string_view where) const {
  if (ok()) return *this;
  return Status(code_, std::string(where) + ": " + message_);
}

Status invalid_argument(std::string message) { return {Code::invalid_argument, std::move(message)}; }
Status bad_data(std::string message) { return {Code::bad_data, std::move(message)}; }
Status not_found(std::string message) { return {Code::not_found, std::move(message)}; }
Status unsupported(std::string message) { return {Code::unsupported, std::move(message)}; }
Status unavailable(std::string message) { return {Code::unavailable, std::move(message)}; }
Status internal_error(std::string message) { return {Code::internal, std::move(message)}; }
Status out_of_memory(std::string message) { return {Code::out_of_memory, std::move(message)}; }
Status io_error(std::string message) { return {Code::io, std::move(message)}; }
Status interrupted(std::string message) { return {Code::interrupted, std::move(message)}; }

namespace detail {

void abort_on_empty_result(const Status& status) {
  std::fprintf(stderr, "assay: the value of a failed Result was read; it failed with %s: %s\n",
               std::string(code_name(status.code())).c_str(), status.message().c_str());
  std::abort();
}

}  // namespace detail
}  // namespace assay
