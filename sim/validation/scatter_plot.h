#pragma once
// Predicted against measured on two logarithmic axes, as an inline SVG.

#include <string>
#include <vector>

namespace fleetsim {

struct ScatterPoint {
  double measured = 0, predicted = 0;  // positive
  std::size_t series = 0;
  std::string label;  // shown by the browser while the pointer rests on the point
};

/// The plot: the diagonal, a band of 10 % around it, a tick a 1, 2, 5. `unit` stands on both axes.
/// Colours are classes s0, s1, ... of the page's style. Empty without points.
std::string scatter_svg(const std::string& title, const std::string& unit,
                        const std::vector<ScatterPoint>& points);

}  // namespace fleetsim
