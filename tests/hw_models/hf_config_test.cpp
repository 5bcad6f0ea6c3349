// config.json files: each architecture equals its catalogue entry; what is not modelled is refused.

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "hw_models/model_spec.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

/// A config.json that lives as long as the test case.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) {
    static int count = 0;
    path_ = (std::filesystem::temp_directory_path() /
             ("fleetsim_hf_config_" + std::to_string(::getpid()) + "_" + std::to_string(++count) +
              ".json"))
                .string();
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::optional<ModelSpec> read(const std::string& text, std::string* problem = nullptr) {
  const ConfigFile file(text);
  Problems problems;
  auto model = read_hf_config(file.path(), problems);
  CHECK(model.has_value() == problems.empty());
  if (problem != nullptr) {
    *problem = problems.text();
    if (problem->rfind(file.path(), 0) == 0) problem->erase(0, file.path().size());
    while (!problem->empty() && problem->back() == '\n') problem->pop_back();
  } else {
    INFO(problems.text());
    CHECK(problems.empty());
  }
  return model;
}

std::string refusal(const std::string& text) {
  std::string problem;
  CHECK_FALSE(read(text, &problem).has_value());
  return problem;
}

/// Everything that costs something is equal.
void check_same(const std::string& name, const std::string& text) {
  const auto model = read(text);
  REQUIRE(model.has_value());
  const ModelSpec& known = *find_model(name);
  INFO(name);
  CHECK(model->parameters() == known.parameters());
  CHECK(model->active_parameters() == known.active_parameters());
  CHECK(model->linear_flops_per_token() == known.linear_flops_per_token());
  CHECK(model->max_context == known.max_context);
  CHECK(model->window == known.window);
  CHECK(model->chunked_window == known.chunked_window);
  CHECK(model->fp8_block_scales == (known.fp8_block_scales && model->native_weight_format));
  CHECK(model->growing_layers() == known.growing_layers());
  CHECK(model->kv_layers() == known.kv_layers());
  CHECK(model->rotary_table_bytes() == known.rotary_table_bytes());
  CHECK(model->heads == known.heads);
  CHECK(model->native_weight_format == known.native_weight_format);
  CHECK(model->native_expert_format == known.native_expert_format);
  for (const std::int64_t tp : {1, 2}) {
    CHECK(model->weight_bytes_per_rank({}, tp) == known.weight_bytes_per_rank({}, tp));
    CHECK(model->kv_bytes_per_token_per_rank(NumberFormat::bf16, tp) ==
          known.kv_bytes_per_token_per_rank(NumberFormat::bf16, tp));
    CHECK(model->state_bytes_per_sequence_per_rank(tp) ==
          known.state_bytes_per_sequence_per_rank(tp));
  }
}

const char* const kLlama = R"({
  "architectures": ["LlamaForCausalLM"], "attention_bias": false, "hidden_act": "silu",
  "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 131072,
  "mlp_bias": false, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
  "rope_scaling": {"factor": 8.0, "rope_type": "llama3"}, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16", "vocab_size": 128256)";

std::string llama(const std::string& more = "") { return std::string(kLlama) + more + "}"; }

}  // namespace

TEST_CASE("each architecture's config equals its catalogue entry", "[unit]") {
  check_same("llama-3.1-8b", llama());
  check_same("qwen2.5-0.5b", R"({"architectures": ["Qwen2ForCausalLM"], "hidden_size": 896,
    "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
    "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "sliding_window": 32768,
    "use_sliding_window": false, "tie_word_embeddings": true, "vocab_size": 151936})");
  check_same("qwen3-0.6b", R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false,
    "head_dim": 128, "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960,
    "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "sliding_window": null,
    "use_sliding_window": false, "tie_word_embeddings": true, "vocab_size": 151936})");
  check_same("qwen3-30b-a3b",
             R"({"architectures": ["Qwen3MoeForCausalLM"], "decoder_sparse_step": 1,
    "head_dim": 128, "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960,
    "mlp_only_layers": [], "moe_intermediate_size": 768, "num_attention_heads": 32, "num_experts": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4, "sliding_window": null,
    "tie_word_embeddings": false, "vocab_size": 151936})");
  check_same("mixtral-8x7b", R"({"architectures": ["MixtralForCausalLM"], "hidden_size": 4096,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "num_attention_heads": 32,
    "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
    "sliding_window": null, "tie_word_embeddings": false, "vocab_size": 32000})");
  check_same("deepseek-v3", R"({"architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false,
    "first_k_dense_replace": 3, "hidden_size": 7168, "intermediate_size": 18432, "kv_lora_rank": 512,
    "max_position_embeddings": 163840, "moe_intermediate_size": 2048, "moe_layer_freq": 1,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_attention_heads": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "tie_word_embeddings": false, "vocab_size": 129280})");
  check_same("gpt2-xl", R"({"architectures": ["GPT2LMHeadModel"], "n_ctx": 1024, "n_embd": 1600,
    "n_head": 25, "n_layer": 48, "n_positions": 1024, "vocab_size": 50257})");
  check_same("opt-1.3b", R"({"architectures": ["OPTForCausalLM"], "do_layer_norm_before": true,
    "ffn_dim": 8192, "hidden_size": 2048, "max_position_embeddings": 2048, "num_attention_heads": 32,
    "num_hidden_layers": 24, "vocab_size": 50272, "word_embed_proj_dim": 2048})");
}

