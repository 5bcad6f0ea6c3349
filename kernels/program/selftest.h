#pragma once
// --selftest: every operator against float64 on the GPU, as a table.

#include <cstdint>
#include <string>

#include "kernels/checks/check.h"

namespace fleetsim::kernels {

/// True when there are checks of that name; empty means all.
bool has_checks(const std::string& only_op);
/// Names of all operators with checks, "decode_attention, ...".
std::string checked_operators();

/// Runs all checks, or those of `only_op`, on the GPU and prints a line a case: verdict, operator,
/// error, limit, case. Scale::emulated leaves the big shapes out, for tools that slow a kernel down
/// a hundredfold. An operator that needs what this machine has not is skipped with a
/// word. Returns 0, or 1 when a case failed, an operator could not be run or none was.
int run_selftest(const std::string& only_op, Scale scale, std::uint64_t seed);

}  // namespace fleetsim::kernels
