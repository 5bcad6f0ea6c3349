// The table of operator families and the one way to a sound point. Job lines, CSV files and grid
// all come through make_point, so that no rule is written twice.

#include "kernels/measure/point.h"

#include <algorithm>
#include <charconv>

#include "hw_models/check.h"
#include "kernels/measure/stack_shape.h"

namespace fleetsim::kernels {
namespace {

constexpr std::int64_t kBytesMax = std::int64_t{1} << 40;  // 1 TiB: beyond any GPU's memory
constexpr std::int64_t kTokensMax = std::int64_t{1} << 24;
constexpr std::int64_t kExtentMax = std::int64_t{1} << 24;  // rows or columns of a matrix
constexpr std::int64_t kHeadsMax = 1024;

Axis count(const char* name, const char* unit, std::int64_t least, std::int64_t most) {
  return {name, unit, Axis::Kind::integer, least, most, {}};
}
Axis word(const char* name, std::vector<std::string> words) {
  return {name, "", Axis::Kind::word, 0, 0, std::move(words)};
}
Axis lengths(const char* name, std::int64_t least) {
  return {name, "tokens", Axis::Kind::lengths, least, kTokensMax, {}};
}

void heads_rule(const Point& point, std::vector<PointFault>& faults) {
  if (point.integer("query_heads") % point.integer("kv_heads") != 0)
    faults.push_back({"query_heads", "query_heads must be a multiple of kv_heads"});
}

void sequences_rule(const Point& point, std::vector<PointFault>& faults) {
  const std::size_t with_new = point.lengths("new_lengths").size();
  const std::size_t with_cached = point.lengths("cached_lengths").size();
  if (with_new != with_cached)
    faults.push_back({"cached_lengths", "new_lengths has " + std::to_string(with_new) +
                                            " sequences, cached_lengths has " +
                                            std::to_string(with_cached)});
}

bool is_gemm_ceiling(const std::string& kind) { return kind.starts_with("gemm_"); }
bool is_launch_ceiling(const std::string& kind) {
  return kind == "launch" || kind.starts_with("graph_");
}

void ceiling_rule(const Point& point, std::vector<PointFault>& faults) {
  const std::string& kind = point.word("kind");
  const bool wants_edge = is_gemm_ceiling(kind);
  const bool wants_bytes = !wants_edge && !is_launch_ceiling(kind);
  const auto judge = [&](const char* axis, bool wanted) {
    if (wanted != (point.integer(axis) > 0))
      faults.push_back({axis, std::string(axis) + (wanted ? " must be above 0" : " must be 0") +
                                  " where kind is " + kind});
  };
  judge("bytes", wants_bytes);
  judge("edge", wants_edge);
}

void prefill_rule(const Point& point, std::vector<PointFault>& faults) {
  heads_rule(point, faults);
  sequences_rule(point, faults);
  if (point.integer("window") > 0 && point.integer("causal") == 0)
    faults.push_back({"window", "window must be 0 where causal is 0"});
}

void all_reduce_rule(const Point& point, std::vector<PointFault>& faults) {
  const std::int64_t gpus = point.integer("gpus");
  if (gpus != 2 && gpus != 4 && gpus != 8) faults.push_back({"gpus", "gpus is 2, 4 or 8"});
  if (point.integer("bytes") % 16 != 0)
    faults.push_back({"bytes", "bytes must be a multiple of 16"});
}

constexpr std::int64_t kExpertsMax = 512, kExpertsPerTokenMax = 16;  // of our kernels
constexpr std::int64_t kRoutingGroups = 8;  // of DeepSeek-V3; it looks at half of them

/// Of what is chosen: no more than there are.
void experts_rule(const Point& point, std::vector<PointFault>& faults) {
  const std::int64_t experts = point.integer("experts");
  const auto at_most = [&](const char* axis, std::int64_t most) {
    if (point.integer(axis) > most)
      faults.push_back({axis, std::string(axis) + " is at most " + std::to_string(most) + " of " +
                                  std::to_string(experts) + " experts"});
  };
  at_most("experts_per_token", experts);
  if (point.op() != "expert_routing") at_most("local_experts", experts);
}

void routing_rule(const Point& point, std::vector<PointFault>& faults) {
  experts_rule(point, faults);
  if (point.word("rule") != "sigmoid_groups") return;
  const std::int64_t experts = point.integer("experts");
  if (experts % kRoutingGroups != 0 || experts < 2 * kRoutingGroups)
    faults.push_back({"experts",
                      "experts come in 8 equal groups of 2 or more where rule is "
                      "sigmoid_groups"});
  if (point.integer("experts_per_token") > experts / 2)
    faults.push_back({"experts_per_token",
                      "experts_per_token is at most half of the experts where rule is "
                      "sigmoid_groups"});
}

Axis stack_axis() {
  Axis axis = word("stack", {});
  for (const StackShape& shape : stack_shapes()) axis.words.emplace_back(shape.name);
  return axis;
}

Axis part_axis() {
  Axis axis = word("part", {"all"});
  for (int part = 0; part < kStackParts; ++part)
    axis.words.emplace_back(name_of(static_cast<StackPart>(part)));
  return axis;
}

std::vector<OperatorAxes> make_table() {
  const Axis kv_dtype = word("kv_dtype", {"bf16", "e4m3"});
  const Axis output = word("output", {"bf16", "e4m3"});
  const Axis query_heads = count("query_heads", "heads", 1, kHeadsMax);
  const Axis kv_heads = count("kv_heads", "heads", 1, kHeadsMax);
  const Axis latent_heads = count("heads", "heads", 1, kHeadsMax);
  const Axis head_dim = count("head_dim", "elements", 16, 512);
  const Axis page_tokens = count("page_tokens", "tokens", 1, 1024);
  // one page may hold a whole context, to see what paging costs
  const Axis large_page_tokens = count("page_tokens", "tokens", 1, 131072);
  const Axis tokens = count("tokens", "tokens", 1, kTokensMax);
  const Axis hidden = count("hidden", "elements", 8, kExtentMax);
  const Axis vocab = count("vocab", "tokens", 2, kExtentMax);
  const Axis block_bytes = count("block_bytes", "bytes", 16, kBytesMax);
  const Axis blocks = count("blocks", "blocks", 1, kExtentMax);
  const Axis experts = count("experts", "experts", 1, kExpertsMax);
  const Axis local_experts = count("local_experts", "experts", 1, kExpertsMax);
  const Axis experts_per_token = count("experts_per_token", "experts", 1, kExpertsPerTokenMax);
  const Axis skew = count("skew_hundredths", "1/100", 0, 300);
  return {
      {"ceiling",
       "ceilings.csv",
       "what the device can do at best: streams of `bytes` bytes (copy reads and writes them; "
       "both_ways moves them in each direction at once), a GEMM with m = n = k = edge, one launch, "
       "one graph launch, one node of a graph",
       {word("kind", {"copy", "read", "write", "gemm_bf16", "gemm_fp8", "launch", "graph_launch",
                      "graph_node", "host_to_device", "device_to_host", "both_ways"}),
        count("bytes", "bytes", 0, kBytesMax), count("edge", "elements", 0, kExtentMax)},
       ceiling_rule},
      {"gemm",
       "gemm.csv",
       "activations [m, k] times weights [n, k]; algo: the first that cuBLASLt's heuristic gives, "
       "or the fastest of its first eight",
       {word("dtype", {"bf16", "fp8", "fp8_block", "int8", "w4a16"}),
        count("m", "tokens", 1, kExtentMax), count("n", "elements", 1, kExtentMax),
        count("k", "elements", 1, kExtentMax), word("algo", {"top", "best8"})},
       nullptr},
      {"decode_attention",
       "decode_attention.csv",
       "one new token of each sequence attends to its paged KV cache",
       {kv_dtype, query_heads, kv_heads, head_dim, page_tokens, lengths("lengths", 0)},
       heads_rule},
      {"prefill_attention",
       "prefill_attention.csv",
       "new tokens attend to their paged KV cache and, causally or not, to each other; with a "
       "window "
       "a token sees its own and the window - 1 keys before it, with window 0 all; "
       "variants are stages on the way to the kernel for sm_90",
       {kv_dtype, query_heads, kv_heads, head_dim, large_page_tokens, lengths("new_lengths", 0),
        lengths("cached_lengths", 0), count("causal", "0 or 1", 0, 1),
        count("window", "tokens", 0, kTokensMax),
        word("variant", {"best", "portable", "one_consumer", "two_consumers"})},
       prefill_rule},
      {"latent_decode_attention",
       "latent_decode_attention.csv",
       "query tokens of each sequence, the last of them its newest, attend to its paged latents "
       "(512 and 64 rotated), which all heads share: absorbed",
       {word("kv_dtype", {"bf16"}), latent_heads, count("query_tokens", "tokens", 1, 4),
        page_tokens, lengths("lengths", 0)},
       nullptr},
      {"latent_prefill_attention",
       "latent_prefill_attention.csv",
       "new tokens attend causally to keys (192 wide) and values (128 wide) that were expanded "
       "from "
       "latents for each head",
       {word("kv_dtype", {"bf16"}), latent_heads, lengths("new_lengths", 0),
        lengths("cached_lengths", 0)},
       sequences_rule},
      {"rope_kv_write",
       "rope_kv_write.csv",
       "rotates queries and keys of the fused qkv rows and writes keys and values to their pages",
       {kv_dtype, query_heads, kv_heads, head_dim, page_tokens, tokens},
       heads_rule},
      {"block_copy",
       "block_copy.csv",
       "copies KV blocks to other places of the pool",
       {block_bytes, blocks},
       nullptr},
      {"block_gather",
       "block_gather.csv",
       "collects scattered KV blocks into one contiguous piece",
       {block_bytes, blocks},
       nullptr},
      {"block_scatter",
       "block_scatter.csv",
       "spreads one contiguous piece over scattered KV blocks",
       {block_bytes, blocks},
       nullptr},
      {"swap",
       "swap.csv",
       "moves KV blocks between pinned host memory and the device",
       {word("method", {"memcpy_loop", "memcpy_batch", "sm_kernel"}),
        word("direction", {"to_host", "to_device"}), block_bytes, blocks},
       nullptr},
      {"rms_norm",
       "rms_norm.csv",
       "RMSNorm of each row, with the residual added first and written back where residual is 1",
       {tokens, hidden, count("residual", "0 or 1", 0, 1), output},
       nullptr},
      {"silu_mul",
       "silu_mul.csv",
       "SiLU of the first half of each row times its second half, each `width` wide",
       {tokens, count("width", "elements", 8, kExtentMax), output},
       nullptr},
      {"embedding",
       "embedding.csv",
       "gathers a row of the embedding table for each token",
       {tokens, hidden, vocab},
       nullptr},
      {"sampling",
       "sampling.csv",
       "draws a token from each row of fp32 logits",
       {count("rows", "rows", 1, kExtentMax), vocab,
        word("method", {"greedy", "gumbel", "top_k", "top_p", "top_k_top_p"})},
       nullptr},
      {"all_reduce",
       "all_reduce.csv",
       "sums a bf16 message over the GPUs of one node",
       {word("algorithm", {"one_shot", "two_shot", "nccl"}), count("gpus", "GPUs", 2, 8),
        count("bytes", "bytes", 16, kBytesMax)},
       all_reduce_rule},
      {"expert_routing",
       "expert_routing.csv",
       "chooses the experts of each token from fp32 logits, with their weights: softmax over the "
       "chosen, or sigmoid with a bias, in the best 4 of 8 groups of experts",
       {word("rule", {"softmax", "sigmoid_groups"}), tokens, experts, experts_per_token},
       routing_rule},
      {"expert_permute",
       "expert_permute.csv",
       "sorts what tokens chose by expert and copies bf16 rows there; of the busiest of the GPUs "
       "that share the experts, popularity a power law of exponent skew_hundredths / 100",
       {tokens, hidden, experts, local_experts, experts_per_token, skew},
       experts_rule},
      {"expert_unpermute",
       "expert_unpermute.csv",
       "adds up the bf16 rows of each token, weighted, from where expert_permute put them",
       {tokens, hidden, experts, local_experts, experts_per_token, skew},
       experts_rule},
      {"grouped_gemm",
       "grouped_gemm.csv",
       "rows of each own expert [rows, k] times its weights [n, k]; as many rows as tokens choose",
       {word("dtype", {"bf16", "fp8"}), tokens, experts, local_experts, experts_per_token,
        count("n", "elements", 8, kExtentMax), count("k", "elements", 8, kExtentMax), skew},
       experts_rule},
      {"experts",
       "experts.csv",
       "the routed experts of a layer on one GPU: expert_permute, gate-up product, SiLU, down "
       "product, expert_unpermute",
       {word("dtype", {"bf16"}), tokens, hidden, count("ffn", "elements", 8, kExtentMax), experts,
        local_experts, experts_per_token, skew},
       experts_rule},
      {"iteration",
       "iteration.csv",
       "one iteration of a whole decoder stack with random weights, or one of its operators in all "
       "layers: each sequence brings new tokens behind its cached ones, and its last is sampled; "
       "fp8 weights: one scale a matrix, the head in bf16; eager: launched one by one, not as a "
       "graph",
       {stack_axis(), word("weights", {"bf16", "fp8"}), kv_dtype, page_tokens,
        word("mode", {"graph", "eager"}), part_axis(), lengths("new_lengths", 1),
        lengths("cached_lengths", 0)},
       sequences_rule},
      {"verify_attention",
       "verify_attention.csv",
       "tokens of a draft, the one it starts from included, attend to `lengths` cached tokens and "
       "their own draft: a chain, or a tree of four children a node",
       {word("kv_dtype", {"bf16"}), query_heads, kv_heads, head_dim, page_tokens,
        lengths("lengths", 0), count("draft_tokens", "tokens", 1, 64),
        word("draft", {"chain", "tree"})},
       heads_rule},
      {"rejection_sampling",
       "rejection_sampling.csv",
       "accepts the tokens of a draft, a chain or a tree of four children a node, against fp32 "
       "logits behind each of its tokens, the one it starts from included, and draws the next; "
       "drafts are drawn, with their probabilities, or given without",
       {count("requests", "requests", 1, 65535), count("draft_tokens", "tokens", 1, 64), vocab,
        word("draft", {"chain", "tree"}), word("drafts", {"given", "drawn"})},
       nullptr},
  };
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& one : words) text += (text.empty() ? "" : ", ") + one;
  return text;
}

/// The user's text as a message shows it: one line, short, nothing that a terminal would obey.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 40)) out += c >= ' ' && c < '\x7f' ? c : '?';
  return "'" + out + (text.size() > 40 ? "..." : "") + "'";
}

