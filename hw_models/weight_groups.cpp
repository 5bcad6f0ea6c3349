// The list of tensors, in the order of the forward pass. Shapes as in the Hugging Face
// implementations.

#include "hw_models/weight_groups.h"

#include <algorithm>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

using Role = WeightRole;

std::int64_t share(std::int64_t whole, std::int64_t tp) { return (whole + tp - 1) / tp; }

/// Rows of the vocabulary on one rank: vLLM pads to 64 before it divides.
std::int64_t vocabulary_rows(const ModelSpec& m, std::int64_t tp) {
  return tp == 1 ? m.vocab : share((m.vocab + 63) / 64 * 64, tp);
}

/// The indexer of sparse attention; every rank holds it whole, as in vLLM (ReplicatedLinear).
void add_index(const ModelSpec& m, std::vector<WeightGroup>& groups) {
  if (!m.index) return;
  const SparseIndex& index = *m.index;
  groups.push_back({"index query projection", Role::matrix, index.heads * index.dim,
                    m.latent->q_lora_rank, m.layers});
  groups.push_back({"index key projection", Role::matrix, index.dim, m.hidden, m.layers});
  groups.push_back({"index head weights", Role::narrow, index.heads, m.hidden, m.layers});
}

void add_attention(const ModelSpec& m, std::int64_t tp, std::vector<WeightGroup>& groups) {
  const std::int64_t heads = share(m.heads, tp);
  if (m.latent) {
    // q_a and kv_a have no head dimension: every rank holds both whole.
    const LatentAttention& a = *m.latent;
    groups.push_back({"latent down projection", Role::matrix,
                      a.q_lora_rank + a.kv_lora_rank + a.rope_dim, m.hidden, m.layers});
    groups.push_back({"query up projection", Role::matrix, heads * (a.nope_dim + a.rope_dim),
                      a.q_lora_rank, m.layers});
    groups.push_back({"latent kv projection", Role::matrix, heads * (a.nope_dim + a.v_dim),
                      a.kv_lora_rank, m.layers});
    groups.push_back({"output projection", Role::matrix, m.hidden, heads * a.v_dim, m.layers});
    add_index(m, groups);
    return;
  }
  const std::int64_t kv_heads = m.kv_heads_per_rank(tp), layers = m.attention_layers();
  const std::int64_t query_heads = m.attention_output_gate ? 2 * heads : heads;
  groups.push_back({"qkv projection", Role::matrix, (query_heads + 2 * kv_heads) * m.head_dim,
                    m.hidden, layers});
  groups.push_back({"output projection", Role::matrix, m.hidden, heads * m.head_dim, layers});
}

/// Gated delta net: one GEMM for queries, keys, values and the output gate z, one for the two gates
/// a head (decay and beta), one back.
void add_linear_attention(const ModelSpec& m, std::int64_t tp, std::vector<WeightGroup>& groups) {
  if (!m.linear) return;
  const LinearAttention& l = *m.linear;
  const std::int64_t values = share(l.value_heads, tp) * l.value_dim;
  const std::int64_t keys = share(l.key_heads, tp) * l.key_dim;
  groups.push_back({"linear attention input projection", Role::matrix, 2 * keys + 2 * values,
                    m.hidden, l.layers});
  groups.push_back(
      {"linear attention gates", Role::narrow, 2 * share(l.value_heads, tp), m.hidden, l.layers});
  groups.push_back(
      {"linear attention output projection", Role::matrix, m.hidden, values, l.layers});
}

void add_dense_ffn(const ModelSpec& m, std::int64_t tp, std::int64_t width, std::int64_t layers,
                   const std::string& prefix, std::vector<WeightGroup>& groups) {
  if (layers == 0 || width == 0) return;
  const std::int64_t rows = (m.gated_ffn ? 2 : 1) * share(width, tp);
  const char* up = m.gated_ffn ? "gate-up projection" : "up projection";
  groups.push_back({prefix + up, Role::matrix, rows, m.hidden, layers});
  groups.push_back({prefix + "down projection", Role::matrix, m.hidden, share(width, tp), layers});
}

void add_ffn(const ModelSpec& m, std::int64_t tp, std::vector<WeightGroup>& groups) {
  if (!m.moe) {
    add_dense_ffn(m, tp, m.ffn, m.layers, "", groups);
    return;
  }
  const MixtureOfExperts& e = *m.moe;
  const std::int64_t moe_layers = m.moe_layers();
  const std::int64_t width = share(e.expert_ffn, tp);
  add_dense_ffn(m, tp, m.ffn, m.dense_ffn_layers(), "", groups);
  groups.push_back({"router", Role::router, e.experts, m.hidden, moe_layers});
  groups.push_back({"expert gate-up", Role::expert, 2 * width, m.hidden, moe_layers, e.experts});
  groups.push_back({"expert down", Role::expert, m.hidden, width, moe_layers, e.experts});
  add_dense_ffn(m, tp, e.shared_experts * e.shared_ffn, moe_layers, "shared expert ", groups);
  if (e.shared_gate)
    groups.push_back({"shared expert gate", Role::narrow, 1, m.hidden, moe_layers});
}

