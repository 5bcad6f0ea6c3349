// Models: parameters, weights, KV and FLOPs against published numbers, to the digit where there is
// one.

#include "hw_models/model_spec.h"

#include <cmath>

#include "hw_models/step_time.h"
#include "hw_models/weight_groups.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

const ModelSpec& model(const std::string& name) {
  const ModelSpec* found = find_model(name);
  REQUIRE(found != nullptr);
  return *found;
}

/// Rounded to `digits` after the point, in units of `unit`.
double rounded(double value, double unit, int digits) {
  const double scale = std::pow(10, digits);
  return std::round(value / unit * scale) / scale;
}

Precision weights_in(NumberFormat format) {
  return {format, NumberFormat::bf16, NumberFormat::bf16};
}

}  // namespace

TEST_CASE("parameter counts are the published ones", "[unit]") {
  CHECK(model("llama-3.1-8b").parameters() == 8030261248);
  CHECK(model("llama-3.1-70b").parameters() == 70553706496);
  CHECK(model("llama-3.3-70b").parameters() == 70553706496);
  CHECK(model("llama-3.1-405b").parameters() == 405853388800);
  CHECK(model("qwen2.5-0.5b").parameters() == 494032768);
  CHECK(model("qwen3-0.6b").parameters() == 596049920);
  CHECK(model("qwen3-8b").parameters() == 8190735360);
  CHECK(model("qwen3-14b").parameters() == 14768307200);
  CHECK(model("qwen3-32b").parameters() == 32762123264);
  CHECK(model("qwen3-30b-a3b").parameters() == 30532122624);
  CHECK(model("qwen3-235b-a22b").parameters() == 235093634560);
  CHECK(model("mixtral-8x7b").parameters() == 46702792704);
  CHECK(model("llama-2-7b").parameters() == 6738415616);
  CHECK(model("llama-2-70b").parameters() == 68976648192);
  CHECK(model("codellama-34b").parameters() == 33743970304);
  CHECK(model("yi-34b").parameters() == 34388917248);
  CHECK(model("mistral-nemo").parameters() == 12247782400);
  CHECK(model("qwen-72b").parameters() == 72287920128);
  CHECK(model("internlm-20b").parameters() == 20088714240);
  CHECK(model("gpt2-xl").parameters() == 1557611200);
  CHECK(model("opt-1.3b").parameters() == 1315758080);
  CHECK(rounded(static_cast<double>(model("deepseek-v3").parameters()), 1e9, 2) == 671.03);
  CHECK(model("deepseek-r1").parameters() == model("deepseek-v3").parameters());
  CHECK(model("deepseek-v3.1").parameters() == model("deepseek-v3").parameters());
  // Without vision towers and draft layers: 1 T, 397 B (403 B with them), 744 B, 229 B, 109 B
  // (107.8 B of text) and 400 B on the model cards.
  const auto billions = [](const char* name) {
    return rounded(static_cast<double>(model(name).parameters()), 1e9, 1);
  };
  CHECK(billions("kimi-k2.5") == 1026.4);
  CHECK(billions("qwen3.5-397b") == 396.3);
  CHECK(billions("glm-5") == 743.9);
  CHECK(billions("minimax-m2.5") == 228.7);
  CHECK(billions("llama-4-scout") == 107.8);
  CHECK(billions("llama-4-maverick") == 400.7);
  CHECK(rounded(static_cast<double>(model("gpt-oss-120b").parameters()), 1e9, 2) == 116.83);
  CHECK(rounded(static_cast<double>(model("gpt-oss-20b").parameters()), 1e9, 2) == 20.91);
}