/// Digits only, no sign, at most 18 of them.
std::optional<std::int64_t> parse_whole(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || rest != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

std::string range_text(const Axis& axis) {
  return std::to_string(axis.least) + " to " + std::to_string(axis.most);
}

/// The canonical text of a value, or what is wrong with it.
std::optional<std::string> canonical(const Axis& axis, const std::string& text,
                                     std::vector<PointFault>& faults) {
  const auto refuse = [&](const std::string& wanted) {
    faults.push_back({axis.name, axis.name + " is " + shown(text) + "; " + wanted});
    return std::nullopt;
  };
  switch (axis.kind) {
    case Axis::Kind::word:
      if (std::find(axis.words.begin(), axis.words.end(), text) != axis.words.end()) return text;
      return refuse("one of " + joined(axis.words) + " is expected");
    case Axis::Kind::integer: {
      const auto number = parse_whole(text);
      if (number && *number >= axis.least && *number <= axis.most) return std::to_string(*number);
      return refuse("a whole number from " + range_text(axis) + " is expected");
    }
    case Axis::Kind::lengths: {
      const auto list = parse_lengths(text);
      const auto sound = [&](std::int64_t n) { return n >= axis.least && n <= axis.most; };
      if (list && std::all_of(list->begin(), list->end(), sound)) return lengths_text(*list);
      return refuse("runs of count x tokens are expected, such as 1x32768,63x512, of 1 to " +
                    std::to_string(kSequencesMax) + " sequences of " + range_text(axis) +
                    " tokens");
    }
  }
  CHECK(false, "axis of an unknown kind");
  return std::nullopt;
}

std::string axis_names(const OperatorAxes& family) {
  std::vector<std::string> names;
  for (const Axis& axis : family.axes) names.push_back(axis.name);
  return joined(names);
}

}  // namespace

