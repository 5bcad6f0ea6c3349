#include "calibrate/llmservingsim_tables.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

#include "calibrate/chunk_attention.h"
#include "calibrate/layer_shapes.h"
#include "calibrate/row_reader.h"
#include "hw_models/check.h"
#include "hw_models/model_spec.h"

namespace fleetsim {
namespace {

using Names = std::vector<std::pair<const char*, const char*>>;  // theirs, layer_operator's

/// vLLM's own layers, fused.
const Names& fused_layers() {
  static const Names names = {
      {"embedding", "embedding"},
      {"layernorm", "add_norm"},
      {"final_layernorm", "add_norm"},
      {"qkv_proj", "qkv"},
      {"rotary_emb", "rope"},
      {"qk_norm", "qk_norm"},
      {"o_proj", "o"},
      {"gate_up_proj", "gate_up"},
      {"act_fn", "activation"},
      {"down_proj", "down"},
  };
  return names;
}

/// A model's own layers one by one. Its norms, rotation and activation are chains of PyTorch's
/// kernels: 18 us for a norm of one token, where one kernel takes 2.
const Names& single_layers() {
  static const Names names = {
      {"embedding", "embedding"},
      {"input_layernorm", "norm"},
      {"post_layernorm", "norm"},
      {"final_layernorm", "norm"},
      {"q_proj", "q"},
      {"k_proj", "k"},
      {"v_proj", "v"},
      {"o_proj", "o"},
      {"rope", "rope"},
      {"gate_proj", "gate"},
      {"up_proj", "up"},
      {"down_proj", "down"},
      {"act_fn", "activation"},
      {"lm_head", "lm_head"},
      {"gate", "router"},
  };
  return names;
}

/// "tp4" -> 4
std::optional<std::int64_t> tp_of(std::string_view text) {
  if (!text.starts_with("tp")) return std::nullopt;
  std::int64_t tp = 0;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), tp);
  if (error != std::errc() || end != text.data() + text.size() || tp < 1) return std::nullopt;
  return tp;
}

class TableReader {
 public:
  TableReader(const LlmservingsimName& name, const std::string& path, const GpuSpec& gpu,
              std::vector<MeasuredOperator>& rows, Problems& problems)
      : name_(name), path_(path), gpu_(gpu), rows_(rows), problems_(problems) {
    file_.file = path;
  }

  ImportedFile read() {
    if (name_.kind == "layers") {
      read_layers();
      return std::move(file_);
    }
    const ModelSpec* model = find_model(name_.model);
    if (model == nullptr) {
      file_.left_out = "the model " + name_.model + " is not known";
    } else if (model->heads % name_.tp != 0) {
      file_.left_out = "tp does not divide the model's heads";
    } else {
      read_of(*model);
    }
    return std::move(file_);
  }

 private:
  void read_of(const ModelSpec& model) {
    if (name_.kind == "dense") read_dense(model);
    if (name_.kind == "per_sequence") read_per_sequence(model);
    if (name_.kind == "attention") read_attention(model);
    if (name_.kind == "old_attention") read_old_attention(model);
    if (name_.kind == "moe") read_experts(model);
  }

  RowReader rows_with(const std::vector<std::string>& columns) {
    return RowReader(path_, columns, rows_, file_, problems_);
  }

  void add_layer(RowReader& row, const Names& names, std::string_view layer, const ModelSpec& model,
                 std::int64_t tp, double tokens) {
    const bool chains = &names == &single_layers();
    for (const auto& [theirs, ours] : names) {
      if (layer != theirs) continue;
      if (const auto shape = layer_operator(ours, model, tp, tokens)) {
        const bool chain = chains && std::holds_alternative<ElementwiseShape>(*shape);
        row.add(*shape, "vllm", theirs, chain ? RowFlag::not_modelled : RowFlag::none);
        return;
      }
    }
    row.without_shape("layer " + in_quotes(layer));
  }

  void read_dense(const ModelSpec& model) {
    RowReader row = rows_with({"layer", "tokens", "time_us"});
    while (row.next()) add_layer(row, fused_layers(), row.word(0), model, name_.tp, row.count(1));
  }

