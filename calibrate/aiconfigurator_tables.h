#pragma once
// Tables of AIConfigurator's performance database (ai-dynamo/aiconfigurator) as CSV files:
// {kind}_{gpu}_{engine}.csv[.gz] for one GPU, or {kind}*.csv[.gz] with a column `gpu`.

#include <string>

#include "calibrate/imported_file.h"
#include "calibrate/measured_table.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"

namespace fleetsim {

/// What a file's name says it holds, and of which GPU; empty texts where it does not say so.
struct AiconfiguratorName {
  std::string kind;    // "gemm", "attn_context", "mla_generation", "nccl", ...
  std::string gpu;     // "h200"
  std::string engine;  // "vllm"
};
/// nullopt when the name is of no table that this reader knows.
std::optional<AiconfiguratorName> aiconfigurator_name(const std::string& path);

/// Adds the file's rows of `gpu` to `rows`, none of them flagged but those that no family stands
/// for. What the tables mean (checked against the floors of their operators):
///  - attention: `prefix` tokens are cached; a window counts the query's own token;
///  - moe: num_tokens reach the layer over all ranks of the expert group; the time is of one rank;
///  - collectives: bytes of the whole gathered or unreduced message.
/// Errors: faults of the file to `problems`, with line and column; ConfigError when it cannot be
/// read at all. CHECK that the name is one that aiconfigurator_name knows.
ImportedFile read_aiconfigurator_table(const std::string& path, const GpuSpec& gpu,
                                       std::vector<MeasuredOperator>& rows, Problems& problems);

}  // namespace fleetsim