TEST_CASE("active parameters are the published ones", "[unit]") {
  const auto active = [](const char* name) {
    return static_cast<double>(model(name).active_parameters());
  };
  CHECK(rounded(active("qwen3-30b-a3b"), 1e9, 2) == 3.35);
  CHECK(rounded(active("qwen3-235b-a22b"), 1e9, 1) == 22.2);
  CHECK(rounded(active("deepseek-v3"), 1e9, 2) == 37.55);
  CHECK(rounded(active("mixtral-8x7b"), 1e9, 2) == 12.88);
  CHECK(active("llama-3.1-8b") == 8030261248);
  CHECK(rounded(active("llama-4-scout"), 1e9, 1) == 17.2);
  CHECK(rounded(active("llama-4-maverick"), 1e9, 1) == 17.2);
  CHECK(rounded(active("qwen3.5-397b"), 1e9, 1) == 17.3);
  // 32 B, 40 B and 10 B on the cards leave the embedding out.
  const auto without_embedding = [&](const char* name) {
    const ModelSpec& m = model(name);
    return active(name) - static_cast<double>(m.vocab * m.hidden);
  };
  CHECK(rounded(without_embedding("kimi-k2.5"), 1e9, 1) == 31.7);
  CHECK(rounded(without_embedding("glm-5"), 1e9, 1) == 40.8);
  CHECK(rounded(without_embedding("minimax-m2.5"), 1e9, 1) == 10.4);
  // OpenAI counts the head but not the embedding.
  const ModelSpec& oss = model("gpt-oss-120b");
  CHECK(rounded(active("gpt-oss-120b") - static_cast<double>(oss.vocab * oss.hidden), 1e9, 2) ==
        5.13);
}

TEST_CASE("weight bytes are the published ones", "[unit]") {
  const auto gigabytes = [](const char* name, std::int64_t tp, NumberFormat format) {
    return static_cast<double>(model(name).weight_bytes_per_rank(weights_in(format), tp).value);
  };
  const NumberFormat bf16 = NumberFormat::bf16;
  CHECK(rounded(gigabytes("llama-3.1-8b", 1, bf16), 1e9, 2) == 16.06);
  CHECK(rounded(gigabytes("llama-3.1-70b", 1, bf16), 1e9, 2) == 141.11);
  CHECK(rounded(gigabytes("llama-3.1-70b", 8, bf16), 1e9, 2) == 17.64);
  CHECK(rounded(gigabytes("qwen3-8b", 1, bf16), 1e9, 2) == 16.38);
  CHECK(rounded(gigabytes("qwen3-30b-a3b", 1, bf16), 1e9, 1) == 61.1);
  CHECK(rounded(gigabytes("qwen3-235b-a22b", 1, bf16), 1e9, 0) == 470);
  CHECK(rounded(gigabytes("mixtral-8x7b", 1, bf16), 1e9, 1) == 93.4);
  // fp8: embedding and head stay in 16 bits, 1.85 GB more than a byte a parameter.
  CHECK(gigabytes("deepseek-v3", 1, NumberFormat::fp8) == Approx(671.03e9 + 1.853e9).epsilon(1e-3));
  // gpt-oss as published: 60.9 GB of mxfp4 experts and about 4.3 GB more.
  CHECK(rounded(gigabytes("gpt-oss-120b", 1, bf16), 1e9, 1) == Approx(60.9 + 4.3).margin(0.11));
  // Kimi K2.5 as published: int4 experts and the rest in 16 bits, 595 GB on disk with its tower.
  CHECK(rounded(gigabytes("kimi-k2.5", 1, bf16), 1e9, 0) == Approx(594).margin(1));
  for (const WeightGroup& group : weight_groups(model("llama-3.1-8b"), 1))
    if (group.role == WeightRole::head) CHECK(std::lround(2 * group.elements() / 1e6) == 1051);
  double layer = 0;
  for (const WeightGroup& group : weight_groups(model("llama-3.1-8b"), 1))
    if (group.layers == 32) layer += 2 * group.elements() / 32;
  CHECK(rounded(layer, 1e6, 1) == 436.2);
}

TEST_CASE("an engine's log shows the weights of Qwen3-0.6B at TP2 and of Qwen3-8B in fp8",
          "[unit]") {
  const auto loaded = [](const char* name, std::int64_t tp, NumberFormat format) {
    const Bytes bytes = model(name).weight_bytes_per_rank(weights_in(format), tp) +
                        model(name).rotary_table_bytes();
    return static_cast<double>(bytes.value) / 1073741824.0;
  };
  CHECK(loaded("qwen3-0.6b", 2, NumberFormat::bf16) == Approx(0.5670).epsilon(0.01));
  CHECK(loaded("qwen3-8b", 1, NumberFormat::fp8) == Approx(8.80).epsilon(0.002));
}

