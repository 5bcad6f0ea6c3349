// The model catalogue (models/*.yaml, linked into the program) and what follows exactly from a
// spec.

#include "hw_models/model_spec.h"

#include <algorithm>
#include <cmath>

#include "embedded/models.h"
#include "hw_models/catalogue_file.h"
#include "hw_models/check.h"
#include "hw_models/weight_groups.h"

namespace fleetsim {
namespace {

struct CountRow {
  const char* key;
  std::int64_t ModelSpec::*member;
  bool required;
};
constexpr CountRow kCounts[] = {
    {"layers", &ModelSpec::layers, true},
    {"hidden", &ModelSpec::hidden, true},
    {"heads", &ModelSpec::heads, true},
    {"kv_heads", &ModelSpec::kv_heads, true},
    {"head_dim", &ModelSpec::head_dim, true},
    {"ffn", &ModelSpec::ffn, false},
    {"vocab", &ModelSpec::vocab, true},
    {"max_context", &ModelSpec::max_context, true},
    {"position_embeddings", &ModelSpec::position_embeddings, false},
    {"window", &ModelSpec::window, false},
    {"windowed_layers", &ModelSpec::windowed_layers, false},
    {"rotary_dim", &ModelSpec::rotary_dim, false},
};

struct FlagRow {
  const char* key;
  bool ModelSpec::*member;
};
constexpr FlagRow kFlags[] = {
    {"tied_embeddings", &ModelSpec::tied_embeddings},
    {"gated_ffn", &ModelSpec::gated_ffn},
    {"qkv_bias", &ModelSpec::qkv_bias},
    {"qk_norm", &ModelSpec::qk_norm},
    {"attention_output_bias", &ModelSpec::attention_output_bias},
    {"ffn_bias", &ModelSpec::ffn_bias},
    {"layer_norm_bias", &ModelSpec::layer_norm_bias},
    {"attention_sinks", &ModelSpec::attention_sinks},
    {"chunked_window", &ModelSpec::chunked_window},
    {"attention_output_gate", &ModelSpec::attention_output_gate},
    {"qk_norm_all_heads", &ModelSpec::qk_norm_all_heads},
    {"fp8_block_scales", &ModelSpec::fp8_block_scales},
};

LatentAttention read_latent(CatalogueMap map) {
  LatentAttention latent;
  latent.q_lora_rank = map.integer("q_lora_rank");
  latent.kv_lora_rank = map.integer("kv_lora_rank");
  latent.rope_dim = map.integer("rope_dim");
  latent.nope_dim = map.integer("nope_dim");
  latent.v_dim = map.integer("v_dim");
  map.finish();
  return latent;
}

SparseIndex read_index(CatalogueMap map) {
  SparseIndex index;
  index.heads = map.integer("heads");
  index.dim = map.integer("dim");
  index.top_k = map.integer("top_k");
  map.finish();
  return index;
}

LinearAttention read_linear(CatalogueMap map) {
  LinearAttention linear;
  linear.layers = map.integer("layers");
  linear.key_heads = map.integer("key_heads");
  linear.value_heads = map.integer("value_heads");
  linear.key_dim = map.integer("key_dim");
  linear.value_dim = map.integer("value_dim");
  linear.conv_kernel = map.integer("conv_kernel");
  map.finish();
  return linear;
}

MixtureOfExperts read_experts(CatalogueMap map) {
  MixtureOfExperts moe;
  moe.experts = map.integer("experts");
  moe.experts_per_token = map.integer("experts_per_token");
  moe.expert_ffn = map.integer("expert_ffn");
  moe.shared_experts = map.integer_or("shared_experts", 0);
  moe.shared_ffn = map.integer_or("shared_ffn", 0);
  moe.dense_layers = map.integer_or("dense_layers", 0);
  moe.interval = map.integer_or("interval", 1);
  moe.shared_gate = map.flag_or("shared_gate", false);
  moe.router_correction = map.flag_or("router_correction", false);
  map.finish();
  return moe;
}

std::optional<NumberFormat> read_format(CatalogueMap& file, const std::string& key) {
  if (!file.has(key)) return std::nullopt;
  const auto format = number_format_named(file.text(key));
  CHECK(format.has_value(), key);
  return format;
}

ModelSpec read_model(const EmbeddedFile& embedded) {
  const YamlNode root = CatalogueMap::parse(embedded);
  CatalogueMap file(root, std::string(embedded.name));
  ModelSpec model;
  model.name = file.text("name");
  model.title = file.text("title");
  model.source = file.text("source");
  for (const CountRow& row : kCounts)
    if (row.required || file.has(row.key)) model.*row.member = file.integer(row.key);
  for (const FlagRow& row : kFlags) model.*row.member = file.flag_or(row.key, model.*row.member);
  if (file.has("latent")) model.latent = read_latent(file.map("latent"));
  if (file.has("index")) model.index = read_index(file.map("index"));
  if (file.has("linear")) model.linear = read_linear(file.map("linear"));
  if (file.has("moe")) model.moe = read_experts(file.map("moe"));
  model.native_weight_format = read_format(file, "native_weight_format");
  model.native_expert_format = read_format(file, "native_expert_format");
  if (file.has("routing_skew"))
    model.routing_skew = file.quantity("routing_skew", Dimension::count).value;
  if (file.has("top_p")) model.top_p = file.quantity("top_p", Dimension::count).value;
  file.finish();
  CHECK(std::string(embedded.name) == model.name + ".yaml", model.name);
  CHECK(model.top_p > 0 && model.top_p <= 1, model.name);
  CHECK(!model.index || model.latent, model.name);
  CHECK(!model.moe || (model.layers - model.moe->dense_layers) % model.moe->interval == 0,
        model.name);
  return model;
}

std::vector<ModelSpec> read_catalogue() {
  std::vector<ModelSpec> models;
  for (const EmbeddedFile& file : embedded_models()) models.push_back(read_model(file));
  return models;
}

bool counted(const ModelSpec& model, const WeightGroup& group) {
  return group.role != WeightRole::head || !model.tied_embeddings;
}

/// Share of a group's weights that one token passes.
double active_share(const ModelSpec& model, const WeightGroup& group) {
  if (group.role != WeightRole::expert && group.role != WeightRole::expert_vector) return 1;
  return static_cast<double>(model.moe->experts_per_token) /
         static_cast<double>(model.moe->experts);
}

}  // namespace

std::int64_t ModelSpec::parameters() const {
  double sum = 0;  // whole numbers below 2^53: exact
  for (const WeightGroup& group : weight_groups(*this, 1))
    if (counted(*this, group)) sum += group.elements();
  return static_cast<std::int64_t>(sum);
}

std::int64_t ModelSpec::active_parameters() const {
  double sum = 0;
  for (const WeightGroup& group : weight_groups(*this, 1))
    if (counted(*this, group)) sum += active_share(*this, group) * group.elements();
  return std::llround(sum);
}

double ModelSpec::linear_flops_per_token() const {
  double sum = 0;
  for (const WeightGroup& group : weight_groups(*this, 1)) {
    const bool matrix = group.role == WeightRole::matrix || group.role == WeightRole::expert ||
                        group.role == WeightRole::router || group.role == WeightRole::narrow;
    if (matrix) sum += 2 * active_share(*this, group) * group.elements();
  }
  return sum;
}

std::int64_t ModelSpec::kv_heads_per_rank(std::int64_t tp) const {
  CHECK(tp >= 1, "tensor parallel size " + std::to_string(tp));
  return std::max<std::int64_t>(1, (kv_heads + tp - 1) / tp);
}

Bytes ModelSpec::rotary_table_bytes() const {
  if (position_embeddings > 0) return {0};
  const std::int64_t whole = latent ? latent->rope_dim : head_dim;
  return {max_context * (rotary_dim > 0 ? rotary_dim : whole) * 2};
}

Bytes ModelSpec::weight_bytes_per_rank(const Precision& precision, std::int64_t tp) const {
  double sum = 0;
  for (const WeightGroup& group : weight_groups(*this, tp))
    if (counted(*this, group))
      sum += stored_weight_bytes(*this, group.role, precision) * group.elements();
  return {static_cast<std::int64_t>(std::ceil(sum))};
}

Bytes ModelSpec::kv_bytes_per_token_per_layer(NumberFormat kv_format, std::int64_t tp) const {
  const double element = element_bytes(kv_format);
  if (latent) {
    // Replicated over the ranks: one latent serves every head.
    const std::int64_t rank = latent->kv_lora_rank;
    const Bytes of_index = index_bytes_per_token_per_layer();
    if (kv_format == NumberFormat::fp8)
      return of_index + Bytes{rank + (rank + 127) / 128 * 4 + 2 * latent->rope_dim};
    return of_index + Bytes{std::llround(static_cast<double>(rank + latent->rope_dim) * element)};
  }
  return {std::llround(static_cast<double>(2 * kv_heads_per_rank(tp) * head_dim) * element)};
}

Bytes ModelSpec::kv_bytes_per_token_per_rank(NumberFormat kv_format, std::int64_t tp) const {
  return kv_layers() * kv_bytes_per_token_per_layer(kv_format, tp);
}

Bytes ModelSpec::kv_bytes_per_token_all_layers(NumberFormat kv_format) const {
  return attention_layers() * kv_bytes_per_token_per_layer(kv_format, 1);
}

Bytes ModelSpec::index_bytes_per_token_per_layer() const {
  // vLLM's DeepseekV32IndexerCache: head_dim fp8 values and an fp32 scale for every 128.
  if (!index) return {0};
  return {index->dim + (index->dim + 127) / 128 * 4};
}

Bytes ModelSpec::state_bytes_per_sequence_per_rank(std::int64_t tp) const {
  // vLLM's gated_delta_net_state_shape: (conv_kernel - 1) x conv_width in 16 bits and value_heads x
  // value_dim x key_dim in fp32, heads divided over the ranks.
  if (!linear) return {0};
  CHECK(tp >= 1, "tensor parallel size " + std::to_string(tp));
  const std::int64_t conv = (linear->conv_kernel - 1) * ((linear->conv_width() + tp - 1) / tp) * 2;
  const std::int64_t states = (linear->value_heads + tp - 1) / tp;
  return {linear->layers * (conv + states * linear->value_dim * linear->key_dim * 4)};
}

ModelSpec pipeline_stage(const ModelSpec& model, std::int64_t stages) {
  CHECK(stages >= 1 && stages <= model.layers, std::to_string(stages));
  ModelSpec stage = model;
  const auto share = [stages](std::int64_t layers) { return (layers + stages - 1) / stages; };
  stage.layers = share(model.layers);
  // Kinds of layers keep their part of the stage; at least one keeps growing KV.
  stage.windowed_layers = model.windowed_layers * stage.layers / model.layers;
  if (model.linear) stage.linear->layers = model.linear->layers * stage.layers / model.layers;
  if (model.moe) stage.moe->dense_layers = model.moe->dense_layers / stages;
  return stage;
}

const std::vector<ModelSpec>& model_catalogue() {
  static const std::vector<ModelSpec> catalogue = read_catalogue();
  return catalogue;
}

const ModelSpec* find_model(const std::string& name) {
  for (const ModelSpec& model : model_catalogue())
    if (model.name == name) return &model;
  return nullptr;
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const ModelSpec& model : model_catalogue()) names.push_back(model.name);
  return names;
}

}  // namespace fleetsim
