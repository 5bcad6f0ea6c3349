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
struct MixtureOfExperts {
  std::int64_t experts = 0, experts_per_token = 0, expert_ffn = 0, shared_experts = 0,
               shared_ffn = 0;
  std::int64_t dense_layers = 0;  // first layers that have a dense FFN instead
};

struct ModelSpec {
  std::string name, title, source;
  std::int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocab = 0;
  std::int64_t max_context = 0;  // max_position_embeddings: the default max_model_len
  bool tied_embeddings = false, gated_ffn = true, qkv_bias = false, qk_norm = false,
       attention_output_bias = false, ffn_bias = false, layer_norm_bias = false;
  bool attention_sinks = false;                  // gpt-oss: one learned logit a head
  bool fp8_block_scales = false;  // its fp8 checkpoint has a scale for every 128 x 128 weights
  std::int64_t position_embeddings = 0;          // learned positions (GPT-2, OPT), 0 for rotary
  std::int64_t window = 0, windowed_layers = 0;  // sliding window in tokens and on how many layers
  std::optional<LatentAttention> latent;
  std::optional<MixtureOfExperts> moe;
  std::optional<NumberFormat>
      native_weight_format;  // stored by its makers in this format (DeepSeek: fp8)
  std::optional<NumberFormat> native_expert_format;  // gpt-oss: experts are stored in fp4 (mxfp4)

  std::int64_t parameters() const;  // exact; tied embeddings once; draft (MTP) layers left out
  /// Parameters that work for one token: all but the experts not chosen. Embedding and head both
  /// count (the convention of Qwen, Mistral and DeepSeek; gpt-oss's makers leave the embedding
  /// out).
  std::int64_t active_parameters() const;
  /// 2 x the weights of the matrices one token passes in the layers (head and attention left out).
  double linear_flops_per_token() const;
  /// Layers whose KV grows with the context, that is without a sliding window.
  std::int64_t growing_layers() const { return layers - windowed_layers; }
  /// KV heads on one rank: replicated when tp > kv_heads.
  std::int64_t kv_heads_per_rank(std::int64_t tp) const;
  /// cos/sin table that engines keep beside the weights: max_context x rotary dim x 2 bytes, on
  /// every rank.
  Bytes rotary_table_bytes() const;
  /// Bytes of the weights on one tensor-parallel rank (kv heads replicated when tp > kv_heads).
  /// Embedding, head, router, norms and biases stay in 16 bits when the matrices are quantised.
  Bytes weight_bytes_per_rank(const Precision& precision, std::int64_t tp) const;
  /// KV bytes one token adds on one rank, over the layers that grow (windowed layers left out).
  Bytes kv_bytes_per_token_per_rank(NumberFormat kv_format, std::int64_t tp) const;
  /// One layer of it. Latent attention in fp8 is FlashMLA's layout: kv_lora_rank bytes, a 4-byte
  /// scale for every 128 of them, and the rotary part in 16 bits (656 bytes for DeepSeek-V3).
  Bytes kv_bytes_per_token_per_layer(NumberFormat kv_format, std::int64_t tp) const;
  /// The same over all layers (the naive figure).
  Bytes kv_bytes_per_token_all_layers(NumberFormat kv_format) const;
};

const std::vector<ModelSpec>& model_catalogue();
const ModelSpec* find_model(const std::string& name);
std::vector<std::string> model_names();

/// Reads a Hugging Face config.json. What cannot be modelled faithfully is a problem that says why.
std::optional<ModelSpec> read_hf_config(const std::string& path, Problems& problems);

}  // namespace fleetsim
