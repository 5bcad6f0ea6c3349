// Hugging Face config.json to ModelSpec. One reader per architecture, in a table. Whatever would
// make the model cost something else than the spec says (state-space layers, unknown quantisation,
// layers that differ) is refused with a reason: a wrong price is worse than none. Of models that
// also see, only the language model is read (`text_config`); draft layers are left out. The door
// to nlohmann-json in this folder.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "hw_models/model_spec.h"

namespace fleetsim {
namespace {

using Json = nlohmann::json;

/// Real config.json files are a few kilobytes; anything much larger is another file.
constexpr std::uintmax_t kLargestConfigBytes = 4 << 20;
constexpr std::int64_t kLargestFigure = std::int64_t{1} << 40;

/// A config being read: typed access that records what is wrong.
class Config {
 public:
  Config(const Json& json, const std::string& path, Problems& problems)
      : json_(json), path_(path), problems_(problems) {}

  void refuse(const std::string& why) {
    problems_.add(path_, {1, 1}, why);
    failed_ = true;
  }
  bool failed() const { return failed_; }

  bool has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }
  const Json& at(const char* key) const { return json_.at(key); }

  std::int64_t count(const char* key) {
    if (!has(key)) {
      refuse(fmt::format("missing '{}'", key));
      return 1;
    }
    const Json& value = json_.at(key);
    const bool fits = value.is_number_integer() && value.get<double>() >= 0 &&
                      value.get<double>() <= static_cast<double>(kLargestFigure);
    if (!fits || value.get<std::int64_t>() < 1) {
      refuse(fmt::format("'{}' must be a whole number from 1 to 2^40", key));
      return 1;
    }
    return value.get<std::int64_t>();
  }
  std::int64_t count_or(const char* key, std::int64_t otherwise) {
    return has(key) ? count(key) : otherwise;
  }
  /// A count that may be zero.
  std::int64_t number_or(const char* key, std::int64_t otherwise) {
    if (has(key) && json_.at(key).is_number_integer() && json_.at(key) == 0) return 0;
    return count_or(key, otherwise);
  }
  bool flag_or(const char* key, bool otherwise) {
    if (!has(key)) return otherwise;
    if (!json_.at(key).is_boolean()) {
      refuse(fmt::format("'{}' must be true or false", key));
      return otherwise;
    }
    return json_.at(key).get<bool>();
  }
  /// A share of something, more than 0 and at most 1.
  double share_or(const char* key, double otherwise) {
    if (!has(key)) return otherwise;
    const Json& value = json_.at(key);
    if (!value.is_number() || !(value.get<double>() > 0) || value.get<double>() > 1) {
      refuse(fmt::format("'{}' must be a number above 0 and at most 1", key));
      return otherwise;
    }
    return value.get<double>();
  }
  std::string text_or(const char* key, const std::string& otherwise) {
    if (!has(key)) return otherwise;
    if (!json_.at(key).is_string()) {
      refuse(fmt::format("'{}' must be a text", key));
      return otherwise;
    }
    return json_.at(key).get<std::string>();
  }