  void read_per_sequence(const ModelSpec& model) {
    RowReader row = rows_with({"layer", "sequences", "time_us"});
    while (row.next()) {
      const double sequences = row.count(1);
      if (row.word(0) == "lm_head") {
        row.add(*layer_operator("lm_head", model, name_.tp, sequences), "vllm", "lm_head");
      } else if (row.word(0) == "sampler") {
        // fp32 logits once; the sampler is a chain of kernels that pass over them several times
        row.add(ElementwiseShape{4 * sequences * static_cast<double>(model.vocab)}, "vllm",
                "sampler", RowFlag::not_modelled);
      } else {
        row.without_shape("layer " + in_quotes(row.word(0)));
      }
    }
  }

  AttentionBackend backend() const {
    return gpu_.architecture_sm == 90 ? AttentionBackend::fa3 : AttentionBackend::fa2;
  }
  double query_heads(const ModelSpec& model, std::int64_t tp) const {
    const std::int64_t heads = model.heads / tp;
    return static_cast<double>(heads);
  }
  double kv_heads(const ModelSpec& model, std::int64_t tp) const {
    return static_cast<double>(model.kv_heads_per_rank(tp));
  }

  void read_attention(const ModelSpec& model) {
    RowReader row = rows_with({"prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"});
    while (row.next()) {
      const double chunk = row.count(0, 0), cached = row.count(1, 0), decodes = row.count(2, 0),
                   context = row.count(3, 0);
      if (chunk == 0 && decodes == 0) {
        row.fault(0, "neither a chunk nor decodes");
      } else if (chunk == 0) {
        DecodeAttentionShape shape;
        shape.backend = backend();
        shape.batch = decodes;
        shape.context = context;
        shape.query_heads = query_heads(model, name_.tp);
        shape.kv_heads = kv_heads(model, name_.tp);
        shape.head_dim = static_cast<double>(model.head_dim);
        add_attention(row, shape, context > 0);
      } else {
        const ChunkAttention prompt = {chunk, cached, 0};
        PrefillAttentionShape shape;
        shape.backend = backend();
        shape.queries = chunk;
        shape.pairs = prompt.pairs();
        shape.context = prompt.keys_in_reach();
        shape.query_heads = query_heads(model, name_.tp);
        shape.kv_heads = kv_heads(model, name_.tp);
        shape.head_dim = static_cast<double>(model.head_dim);
        shape.decodes = decodes;
        shape.decode_context = context;
        add_attention(row, shape, decodes == 0 || context > 0);
      }
    }
  }

  static void add_attention(RowReader& row, const OperatorShape& shape, bool has_context) {
    if (has_context) {
      row.add(shape, "vllm", "");
    } else {
      row.without_shape("decodes without context");
    }
  }

  void read_old_attention(const ModelSpec& model) {
    RowReader row = rows_with({"model", "tp", "n_q_head", "n_kv_head", "n_embd", "batch_size",
                               "prefill_chunk_size", "kv_cache_size", "is_prefill",
                               "attention_backend", "latency_us"});
    while (row.next()) {
      const double batch = row.count(5), chunk = row.count(6, 0), keys = row.count(7);
      const std::string kernel(row.word(9));
      if (row.word(8) == "True" && chunk > 0 && keys >= chunk) {
        const ChunkAttention prompt = {chunk, keys - chunk, 0};
        PrefillAttentionShape shape;
        shape.backend = AttentionBackend::fa2;
        shape.requests = batch;
        shape.queries = batch * chunk;
        shape.pairs = batch * prompt.pairs();
        shape.context = batch * keys;
        shape.query_heads = query_heads(model, name_.tp);
        shape.kv_heads = kv_heads(model, name_.tp);
        shape.head_dim = static_cast<double>(model.head_dim);
        row.add(shape, "vllm", kernel, RowFlag::not_modelled);
      } else if (row.word(8) == "False" && chunk == 0) {
        DecodeAttentionShape shape;
        shape.backend = AttentionBackend::fa2;
        shape.batch = batch;
        shape.context = keys / batch;
        shape.query_heads = query_heads(model, name_.tp);
        shape.kv_heads = kv_heads(model, name_.tp);
        shape.head_dim = static_cast<double>(model.head_dim);
        row.add(shape, "vllm", kernel, RowFlag::not_modelled);
      } else {
        row.fault(8,
                  "is_prefill must be True, with a chunk inside kv_cache_size, or False, "
                  "without one");
      }
    }
  }

