#pragma once
// An iteration of a decoder stack against float64, operator by operator.

#include <string>

#include "kernels/measure/decoder_stack.h"

namespace fleetsim::kernels {

struct StackCheck {
  double error = 0;  // the largest relative L2 error (of codes: share that differs) of any operator
  std::string fault;  // empty, or which operator of which layer was further off than its limit
};

/// Above any operator's own limit (kernels-and-cost-models §4.7; of prompts on an e4m3 cache, whose
/// queries and probabilities have 8 bits, too, that of kernels/checks/prefill_attention_check.cpp).
inline constexpr double kStackErrorMax = 4e-2;

/// Runs one iteration step by step. Of the first layer, the last one and what runs once, every
/// operator is computed again on the device's own inputs, in float64, for the last tokens of a few
/// sequences (all columns of row-wise operators, a sample of linear layers' columns, the query
/// heads of one KV head): what it read is what the step before left where the model says, so that
/// an operator which reads elsewhere is found, too. Sampled tokens are the largest logits. Then the
/// iteration runs once more without waiting in between, and gives the same hidden rows.
/// Costs: megabytes of copies; contexts of the sampled sequences, two layers.
StackCheck check_decoder_stack(const DecoderStack& stack, std::uint64_t seed);

}  // namespace fleetsim::kernels
