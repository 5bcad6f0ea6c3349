#pragma once
// `iterations.jsonl` of a run (schema fleetsim.iterations/1), read back line by line: which model
// the iterations are of, and what each of them computed.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "calibrate/composition.h"
#include "hw_models/precision.h"
#include "hw_models/problems.h"

namespace fleetsim {

/// What the header says of the deployment, or of one of its pools where there are several.
struct LoggedModel {
  std::string pool;  // empty: the only one
  std::string model;
  Precision precision;
  std::int64_t block_size = 16;  // tokens of a KV block
  std::int64_t tp = 1;
};

struct IterationLogHeader {
  LoggedModel first;               // of the only pool, or of the first
  std::vector<LoggedModel> pools;  // empty where there is one
};

/// Reads the file line by line, so that memory does not grow with it; a name that ends in .gz is
/// decompressed. `take` gets what every sound iteration computes, in the order of the lines, and
/// may have been called before a fault is found. Errors: faults to `problems` with line and column,
/// the first 20 in full: no header, another schema, broken JSON, a line that was cut short, keys
/// missing or out of form, a request twice in one iteration, iterations of a replica that do not
/// ascend, a log without iterations. nullopt when there is any; ConfigError when the file cannot be
/// read.
std::optional<IterationLogHeader> read_iteration_log(
    const std::string& path, const std::function<void(const Composition&)>& take,
    Problems& problems);

}  // namespace fleetsim