 private:
  const Json& json_;
  const std::string& path_;
  Problems& problems_;
  bool failed_ = false;
};

/// Figures that most architectures name alike.
void read_common(Config& config, ModelSpec& model) {
  model.layers = config.count("num_hidden_layers");
  model.hidden = config.count("hidden_size");
  model.heads = config.count("num_attention_heads");
  model.kv_heads = config.count_or("num_key_value_heads", model.heads);
  model.vocab = config.count("vocab_size");
  model.max_context = config.count("max_position_embeddings");
  model.tied_embeddings = config.flag_or("tie_word_embeddings", false);
  if (!config.has("head_dim") && model.hidden % model.heads != 0)
    config.refuse("hidden_size is no multiple of num_attention_heads and there is no head_dim");
  model.head_dim =
      config.count_or("head_dim", std::max<std::int64_t>(1, model.hidden / model.heads));
}

/// Windowed layers out of `layer_types`, `sliding_window` and `use_sliding_window`.
void read_windows(Config& config, ModelSpec& model) {
  std::int64_t sliding = 0;
  if (config.has("layer_types")) {
    const Json& types = config.at("layer_types");
    if (!types.is_array() || static_cast<std::int64_t>(types.size()) != model.layers)
      return config.refuse("'layer_types' must be a list with one entry a layer");
    for (const Json& type : types) {
      const std::string name = type.is_string() ? type.get<std::string>() : type.dump();
      if (name == "sliding_attention") {
        ++sliding;
      } else if (name != "full_attention") {
        return config.refuse(fmt::format(
            "layer type '{}' is not modelled; known: full_attention, sliding_attention", name));
      }
    }
  } else if (config.has("sliding_window") && config.flag_or("use_sliding_window", true)) {
    return config.refuse("'sliding_window' without 'layer_types': which layers have it is unknown");
  }
  if (sliding == 0) return;
  model.windowed_layers = sliding;
  model.window = config.count("sliding_window");
  if (sliding == model.layers)
    config.refuse(
        "every layer has a sliding window: not modelled, at least one must keep all tokens");
}

void read_llama(Config& config, ModelSpec& model) {
  read_common(config, model);
  model.ffn = config.count("intermediate_size");
  model.qkv_bias = model.attention_output_bias = config.flag_or("attention_bias", false);
  model.ffn_bias = config.flag_or("mlp_bias", false);
  read_windows(config, model);
}

void read_qwen2(Config& config, ModelSpec& model) {
  read_common(config, model);
  model.ffn = config.count("intermediate_size");
  model.qkv_bias = true;
  read_windows(config, model);
}

void read_qwen3(Config& config, ModelSpec& model) {
  read_common(config, model);
  if (!config.has("head_dim")) model.head_dim = 128;  // Qwen3Config's default
  model.ffn = config.count("intermediate_size");
  model.qk_norm = true;
  model.qkv_bias = model.attention_output_bias = config.flag_or("attention_bias", false);
  read_windows(config, model);
}

void read_qwen3_moe_figures(Config& config, ModelSpec& model) {
  read_common(config, model);
  model.qk_norm = true;
  model.qkv_bias = model.attention_output_bias = config.flag_or("attention_bias", false);
  if (config.count_or("decoder_sparse_step", 1) != 1)
    config.refuse("decoder_sparse_step other than 1 is not modelled");
  if (config.has("mlp_only_layers") && !config.at("mlp_only_layers").empty())
    config.refuse("mlp_only_layers is not modelled");
  MixtureOfExperts moe;
  moe.experts = config.count("num_experts");
  moe.experts_per_token = config.count("num_experts_per_tok");
  moe.expert_ffn = config.count("moe_intermediate_size");
  model.moe = moe;
}

void read_qwen3_moe(Config& config, ModelSpec& model) {
  read_qwen3_moe_figures(config, model);
  read_windows(config, model);
}

/// Layers by kind, out of a list with one name a layer; nullopt and a problem for any other list.
std::optional<std::map<std::string, std::int64_t>> count_layers(Config& config, const char* key,
                                                                std::int64_t layers) {
  const Json& types = config.at(key);
  if (!types.is_array() || static_cast<std::int64_t>(types.size()) != layers) {
    config.refuse(fmt::format("'{}' must be a list with one entry a layer", key));
    return std::nullopt;
  }
  std::map<std::string, std::int64_t> counts;
  for (const Json& type : types) ++counts[type.is_string() ? type.get<std::string>() : type.dump()];
  return counts;
}

/// How many layers `list` calls `kind`, when it calls the others `other`; else a problem.
std::int64_t layers_called(Config& config, const char* list, const std::string& kind,
                           const std::string& other, std::int64_t layers) {
  const auto counts = count_layers(config, list, layers);
  if (!counts) return 0;
  std::int64_t found = 0;
  for (const auto& [name, count] : *counts) {
    if (name == kind) found = count;
    if (name != kind && name != other)
      config.refuse(
          fmt::format("layer type '{}' is not modelled; known: {}, {}", name, other, kind));
  }
  return found;
}

/// Qwen3-Next and Qwen3.5: gated delta nets with full attention in between, experts everywhere.
void read_qwen_hybrid(Config& config, ModelSpec& model) {
  read_qwen3_moe_figures(config, model);
  if (!config.has("head_dim")) model.head_dim = 256;  // Qwen3NextConfig's default
  model.attention_output_gate = config.flag_or("attn_output_gate", true);
  LinearAttention linear;
  if (config.has("layer_types")) {
    linear.layers =
        layers_called(config, "layer_types", "linear_attention", "full_attention", model.layers);
  } else {
    linear.layers = model.layers - model.layers / config.count("full_attention_interval");
  }
  if (!config.failed() && (linear.layers < 1 || linear.layers >= model.layers))
    config.refuse("both kinds of layers, linear_attention and full_attention, must occur");
  linear.key_heads = config.count("linear_num_key_heads");
  linear.value_heads = config.count("linear_num_value_heads");
  linear.key_dim = config.count("linear_key_head_dim");
  linear.value_dim = config.count("linear_value_head_dim");
  linear.conv_kernel = config.count("linear_conv_kernel_dim");
  if (config.text_or("mamba_ssm_dtype", "float32") != "float32")
    config.refuse("mamba_ssm_dtype other than float32 is not modelled");
  model.linear = linear;
  const double rotary = config.share_or("partial_rotary_factor", 0.25);
  model.rotary_dim =
      std::max<std::int64_t>(1, std::llround(rotary * static_cast<double>(model.head_dim)));
  if (config.has("shared_expert_intermediate_size")) {
    model.moe->shared_experts = 1;
    model.moe->shared_ffn = config.count("shared_expert_intermediate_size");
    model.moe->shared_gate = true;
  }
}

/// Llama 4: chunked attention but for every fourth layer, one routed expert and a shared one.
void read_llama4(Config& config, ModelSpec& model) {
  read_common(config, model);
  if (config.flag_or("attention_bias", false)) config.refuse("attention_bias is not modelled");
  model.ffn = config.count("intermediate_size_mlp");
  MixtureOfExperts moe;
  moe.experts = config.count("num_local_experts");
  moe.experts_per_token = config.count("num_experts_per_tok");
  moe.expert_ffn = moe.shared_ffn = config.count("intermediate_size");
  moe.shared_experts = 1;
  moe.interval = config.count_or("interleave_moe_layer_step", 1);
  if (model.layers % moe.interval != 0)
    config.refuse("num_hidden_layers is no multiple of interleave_moe_layer_step");
  model.moe = moe;
  if (!config.has("attention_chunk_size")) return;
  model.window = config.count("attention_chunk_size");
  model.chunked_window = true;
  if (config.has("layer_types")) {
    model.windowed_layers =
        layers_called(config, "layer_types", "chunked_attention", "full_attention", model.layers);
  } else if (config.has("no_rope_layers") && !config.at("no_rope_layers").empty()) {
    model.windowed_layers = layers_called(config, "no_rope_layers", "1", "0", model.layers);
  } else {  // Llama4TextConfig's default
    const std::int64_t whole = config.count_or("no_rope_layer_interval", 4);
    model.windowed_layers = model.layers - model.layers / whole;
  }
}

/// MiniMax M2: full attention with one norm over all heads, sigmoid routing with a correction.
void read_minimax(Config& config, ModelSpec& model) {
  read_common(config, model);
  if (config.has("attn_type_list")) {
    const Json& types = config.at("attn_type_list");
    const bool all_full = types.is_array() && std::all_of(types.begin(), types.end(),
                                                          [](const Json& t) { return t == 1; });
    if (!all_full)
      config.refuse("attn_type_list with other than 1 (full attention) is not modelled");
  }
  if (config.number_or("shared_intermediate_size", 0) != 0)
    config.refuse("shared_intermediate_size other than 0 is not modelled");
  model.qk_norm = config.flag_or("use_qk_norm", true);
  model.qk_norm_all_heads = config.text_or("qk_norm_type", "per_layer") == "per_layer";
  model.rotary_dim = config.count_or("rotary_dim", model.head_dim);
  MixtureOfExperts moe;
  moe.experts = config.count("num_local_experts");
  moe.experts_per_token = config.count("num_experts_per_tok");
  moe.expert_ffn = config.count("intermediate_size");
  moe.router_correction = config.flag_or("use_routing_bias", true);
  model.moe = moe;
  read_windows(config, model);
}

void read_mixtral(Config& config, ModelSpec& model) {
  read_common(config, model);
  MixtureOfExperts moe;
  moe.experts = config.count("num_local_experts");
  moe.experts_per_token = config.count("num_experts_per_tok");
  moe.expert_ffn = config.count("intermediate_size");
  model.moe = moe;
  read_windows(config, model);
}

void read_deepseek(Config& config, ModelSpec& model) {
  read_common(config, model);
  LatentAttention latent;
  if (!config.has("q_lora_rank")) config.refuse("q_lora_rank null is not modelled");
  latent.q_lora_rank = config.count_or("q_lora_rank", 1);
  latent.kv_lora_rank = config.count("kv_lora_rank");
  latent.rope_dim = config.count("qk_rope_head_dim");
  latent.nope_dim = config.count("qk_nope_head_dim");
  latent.v_dim = config.count("v_head_dim");
  model.latent = latent;
  model.kv_heads = model.heads;
  model.head_dim = latent.nope_dim + latent.rope_dim;
  model.ffn = config.count("intermediate_size");
  if (config.count_or("moe_layer_freq", 1) != 1)
    config.refuse("moe_layer_freq other than 1 is not modelled");
  if (config.flag_or("attention_bias", false))
    config.refuse("attention_bias with latent attention is not modelled");
  MixtureOfExperts moe;
  moe.experts = config.count("n_routed_experts");
  moe.experts_per_token = config.count("num_experts_per_tok");
  moe.expert_ffn = config.count("moe_intermediate_size");
  moe.shared_experts = config.number_or("n_shared_experts", 0);
  moe.shared_ffn = moe.shared_experts > 0 ? moe.expert_ffn : 0;
  moe.dense_layers = config.number_or("first_k_dense_replace", 0);
  if (moe.dense_layers >= model.layers)
    config.refuse("first_k_dense_replace leaves no layer with experts");
  moe.router_correction = config.text_or("topk_method", "noaux_tc") == "noaux_tc";
  model.moe = moe;
}

/// DeepSeek V3.2 and GLM-5: latent attention on the tokens that an indexer picks.
void read_sparse_latent(Config& config, ModelSpec& model) {
  read_deepseek(config, model);
  SparseIndex index;
  index.heads = config.count("index_n_heads");
  index.dim = config.count("index_head_dim");
  index.top_k = config.count("index_topk");
  model.index = index;
  if (config.number_or("index_topk_freq", 1) > 1)
    config.refuse("an index shared between layers ('index_topk_freq' above 1) is not modelled");
}

void read_gpt_oss(Config& config, ModelSpec& model) {
  read_common(config, model);
  model.qkv_bias = model.attention_output_bias = model.ffn_bias = true;
  model.attention_sinks = true;
  MixtureOfExperts moe;
  moe.experts = config.count("num_local_experts");
  moe.experts_per_token =
      config.count(config.has("num_experts_per_tok") ? "num_experts_per_tok" : "experts_per_token");
  moe.expert_ffn = config.count("intermediate_size");
  model.moe = moe;
  read_windows(config, model);
}

void read_gpt2(Config& config, ModelSpec& model) {
  model.layers = config.count("n_layer");
  model.hidden = config.count("n_embd");
  model.heads = model.kv_heads = config.count("n_head");
  if (model.hidden % model.heads != 0) config.refuse("n_embd is no multiple of n_head");
  model.head_dim = std::max<std::int64_t>(1, model.hidden / model.heads);
  model.ffn = config.count_or("n_inner", 4 * model.hidden);
  model.vocab = config.count("vocab_size");
  model.max_context = model.position_embeddings = config.count("n_positions");
  model.tied_embeddings = config.flag_or("tie_word_embeddings", true);
  model.gated_ffn = false;
  model.qkv_bias = model.attention_output_bias = model.ffn_bias = model.layer_norm_bias = true;
  if (config.flag_or("add_cross_attention", false))
    config.refuse("cross attention is not modelled");
}

void read_opt(Config& config, ModelSpec& model) {
  read_common(config, model);
  model.tied_embeddings = config.flag_or("tie_word_embeddings", true);
  model.ffn = config.count("ffn_dim");
  model.position_embeddings = model.max_context + 2;  // OPT offsets its positions by 2
  model.gated_ffn = false;
  model.qkv_bias = model.attention_output_bias = model.ffn_bias =
      config.flag_or("enable_bias", true);
  model.layer_norm_bias = true;
  if (config.count_or("word_embed_proj_dim", model.hidden) != model.hidden)
    config.refuse("word_embed_proj_dim other than hidden_size is not modelled");
  if (!config.flag_or("do_layer_norm_before", true))
    config.refuse("do_layer_norm_before false is not modelled");
}

/// Features that a reader takes into account; all others are refused for its architecture.
enum Handled : unsigned { kNothing = 0, kVision = 1, kLinear = 2, kChunks = 4, kIndex = 8 };

struct ArchitectureRow {
  const char* name;
  void (*read)(Config&, ModelSpec&);
  unsigned handled = kNothing;
};
constexpr ArchitectureRow kArchitectures[] = {
    {"LlamaForCausalLM", read_llama},
    {"Qwen2ForCausalLM", read_qwen2},
    {"Qwen3ForCausalLM", read_qwen3},
    {"Qwen3MoeForCausalLM", read_qwen3_moe},
    {"MixtralForCausalLM", read_mixtral},
    {"DeepseekV3ForCausalLM", read_deepseek},
    {"GptOssForCausalLM", read_gpt_oss},
    {"GPT2LMHeadModel", read_gpt2},
    {"OPTForCausalLM", read_opt},
    {"MistralForCausalLM", read_llama},
    {"MiniMaxM2ForCausalLM", read_minimax},
    {"KimiK25ForConditionalGeneration", read_deepseek, kVision},
    {"DeepseekV32ForCausalLM", read_sparse_latent, kIndex},
    {"GlmMoeDsaForCausalLM", read_sparse_latent, kIndex},
    {"Llama4ForConditionalGeneration", read_llama4, kVision | kChunks},
    {"Llama4ForCausalLM", read_llama4, kChunks},
    {"Qwen3NextForCausalLM", read_qwen_hybrid, kLinear},
    {"Qwen3_5MoeForConditionalGeneration", read_qwen_hybrid, kVision | kLinear},
    {"Qwen3_5MoeForCausalLM", read_qwen_hybrid, kLinear},
};

const ArchitectureRow* find_architecture(Config& config) {
  if (!config.has("architectures") || !config.at("architectures").is_array() ||
      config.at("architectures").size() != 1 || !config.at("architectures").at(0).is_string()) {
    config.refuse("'architectures' must be a list of one name");
    return nullptr;
  }
  const std::string name = config.at("architectures").at(0).get<std::string>();
  std::string known;
  for (const ArchitectureRow& row : kArchitectures) {
    if (name == row.name) return &row;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  config.refuse(fmt::format("architecture '{}' is not modelled; known: {}", name, known));
  return nullptr;
}

std::string text_at(const Json& section, const char* key) {
  return section.is_object() && section.contains(key) && section.at(key).is_string()
             ? section.at(key).get<std::string>()
             : "";
}

/// Weights of a compressed-tensors section with one group of tensors; nullptr when there are more.
const Json* only_group_weights(const Json& section) {
  if (!section.is_object() || !section.contains("config_groups")) return nullptr;
  const Json& groups = section.at("config_groups");
  if (!groups.is_object() || groups.size() != 1) return nullptr;
  const Json& group = *groups.begin();
  return group.is_object() && group.contains("weights") ? &group.at("weights") : nullptr;
}

/// compressed-tensors: fp8 throughout, or int4 of the experts alone (symmetric, groups of 32).
bool read_compressed_tensors(const Json& section, ModelSpec& model) {
  const Json* weights = only_group_weights(section);
  if (weights == nullptr || !weights->is_object() || !weights->contains("num_bits")) return false;
  const std::string type = text_at(*weights, "type");
  if (weights->at("num_bits") == 8 && type == "float") {
    model.native_weight_format = NumberFormat::fp8;
    return true;
  }
  const std::string ignored = section.contains("ignore") ? section.at("ignore").dump() : "";
  const bool experts_only = ignored.find("self_attn") != std::string::npos &&
                            ignored.find("shared_experts") != std::string::npos;
  const bool groups_of_32 = weights->contains("group_size") && weights->at("group_size") == 32;
  if (weights->at("num_bits") != 4 || type != "int" || !groups_of_32 || !experts_only || !model.moe)
    return false;
  model.native_expert_format = NumberFormat::int4;
  return true;
}

/// How the published weights are stored. The scenario's `precision` decides what runs; a difference
/// is noted with the step time.
void read_quantisation(Config& config, ModelSpec& model) {
  if (!config.has("quantization_config")) return;
  const Json& section = config.at("quantization_config");
  const std::string method = text_at(section, "quant_method");
  const bool four_bits = section.is_object() && section.contains("bits") && section.at("bits") == 4;
  if (method == "fp8") {
    model.native_weight_format = NumberFormat::fp8;
    model.fp8_block_scales = section.contains("weight_block_size") &&
                             section.at("weight_block_size") == Json::array({128, 128});
  } else if (method == "compressed-tensors" && read_compressed_tensors(section, model)) {
    return;
  } else if (method == "mxfp4" && model.moe) {
    model.native_expert_format = NumberFormat::fp4;
  } else if ((method == "awq" || method == "gptq") && four_bits) {
    model.native_weight_format = NumberFormat::int4;
  } else {
    config.refuse(
        fmt::format("quantization_config '{}' is not modelled; known: fp8, mxfp4 (experts), "
                    "awq and gptq with 4 bits, compressed-tensors with fp8 or with int4 experts",
                    method));
  }
}

/// Features that change the cost and that this architecture's reader does not look at.
void refuse_unfaithful(Config& config, unsigned handled) {
  struct Feature {
    const char* key;
    const char* what;
    unsigned handled_as = kNothing;
  };
  constexpr Feature kFeatures[] = {
      {"linear_num_key_heads", "linear attention", kLinear},
      {"linear_attn_config", "linear attention"},
      {"full_attention_interval", "linear attention", kLinear},
      {"attention_chunk_size", "chunked attention", kChunks},
      {"mamba_d_state", "state-space layers"},
      {"index_topk", "sparse attention with an indexer", kIndex},
      {"vision_config", "a vision tower", kVision},
      {"cross_attention_layers", "cross attention"},
  };
  for (const Feature& feature : kFeatures)
    if (config.has(feature.key) && (feature.handled_as & handled) == 0)
      config.refuse(fmt::format("{} ('{}') is not modelled", feature.what, feature.key));
}

void check_consistency(Config& config, const ModelSpec& model) {
  if (model.kv_heads > model.heads || model.heads % model.kv_heads != 0)
    config.refuse("num_attention_heads must be a multiple of num_key_value_heads");
  if (model.moe && model.moe->experts_per_token > model.moe->experts)
    config.refuse("more experts per token than experts");
  if (model.linear && model.linear->value_heads % model.linear->key_heads != 0)
    config.refuse("linear_num_value_heads must be a multiple of linear_num_key_heads");
  if (model.rotary_dim > model.head_dim)
    config.refuse("the rotary dimension exceeds the head dimension");
  constexpr double kLargestModel = 1e15;  // parameters: beyond it sums stop being exact
  const double size =
      static_cast<double>(model.layers) * static_cast<double>(model.hidden) *
      static_cast<double>(model.ffn + model.heads * model.head_dim +
                          (model.moe ? model.moe->experts * model.moe->expert_ffn : 0));
  if (size > kLargestModel ||
      static_cast<double>(model.vocab) * static_cast<double>(model.hidden) > kLargestModel)
    config.refuse("the figures make a model of more than 10^15 parameters");
}

/// The language model's part of a config: `text_config` where there is one, with what the whole
/// says about ties and quantisation when the part is silent.
Json language_part(const Json& whole, unsigned handled) {
  if ((handled & kVision) == 0 || !whole.contains("text_config") ||
      !whole.at("text_config").is_object())
    return whole;
  Json part = whole.at("text_config");
  for (const char* key : {"tie_word_embeddings", "quantization_config"})
    if (!part.contains(key) && whole.contains(key)) part[key] = whole.at(key);
  return part;
}

std::optional<std::string> read_text(const std::string& path, Problems& problems) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    problems.add(path, {}, "no such file");
    return std::nullopt;
  }
  if (std::filesystem::file_size(path, error) > kLargestConfigBytes || error) {
    problems.add(path, {}, "larger than 4 MiB: this is no config.json");
    return std::nullopt;
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    problems.add(path, {}, "cannot be read");
    return std::nullopt;
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// The place of byte number `byte` (from 1, as nlohmann counts) in a text.
SourcePosition position_of(const std::string& text, std::size_t byte) {
  SourcePosition position{1, 1};
  for (std::size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
    ++position.column;
    if (text[i] == '\n') {
      ++position.line;
      position.column = 1;
    }
  }
  return position;
}

/// True when nesting stays below what a config needs; the parser recurses in its destructor.
bool shallow(const std::string& text) {
  constexpr int kDeepest = 64;
  int depth = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kDeepest) return false;
  }
  return true;
}

