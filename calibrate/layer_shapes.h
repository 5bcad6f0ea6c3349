#pragma once
// Operators of a transformer's layer by the names that profilers of layers use, on one
// tensor-parallel rank.

#include <optional>
#include <string_view>

#include "hw_models/model_spec.h"
#include "hw_models/operator_shapes.h"

namespace fleetsim {

/// 16-bit weights and activations. `tp` divides the model's heads and widths; KV heads are
/// replicated where it exceeds them. Valid names: matrices qkv, q, k, v, o, gate_up, gate, up,
/// down, lm_head, router; streams norm (reads and writes rows of the hidden width), add_norm (with
/// the residual: two reads, two writes), add, rope (queries and keys), qk_norm, activation (two
/// halves in, one out), embedding. nullopt for others.
std::optional<OperatorShape> layer_operator(std::string_view name, const ModelSpec& model,
                                            std::int64_t tp, double tokens);

}  // namespace fleetsim
