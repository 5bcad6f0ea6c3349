#pragma once
// Every weight tensor of a model, once: its shape on one tensor-parallel rank and how often it
// occurs. Parameter counts, weight bytes and the GEMMs of an iteration are all read off this list.

#include <cstdint>
#include <string>
#include <vector>

#include "hw_models/model_spec.h"

namespace fleetsim {

enum class WeightRole {
  matrix,     // of the layers; takes the format of the weights
  expert,     // routed experts' matrices; may have a format of their own
  router,     // stays in 16 bits, like all below
  narrow,     // other matrices of few rows that checkpoints leave in 16 bits: gates, index weights
  embedding,  // gathered, not read
  head,
  vector,         // norms, biases, sinks, learned positions
  expert_vector,  // biases of routed experts
};

/// `columns` inputs times `rows` outputs (K and N of the GEMM), `experts` of them on each of
/// `layers`.
struct WeightGroup {
  std::string name;  // as the operator that reads it is called: "qkv projection"
  WeightRole role = WeightRole::matrix;
  std::int64_t rows = 0, columns = 0;
  std::int64_t layers = 1;
  std::int64_t experts = 1;
  double elements() const;
};

/// The tensors on one rank (matrices divided, kv heads replicated when tp > kv_heads, norms
/// replicated, vocabulary padded to multiples of 64 when divided, as vLLM does). tp = 1: the whole
/// model. Errors: CHECK tp >= 1.
std::vector<WeightGroup> weight_groups(const ModelSpec& model, std::int64_t tp);

/// Bytes of one weight of this role: quantisation touches matrices and experts only.
double stored_weight_bytes(const ModelSpec& model, WeightRole role, const Precision& precision);

}  // namespace fleetsim
