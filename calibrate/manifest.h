#pragma once
// manifest.yaml of a profile as values, with the places that later checks point at.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hw_models/problems.h"
#include "kernels/measure/physical_floor.h"
#include "kernels/measure/run_facts.h"

namespace fleetsim {

/// What the manifest says of a table.
struct ManifestTable {
  std::string file, op, sha256;
  std::int64_t rows = 0, bytes = 0;  // that it vouches for
  std::vector<std::string> axes;
  std::vector<std::pair<std::string, std::string>> units;  // axis, unit
  SourcePosition position;
};

struct Manifest {
  kernels::RunFacts facts;
  kernels::ClockFacts clocks;
  kernels::Ceilings ceilings;
  bool complete = false;
  std::string stopped;
  std::vector<std::string> warnings;
  std::vector<ManifestTable> tables;
  SourcePosition dirty_position, ceilings_position;
};

/// Errors: all faults to `problems`; nullopt when there is any.
std::optional<Manifest> parse_manifest(const std::string& text, const std::string& file,
                                       Problems& problems);

}  // namespace fleetsim