const std::vector<OperatorAxes>& operator_axes() {
  static const std::vector<OperatorAxes> table = make_table();
  return table;
}

const OperatorAxes* find_operator(std::string_view op) {
  for (const OperatorAxes& family : operator_axes())
    if (family.op == op) return &family;
  return nullptr;
}

std::string lengths_text(const std::vector<std::int64_t>& lengths) {
  std::string text;
  for (std::size_t at = 0; at < lengths.size();) {
    std::size_t end = at;
    while (end < lengths.size() && lengths[end] == lengths[at]) ++end;
    if (!text.empty()) text += ',';
    text += std::to_string(end - at) + "x" + std::to_string(lengths[at]);
    at = end;
  }
  return text;
}

std::optional<std::vector<std::int64_t>> parse_lengths(std::string_view text) {
  std::vector<std::int64_t> lengths;
  while (true) {
    const std::string_view run = text.substr(0, text.find(','));
    const std::size_t x = run.find('x');
    if (x == std::string_view::npos) return std::nullopt;
    const auto sequences = parse_whole(run.substr(0, x));
    const auto tokens = parse_whole(run.substr(x + 1));
    if (!sequences || !tokens || *sequences < 1) return std::nullopt;
    if (*sequences > kSequencesMax - std::ssize(lengths)) return std::nullopt;
    lengths.insert(lengths.end(), static_cast<std::size_t>(*sequences), *tokens);
    if (run.size() == text.size()) return lengths;
    text.remove_prefix(run.size() + 1);
  }
}

