#include "evals/scoring/remembered_answers.h"

#include <fmt/format.h>
#include <zstd.h>

#include <optional>

#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "evals/sandbox/value.h"

namespace assay {
namespace {

constexpr std::string_view kFormat = "assay reference answers 2\n";
constexpr size_t kDigestSize = 64;
constexpr size_t kMaxBytes = size_t{512} << 20;  // of a set before it is compressed; no known one has a third of it
constexpr ValueLimits kTrusted = {.max_depth = 60, .max_bytes = kMaxBytes, .max_items = size_t{1} << 26};
constexpr int kQuick = 1;  // of zstd's levels

Value packed(const ReferenceAnswer& answer) {
  return Value::tuple(
      {Value::boolean(answer.raised), answer.value, Value::text(answer.exception), Value::real(answer.wall_s)});
}

std::optional<ReferenceAnswer> unpacked(const Value& value) {
  if (value.kind() != Value::Kind::tuple || value.items().size() != 4) return std::nullopt;
  const Value::Items& parts = value.items();
  if (parts[0].kind() != Value::Kind::boolean || parts[2].kind() != Value::Kind::text ||
      parts[3].kind() != Value::Kind::real)
    return std::nullopt;
  return ReferenceAnswer{parts[0].as_boolean(), parts[1], parts[2].as_text(), parts[3].as_real()};
}

using Answers = std::vector<ReferenceAnswer>;

// Nothing where the answers are too many to keep.
std::optional<std::string> file_of(const Answers& answers) {
  Value::Items items;
  for (const ReferenceAnswer& answer : answers) items.push_back(packed(answer));
  const std::string bytes = encode_value(Value::list(std::move(items)));
  if (bytes.size() > kMaxBytes) return std::nullopt;
  std::string compressed(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress(compressed.data(), compressed.size(), bytes.data(), bytes.size(), kQuick);
  if (ZSTD_isError(size)) return std::nullopt;
  compressed.resize(size);
  return std::string(kFormat) + sha256_hex(compressed) + compressed;
}

std::optional<std::string> decompressed(std::string_view compressed) {
  const uint64_t size = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
  if (size > kMaxBytes) return std::nullopt;  // also what says "unknown" or "no frame"
  std::string bytes(size, '\0');
  if (ZSTD_decompress(bytes.data(), bytes.size(), compressed.data(), compressed.size()) != size) return std::nullopt;
  return bytes;
}

std::optional<Answers> answers_in(std::string_view file, size_t count) {
  if (file.size() < kFormat.size() + kDigestSize || file.substr(0, kFormat.size()) != kFormat) return std::nullopt;
  const std::string_view digest = file.substr(kFormat.size(), kDigestSize);
  const std::string_view compressed = file.substr(kFormat.size() + kDigestSize);
  if (sha256_hex(compressed) != digest) return std::nullopt;
  const std::optional<std::string> bytes = decompressed(compressed);
  if (!bytes) return std::nullopt;
  const Result<Value> list = decode_value(*bytes, kTrusted);
  if (!list.ok() || list->kind() != Value::Kind::list || list->items().size() != count) return std::nullopt;
  Answers answers;
  for (const Value& item : list->items()) {
    std::optional<ReferenceAnswer> answer = unpacked(item);
    if (!answer) return std::nullopt;
    answers.push_back(std::move(*answer));
  }
  return answers;
}

class RememberingRunner final : public ProgramRunner {
 public:
  RememberingRunner(std::unique_ptr<ProgramRunner> runner, Files& files, Path folder)
      : runner_(std::move(runner)),
        files_(files),
        folder_(std::move(folder)),
        provenance_(runner_->provenance().dump()) {}

  Result<Answers> answers(const std::string& program, const std::string& entry_point, const std::vector<Call>& calls,
                          const GradeLimits& limits) override {
    const Path path = folder_ / name_of(program, entry_point, calls, limits);
    if (files_.exists(path)) {
      const Result<std::string> file = files_.read(path, kMaxBytes);
      if (std::optional<Answers> found = file.ok() ? answers_in(*file, calls.size()) : std::nullopt) return *found;
    }
    ASSAY_ASSIGN(Answers answers, runner_->answers(program, entry_point, calls, limits));
    keep(path, answers);
    return answers;
  }

  Result<std::string> output_of(const std::string& program) override { return runner_->output_of(program); }
  GradeResult grade(const GradeRequest& request) override { return runner_->grade(request); }
  int num_workers() const override { return runner_->num_workers(); }
  const std::string& isolation() const override { return runner_->isolation(); }
  Json provenance() const override { return runner_->provenance(); }

 private:
  std::string name_of(const std::string& program, const std::string& entry_point, const std::vector<Call>& calls,
                      const GradeLimits& limits) const {
    Sha256 digest;
    const SandboxLimits& box = limits.sandbox;
    digest.update(fmt::format("{}{}\n{}\n{} {} {} {} {} {}\n{}\n{}\n", kFormat, provenance_, entry_point, limits.load_s,
                              limits.wall_factor, limits.max_answer_bytes, box.cpu_s, box.wall_s, box.memory_bytes,
                              program.size(), program));
    for (const Call& call : calls) digest.update(fmt::format("{}\n", call.limit_s) + encoded(call));
    return digest.finish_hex();
  }
  static std::string encoded(const Call& call) { return encode_value(Value::tuple(call.arguments)); }

  // A memory that cannot be written costs time, not answers.
  void keep(const Path& path, const Answers& answers) {
    const std::optional<std::string> file = file_of(answers);
    if (!file) return;
    Status kept = files_.create_directories(folder_);
    if (kept.ok()) kept = files_.write_atomic(path, *file);
    if (!kept.ok()) log_detail("reference answers are not remembered: " + kept.message());
  }

  std::unique_ptr<ProgramRunner> runner_;
  Files& files_;
  const Path folder_;
  const std::string provenance_;
};

}  // namespace

std::unique_ptr<ProgramRunner> remember_answers(std::unique_ptr<ProgramRunner> runner, Files& files, Path folder) {
  return std::make_unique<RememberingRunner>(std::move(runner), files, std::move(folder));
}

}  // namespace assay
