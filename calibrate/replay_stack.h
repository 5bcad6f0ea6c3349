#pragma once
// The decoder stacks that iterations are replayed on, as the models that predict them.

#include <cstdint>
#include <string>
#include <vector>

#include "calibrate/iteration_log.h"
#include "hw_models/model_spec.h"
#include "hw_models/precision.h"

namespace fleetsim {

/// A stack as points of op "iteration" name it. Weights are random; shapes are the model's.
struct ReplayStack {
  std::string name = "llama-3.1-8b";  // one of replay_stack_names()
  std::string weights = "bf16";       // "bf16" or "fp8" (e4m3, one scale a matrix; the head bf16)
  std::string kv_dtype = "bf16";      // "bf16" or "e4m3"
  std::int64_t page_tokens = 16;

  bool operator==(const ReplayStack&) const = default;
  auto operator<=>(const ReplayStack&) const = default;

  /// Valid for the three below: `name` is known.
  const ModelSpec& model() const;
  std::int64_t tp() const;  // ranks that share the model; the stack is one of them
  Precision precision() const;
  /// "llama-3.1-8b, bf16 weights, bf16 KV in pages of 16"
  std::string text() const;
};

/// "llama-3.1-8b" (tp 1) and "llama-3.1-70b-tp8-rank" (one of 8 ranks, without its collectives).
std::vector<std::string> replay_stack_names();

/// The stack that is like the deployment of a log: its own shape where there is a stack of it, else
/// the one of as many ranks; `name`: another one by the user's choice, empty: none. What differs
/// from the log's deployment is said in `notes`, a sentence each.
ReplayStack stack_for(const IterationLogHeader& log, const std::string& name,
                      std::vector<std::string>& notes);

}  // namespace fleetsim