const std::string& Point::value(std::string_view axis, Axis::Kind kind) const {
  CHECK(axes_ != nullptr, "a point that nobody made");
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (values_[i].first != axis) continue;
    CHECK(axes_->axes[i].kind == kind, op() + "." + std::string(axis) + " is of another kind");
    return values_[i].second;
  }
  CHECK(false, op() + " has no axis " + std::string(axis));
  return values_.front().second;
}

std::int64_t Point::integer(std::string_view axis) const {
  return *parse_whole(value(axis, Axis::Kind::integer));
}

const std::string& Point::word(std::string_view axis) const {
  return value(axis, Axis::Kind::word);
}

std::vector<std::int64_t> Point::lengths(std::string_view axis) const {
  return *parse_lengths(value(axis, Axis::Kind::lengths));
}

std::string Point::text() const {
  std::string text = op();
  for (const auto& [axis, value] : values_) text += " " + axis + "=" + value;
  return text;
}

std::optional<Point> make_point(std::string_view op, const Point::Values& values,
                                std::vector<PointFault>& faults) {
  const OperatorAxes* family = find_operator(op);
  if (family == nullptr) {
    std::vector<std::string> known;
    for (const OperatorAxes& one : operator_axes()) known.push_back(one.op);
    faults.push_back({"", "unknown operator " + shown(op) + "; known are " + joined(known)});
    return std::nullopt;
  }
  const std::size_t faults_before = faults.size();
  const auto add = [&](const std::string& axis, const std::string& message) {
    faults.push_back({axis, message});
  };
  for (const auto& [name, text] : values) {
    const auto same = [&name = name](const Axis& axis) { return axis.name == name; };
    if (std::none_of(family->axes.begin(), family->axes.end(), same))
      add(name,
          "unknown axis " + shown(name) + " of " + family->op + "; it has " + axis_names(*family));
  }
  Point point;
  point.axes_ = family;
  for (const Axis& axis : family->axes) {
    const std::string* text = nullptr;
    for (const auto& [name, value] : values) {
      if (name != axis.name) continue;
      if (text != nullptr) add(name, name + " is given twice");
      text = &value;
    }
    if (text == nullptr) {
      add(axis.name, axis.name + " of " + family->op + " is missing");
    } else if (auto value = canonical(axis, *text, faults)) {
      point.values_.emplace_back(axis.name, std::move(*value));
    }
  }
  if (faults.size() == faults_before && family->rules != nullptr) family->rules(point, faults);
  if (faults.size() != faults_before) return std::nullopt;
  return point;
}

Point sound_point(std::string_view op, const Point::Values& values) {
  std::vector<PointFault> faults;
  std::optional<Point> point = make_point(op, values, faults);
  CHECK(point.has_value(), faults.empty() ? "" : faults.front().message);
  return *std::move(point);
}

}  // namespace fleetsim::kernels
