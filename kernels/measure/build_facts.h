#pragma once
// From what this program was built; written by CMake at every build (kernels/build_facts.cmake).

#include "kernels/measure/run_facts.h"

namespace fleetsim::kernels {

/// Revision, compiler and flags; `cublaslt` is left empty, the library itself knows.
SoftwareFacts build_facts();

}  // namespace fleetsim::kernels
