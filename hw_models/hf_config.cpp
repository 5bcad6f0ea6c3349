// Hugging Face config.json to ModelSpec. One reader per architecture, in a table. Whatever would
// make the model cost something else than the spec says (linear attention, unknown quantisation,
// layers that differ) is refused with a reason: a wrong price is worse than none. The door to
// nlohmann-json in this folder.

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
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

void read_qwen3_moe(Config& config, ModelSpec& model) {
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
  model.moe = moe;
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

struct ArchitectureRow {
  const char* name;
  void (*read)(Config&, ModelSpec&);
};
constexpr ArchitectureRow kArchitectures[] = {
    {"LlamaForCausalLM", read_llama},     {"Qwen2ForCausalLM", read_qwen2},
    {"Qwen3ForCausalLM", read_qwen3},     {"Qwen3MoeForCausalLM", read_qwen3_moe},
    {"MixtralForCausalLM", read_mixtral}, {"DeepseekV3ForCausalLM", read_deepseek},
    {"GptOssForCausalLM", read_gpt_oss},  {"GPT2LMHeadModel", read_gpt2},
    {"OPTForCausalLM", read_opt},
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

/// How the published weights are stored. The scenario's `precision` decides what runs; a difference
/// is noted with the step time.
void read_quantisation(Config& config, ModelSpec& model) {
  if (!config.has("quantization_config")) return;
  const Json& section = config.at("quantization_config");
  std::string method;
  if (section.is_object() && section.contains("quant_method") &&
      section.at("quant_method").is_string())
    method = section.at("quant_method").get<std::string>();
  const bool four_bits = section.is_object() && section.contains("bits") && section.at("bits") == 4;
  if (method == "fp8") {
    model.native_weight_format = NumberFormat::fp8;
  } else if (method == "mxfp4" && model.moe) {
    model.native_expert_format = NumberFormat::fp4;
  } else if ((method == "awq" || method == "gptq") && four_bits) {
    model.native_weight_format = NumberFormat::int4;
  } else {
    config.refuse(
        fmt::format("quantization_config '{}' is not modelled; known: fp8, mxfp4 (experts), "
                    "awq and gptq with 4 bits",
                    method));
  }
}

/// Features that change the cost and that no reader above looks at.
void refuse_unfaithful(Config& config) {
  struct Feature {
    const char* key;
    const char* what;
  };
  constexpr Feature kFeatures[] = {
      {"linear_num_key_heads", "linear attention"},
      {"linear_attn_config", "linear attention"},
      {"full_attention_interval", "linear attention"},
      {"attention_chunk_size", "chunked attention"},
      {"mamba_d_state", "state-space layers"},
      {"index_topk", "sparse attention with an indexer"},
      {"vision_config", "a vision tower"},
      {"cross_attention_layers", "cross attention"},
  };
  for (const Feature& feature : kFeatures)
    if (config.has(feature.key))
      config.refuse(fmt::format("{} ('{}') is not modelled", feature.what, feature.key));
}

void check_consistency(Config& config, const ModelSpec& model) {
  if (model.kv_heads > model.heads || model.heads % model.kv_heads != 0)
    config.refuse("num_attention_heads must be a multiple of num_key_value_heads");
  if (model.moe && model.moe->experts_per_token > model.moe->experts)
    config.refuse("more experts per token than experts");
  constexpr double kLargestModel = 1e15;  // parameters: beyond it sums stop being exact
  const double size =
      static_cast<double>(model.layers) * static_cast<double>(model.hidden) *
      static_cast<double>(model.ffn + model.heads * model.head_dim +
                          (model.moe ? model.moe->experts * model.moe->expert_ffn : 0));
  if (size > kLargestModel ||
      static_cast<double>(model.vocab) * static_cast<double>(model.hidden) > kLargestModel)
    config.refuse("the figures make a model of more than 10^15 parameters");
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
  Config config(*json, path, problems);
  const ArchitectureRow* architecture = find_architecture(config);
  if (architecture == nullptr) return std::nullopt;
  ModelSpec model;
  model.name = std::filesystem::path(path).stem().string();
  model.title = config.text_or("_name_or_path", "");
  if (model.title.empty()) model.title = model.name;
  model.source = path;
  refuse_unfaithful(config);
  architecture->read(config, model);
  read_quantisation(config, model);
  if (!config.failed()) check_consistency(config, model);
  if (config.failed()) return std::nullopt;
  return model;
}

}  // namespace fleetsim
