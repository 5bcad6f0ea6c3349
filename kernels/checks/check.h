#pragma once
// Checks of operators against float64: what a check reports, how outputs are compared, the table of
// all.

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// Where a check runs: small shapes on the emulated device, these and big ones on a GPU.
enum class Scale { emulated, device };

/// One compared output. It passed when nothing is wrong with it and its error is within the limit.
struct CheckReport {
  std::string what;     // the case: shape, formats, seed
  double error = 0;     // ||out - reference|| / ||reference||, or what the operator's rule says
  double limit = 0;     // of the same measure
  std::string problem;  // empty, or why it failed whatever the error: NaN left, guard overwritten,
                        // not repeatable
  bool passed() const { return problem.empty() && error <= limit; }
};

/// Checks of one operator. `run` draws fresh inputs from `seed`, poisons outputs with NaN, runs
/// every case and compares every element. Errors: those of the device (CudaError, KernelFault).
struct Check {
  const char* op;
  std::vector<CheckReport> (*run)(std::uint64_t seed, Scale scale);
};

/// A row an operator, the order in which --selftest runs them.
const std::vector<Check>& all_checks();

/// Outputs as compare() takes them.
std::vector<float> floats_of(const std::vector<Bf16>& values);
/// "1,2,3", with "..." and the count behind the sixth.
std::string list_of(const std::vector<int>& values);

struct Comparison {
  double relative_error =
      0;  // ||out - reference||_2 / ||reference||_2; out's norm when the reference is 0
  double largest_error = 0;  // max |out - reference|
  std::int64_t not_finite =
      0;  // elements of out that are NaN or infinite where the reference is finite
};
/// Equal lengths. Elements that are not finite count as an error of their own and not in the norms.
Comparison compare(const std::vector<float>& out, const std::vector<double>& reference);

/// A report of `comparison` under the rule ||.|| <= limit with no element left NaN.
CheckReport report_of(std::string what, const Comparison& comparison, double limit);

}  // namespace fleetsim::kernels
