#pragma once
// LLMServingSim's profiles of vLLM (casys-kaist/LLMServingSim) as CSV files:
//   {gpu}_layers                              layer times by model, split and tokens
//   {gpu}_attention_{model}_tp{n}             attention alone, older vLLM
//   {gpu}_{model}_tp{n}_dense, _per_sequence  layers by tokens, head and sampler by sequences
//   {gpu}_{model}_tp{n}_attention             one chunk and equal decodes in one call
//   {gpu}_{model}_tp{n}_moe                   experts by tokens and number of experts in use

#include <optional>
#include <string>
#include <vector>

#include "calibrate/imported_file.h"
#include "calibrate/measured_table.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"

namespace fleetsim {

struct LlmservingsimName {
  std::string gpu;    // "rtx4090"
  std::string kind;   // "layers", "old_attention", "dense", "per_sequence", "attention", "moe"
  std::string model;  // empty: a column says
  std::int64_t tp = 0;
};
/// nullopt when the name is of no table that this reader knows; logs of requests are none.
std::optional<LlmservingsimName> llmservingsim_name(const std::string& path);

/// Adds the file's rows to `rows`. What they mean (checked against the floors of their operators):
///  - dense layers of the RTX tables are vLLM's fused ones; those of {gpu}_layers are a model's
///  own,
///    q, k and v, gate and up apart, norms and rotation of several kernels;
///  - of {gpu}_layers, experts' matrices are whole whatever tp is, and `attn` (always without a
///    cache) is left out;
///  - kv_cache_size of the older attention tables is the sum over the batch, in a kernel that does
///    not split keys: not modelled;
///  - kv_prefill tokens are cached before the chunk, every decode sees kv_decode;
///  - experts: a layer that has only the experts in use, which must be what routing would reach.
/// Errors: faults of the file to `problems`, with line and column; ConfigError when it cannot be
/// read at all. CHECK that the name is one that llmservingsim_name knows.
ImportedFile read_llmservingsim_table(const std::string& path, const GpuSpec& gpu,
                                      std::vector<MeasuredOperator>& rows, Problems& problems);

}  // namespace fleetsim