  void read_layers() {
    RowReader row = rows_with({"model", "layer", "tokens", "kv_cache", "tp", "latency_us"});
    std::string name;
    const ModelSpec* model = nullptr;
    while (row.next()) {
      if (row.word(0) != name || model == nullptr) {
        name = row.word(0);
        model = find_model(name);
      }
      const std::string_view layer = row.word(1);
      const double tokens = row.count(2);
      const auto tp = static_cast<std::int64_t>(row.count(4));
      if (model == nullptr) {
        row.without_shape("model " + in_quotes(name));
      } else if (model->heads % tp != 0) {
        row.fault(4, "tp does not divide the model's heads");
      } else if (layer.starts_with("expert.") && model->moe) {
        const double hidden = static_cast<double>(model->hidden),
                     ffn = static_cast<double>(model->moe->expert_ffn);
        const bool down = layer == "expert.w2";
        row.add(GemmShape{GemmFormat::bf16, tokens, down ? hidden : ffn, down ? ffn : hidden},
                "vllm", std::string(layer));
      } else if (model->moe && layer == "act_fn") {
        row.without_shape("layer 'act_fn' of experts");
      } else if (layer == "attn") {
        row.without_shape("layer 'attn', always without a cache");
      } else {
        add_layer(row, single_layers(), layer, *model, tp, tokens);
      }
    }
  }

  void read_experts(const ModelSpec& model) {
    RowReader row = rows_with({"tokens", "activated_experts", "time_us"});
    if (!model.moe) {
      file_.left_out = name_.model + " has no experts";
      return;
    }
    while (row.next()) {
      ExpertsShape shape;
      shape.tokens = row.count(0);
      shape.hidden = static_cast<double>(model.hidden);
      shape.ffn = static_cast<double>(model.moe->expert_ffn) / static_cast<double>(name_.tp);
      shape.experts_per_token = static_cast<double>(model.moe->experts_per_token);
      shape.experts = row.count(1);
      shape.local_experts = shape.experts;
      if (shape.experts < shape.experts_per_token) {
        row.fault(1, "fewer experts than a token picks");
        continue;
      }
      const double reached =
          1 - std::pow(1 - shape.experts_per_token / shape.experts, shape.tokens);
      row.add(shape, "vllm", "", reached > kReachedShare ? RowFlag::none : RowFlag::not_modelled);
    }
  }

  /// Experts that balanced routing reaches, of those in use: where it would reach fewer, the table
  /// spread its tokens otherwise than the shape says.
  static constexpr double kReachedShare = 0.95;

  const LlmservingsimName& name_;
  const std::string& path_;
  const GpuSpec& gpu_;
  std::vector<MeasuredOperator>& rows_;
  Problems& problems_;
  ImportedFile file_;
};

}  // namespace

std::optional<LlmservingsimName> llmservingsim_name(const std::string& path) {
  std::vector<std::string> words;
  for (std::string_view rest = stem_of_csv(path); !rest.empty();) {
    const std::size_t end = std::min(rest.find('_'), rest.size());
    words.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (words.size() == 2 && words[1] == "layers")
    return LlmservingsimName{words[0], "layers", "", 0};
  if (words.size() == 4 && words[1] == "attention") {
    if (const auto tp = tp_of(words[3]))
      return LlmservingsimName{words[0], "old_attention", words[2], *tp};
    return std::nullopt;
  }
  const bool two_words = words.size() == 5 && words[3] == "per" && words[4] == "sequence";
  if (words.size() != 4 && !two_words) return std::nullopt;
  const auto tp = tp_of(words[2]);
  const std::string kind = two_words ? "per_sequence" : words[3];
  if (!tp || !(two_words || kind == "dense" || kind == "attention" || kind == "moe"))
    return std::nullopt;
  return LlmservingsimName{words[0], kind, words[1], *tp};
}

ImportedFile read_llmservingsim_table(const std::string& path, const GpuSpec& gpu,
                                      std::vector<MeasuredOperator>& rows, Problems& problems) {
  const auto name = llmservingsim_name(path);
  CHECK(name.has_value(), path + " is no table of LLMServingSim");
  return TableReader(*name, path, gpu, rows, problems).read();
}

}  // namespace fleetsim