/// Norms, biases and sinks of the attention of one layer on a rank; biases follow the rows of their
/// matrix. The index key has a LayerNorm with bias.
std::int64_t attention_vectors(const ModelSpec& m, std::int64_t tp) {
  const std::int64_t heads = share(m.heads, tp), kv_heads = m.kv_heads_per_rank(tp);
  std::int64_t elements = 0;
  if (m.latent) elements += m.latent->q_lora_rank + m.latent->kv_lora_rank;
  if (m.index) elements += 2 * m.index->dim;
  if (m.qk_norm) elements += (m.qk_norm_all_heads ? heads + kv_heads : 2) * m.head_dim;
  if (m.qkv_bias) elements += (heads + 2 * kv_heads) * m.head_dim;
  if (m.attention_output_bias) elements += m.hidden;
  if (m.attention_sinks) elements += heads;
  return elements;
}

/// Convolution, decay and step bias of each value head, and the output norm of a linear layer.
std::int64_t linear_vectors(const LinearAttention& l, std::int64_t tp) {
  return share(l.conv_width(), tp) * l.conv_kernel + 2 * share(l.value_heads, tp) + l.value_dim;
}

void add_vectors(const ModelSpec& m, std::int64_t tp, std::vector<WeightGroup>& groups) {
  std::int64_t layer = 2 * m.hidden * (m.layer_norm_bias ? 2 : 1);
  if (m.ffn_bias && !m.moe) layer += share(m.ffn, tp) * (m.gated_ffn ? 2 : 1) + m.hidden;
  groups.push_back({"layer norms and biases", Role::vector, layer, 1, m.layers});
  const std::int64_t attention = attention_vectors(m, tp);
  if (attention > 0)
    groups.push_back(
        {"attention norms and biases", Role::vector, attention, 1, m.attention_layers()});
  if (m.linear)
    groups.push_back({"linear attention vectors", Role::vector, linear_vectors(*m.linear, tp), 1,
                      m.linear->layers});
  groups.push_back({"final norm", Role::vector, m.hidden * (m.layer_norm_bias ? 2 : 1), 1});
  if (m.position_embeddings > 0)
    groups.push_back({"position embedding", Role::vector, m.position_embeddings, m.hidden});
  if (!m.moe) return;
  const MixtureOfExperts& e = *m.moe;
  const std::int64_t moe_layers = m.moe_layers();
  if (m.ffn_bias) {
    groups.push_back({"router bias", Role::vector, e.experts, 1, moe_layers});
    groups.push_back({"expert biases", Role::expert_vector, 2 * share(e.expert_ffn, tp) + m.hidden,
                      1, moe_layers, e.experts});
  }
  if (e.router_correction)
    groups.push_back({"router correction", Role::vector, e.experts, 1, moe_layers});
}

}  // namespace

double WeightGroup::elements() const {
  return static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(layers) *
         static_cast<double>(experts);
}

std::vector<WeightGroup> weight_groups(const ModelSpec& model, std::int64_t tp) {
  CHECK(tp >= 1, "tensor parallel size " + std::to_string(tp));
  std::vector<WeightGroup> groups;
  groups.push_back({"embedding", Role::embedding, vocabulary_rows(model, tp), model.hidden});
  add_attention(model, tp, groups);
  add_linear_attention(model, tp, groups);
  add_ffn(model, tp, groups);
  add_vectors(model, tp, groups);
  groups.push_back({"head", Role::head, vocabulary_rows(model, tp), model.hidden});
  return groups;
}

double stored_weight_bytes(const ModelSpec& model, WeightRole role, const Precision& precision) {
  const bool sixteen_bit =
      precision.weights == NumberFormat::fp16 || precision.weights == NumberFormat::bf16;
  if (role == Role::expert && precision.experts) return weight_bytes(*precision.experts);
  if (role == Role::expert && model.native_expert_format && sixteen_bit) {
    // mxfp4: an 8-bit scale for every 32 weights (nvfp4 has one for every 16).
    if (*model.native_expert_format == NumberFormat::fp4) return 0.5 + 1.0 / 32;
    // Kimi's int4: symmetric, a 16-bit scale for every 32.
    if (*model.native_expert_format == NumberFormat::int4) return 0.5 + 2.0 / 32;
    return weight_bytes(*model.native_expert_format);
  }
  if (role == Role::matrix || role == Role::expert) return weight_bytes(precision.weights);
  return precision.weights == NumberFormat::fp32 ? 4 : 2;
}

}  // namespace fleetsim
