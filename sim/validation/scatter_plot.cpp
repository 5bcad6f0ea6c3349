#include "sim/validation/scatter_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "sim/report/page.h"

namespace fleetsim {
namespace {

constexpr double kSize = 480, kLeft = 66, kTop = 12, kBottom = 46;
constexpr double kInner = kSize - kLeft - kTop;

/// One logarithmic range for both axes, so that the diagonal is one.
struct LogRange {
  double low = 0, high = 1;  // log10
  double share(double value) const { return (std::log10(value) - low) / (high - low); }
  double x(double value) const { return kLeft + kInner * share(value); }
  double y(double value) const { return kTop + kInner * (1 - share(value)); }
};

LogRange range_of(const std::vector<ScatterPoint>& points) {
  double low = points.front().measured, high = low;
  for (const ScatterPoint& point : points) {
    low = std::min({low, point.measured, point.predicted});
    high = std::max({high, point.measured, point.predicted});
  }
  return {std::log10(low / 1.15), std::log10(high * 1.15)};
}

/// 1, 2, 5 times powers of ten inside the range; over more than three decades powers alone.
std::vector<double> ticks(const LogRange& range) {
  const bool wide = range.high - range.low > 3;
  std::vector<double> values;
  for (int power = static_cast<int>(std::floor(range.low)); power <= std::ceil(range.high); ++power)
    for (const double step : std::array<double, 3>{1, 2, 5}) {
      const double value = step * std::pow(10, power);
      if ((wide && step != 1) || range.share(value) < 0 || range.share(value) > 1) continue;
      values.push_back(value);
    }
  return values;
}

template <typename... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

}  // namespace

std::string scatter_svg(const std::string& title, const std::string& unit,
                        const std::vector<ScatterPoint>& points) {
  if (points.empty()) return "";
  const LogRange range = range_of(points);
  std::string out = fmt::format(
      "<svg class=\"scatter\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}: predicted "
      "against "
      "measured\">\n",
      kSize, kTop + kInner + kBottom, html_text(title));
  const double low = std::pow(10, range.low), high = std::pow(10, range.high);
  append(out,
         "<clipPath id=\"inside-{}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" "
         "height=\"{}\"/></clipPath>\n",
         html_text(title), kLeft, kTop, kInner, kInner);
  for (const double tick : ticks(range)) {
    append(out, "<path class=\"rule\" d=\"M{:.1f} {}V{}M{} {:.1f}H{}\"/>", range.x(tick), kTop,
           kTop + kInner, kLeft, range.y(tick), kLeft + kInner);
    append(out, "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.6g}</text>", range.x(tick),
           kTop + kInner + 17, tick);
    append(out, "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.6g}</text>\n", kLeft - 7,
           range.y(tick) + 4, tick);
  }
  append(out, "<g clip-path=\"url(#inside-{})\">", html_text(title));
  append(out,
         "<path class=\"band\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}Z\"/>",
         range.x(low), range.y(low * 1.1), range.x(high), range.y(high * 1.1), range.x(high),
         range.y(high * 0.9), range.x(low), range.y(low * 0.9));
  append(out, "<path class=\"diagonal\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/></g>\n", range.x(low),
         range.y(low), range.x(high), range.y(high));
  for (const ScatterPoint& point : points)
    append(
        out,
        "<circle class=\"s{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.4\"><title>{}</title></circle>\n",
        point.series, range.x(point.measured), range.y(point.predicted), html_text(point.label));
  append(out, "<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">measured, {}</text>",
         kLeft + kInner / 2, kTop + kInner + 38, html_text(unit));
  append(out,
         "<text class=\"axis\" transform=\"translate(13 {}) rotate(-90)\" "
         "text-anchor=\"middle\">predicted, {}</text>\n</svg>\n",
         kTop + kInner / 2, html_text(unit));
  return out;
}

}  // namespace fleetsim