std::optional<Json> parse_json(const std::string& text, const std::string& path,
                               Problems& problems) {
  if (!shallow(text)) {
    problems.add(path, {1, 1}, "nested deeper than 64 levels");
    return std::nullopt;
  }
  try {
    Json json = Json::parse(text);
    if (json.is_object()) return json;
    problems.add(path, {1, 1}, "a config.json is a JSON object");
  } catch (const Json::parse_error& error) {
    problems.add(path, position_of(text, error.byte), "malformed JSON");
  } catch (const Json::exception&) {
    problems.add(path, {1, 1}, "a number in this JSON is out of range");
  }
  return std::nullopt;
}

}  // namespace

std::optional<ModelSpec> read_hf_config(const std::string& path, Problems& problems) {
  const auto text = read_text(path, problems);
  if (!text) return std::nullopt;
  const auto json = parse_json(*text, path, problems);
  if (!json) return std::nullopt;
  Config whole(*json, path, problems);
  const ArchitectureRow* architecture = find_architecture(whole);
  if (architecture == nullptr) return std::nullopt;
  const Json part = language_part(*json, architecture->handled);
  Config config(part, path, problems);
  ModelSpec model;
  model.name = std::filesystem::path(path).stem().string();
  model.title = whole.text_or("_name_or_path", "");
  if (model.title.empty()) model.title = model.name;
  model.source = path;
  refuse_unfaithful(config, architecture->handled);
  architecture->read(config, model);
  read_quantisation(config, model);
  if (!config.failed()) check_consistency(config, model);
  if (config.failed()) return std::nullopt;
  return model;
}

}  // namespace fleetsim
