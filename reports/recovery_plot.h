#pragma once

#include <string>

#include "reports/recovery.h"

namespace assay {

// The recovery table as a picture: an SVG of 860 units width, one line a row, the point at the recovery in percent, the
// bar over its 95 % interval (an arrow head where it goes on beyond the axis; none where it is unbounded), a line at
// 100 %. Text is escaped; names longer than the margin are cut with an ellipsis. Thread-safe.
std::string recovery_svg(const RecoveryReport& report);

}  // namespace assay
