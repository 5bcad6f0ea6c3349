// StepTime compiled from the operator list. What depends on the number of tokens alone is summed
// into one table indexed by it; attention, head and sampling become a fixed cost and the larger of
// two linear forms. explain() walks the same list operator by operator; a test holds the two equal.

#include "hw_models/step_time.h"

#include <fmt/format.h>

#include <algorithm>

namespace fleetsim {
namespace {

/// Host time of one launch, and of one CUDA-graph launch (kernels-and-cost-models §4.2: eager =
/// max(device, host) with host = operators x about 5 us; graph: 1 launch).
constexpr double kLaunchSeconds = 5e-6;

double to_double(std::int64_t n) { return static_cast<double>(n); }

double kv_flops_per_pair(const AttentionOperator& op, double ranks) {
  return op.flops_per_pair * to_double(op.layers) * ranks;
}

}  // namespace

StepTime::StepTime(const ModelSpec& model, const GpuSpec& gpu, const Precision& precision,
                   std::int64_t tp, const LaunchRules& rules, std::int64_t max_tokens) {
  const auto problem = find_pricing_problem(model, gpu, precision, tp);
  CHECK(!problem, problem.value_or(""));
  CHECK(max_tokens >= 1, "max_tokens");
  kind_ = "roofline";
  rules_ = rules;
  async_ = rules.async_scheduling;
  CHECK(std::is_sorted(rules_.capture_sizes.begin(), rules_.capture_sizes.end()), "capture sizes");
  if (!rules_.enforce_eager && !rules_.capture_sizes.empty())
    largest_graph_ = rules_.capture_sizes.back();
  operators_ = list_operators(model, gpu, precision, tp);
  window_ = to_double(model.window);
  has_windowed_ = model.windowed_layers > 0;
  ranks_ = to_double(tp);
  flops_per_token_ = model.linear_flops_per_token();
  flops_per_row_ = 2 * to_double(model.hidden) * to_double(model.vocab);
  // Full graphs cover uniform decode batches. Mixed batches run piecewise: attention is launched
  // between the captured pieces of each layer (engine-semantics §1.8).
  launch_graph_ = kLaunchSeconds;
  launch_piecewise_ = kLaunchSeconds * to_double(2 * model.layers + 1);
  launch_eager_ = kLaunchSeconds * to_double(operators_.launches());
  compile_attention();
  compile_sampled();
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

void StepTime::compile_sampled() {
  for (const RowOperator& op : operators_.rows) {
    if (op.rows != RowOperator::Rows::sampled) continue;
    CHECK(op.launches == 1, op.name);
    SampledTerm term;
    if (op.curve.empty()) {
      term.fixed = op.roof.floor.value;
      term.compute_per_row = op.flops_per_row / op.roof.flop_rate.value;
      term.memory_fixed = op.bytes_fixed / op.roof.byte_rate.value;
      term.memory_per_row = op.bytes_per_row / op.roof.byte_rate.value;
    } else {
      CHECK(op.curve.size() == 2 && op.curve.front().first == 0, op.name);
      const auto& [bytes, time] = op.curve.back();
      term.fixed = op.curve.front().second.value;
      term.memory_per_row = op.message_per_row * (time.value - term.fixed) / bytes;
    }
    head_bytes_ += op.bytes_fixed;
    if (op.group == CostGroup::gemm) head_ = term;
    if (op.group == CostGroup::communication) gather_ = term;
    if (op.group == CostGroup::elementwise) sampling_ = term;
  }
}

void StepTime::compile_attention() {
  for (const AttentionOperator& op : operators_.attention) {
    const double layers = to_double(op.layers);
    AttentionTerm term;
    term.fixed = layers * op.roof.floor.value;
    term.compute_per_pair = layers * op.flops_per_pair / op.roof.flop_rate.value;
    term.compute_per_cached = layers * op.flops_per_cached / op.roof.flop_rate.value;
    term.memory_per_context = layers * op.bytes_per_context / op.roof.byte_rate.value;
    term.memory_per_token = layers * op.bytes_per_token / op.roof.byte_rate.value;
    const double pair = kv_flops_per_pair(op, ranks_);
    if (op.decode) {
      (op.windowed ? kv_bytes_per_windowed_context_ : kv_bytes_per_context_) =
          layers * op.bytes_per_context;
      kv_bytes_written_per_token_ += layers * op.bytes_per_context;
      (op.windowed ? decode_windowed_ : decode_) = term;
      (op.windowed ? flops_per_decode_pair_windowed_ : flops_per_decode_pair_) = pair;
    } else {
      (op.windowed ? prefill_windowed_ : prefill_) = term;
      (op.windowed ? flops_per_prefill_pair_windowed_ : flops_per_prefill_pair_) = pair;
    }
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
  const double rows = to_double(sampled_rows);
  const bool sampled = sampled_rows > 0;
  if (group == CostGroup::gemm) return {row.gemm + (sampled ? head_.seconds(rows) : 0)};
  if (group == CostGroup::communication)
    return {row.communication + (sampled ? gather_.seconds(rows) : 0)};
  return {row.elementwise + (sampled ? sampling_.seconds(rows) : 0)};
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

void StepTime::explain_attention(const BatchShape& shape, std::vector<OperatorCost>& costs) const {
  for (const AttentionOperator& op : operators_.attention) {
    if ((op.decode ? shape.decode_requests : shape.prefill_requests) == 0) continue;
    const double queries =
        to_double(op.decode ? shape.decode_requests : shape.tokens - shape.decode_requests);
    double context = to_double(op.windowed ? shape.decode_window_context : shape.decode_context);
    double pairs = context, cached = 0;
    if (!op.decode) {
      context = op.windowed ? windowed_context(shape) : to_double(shape.prefill_context);
      pairs = to_double(op.windowed ? shape.prefill_window_pairs : shape.prefill_pairs);
      cached = context - queries;
    }
    const double layers = to_double(op.layers);
    const Flops flops{op.flops_per_pair * pairs + op.flops_per_cached * cached};
    const double bytes = op.bytes_per_context * context + op.bytes_per_token * queries;
    const Seconds busy =
        std::max(flops / op.roof.flop_rate, Seconds{bytes / op.roof.byte_rate.value});
    costs.push_back({op.name,
                     CostGroup::attention,
                     op.layers,
                     {layers * flops.value},
                     layers * bytes,
                     0,
                     layers * (op.roof.floor + busy),
                     "roofline"});
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
                     op.source});
  }
  explain_attention(shape, costs);
  double device = 0;
  for (const OperatorCost& cost : costs) device += cost.time.value;
  const Seconds host{host_seconds(shape, device)};
  costs.push_back({"host, not hidden", CostGroup::host_overhead, 0, {}, 0, 0, host, "estimate"});
  return costs;
}

}  // namespace fleetsim
