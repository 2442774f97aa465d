#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/base/regex.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <cstdint>

#include "engine/base/check.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr size_t kJitStackStartBytes = 32 * 1024;
constexpr size_t kJitStackMaxBytes = 1024 * 1024;

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using MatchData = std::unique_ptr<pcre2_match_data, MatchDataDeleter>;

// What a thread needs beside the pattern: limits and a stack for compiled code. PCRE2 forbids sharing these.
class ThreadContext {
 public:
  ThreadContext()
      : context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(kJitStackStartBytes, kJitStackMaxBytes, nullptr)) {
    ASSAY_CHECK(context_ != nullptr);
    pcre2_set_heap_limit(context_, kHeapLimitKib);
    if (stack_) pcre2_jit_stack_assign(context_, nullptr, stack_);
  }
  ThreadContext(const ThreadContext&) = delete;
  ThreadContext& operator=(const ThreadContext&) = delete;
  ~ThreadContext() {
    if (stack_) pcre2_jit_stack_free(stack_);
    pcre2_match_context_free(context_);
  }
  pcre2_match_context* with_limit(uint32_t match_limit) {
    pcre2_set_match_limit(context_, match_limit);
    return context_;
  }

 private:
  pcre2_match_context* context_;
  pcre2_jit_stack* stack_;
};

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> buffer;
  const int length = pcre2_get_error_message(code, buffer.data(), buffer.size());
  if (length < 0) return fmt::format("PCRE2 error {}", code);
  return {reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(length)};
}

PCRE2_SPTR code_units(std::string_view text) {
  // PCRE2 10.42 refuses a null pointer even for an empty text.
  return reinterpret_cast<PCRE2_SPTR>(text.data() ? text.data() : "");
}

// PCRE2 10.42's shortcuts to the first possible start lose matches: (?=a)a*a does not match "a", and compiled code
// misses the empty branch of (b|)a*\S+. A lost match is a wrong score, so the shortcuts stay off.
uint32_t compile_flags(const RegexOptions& options) {
  uint32_t flags = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_START_OPTIMIZE;
  if (!options.ascii_classes) flags |= PCRE2_UCP;
  if (options.ignore_case) flags |= PCRE2_CASELESS;
  if (options.dot_all) flags |= PCRE2_DOTALL;
  return flags;
}

bool is_utf8_error(int code) { return code <= PCRE2_ERROR_UTF8_ERR1 && code >= PCRE2_ERROR_UTF8_ERR21; }

RegexMatch to_match(const pcre2_match_data* data, uint32_t num_groups) {
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(const_cast<pcre2_match_data*>(data));
  RegexMatch match;
  match.groups.resize(num_groups);
  for (uint32_t i = 0; i < num_groups; ++i) {
    if (offsets[2 * i] != PCRE2_UNSET) match.groups[i] = {offsets[2 * i], offsets[2 * i + 1]};
  }
  return match;
}

}  // namespace

struct Regex::Impl {
  std::string pattern;
  uint32_t match_limit = 0;
  uint32_t num_groups = 1;  // group 0 included
  std::unique_ptr<pcre2_code, CodeDeleter> code;

  MatchData new_match_data() const {
    MatchData data(pcre2_match_data_create_from_pattern(code.get(), nullptr));
    ASSAY_CHECK(data != nullptr);
    return data;
  }
  // True when `data` holds a match.
  Result<bool> match(std::string_view subject, size_t start, uint32_t flags, pcre2_match_data* data) const;
  Status match_error(int error, std::string_view subject, size_t start) const;
};

Result<bool> Regex::Impl::match(std::string_view subject, size_t start, uint32_t flags, pcre2_match_data* data) const {
  static thread_local ThreadContext thread_context;
  pcre2_match_context* context = thread_context.with_limit(match_limit);
  int rc = pcre2_match(code.get(), code_units(subject), subject.size(), start, flags, data, context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its frames on the heap, which is larger
    rc = pcre2_match(code.get(), code_units(subject), subject.size(), start, flags | PCRE2_NO_JIT, data, context);
  }
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0) return match_error(rc, subject, start);
  return true;
}