TEST_CASE("gpt-oss: windows from layer_types, experts in mxfp4", "[unit]") {
  std::string types;
  for (int i = 0; i < 12; ++i)
    types += std::string(i ? "," : "") + "\"sliding_attention\", \"full_attention\"";
  check_same("gpt-oss-20b", R"({"architectures": ["GptOssForCausalLM"], "attention_bias": true,
    "head_dim": 64, "hidden_size": 2880, "intermediate_size": 2880, "layer_types": [)" +
                                types + R"(],
    "max_position_embeddings": 131072, "num_attention_heads": 64, "num_experts_per_tok": 4,
    "num_hidden_layers": 24, "num_key_value_heads": 8, "num_local_experts": 32, "sliding_window": 128,
    "quantization_config": {"quant_method": "mxfp4"}, "tie_word_embeddings": false,
    "vocab_size": 201088})");
}

TEST_CASE("models that also see: the language model inside text_config", "[unit]") {
  const char* const llama4 = R"({"architectures": ["Llama4ForConditionalGeneration"],
    "text_config": {"attention_bias": false, "attention_chunk_size": 8192, "head_dim": 128,
    "hidden_size": 5120, "interleave_moe_layer_step": %1, "intermediate_size": 8192,
    "intermediate_size_mlp": 16384, "max_position_embeddings": %2, "num_attention_heads": 40,
    "num_experts_per_tok": 1, "num_hidden_layers": 48, "num_key_value_heads": 8,
    "num_local_experts": %3, "use_qk_norm": true, "vocab_size": 202048},
    "vision_config": {"hidden_size": 1408}})";
  const auto with = [&](const char* step, const char* context, const char* experts) {
    std::string text = llama4;
    text.replace(text.find("%1"), 2, step);
    text.replace(text.find("%2"), 2, context);
    return text.replace(text.find("%3"), 2, experts);
  };
  check_same("llama-4-scout", with("1", "10485760", "16"));
  check_same("llama-4-maverick", with("2", "1048576", "128"));
  check_same("kimi-k2.5", R"({"architectures": ["KimiK25ForConditionalGeneration"],
    "text_config": {"architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false,
    "first_k_dense_replace": 1, "hidden_size": 7168, "intermediate_size": 18432,
    "kv_lora_rank": 512, "max_position_embeddings": 262144, "moe_intermediate_size": 2048,
    "moe_layer_freq": 1, "n_routed_experts": 384, "n_shared_experts": 1,
    "num_attention_heads": 64, "num_experts_per_tok": 8, "num_hidden_layers": 61,
    "num_key_value_heads": 64, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "topk_method": "noaux_tc", "v_head_dim": 128, "vocab_size": 163840,
    "quantization_config": {"config_groups": {"group_0": {"weights": {"group_size": 32,
      "num_bits": 4, "strategy": "group", "symmetric": true, "type": "int"}}},
      "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"],
      "quant_method": "compressed-tensors"}},
    "tie_word_embeddings": false, "vision_config": {"patch_size": 14}})");
}

TEST_CASE("hybrid layers: gated delta nets by layer_types or by interval", "[unit]") {
  const std::string figures = R"("attn_output_gate": true, "head_dim": 256, "hidden_size": 4096,
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
    "linear_num_value_heads": 64, "linear_value_head_dim": 128, "mamba_ssm_dtype": "float32",
    "max_position_embeddings": 262144, "mlp_only_layers": [], "moe_intermediate_size": 1024,
    "num_attention_heads": 32, "num_experts": 512, "num_experts_per_tok": 10,
    "num_hidden_layers": 60, "num_key_value_heads": 2, "partial_rotary_factor": 0.25,
    "shared_expert_intermediate_size": 1024, "vocab_size": 248320)";
  const auto with = [&](const std::string& layers) {
    return R"({"architectures": ["Qwen3_5MoeForConditionalGeneration"], "text_config": {)" +
           figures + layers + R"(}, "tie_word_embeddings": false, "vision_config": {}})";
  };
  std::string types;
  for (int i = 0; i < 60; ++i)
    types +=
        std::string(i ? "," : "") + (i % 4 == 3 ? "\"full_attention\"" : "\"linear_attention\"");
  check_same("qwen3.5-397b", with(R"(, "layer_types": [)" + types + "]"));
  check_same("qwen3.5-397b", with(R"(, "full_attention_interval": 4)"));
  CHECK(refusal(with(R"(, "full_attention_interval": 100)")) ==
        ":1:1: error: both kinds of layers, linear_attention and full_attention, must occur");
}

