#pragma once
// The decoder stacks whose iterations are measured: their sizes, and the parts of an iteration in
// the order in which they run. Knows no GPU.

#include <string>
#include <string_view>
#include <vector>

namespace fleetsim::kernels {

/// Operators of an iteration. Those from input_norm to down run once a layer, the others once.
enum class StackPart {
  embedding,
  input_norm,     // adds the residual first, but in layer 0
  qkv,            // linear layer
  rope_kv_write,  // of the new tokens
  attention,
  output,     // linear layer
  post_norm,  // adds the residual first
  gate_up,    // linear layer
  silu_mul,
  down,        // linear layer
  final_norm,  // adds the residual first
  head,        // linear layer, on the last token of each sequence
  sampling     // greedy, one token a sequence
};
inline constexpr int kStackParts = 13;
/// "rope_kv_write"
const char* name_of(StackPart part);
/// nullptr when `name` is no part: "all", for example.
const StackPart* find_stack_part(std::string_view name);
bool runs_in_each_layer(StackPart part);

/// One GPU's share of a model of the Llama family.
struct StackShape {
  const char* name;  // "llama-3.1-8b"
  int layers, hidden, query_heads, kv_heads, head_dim, ffn, vocab;

  int qkv_width() const { return (query_heads + 2 * kv_heads) * head_dim; }
  int query_width() const { return query_heads * head_dim; }
};
/// Llama-3.1-8B, and one rank of Llama-3.1-70B under tensor parallelism of 8, without the
/// collective. Sizes from the models' config.json; a test holds them to hw_models/models.
const std::vector<StackShape>& stack_shapes();
/// CHECK that there is one of that name.
const StackShape& stack_shape(std::string_view name);

/// Weights [n][k] of a linear layer.
struct StackMatrix {
  int n = 0, k = 0;
};
/// n = 0 of a part that is no linear layer.
StackMatrix stack_matrix(const StackShape& shape, StackPart part);

}  // namespace fleetsim::kernels
