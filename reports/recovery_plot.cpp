#include "reports/recovery_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr double kWidth = 860, kLeft = 250, kRight = 630, kTop = 56, kLine = 30;
constexpr double kMostAround = 0.6;  // the axis never reaches farther from 100 %
constexpr int kMostLabels = 6;       // below the axis, else every second tick has one
constexpr size_t kLongestName = 34;  // code points that fit left of the axis

std::string xml_escaped(std::string text) {
  text = replace_all(text, "&", "&amp;");
  text = replace_all(text, "<", "&lt;");
  text = replace_all(text, ">", "&gt;");
  return replace_all(text, "\"", "&quot;");
}

bool begins_code_point(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

std::string shortened(const std::string& name) {
  size_t points = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    if (begins_code_point(name[i]) && ++points > kLongestName) return name.substr(0, i) + "…";
  }
  return name;
}

// Recoveries from `low` to `high`, ticks every `step`.
struct Axis {
  double low = 0.9, high = 1.1, step = 0.05;
  double x(double recovery) const { return kLeft + (recovery - low) / (high - low) * (kRight - kLeft); }
};

Axis axis_of(const RecoveryReport& report) {
  double reach = 0.05;
  for (const RecoveryRow& row : report.rows) {
    const PairedComparison& c = row.comparison;
    if (!std::isfinite(c.recovery)) continue;
    reach = std::max(reach, std::abs(c.recovery - 1));
    if (c.recovery_bounded) reach = std::max({reach, 1 - c.recovery_low, c.recovery_high - 1});
  }
  Axis axis;
  reach = std::min(reach * 1.05, kMostAround);
  axis.step = reach <= 0.11 ? 0.02 : reach <= 0.26 ? 0.05 : reach <= 0.42 ? 0.1 : 0.2;
  const double steps = std::ceil(reach / axis.step - 1e-9);
  axis.low = 1 - steps * axis.step;
  axis.high = 1 + steps * axis.step;
  return axis;
}

void draw_axis(const Axis& axis, double bottom, std::string& out) {
  const auto ticks = static_cast<int>(std::lround((axis.high - axis.low) / axis.step));
  for (int i = 0; i <= ticks; ++i) {
    const double value = axis.low + i * axis.step;
    const bool whole = std::abs(value - 1) < 1e-9;
    out += fmt::format("<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" class=\"{3}\"/>\n",
                       axis.x(value), kTop - 8, bottom, whole ? "whole" : "grid");
    if (ticks > kMostLabels && (i - ticks / 2) % 2 != 0) continue;
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"tick\">{:.0f} %</text>\n", axis.x(value), bottom + 18,
                       100 * value);
  }
}

// The bar over the interval, its ends marked: a stroke where it ends, a head where the axis does.
void draw_interval(const Axis& axis, const PairedComparison& c, double y, std::string& out) {
  const double low = std::clamp(c.recovery_low, axis.low, axis.high);
  const double high = std::clamp(c.recovery_high, axis.low, axis.high);
  out += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"bar\"/>\n", axis.x(low), y,
                     axis.x(high), y);
  const auto end = [&](double value, double shown, double inward) {
    const double x = axis.x(shown);
    out += value == shown
               ? fmt::format("<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" class=\"bar\"/>\n", x,
                             y - 5, y + 5)
               : fmt::format("<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}Z\" class=\"head\"/>\n", x, y,
                             x + inward, y - 5, x + inward, y + 5);
  };
  end(c.recovery_low, low, 8);
  end(c.recovery_high, high, -8);
}

void draw_row(const Axis& axis, const RecoveryRow& row, double y, std::string& out) {
  const PairedComparison& c = row.comparison;
  const std::string name = row.label.empty() ? row.task : fmt::format("{} [{}]", row.task, row.label);
  out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", kLeft - 14, y + 5,
                     row.is_average ? "name average" : "name", xml_escaped(shortened(name)));
  std::string said = "n/a";
  if (std::isfinite(c.recovery)) {
    said = fmt::format("{:.1f} %", 100 * c.recovery);
    if (c.recovery_bounded) {
      said += fmt::format("  [{:.1f}, {:.1f}]", 100 * c.recovery_low, 100 * c.recovery_high);
      draw_interval(axis, c, y, out);
    } else {
      said += "  unbounded";
    }
    if (c.recovery >= axis.low && c.recovery <= axis.high) {
      out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" class=\"point\"/>\n", axis.x(c.recovery), y,
                         row.is_average ? 6.5 : 5);
    }
  }
  out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", kRight + 18, y + 5,
                     row.is_average ? "value average" : "value", said);
}

}  // namespace

std::string recovery_svg(const RecoveryReport& report) {
  const Axis axis = axis_of(report);
  const double bottom = kTop + kLine * static_cast<double>(report.rows.size());
  const double height = bottom + 52;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "role=\"img\">\n",
      kWidth, height);
  const std::string title =
      fmt::format("{} against {}: recovery", report.candidate.model.model_name, report.baseline.model.model_name);
  out += fmt::format("<title>{}</title>\n", xml_escaped(title));
  out +=
      "<style>text{font:14px system-ui,sans-serif;fill:#1b1f24}.title{font-weight:600}.name{text-anchor:end}"
      ".average{font-weight:600}.value{font-variant-numeric:tabular-nums}.tick,.note{font-size:12px;fill:#59636e}"
      ".tick{text-anchor:middle}.grid{stroke:#e3e6ea}.whole{stroke:#1b1f24;stroke-dasharray:4 3}"
      ".bar{stroke:#2563a8;stroke-width:2}.head,.point{fill:#2563a8}</style>\n";
  out += fmt::format("<rect width=\"{:.0f}\" height=\"{:.0f}\" fill=\"#ffffff\"/>\n", kWidth, height);
  out += fmt::format("<text x=\"20\" y=\"28\" class=\"title\">{}</text>\n", xml_escaped(title));
  draw_axis(axis, bottom, out);
  double y = kTop + kLine / 2;
  for (const RecoveryRow& row : report.rows) {
    draw_row(axis, row, y, out);
    y += kLine;
  }
  out += fmt::format(
      "<text x=\"20\" y=\"{:.1f}\" class=\"note\">point: score of the candidate over the baseline's; bar: 95 % "
      "interval, paired "
      "question by question</text>\n",
      height - 10);
  return out + "</svg>\n";
}

}  // namespace assay
