// StepTime compiled from the operator list. What depends on the number of tokens alone is summed
// into one table indexed by it, head and sampling into one indexed by the rows that need logits;
// attention becomes a table where it is fitted, else a fixed cost and the larger of two linear
// forms. explain() walks the same list operator by operator; a test holds the two equal.

#include "hw_models/step_time.h"

#include <fmt/format.h>

#include <algorithm>

namespace fleetsim {
namespace {

/// Host time of one CUDA-graph launch (kernels-and-cost-models §4.2: about 5 us a launch).
constexpr double kLaunchSeconds = 5e-6;

double to_double(std::int64_t n) { return static_cast<double>(n); }

double kv_flops_per_pair(const AttentionOperator& op, double ranks) {
  return op.flops_per_pair * to_double(op.layers) * (op.replicated ? 1 : ranks);
}

}  // namespace

AttentionBackend default_attention_backend(const GpuSpec& gpu) {
  if (gpu.architecture_sm == 90) return AttentionBackend::fa3;
  if (gpu.architecture_sm == 100 || gpu.architecture_sm == 103) return AttentionBackend::trtllm;
  return AttentionBackend::fa2;
}

StepTime::StepTime(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision,
                   const Sharding& sharding, const LaunchRules& rules, std::int64_t max_tokens,
                   const FittedGpu* fitted) {
  const auto problem = find_pricing_problem(model, gpu, precision, sharding);
  CHECK(!problem, problem.value_or(""));
  CHECK(max_tokens >= 1, "max_tokens");
  kind_ = fitted != nullptr ? "calibrated" : "roofline";
  rules_ = rules;
  async_ = rules.async_scheduling;
  host_fixed_ = rules.host.per_iteration.value;
  host_per_request_ = rules.host.per_request.value;
  between_per_request_ = rules.host.between_per_request.value;
  CHECK(std::is_sorted(rules_.capture_sizes.begin(), rules_.capture_sizes.end()), "capture sizes");
  if (!rules_.enforce_eager && !rules_.capture_sizes.empty())
    largest_graph_ = rules_.capture_sizes.back();
  KernelPlan plan;
  plan.tp = sharding.tp;
  plan.ep = sharding.ep;
  plan.pp = sharding.pp;
  plan.fused = rules.fused;
  plan.attention_backend = rules.attention_backend.value_or(default_attention_backend(gpu));
  plan.age = rules.age;
  plan.fused_all_heads_norm = rules.fused_all_heads_norm;
  plan.routing_skew = rules.routing_skew.value_or(model.routing_skew);
  plan.top_p = rules.model_sampling && model.top_p < 1;
  plan.fitted = fitted;
  operators_ = list_operators(model, gpu, precision, plan);
  // Sparse attention reads at most top_k keys, as a window does.
  window_ = to_double(model.index ? model.index->top_k : model.window);
  has_windowed_ = model.index || model.windowed_layers > 0;
  has_linear_ = model.linear.has_value();
  ranks_ = to_double(sharding.tp);
  flops_per_token_ = model.linear_flops_per_token();
  flops_per_row_ = 2 * to_double(model.hidden) * to_double(model.vocab);
  // Full graphs cover uniform decode batches. Mixed batches run piecewise: attention is launched
  // between the captured pieces of each layer (engine-semantics §1.8).
  launch_graph_ = kLaunchSeconds;
  const double eager = rules.host.per_eager_launch.value;
  launch_piecewise_ =
      kLaunchSeconds * to_double(model.layers + 1) + eager * to_double(model.layers);
  launch_eager_ = eager * to_double(operators_.launches());
  compile_attention(max_tokens, model.max_context, plan);
  compile_sampled(max_tokens);
  compile_rows(max_tokens);
}

StepTime StepTime::linear(Seconds base, Seconds per_token, Seconds per_context_token) {
  StepTime step;
  step.linear_ = true;
  const Seconds zero{};
  step.kind_ = per_token == zero && per_context_token == zero ? "fixed" : "linear";
  step.base_ = base;
  step.per_token_ = per_token;
  step.per_context_token_ = per_context_token;
  return step;
}

std::int64_t StepTime::padded(std::int64_t tokens) const {
  if (tokens > largest_graph_) return tokens;
  const auto& sizes = rules_.capture_sizes;
  return *std::lower_bound(sizes.begin(), sizes.end(), tokens);
}

void StepTime::compile_rows(std::int64_t max_tokens) {
  tokens_.resize(static_cast<std::size_t>(max_tokens) + 1);
  std::int64_t previous_padded = 0;
  for (std::int64_t t = 1; t <= max_tokens; ++t) {
    TokenPrice& row = tokens_[static_cast<std::size_t>(t)];
    const std::int64_t executed = padded(t);
    const bool same = executed == previous_padded;  // the same graph: only the bytes differ
    if (same) row = tokens_[static_cast<std::size_t>(t - 1)];
    row.minimum_bytes = to_double(t) * kv_bytes_written_per_token_;
    for (const RowOperator& op : operators_.rows) {
      if (op.rows != RowOperator::Rows::tokens) continue;
      const double launches = to_double(op.launches);
      row.minimum_bytes += launches * weight_bytes_read(op, t);
      if (same) continue;
      const double seconds = launches * launch_cost(op, executed).time.value;
      if (op.group == CostGroup::gemm) row.gemm += seconds;
      if (op.group == CostGroup::communication) row.communication += seconds;
      if (op.group == CostGroup::elementwise) row.elementwise += seconds;
    }
    previous_padded = executed;
  }
}

void StepTime::compile_sampled(std::int64_t max_rows) {
  sampled_.resize(static_cast<std::size_t>(max_rows) + 1);
  for (const RowOperator& op : operators_.rows) {
    if (op.rows != RowOperator::Rows::sampled) continue;
    CHECK(op.launches == 1, op.name);
    head_bytes_ += op.bytes_fixed;
    for (std::int64_t rows = 1; rows <= max_rows; ++rows) {
      SampledPrice& price = sampled_[static_cast<std::size_t>(rows)];
      const double seconds = launch_cost(op, rows).time.value;
      if (op.group == CostGroup::gemm) price.gemm += seconds;
      if (op.group == CostGroup::communication) price.communication += seconds;
      if (op.group == CostGroup::elementwise) price.elementwise += seconds;
    }
  }
}

void StepTime::compile_attention(std::int64_t max_tokens, std::int64_t max_context,
                                 const KernelPlan& plan) {
  const double most_tokens = to_double(max_tokens);
  one_kernel_ = std::all_of(operators_.attention.begin(), operators_.attention.end(),
                            [](const AttentionOperator& op) {
                              return op.decode || op.linear || op.mixed_family != nullptr;
                            });
  for (const AttentionOperator& op : operators_.attention) {
    const double layers = to_double(op.layers);
    AttentionTerm term;
    term.fixed = layers * op.roof.floor.value;
    term.compute_per_pair = layers * op.flops_per_pair / op.roof.flop_rate.value;
    term.compute_per_cached = layers * op.flops_per_cached / op.roof.flop_rate.value;
    term.memory_per_context = layers * op.bytes_per_context / op.roof.byte_rate.value;
    term.memory_per_token = layers * op.bytes_per_token / op.roof.byte_rate.value;
    const double farthest = op.windowed ? window_ : std::max(to_double(max_context), 2.0);
    if (op.family != nullptr) {
      term.by_mean_keys = op.windowed;
      term.table = OctaveTable(2 * most_tokens, farthest, [&](double x, double y) {
        AttentionLoad load{x, x, x * y, x * y};
        // Prompts without cached tokens, each of y: their last query sees y keys.
        if (!op.decode) load = {x / y, x, x * (y + 1) / 2, x};
        if (!op.decode && op.windowed) load = {1, x, x * y, std::max(x, y + x / 2)};
        return layers * launch_cost(op, load).time.value;
      });
    }
    const bool one_call = plan.attention_backend == AttentionBackend::fa3 &&
                          std::holds_alternative<DecodeAttentionShape>(op.shape);
    if (op.decode && op.family != nullptr && one_call)
      mixed_saving_ += layers * op.family->floor_seconds;
    const double pair = kv_flops_per_pair(op, ranks_);
    if (op.linear) {
      // no keys: nothing grows with the context
    } else if (op.decode) {
      (op.windowed ? kv_bytes_per_windowed_context_ : kv_bytes_per_context_) =
          layers * op.bytes_per_context;
      kv_bytes_written_per_token_ += layers * op.bytes_per_context;
      (op.windowed ? flops_per_decode_pair_windowed_ : flops_per_decode_pair_) = pair;
    } else {
      (op.windowed ? flops_per_prefill_pair_windowed_ : flops_per_prefill_pair_) = pair;
    }
    term_of(op, op.decode ? decode_ : prefill_) = std::move(term);
  }
}

Price StepTime::linear_price(const BatchShape& shape) const {
  const Seconds attention =
      per_context_token_ * to_double(shape.decode_context + shape.prefill_context);
  return {base_ + per_token_ * to_double(shape.tokens) + attention, attention, {}};
}

Seconds StepTime::group_time(CostGroup group, std::int64_t tokens,
                             std::int64_t sampled_rows) const {
  CHECK(group != CostGroup::attention && group != CostGroup::host_overhead,
        "this group depends on more than tokens: price() has it");
  if (linear_) return group == CostGroup::gemm ? base_ + per_token_ * to_double(tokens) : Seconds{};
  CHECK(tokens >= 1 && tokens < static_cast<std::int64_t>(tokens_.size()), std::to_string(tokens));
  const TokenPrice& row = tokens_[static_cast<std::size_t>(tokens)];
  CHECK(sampled_rows >= 0 && sampled_rows < static_cast<std::int64_t>(sampled_.size()),
        std::to_string(sampled_rows));
  const SampledPrice& logits = sampled_[static_cast<std::size_t>(sampled_rows)];
  if (group == CostGroup::gemm) return {row.gemm + logits.gemm};
  if (group == CostGroup::communication) return {row.communication + logits.communication};
  return {row.elementwise + logits.elementwise};
}

Flops StepTime::useful_flops(const BatchShape& shape) const {
  return {flops_per_token_ * to_double(shape.tokens) +
          flops_per_row_ * to_double(shape.sampled_rows) +
          flops_per_decode_pair_ * to_double(shape.decode_context) +
          flops_per_decode_pair_windowed_ * to_double(shape.decode_window_context) +
          flops_per_prefill_pair_ * to_double(shape.prefill_pairs) +
          flops_per_prefill_pair_windowed_ * to_double(shape.prefill_window_pairs)};
}

double StepTime::minimum_bytes(const BatchShape& shape) const {
  if (linear_) return 0;
  CHECK(shape.tokens >= 1 && shape.tokens < static_cast<std::int64_t>(tokens_.size()),
        std::to_string(shape.tokens));
  double bytes = tokens_[static_cast<std::size_t>(shape.tokens)].minimum_bytes;
  if (shape.sampled_rows > 0) bytes += head_bytes_;
  bytes += kv_bytes_per_context_ * to_double(shape.decode_context + shape.prefill_context);
  if (has_windowed_) {
    const double chunks = shape.prefill_requests > 0 ? windowed_context(shape) : 0;
    bytes += kv_bytes_per_windowed_context_ * (to_double(shape.decode_window_context) + chunks);
  }
  return ranks_ * bytes;
}

std::int64_t StepTime::window() const { return static_cast<std::int64_t>(window_); }
const std::vector<std::string>& StepTime::notes() const { return operators_.notes; }
const std::string& StepTime::kind() const { return kind_; }

std::vector<OperatorCost> StepTime::explain_linear(const BatchShape& shape) const {
  const std::string source = kind_;
  std::vector<OperatorCost> costs;
  costs.push_back({"base", CostGroup::gemm, 1, {}, 0, 0, base_, source});
  costs.push_back(
      {"tokens", CostGroup::gemm, 1, {}, 0, 0, per_token_ * to_double(shape.tokens), source});
  costs.push_back(
      {"context", CostGroup::attention, 1, {}, 0, 0, linear_price(shape).attention, source});
  return costs;
}

double StepTime::mixed_seconds(const BatchShape& shape) const {
  double seconds = 0;
  for (const AttentionOperator& op : operators_.attention) {
    if (op.decode || op.linear) continue;
    AttentionLoad load = load_of(op, shape);
    load.decodes = to_double(shape.decode_requests);
    load.decode_context =
        to_double(op.windowed ? shape.decode_window_context : shape.decode_context) / load.decodes;
    CHECK(op.mixed_family != nullptr, op.name);
    seconds += to_double(op.layers) * launch_cost(op, load).time.value;
  }
  if (has_linear_) {
    seconds += decode_.linear.roofline(to_double(shape.decode_requests), 0, 0, 0);
    seconds += prefill_.linear.roofline(to_double(shape.tokens - shape.decode_requests), 0, 0, 0);
  }
  return seconds;
}

AttentionLoad StepTime::load_of(const AttentionOperator& op, const BatchShape& shape) const {
  AttentionLoad load;
  if (op.linear) {
    load.queries =
        to_double(op.decode ? shape.decode_requests : shape.tokens - shape.decode_requests);
    return load;
  }
  if (op.decode) {
    load.requests = load.queries = to_double(shape.decode_requests);
    load.context = to_double(op.windowed ? shape.decode_window_context : shape.decode_context);
    load.pairs = load.context;
    return load;
  }
  load.requests = to_double(shape.prefill_requests);
  load.queries = to_double(shape.tokens - shape.decode_requests);
  load.context = op.windowed ? windowed_context(shape) : to_double(shape.prefill_context);
  load.pairs = to_double(op.windowed ? shape.prefill_window_pairs : shape.prefill_pairs);
  return load;
}

void StepTime::explain_attention(const BatchShape& shape, std::vector<OperatorCost>& costs) const {
  const bool mixed = shape.decode_requests > 0 && shape.prefill_requests > 0;
  // Where one call takes chunks and decodes, each stands for its share of the two apart.
  const double share =
      mixed ? attention_seconds(shape) / (decode_seconds(shape) + prefill_seconds(shape)) : 1;
  for (const AttentionOperator& op : operators_.attention) {
    if ((op.decode ? shape.decode_requests : shape.prefill_requests) == 0) continue;
    const AttentionLoad load = load_of(op, shape);
    const LaunchCost one = launch_cost(op, load);
    const double layers = to_double(op.layers);
    // The compiled term's time: a table's interpolation is part of the price.
    const AttentionTerm& term = term_of(op, op.decode ? decode_ : prefill_);
    const double seconds =
        op.linear   ? term.roofline(load.queries, 0, 0, 0)
        : op.decode ? term.seconds(load.requests, load.queries, load.pairs, load.context)
                    : term.chunk_seconds(load.requests, load.queries, load.pairs, load.context);
    costs.push_back({op.name,
                     CostGroup::attention,
                     op.layers,
                     {layers * one.flops.value},
                     layers * one.bytes,
                     0,
                     {share * seconds},
                     name_of(one.provenance)});
  }
}

std::vector<OperatorCost> StepTime::explain(const BatchShape& shape) const {
  CHECK(shape.tokens >= 1, "an iteration without tokens");
  if (linear_) return explain_linear(shape);
  std::vector<OperatorCost> costs;
  for (const RowOperator& op : operators_.rows) {
    const bool sampled = op.rows == RowOperator::Rows::sampled;
    const std::int64_t rows = sampled ? shape.sampled_rows : shape.tokens;
    if (rows == 0) continue;
    const LaunchCost useful = launch_cost(op, rows);
    const LaunchCost executed = launch_cost(op, sampled ? rows : padded(rows));
    const double launches = to_double(op.launches);
    costs.push_back({op.name,
                     op.group,
                     op.launches,
                     {launches * useful.flops.value},
                     launches * useful.bytes,
                     launches * useful.wire_bytes,
                     launches * executed.time,
                     op.family != nullptr ? name_of(executed.provenance) : op.source});
  }
  explain_attention(shape, costs);
  double device = 0;
  for (const OperatorCost& cost : costs) device += cost.time.value;
  const Seconds host{host_seconds(shape, device)};
  costs.push_back({"host, not hidden", CostGroup::host_overhead, 0, {}, 0, 0, host, "estimate"});
  return costs;
}

}  // namespace fleetsim
