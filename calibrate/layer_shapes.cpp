#include "calibrate/layer_shapes.h"

namespace fleetsim {

std::optional<OperatorShape> layer_operator(std::string_view name, const ModelSpec& model,
                                            std::int64_t tp, double tokens) {
  const auto number = [](std::int64_t value) { return static_cast<double>(value); };
  const double ranks = number(tp);
  const double hidden = number(model.hidden), ffn = number(model.ffn) / ranks,
               vocab = number(model.vocab) / ranks;
  const double queries = number(model.heads * model.head_dim) / ranks;
  const double keys = number(model.kv_heads_per_rank(tp) * model.head_dim);
  const auto matrix = [&](double n, double k) {
    return OperatorShape(GemmShape{GemmFormat::bf16, tokens, n, k});
  };
  const auto stream = [&](double elements) {  // 16 bits each
    return OperatorShape(ElementwiseShape{2 * tokens * elements});
  };
  if (name == "qkv") return matrix(queries + 2 * keys, hidden);
  if (name == "q") return matrix(queries, hidden);
  if (name == "k" || name == "v") return matrix(keys, hidden);
  if (name == "o") return matrix(hidden, queries);
  if (name == "gate_up") return matrix(2 * ffn, hidden);
  if (name == "gate" || name == "up") return matrix(ffn, hidden);
  if (name == "down") return matrix(hidden, ffn);
  if (name == "lm_head") return matrix(vocab, hidden);
  if (name == "router" && model.moe) return matrix(number(model.moe->experts), hidden);
  if (name == "norm") return stream(2 * hidden);
  if (name == "add_norm") return stream(4 * hidden);
  if (name == "add") return stream(3 * hidden);
  if (name == "rope" || name == "qk_norm") return stream(2 * (queries + keys));
  if (name == "activation") return stream(3 * ffn);
  if (name == "embedding") return stream(2 * hidden);
  return std::nullopt;
}

}  // namespace fleetsim