TEST_CASE("a sparse index, and norms over all heads", "[unit]") {
  const std::string glm = R"({"architectures": ["GlmMoeDsaForCausalLM"], "attention_bias": false,
    "first_k_dense_replace": 3, "head_dim": 64, "hidden_size": 6144, "index_head_dim": 128,
    "index_n_heads": 32, "index_topk": 2048, "intermediate_size": 12288, "kv_lora_rank": 512,
    "max_position_embeddings": 202752, "moe_intermediate_size": 2048, "moe_layer_freq": 1,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_attention_heads": 64,
    "num_experts_per_tok": 8, "num_hidden_layers": 78, "num_key_value_heads": 64,
    "q_lora_rank": 2048, "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256,
    "tie_word_embeddings": false, "vocab_size": 154880)";
  check_same("glm-5", glm + "}");
  CHECK(refusal(glm + R"(, "index_topk_freq": 4})") ==
        ":1:1: error: an index shared between layers ('index_topk_freq' above 1) is not modelled");
  std::string ones;
  for (int i = 0; i < 62; ++i) ones += i ? ", 1" : "1";
  const std::string minimax = R"({"architectures": ["MiniMaxM2ForCausalLM"], "head_dim": 128,
    "hidden_size": 3072, "intermediate_size": 1536, "max_position_embeddings": 196608,
    "num_attention_heads": 48, "num_experts_per_tok": 8, "num_hidden_layers": 62,
    "num_key_value_heads": 8, "num_local_experts": 256, "num_mtp_modules": 3,
    "qk_norm_type": "per_layer", "rotary_dim": 64, "shared_intermediate_size": 0,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "use_qk_norm": true, "use_routing_bias": true, "vocab_size": 200064, "attn_type_list": [)";
  check_same("minimax-m2.5", minimax + ones + "]}");
  CHECK(refusal(minimax + "0, 1]}") ==
        ":1:1: error: attn_type_list with other than 1 (full attention) is not modelled");
}

TEST_CASE("what cannot be modelled faithfully is refused with the reason", "[unit]") {
  CHECK(refusal(R"({"architectures": ["MambaForCausalLM"]})")
            .find(":1:1: error: architecture 'MambaForCausalLM' is not modelled; known: "
                  "LlamaForCausalLM") == 0);
  CHECK(refusal(R"({"hidden_size": 1})") ==
        ":1:1: error: 'architectures' must be a list of one name");
  CHECK(refusal(llama(R"(, "quantization_config": {"quant_method": "quip"})")) ==
        ":1:1: error: quantization_config 'quip' is not modelled; known: fp8, mxfp4 (experts), awq "
        "and gptq with 4 bits, compressed-tensors with fp8 or with int4 experts");
  CHECK(refusal(llama(R"(, "vision_config": {})")) ==
        ":1:1: error: a vision tower ('vision_config') is not modelled");
  CHECK(refusal(llama(R"(, "index_topk": 2048)")) ==
        ":1:1: error: sparse attention with an indexer ('index_topk') is not modelled");
  CHECK(refusal(llama(R"(, "linear_num_key_heads": 16)")) ==
        ":1:1: error: linear attention ('linear_num_key_heads') is not modelled");
  CHECK(refusal(llama(R"(, "layer_types": ["linear_attention"])")) ==
        ":1:1: error: 'layer_types' must be a list with one entry a layer");
  CHECK(refusal(llama(R"(, "sliding_window": 4096)")) ==
        ":1:1: error: 'sliding_window' without 'layer_types': which layers have it is unknown");
}

TEST_CASE("figures that are missing, of the wrong type or absurd are refused", "[unit]") {
  CHECK(
      refusal(R"({"architectures": ["GPT2LMHeadModel"], "n_embd": 1600, "n_head": 25, "n_layer": 48,
    "n_positions": 1024})") == ":1:1: error: missing 'vocab_size'");
  CHECK(refusal(
            R"({"architectures": ["GPT2LMHeadModel"], "n_embd": 1600, "n_head": 25, "n_layer": "48",
    "n_positions": 1024, "vocab_size": 5})") ==
        ":1:1: error: 'n_layer' must be a whole number from 1 to 2^40");
  CHECK(refusal(llama(R"(, "num_key_value_heads": 0)")).find("'num_key_value_heads'") !=
        std::string::npos);
  CHECK(refusal(llama(R"(, "num_key_value_heads": 7)")) ==
        ":1:1: error: num_attention_heads must be a multiple of num_key_value_heads");
  CHECK(refusal(llama(R"(, "vocab_size": 1e300)")).find("'vocab_size'") != std::string::npos);
}

TEST_CASE("malformed JSON is reported with line and column", "[unit]") {
  CHECK(refusal("{\n  \"hidden_size\": 12,\n  oops\n}") == ":3:3: error: malformed JSON");
  CHECK(refusal("") == ":1:1: error: malformed JSON");
  CHECK(refusal("[1, 2]") == ":1:1: error: a config.json is a JSON object");
  CHECK(refusal(std::string(100000, '[')) == ":1:1: error: nested deeper than 64 levels");
  Problems problems;
  CHECK_FALSE(read_hf_config("/nonexistent/config.json", problems).has_value());
  CHECK(problems.text().find("/nonexistent/config.json: error: no such file") == 0);
}