Status Regex::Impl::match_error(int error, std::string_view subject, size_t start) const {
  const std::string where = fmt::format("regex '{}'", excerpt(pattern));
  if (is_utf8_error(error)) {
    return bad_data(
        fmt::format("{}: the text of {} bytes is not valid UTF-8: {}", where, subject.size(), error_text(error)));
  }
  if (error == PCRE2_ERROR_BADOFFSET || error == PCRE2_ERROR_BADUTFOFFSET) {
    return invalid_argument(
        fmt::format("{}: cannot search from byte {} of {}: no character begins there", where, start, subject.size()));
  }
  if (error == PCRE2_ERROR_MATCHLIMIT || error == PCRE2_ERROR_DEPTHLIMIT) {
    return bad_data(fmt::format("{}: gave up on a text of {} bytes after {} backtracking steps; simplify the pattern",
                                where, subject.size(), match_limit));
  }
  if (error == PCRE2_ERROR_HEAPLIMIT) {
    return bad_data(
        fmt::format("{}: gave up on a text of {} bytes: backtracking needs more than {} MiB; simplify the pattern",
                    where, subject.size(), kHeapLimitKib / 1024));
  }
  if (error == PCRE2_ERROR_NOMEMORY) return out_of_memory(fmt::format("{}: no memory for the search", where));
  return internal_error(fmt::format("{}: {}", where, error_text(error)));
}

Regex::Regex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Result<Regex> Regex::compile(std::string_view pattern, const RegexOptions& options) {
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  ASSAY_CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto impl = std::make_unique<Impl>();
  impl->pattern = std::string(pattern);
  impl->match_limit = options.match_limit;
  impl->code.reset(
      pcre2_compile(code_units(pattern), pattern.size(), compile_flags(options), &error, &offset, context.get()));
  if (!impl->code) {
    return invalid_argument(fmt::format("regex '{}': at byte {}: {}", excerpt(pattern), offset, error_text(error)));
  }
  uint32_t num_captures = 0;
  pcre2_pattern_info(impl->code.get(), PCRE2_INFO_CAPTURECOUNT, &num_captures);
  impl->num_groups = num_captures + 1;
  // Where the system forbids writable code pages this fails, and the interpreter serves as well.
  pcre2_jit_compile(impl->code.get(), PCRE2_JIT_COMPLETE);
  return Regex(std::move(impl));
}

Result<std::optional<RegexMatch>> Regex::search(std::string_view subject, size_t start) const {
  const MatchData data = impl_->new_match_data();
  ASSAY_ASSIGN(const bool matched, impl_->match(subject, start, 0, data.get()));
  if (!matched) return std::optional<RegexMatch>();
  return std::optional<RegexMatch>(to_match(data.get(), impl_->num_groups));
}

Result<std::vector<RegexMatch>> Regex::find_all(std::string_view subject) const {
  const MatchData data = impl_->new_match_data();
  std::vector<RegexMatch> matches;
  size_t start = 0;
  uint32_t flags = 0;
  for (;;) {
    ASSAY_ASSIGN(const bool matched, impl_->match(subject, start, flags, data.get()));
    if (!matched) return matches;
    matches.push_back(to_match(data.get(), impl_->num_groups));
    const RegexMatch& last = matches.back();
    start = last.end();
    // The first search proved the whole subject to be UTF-8. After an empty match the next may begin at the same place,
    // but not be empty there.
    flags = PCRE2_NO_UTF_CHECK | (last.begin() == last.end() ? PCRE2_NOTEMPTY_ATSTART : 0);
  }
}

Result<bool> Regex::matches_prefix(std::string_view subject) const {
  const MatchData data = impl_->new_match_data();
  return impl_->match(subject, 0, PCRE2_ANCHORED, data.get());
}

Result<std::string> Regex::replace_all(std::string_view subject, std::string_view replacement) const {
  ASSAY_ASSIGN(const std::vector<RegexMatch> matches, find_all(subject));
  std::string out;
  size_t copied = 0;
  for (const RegexMatch& match : matches) {
    out.append(subject, copied, match.begin() - copied);
    out.append(replacement);
    copied = match.end();
  }
  return out.append(subject, copied);
}

const std::string& Regex::pattern() const { return impl_->pattern; }

std::string regex_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
                       static_cast<unsigned char>(c) >= 0x80;
    if (c == '\0') {
      out += "\\x00";
      continue;
    }
    if (!plain) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace assay