TEST_CASE("KV bytes per token are the published ones", "[unit]") {
  const NumberFormat bf16 = NumberFormat::bf16;
  const auto kv = [&](const char* name) {
    return model(name).kv_bytes_per_token_per_rank(bf16, 1).value;
  };
  CHECK(kv("llama-3.1-8b") == 131072);
  CHECK(kv("llama-3.1-70b") == 327680);
  CHECK(kv("qwen3-8b") == 147456);
  CHECK(kv("qwen3-30b-a3b") == 98304);
  CHECK(kv("qwen3-235b-a22b") == 192512);
  CHECK(kv("deepseek-v3") == 70272);
  CHECK(kv("kimi-k2.5") == 70272);
  CHECK(kv("minimax-m2.5") == 253952);
  CHECK(kv("llama-2-7b") == 524288);
  CHECK(kv("mistral-nemo") == 163840);
  CHECK(kv("mixtral-8x7b") == 131072);
  CHECK(kv("gpt-oss-120b") == 36864);
  CHECK(model("gpt-oss-120b").kv_bytes_per_token_all_layers(bf16).value == 73728);
  CHECK(model("deepseek-v3").kv_bytes_per_token_per_rank(NumberFormat::fp8, 1).value == 40016);
}

TEST_CASE("linear layers keep a state a sequence, only the others have KV", "[unit]") {
  const ModelSpec& m = model("qwen3.5-397b");
  CHECK(m.attention_layers() == 15);
  // 15 layers x (keys and values) x 2 heads x 256 x 2 bytes.
  CHECK(m.kv_bytes_per_token_per_rank(NumberFormat::bf16, 1).value == 30720);
  CHECK(m.kv_bytes_per_token_all_layers(NumberFormat::bf16).value == 30720);
  // vLLM's gated_delta_net_state_shape: 64 x 128 x 128 in fp32 and 3 x 12288 in 16 bits, 45 times.
  CHECK(m.state_bytes_per_sequence_per_rank(1).value == 45 * (4194304 + 73728));
  CHECK(m.state_bytes_per_sequence_per_rank(8).value * 8 ==
        m.state_bytes_per_sequence_per_rank(1).value);
  CHECK(model("qwen3-8b").state_bytes_per_sequence_per_rank(1) == Bytes{0});
  double linear = 0, attention = 0;
  for (const WeightGroup& group : weight_groups(m, 1)) {
    if (group.name == "linear attention input projection") linear = group.elements();
    if (group.name == "qkv projection") attention = group.elements();
  }
  CHECK(linear == 45.0 * 4096 * (2 * 2048 + 2 * 8192));
  CHECK(attention == 15.0 * 4096 * (2 * 32 + 2 * 2) * 256);  // twice the queries: the gate
}

TEST_CASE("a sparse index keeps its keys beside the latent", "[unit]") {
  const ModelSpec& m = model("glm-5");
  // 128 fp8 values and one fp32 scale: the 132 bytes of vLLM's DeepseekV32IndexerCache.
  CHECK(m.index_bytes_per_token_per_layer().value == 132);
  CHECK(m.kv_bytes_per_token_per_layer(NumberFormat::bf16, 1).value == 1152 + 132);
  CHECK(m.kv_bytes_per_token_per_layer(NumberFormat::fp8, 8).value == 656 + 132);
  CHECK(model("deepseek-v3").index_bytes_per_token_per_layer() == Bytes{0});
  // The indexer is replicated over the ranks.
  for (const std::int64_t tp : {1, 8})
    for (const WeightGroup& group : weight_groups(m, tp))
      if (group.name == "index query projection") CHECK(group.rows == 32 * 128);
}

