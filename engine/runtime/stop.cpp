#include "engine/runtime/stop.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

// Length of the longest end of `text` that begins `stop` without being all of it.
size_t begun(std::string_view text, std::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (ends_with(text, stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

StopWatcher::StopWatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    ASSAY_CHECK(!stop.empty());
    longest_ = std::max(longest_, stop.size());
  }
}

std::optional<StopWatcher::Hit> StopWatcher::append(std::string_view bytes) {
  const size_t unseen = text_.size() - std::min(text_.size(), longest_ > 0 ? longest_ - 1 : 0);
  text_ += bytes;
  std::optional<Hit> hit;
  for (size_t i = 0; i < stops_.size(); ++i) {
    const size_t begin = text_.find(stops_[i], unseen);
    if (begin != std::string::npos && (!hit || begin < hit->text_bytes)) hit = Hit{begin, i};
  }
  return hit;
}

size_t StopWatcher::pending_bytes() const {
  size_t pending = incomplete_utf8_suffix(text_);
  for (const std::string& stop : stops_) pending = std::max(pending, begun(text_, stop));
  return pending;
}

}  // namespace assay
