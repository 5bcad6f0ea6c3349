#pragma once
// Architecture facts of a transformer and what follows exactly: parameters, weight bytes, KV bytes.

#include <optional>
#include <string>
#include <vector>

#include "hw_models/precision.h"
#include "hw_models/problems.h"
#include "hw_models/units.h"

namespace fleetsim {

/// Multi-head latent attention (DeepSeek): KV per token and layer is kv_lora_rank + rope_dim.
struct LatentAttention {
  std::int64_t q_lora_rank = 0, kv_lora_rank = 0, rope_dim = 0, nope_dim = 0, v_dim = 0;
};
/// DeepSeek sparse attention: an indexer scores every cached token with `heads` small heads and the
/// attention reads the `top_k` best of them. Its key is kept beside the latent, in fp8 with a
/// 4-byte scale for every 128, whatever the format of the KV cache.
struct SparseIndex {
  std::int64_t heads = 0, dim = 0, top_k = 0;
};
/// Gated delta net (Qwen3-Next, Qwen3.5): instead of growing KV a state of fixed size a sequence
/// and layer, value_heads matrices of value_dim x key_dim in fp32 (mamba_ssm_dtype), and the last
/// conv_kernel - 1 inputs of a short convolution over queries, keys and values in 16 bits.
struct LinearAttention {
  std::int64_t layers = 0, key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0,
               conv_kernel = 0;
  /// Width of the convolution: queries and keys of key_heads, values of value_heads.
  std::int64_t conv_width() const { return 2 * key_heads * key_dim + value_heads * value_dim; }
};
struct MixtureOfExperts {
  std::int64_t experts = 0, experts_per_token = 0, expert_ffn = 0, shared_experts = 0,
               shared_ffn = 0;
  std::int64_t dense_layers = 0;  // first layers that have a dense FFN instead
  std::int64_t interval = 1;  // of the other layers, every interval-th has experts (Maverick: 2)
  bool shared_gate = false;   // the shared expert's output is scaled by a gate of one output
  bool router_correction = false;  // one learned bias an expert, for choosing only
};

struct ModelSpec {
  std::string name, title, source;
  std::int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocab = 0;
  std::int64_t max_context = 0;  // max_position_embeddings: the default max_model_len
  bool tied_embeddings = false, gated_ffn = true, qkv_bias = false, qk_norm = false,
       attention_output_bias = false, ffn_bias = false, layer_norm_bias = false;
  bool attention_sinks = false;  // gpt-oss: one learned logit a head
  /// How unevenly text falls on the routed experts: exponent of a power law of their popularity.
  double routing_skew = 0.7;
  /// Top-p sampling that the publisher's generation_config.json asks for; 1: none.
  double top_p = 1;
  bool fp8_block_scales = false;  // its fp8 checkpoint has a scale for every 128 x 128 weights
  std::int64_t position_embeddings = 0;          // learned positions (GPT-2, OPT), 0 for rotary
  std::int64_t window = 0, windowed_layers = 0;  // sliding window in tokens and on how many layers
  /// Llama 4: the window does not slide; a token sees those of its own chunk of `window` tokens.
  bool chunked_window = false;
  bool attention_output_gate = false;  // Qwen3.5: the query projection also gives a gate per output
  bool qk_norm_all_heads = false;      // MiniMax: one norm over all heads, not one a head
  std::int64_t rotary_dim = 0;         // of head_dim; 0: all of it
  std::optional<LatentAttention> latent;
  std::optional<SparseIndex> index;  // only with latent
  std::optional<LinearAttention> linear;
  std::optional<MixtureOfExperts> moe;
  std::optional<NumberFormat>
      native_weight_format;  // stored by its makers in this format (DeepSeek: fp8)
  /// gpt-oss: experts are stored in fp4 (mxfp4); Kimi K2.5: in int4 (group of 32, 16-bit scale).
  std::optional<NumberFormat> native_expert_format;

  std::int64_t parameters() const;  // exact; tied embeddings once; draft (MTP) layers left out
  /// Parameters that work for one token: all but the experts not chosen. Embedding and head both
  /// count (the convention of Qwen, Mistral and DeepSeek; gpt-oss's makers leave the embedding
  /// out).
  std::int64_t active_parameters() const;
  /// 2 x the weights of the matrices one token passes in the layers (head and attention left out).
  double linear_flops_per_token() const;
  /// Layers with softmax attention, and so with KV; the others are linear.
  std::int64_t attention_layers() const { return layers - (linear ? linear->layers : 0); }
  /// Layers whose attention reaches back over the whole context.
  std::int64_t growing_layers() const { return attention_layers() - windowed_layers; }
  /// Layers whose KV memory grows with the context. Chunked layers count: vLLM keeps their KV whole
  /// (its hybrid KV manager is off for chunked attention, for its latency).
  std::int64_t kv_layers() const { return chunked_window ? attention_layers() : growing_layers(); }
  std::int64_t moe_layers() const { return moe ? (layers - moe->dense_layers) / moe->interval : 0; }
  std::int64_t dense_ffn_layers() const { return layers - moe_layers(); }
  /// KV heads on one rank: replicated when tp > kv_heads.
  std::int64_t kv_heads_per_rank(std::int64_t tp) const;
  /// cos/sin table that engines keep beside the weights: max_context x rotary dim x 2 bytes, on
  /// every rank.
  Bytes rotary_table_bytes() const;
  /// Bytes of the weights on one tensor-parallel rank (kv heads replicated when tp > kv_heads).
  /// Embedding, head, router, norms and biases stay in 16 bits when the matrices are quantised.
  Bytes weight_bytes_per_rank(const Precision& precision, std::int64_t tp) const;
  /// KV bytes one token adds on one rank, over kv_layers().
  Bytes kv_bytes_per_token_per_rank(NumberFormat kv_format, std::int64_t tp) const;
  /// One layer of it. Latent attention in fp8 is FlashMLA's layout: kv_lora_rank bytes, a 4-byte
  /// scale for every 128 of them, and the rotary part in 16 bits (656 bytes for DeepSeek-V3). The
  /// key of a sparse index (132 bytes for GLM-5) is included.
  Bytes kv_bytes_per_token_per_layer(NumberFormat kv_format, std::int64_t tp) const;
  /// The same over all layers with KV (the naive figure).
  Bytes kv_bytes_per_token_all_layers(NumberFormat kv_format) const;
  /// Of one layer's KV the sparse index; 0 without one.
  Bytes index_bytes_per_token_per_layer() const;
  /// Bytes that linear layers keep for one sequence on one rank, whatever its length.
  Bytes state_bytes_per_sequence_per_rank(std::int64_t tp) const;
};

/// The largest of `stages` pipeline stages as a model of its own: its share of the layers of every
/// kind, rounded up, with embedding and head (the first has one, the last the other). Valid: 1 to
/// `layers`. Parameters and bytes of the result are those of the stage.
ModelSpec pipeline_stage(const ModelSpec& model, std::int64_t stages);

const std::vector<ModelSpec>& model_catalogue();
const ModelSpec* find_model(const std::string& name);
std::vector<std::string> model_names();

/// Reads a Hugging Face config.json. What cannot be modelled faithfully is a problem that says why.
std::optional<ModelSpec> read_hf_config(const std::string& path, Problems& problems);

}  // namespace fleetsim