TEST_CASE("every second layer of Maverick has experts; chunked layers keep their KV", "[unit]") {
  const ModelSpec& maverick = model("llama-4-maverick");
  CHECK(maverick.moe_layers() == 24);
  CHECK(maverick.dense_ffn_layers() == 24);
  CHECK(model("llama-4-scout").moe_layers() == 48);
  CHECK(model("deepseek-v3").dense_ffn_layers() == 3);
  CHECK(maverick.growing_layers() == 12);
  CHECK(maverick.kv_layers() == 48);
  CHECK(maverick.kv_bytes_per_token_per_rank(NumberFormat::bf16, 1).value == 48 * 4096);
  CHECK(model("gpt-oss-120b").kv_layers() == model("gpt-oss-120b").growing_layers());
}

TEST_CASE("heads of linear layers that do not divide are refused with the reason", "[unit]") {
  ModelSpec m = model("qwen3.5-397b");
  m.linear->key_heads = 6;
  m.linear->value_heads = 6;
  const auto problem = find_pricing_problem(m, *find_gpu("b300"), {}, {4});
  REQUIRE(problem.has_value());
  CHECK(*problem ==
        "tp 4 does not divide the 6 key and 6 value heads of qwen3.5-397b's linear layers");
  CHECK_FALSE(find_pricing_problem(model("qwen3.5-397b"), *find_gpu("b300"), {}, {4}).has_value());
}

TEST_CASE("every model is priced on a node of eight, or the reason is known", "[invariant]") {
  // 8 ranks: 40 heads of Llama 4, Qwen3 14B and InternLM divide; 25 of GPT-2 XL and 14 of
  // Qwen2.5 0.5B do not.
  for (const ModelSpec& m : model_catalogue()) {
    INFO(m.name);
    const bool priced = !find_pricing_problem(m, *find_gpu("gb200"), {}, {8}).has_value();
    CHECK(priced == (m.heads % 8 == 0));
  }
}

TEST_CASE("KV sizes of the teaching examples are exact", "[unit]") {
  // GPT-2 XL, batch 16 of 1,000 tokens in fp16.
  CHECK(16 * 1000 * model("gpt2-xl").kv_bytes_per_token_per_rank(NumberFormat::fp16, 1).value ==
        4915200000);
  // Qwen2.5-0.5B in fp32: 14 tokens, and 2 x 2,156 tokens.
  const auto kv = model("qwen2.5-0.5b").kv_bytes_per_token_per_rank(NumberFormat::fp32, 1).value;
  CHECK(14 * kv == 344064);
  CHECK(static_cast<double>(2 * 2156 * kv) / 1048576.0 == 101.0625);
}

TEST_CASE("KV heads are divided, then replicated; a latent is replicated always", "[unit]") {
  const ModelSpec& m = model("qwen3-30b-a3b");  // 4 KV heads
  const auto kv = [&](std::int64_t tp) {
    return m.kv_bytes_per_token_per_rank(NumberFormat::bf16, tp).value;
  };
  CHECK(kv(1) == 4 * kv(4));
  CHECK(kv(8) == kv(4));
  const ModelSpec& v3 = model("deepseek-v3");
  CHECK(v3.kv_bytes_per_token_per_rank(NumberFormat::bf16, 8).value == 70272);
  // Replicated KV projections make 8 ranks hold more than the model.
  CHECK(8 * m.weight_bytes_per_rank({}, 8).value > m.weight_bytes_per_rank({}, 1).value);
}

TEST_CASE("linear FLOPs per token without the head are the published ones", "[unit]") {
  CHECK(rounded(model("llama-3.1-8b").linear_flops_per_token(), 1e9, 2) == 13.96);
  CHECK(rounded(model("llama-3.1-70b").linear_flops_per_token(), 1e9, 1) == 136.9);
  CHECK(rounded(model("qwen3-8b").linear_flops_per_token(), 1e9, 2) == 13.89);
}

TEST_CASE("the catalogue holds every model that the end-to-end data name, each with its source",
          "[unit]") {
  CHECK(model_names().size() == 32);
  for (const ModelSpec& m : model_catalogue()) {
    INFO(m.name);
    CHECK(m.source.size() > 20);
    CHECK(m.max_context >= 1024);
    CHECK(find_model(m.name) == &m);
  }
  CHECK(find_model("llama-9b") == nullptr);
}
