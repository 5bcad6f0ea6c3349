#pragma once
// Vidur's profiles (microsoft/vidur) as CSV files: {gpu}_layer_ops.csv, one row a model, split and
// number of tokens with a time for each operator of a layer; {gpu}_network.csv, collectives.

#include <optional>
#include <string>
#include <vector>

#include "calibrate/imported_file.h"
#include "calibrate/measured_table.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"

namespace fleetsim {

struct VidurName {
  std::string gpu;   // "h100"
  std::string kind;  // "layer_ops", "network"
};
/// nullopt when the name is of no table that this reader knows.
std::optional<VidurName> vidur_name(const std::string& path);

/// Adds the file's operators to `rows`. Layers are FP16, timed by events around PyTorch calls, in
/// whole and half microseconds. Collectives are all-reduces by NCCL on a DGX; rows of pairwise
/// NVLink topologies are not modelled, sends have no shape.
/// Errors: faults of the file to `problems`, with line and column; ConfigError when it cannot be
/// read at all. CHECK that the name is one that vidur_name knows.
ImportedFile read_vidur_table(const std::string& path, const GpuSpec& gpu,
                              std::vector<MeasuredOperator>& rows, Problems& problems);

}  // namespace fleetsim
