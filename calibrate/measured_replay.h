#pragma once
// A replay that was measured: the profile folder of its points, read back as times of iterations.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/composition.h"
#include "calibrate/replay_stack.h"
#include "hw_models/problems.h"

namespace fleetsim {

/// All rows of one composition on one stack. Times in seconds; nothing where it was not measured.
struct MeasuredIteration {
  ReplayStack stack;
  Composition composition;
  std::optional<double> graph;                        // whole, as a CUDA graph
  std::optional<double> eager;                        // whole, launched one by one
  std::vector<std::pair<std::string, double>> parts;  // by name, as a graph over all layers
  bool noisy = false;                                 // of any of its rows

  /// Sum of the parts; nothing unless every part of the stack was measured.
  std::optional<double> sum_of_parts() const;
};

struct MeasuredReplay {
  std::string folder, gpu;  // canonical name, or the device's own where it is not in the catalogue
  std::string started_utc;
  bool complete = false;
  std::string stopped;                        // why not
  std::vector<std::string> warnings;          // of the run: points that were skipped, clocks
  std::vector<MeasuredIteration> iterations;  // in the order of measuring
  double graph_node_seconds = 0;              // ceiling: one empty node of a graph; 0: not measured
};

/// Errors: all faults of load_profile, and a folder without rows of op "iteration", to `problems`;
/// nullopt when there is any.
std::optional<MeasuredReplay> load_replay(const std::string& folder, Problems& problems);

/// Names of a stack's parts in the order in which they run: "embedding" to "sampling".
std::vector<std::string> stack_part_names();

}  // namespace fleetsim
