#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/engine.h"
#include "engine/request.h"

namespace assay {

// The seam to whatever answers: the engine in this process, a server elsewhere, a script in a test. Answers come back
// in any order. encode and render_chat are safe from any thread; the rest belongs to one.
class ModelClient {
 public:
  virtual ~ModelClient() = default;
  virtual const EngineInfo& info() const = 0;
  virtual Result<Tokens> encode(std::string_view text, bool add_special_tokens) const = 0;
  virtual std::string decode(const Tokens& tokens) const = 0;
  virtual Result<std::string> render_chat(const std::vector<ChatMessage>& messages,
                                          const RenderOptions& options) const = 0;
  virtual Result<RequestId> submit(LoglikelihoodRequest request) = 0;
  virtual Result<RequestId> submit(GenerateRequest request) = 0;
  // Works until at least one answer is there or nothing is pending; returns what is there.
  virtual Result<std::vector<Answer>> wait() = 0;
  virtual int64_t num_pending() const = 0;
  virtual EngineStats stats() const = 0;
};

}  // namespace assay
