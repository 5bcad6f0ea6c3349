#pragma once
// A call of a family that lies at given coordinates: what its base form is there.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "hw_models/operator_shapes.h"

namespace fleetsim {

/// Work of a call at `at`. Where coordinates leave something open (the hidden width of experts) a
/// common value stands in. nullopt for families whose work coordinates do not give.
std::optional<OperatorWork> work_at(const std::string& family,
                                    const std::array<double, kMostAxes>& at);

/// Axes along which a time cannot fall, in the order in which a fit makes it so. GEMMs of quantised
/// formats have none: their tiles make 257 rows dearer than 512 (kernels-and-cost-models §2.2).
std::vector<std::size_t> monotone_axes(const std::string& family);

}  // namespace fleetsim
