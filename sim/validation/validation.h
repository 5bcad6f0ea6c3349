#pragma once
// Everything that one `fleetsim validate` found out.

#include <optional>
#include <string>

#include "sim/validation/gpu_ratios.h"
#include "sim/validation/operator_validation.h"
#include "sim/validation/service_validation.h"

namespace fleetsim {

/// Absent parts were not asked for.
struct Validation {
  std::optional<ServiceValidation> services;
  std::optional<RatioValidation> ratios;
  std::optional<OperatorValidation> operators;
};

}  // namespace fleetsim
