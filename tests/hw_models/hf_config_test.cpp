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
  CHECK(model->heads == known.heads);
  CHECK(model->native_weight_format == known.native_weight_format);
  CHECK(model->native_expert_format == known.native_expert_format);
  for (const std::int64_t tp : {1, 2}) {
    CHECK(model->weight_bytes_per_rank({}, tp) == known.weight_bytes_per_rank({}, tp));
    CHECK(model->kv_bytes_per_token_per_rank(NumberFormat::bf16, tp) ==
          known.kv_bytes_per_token_per_rank(NumberFormat::bf16, tp));
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

TEST_CASE("what cannot be modelled faithfully is refused with the reason", "[unit]") {
  CHECK(refusal(R"({"architectures": ["MambaForCausalLM"]})")
            .find(":1:1: error: architecture 'MambaForCausalLM' is not modelled; known: "
                  "LlamaForCausalLM") == 0);
  CHECK(refusal(R"({"hidden_size": 1})") ==
        ":1:1: error: 'architectures' must be a list of one name");
  CHECK(refusal(llama(R"(, "quantization_config": {"quant_method": "quip"})")) ==
        ":1:1: error: quantization_config 'quip' is not modelled; known: fp8, mxfp4 (experts), awq "
        "and "
        "gptq with 4 bits");
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
