#pragma once
// `fleetsim breakdown`: where memory, FLOPs, bytes and time of one deployment go.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fleetsim {

/// What the command line of `fleetsim breakdown` says. Either a scenario, or a model and a GPU.
struct BreakdownOptions {
  std::string scenario;    // a file or a built-in name; empty: model and gpu are given
  std::string pool;        // of the scenario; empty: its first
  std::string model, gpu;  // catalogue names; model may be a Hugging Face config.json
  std::string precision;   // "bf16", "fp8" or weights/activations/kv_cache
  std::string kv_cache;    // number format, over `precision`
  std::optional<std::int64_t> tp, pp;
  std::optional<std::int64_t> batch, context, prompt;
  std::vector<std::string> sets;  // "path.to.key=value", in order
  std::string data_dir;           // --data, else $FLEETSIM_DATA, else empty
  std::string out;                // empty: no files
  bool force = false;             // write into a folder that holds other things
  bool operators = false;         // list every operator on the terminal
};

/// Prints the answer and, with `out`, writes breakdown.json and breakdown.html. Returns 0.
/// Errors: ConfigError for the user's faults (nothing is written), InternalError for ours.
int breakdown_command(const BreakdownOptions& options);

}  // namespace fleetsim
