// The residual stream is carried along on the host: between two norms nobody may touch it.

#include "kernels/measure/decoder_stack_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "kernels/checks/row_comparison.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/row_sample.h"
#include "kernels/reference/attention.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/rope.h"
#include "kernels/reference/rounding.h"
#include "kernels/reference/row_operators.h"
#include "kernels/reference/sampling.h"

namespace fleetsim::kernels {
namespace {

/// Columns of a linear layer, and rows of logits, that are computed again.
constexpr int kSampledColumns = 64, kSampledLogits = 8;
/// Limits of kernels-and-cost-models §4.7: relative errors; the share of codes that may differ, and
/// in a small sample one may.
constexpr double kNormLimit = 4e-3, kGemmLimit = 3e-3, kFp8GemmLimit = 5e-3, kAttentionLimit = 5e-3,
                 kE4m3AttentionLimit = 1e-2, kE4m3PromptsLimit = 4e-2, kCodesLimit = 1e-3,
                 kInOneGoLimit = 1e-2;

template <class T>
std::vector<T> read(const T* device, std::size_t count) {
  std::vector<T> values(count);
  copy_to_host(values.data(), device, count * sizeof(T));
  return values;
}

template <class T>
std::vector<double> values_of(const std::vector<T>& codes, double scale = 1) {
  std::vector<double> values;
  for (const T code : codes) values.push_back(static_cast<double>(to_float(code)) * scale);
  return values;
}

std::vector<float> narrowed(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

double scale_at(const float* device) { return static_cast<double>(read(device, 1)[0]); }

class Checking {
 public:
  Checking(const DecoderStack& stack, std::uint64_t seed)
      : stack_(stack), memory_(stack.memory()), seed_(seed) {
    choose_sequences();
    for (const int sequence : sequences_)
      rows_.push_back(stack.last_rows()[static_cast<std::size_t>(sequence)]);
  }

  StackCheck run() {
    const int last = stack_.shape().layers - 1;
    for (const DecoderStack::Step& step : stack_.steps()) {
      stack_.launch_step(step.part, step.layer, {});
      layer_ = step.layer;
      if (!runs_in_each_layer(step.part) || step.layer == 0 || step.layer == last)
        check_step(step.part);
      else if (step.layer == last - 1 && step.part == StackPart::down)
        remember_hidden(), remember_update();
    }
    check_in_one_go();
    return result_;
  }

 private:
  /// The shortest, the longest, and one by chance: each costs the copy of its context.
  void choose_sequences() {
    const std::vector<int>& lengths = stack_.pages().lengths;
    const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
    RandomInputs random(seed_, "decoder stack sample");
    const auto by_chance =
        static_cast<int>(random.below(static_cast<std::uint32_t>(lengths.size())));
    for (const int sequence : {static_cast<int>(shortest - lengths.begin()),
                               static_cast<int>(longest - lengths.begin()), by_chance})
      if (std::find(sequences_.begin(), sequences_.end(), sequence) == sequences_.end())
        sequences_.push_back(sequence);
  }

  const LayerMemory& layer() const { return memory_.layers[static_cast<std::size_t>(layer_)]; }
  const StackShape& shape() const { return stack_.shape(); }

  void judge(StackPart part, const char* what, double error, double limit) {
    if (error <= limit) {
      result_.error = std::max(result_.error, error);
      return;
    }
    if (!result_.fault.empty()) return;  // what follows a fault is off, too
    result_.fault = std::string(name_of(part)) + " of layer " + std::to_string(layer_) + ", " +
                    what + ": error " + std::to_string(error) + " where " + std::to_string(limit) +
                    " is allowed";
  }

  void judge_values(StackPart part, const char* what, const std::vector<double>& out,
                    const std::vector<double>& reference, double limit) {
    const Comparison comparison = compare(narrowed(out), reference);
    judge(part, what,
          comparison.not_finite > 0 ? std::numeric_limits<double>::infinity()
                                    : comparison.relative_error,
          limit);
  }

  /// `share` of the codes may differ, and one where it is above 0.
  template <class Code>
  void judge_codes(StackPart part, const char* what, const std::vector<Code>& out,
                   const std::vector<Code>& expected, double share) {
    CHECK(out.size() == expected.size() && !out.empty());
    std::size_t other = 0;
    for (std::size_t i = 0; i < out.size(); ++i) other += out[i].bits != expected[i].bits ? 1 : 0;
    const auto size = static_cast<double>(out.size());
    judge(part, what, static_cast<double>(other) / size, share > 0 ? share + 1 / size : 0);
  }

  /// A row-wise output in the format that linear layers read.
  void judge_rows(StackPart part, const RowOutput& out, int width,
                  const std::vector<double>& reference) {
    if (out.codes == nullptr)
      return judge_values(part, "output", values_of(rows_of(out.values, width, rows_)), reference,
                          kNormLimit);
    const double scale = scale_at(out.tensor_scale);
    std::vector<double> scaled;
    for (const double value : reference) scaled.push_back(value / scale);
    std::string problem;
    const double share = share_of_other_codes(rows_of(out.codes, width, rows_), scaled, problem);
    judge(part, "codes", problem.empty() ? share : std::numeric_limits<double>::infinity(),
          kCodesLimit);
  }

  void remember_hidden() { hidden_ = rows_of(memory_.hidden, shape().hidden, rows_); }
  void remember_update() { update_ = rows_of(memory_.update, shape().hidden, rows_); }

  void check_step(StackPart part) {
    switch (part) {
      case StackPart::embedding:
        return check_embedding();
      case StackPart::input_norm:
        return check_norm(part, layer_ > 0, layer().input_norm, memory_.normed);
      case StackPart::post_norm:
        return check_norm(part, true, layer().post_norm, memory_.normed);
      case StackPart::final_norm: {
        RowOutput out;
        out.values = memory_.final_hidden;
        return check_norm(part, true, memory_.final_norm, out);
      }
      case StackPart::qkv:
        return check_linear(part, input_rows(memory_.normed, shape().hidden), memory_.qkv);
      case StackPart::rope_kv_write:
        return check_rope();
      case StackPart::attention:
        return check_attention();
      case StackPart::output:
        check_linear(part, attended_rows(), memory_.update);
        return remember_update();
      case StackPart::gate_up:
        return check_linear(part, input_rows(memory_.normed, shape().hidden), memory_.gate_up);
      case StackPart::silu_mul:
        return judge_rows(
            part, memory_.activated, shape().ffn,
            reference_silu_mul(rows_of(memory_.gate_up, 2 * shape().ffn, rows_), shape().ffn));
      case StackPart::down:
        check_linear(part, input_rows(memory_.activated, shape().ffn), memory_.update);
        return remember_update();
      case StackPart::head:
        return check_head();
      case StackPart::sampling:
        return check_sampling();
    }
  }

  void check_embedding() {
    std::vector<std::int32_t> ids;
    for (const int row : rows_) ids.push_back(read(memory_.ids + row, 1)[0]);
    std::vector<Bf16> expected;
    for (const std::int32_t id : ids) {
      const std::vector<Bf16> row = read(memory_.embedding + std::int64_t{id} * shape().hidden,
                                         static_cast<std::size_t>(shape().hidden));
      expected.insert(expected.end(), row.begin(), row.end());
    }
    remember_hidden();
    judge_codes(StackPart::embedding, "hidden", hidden_, expected, 0);
  }

  /// hidden_ and update_ are from before the norm; hidden_ becomes what the sum should be.
  void check_norm(StackPart part, bool adds, const Bf16* weight, const RowOutput& out) {
    const ReferenceNorm norm =
        reference_rms_norm(hidden_, adds ? update_ : std::vector<Bf16>{},
                           read(weight, static_cast<std::size_t>(shape().hidden)),
                           static_cast<double>(stack_.norm_epsilon()));
    hidden_ = norm.sums;
    judge_codes(part, "residual stream", rows_of(memory_.hidden, shape().hidden, rows_), hidden_,
                0);
    judge_rows(part, out, shape().hidden, norm.values);
  }

  std::vector<double> input_rows(const RowOutput& rows, int width) const {
    if (rows.codes == nullptr) return values_of(rows_of(rows.values, width, rows_));
    return values_of(rows_of(rows.codes, width, rows_), scale_at(rows.tensor_scale));
  }

  /// With fp8 weights, codes that are held to the attention's output first.
  std::vector<double> attended_rows() {
    const std::vector<double> values =
        values_of(rows_of(memory_.attended, shape().query_width(), rows_));
    if (memory_.attended_codes == nullptr) return values;
    RowOutput codes;
    codes.codes = memory_.attended_codes;
    codes.tensor_scale = memory_.attended_scale;
    judge_rows(StackPart::output, codes, shape().query_width(), values);
    return input_rows(codes, shape().query_width());
  }

  /// Columns of weights [n][k], dequantised.
  std::vector<double> weight_columns(StackPart part, const std::vector<int>& columns) const {
    const StackMatrix matrix = stack_matrix(shape(), part);
    if (part == StackPart::head) return values_of(rows_of(memory_.head, matrix.k, columns));
    const auto at = static_cast<std::size_t>(
        std::find(std::begin(kLayerMatrices), std::end(kLayerMatrices), part) - kLayerMatrices);
    const void* weights = layer().weights[at];
    if (!stack_.formats().fp8_weights)
      return values_of(rows_of(static_cast<const Bf16*>(weights), matrix.k, columns));
    return values_of(rows_of(static_cast<const E4m3*>(weights), matrix.k, columns),
                     scale_at(memory_.weight_scales[at]));
  }

  template <class Out>
  void check_linear(StackPart part, const std::vector<double>& input, const Out* out,
                    const std::vector<int>& rows) {
    const StackMatrix matrix = stack_matrix(shape(), part);
    const std::vector<int> columns = sampled_indices(matrix.n, kSampledColumns, seed_);
    std::vector<double> own;
    for (const int row : rows) {
      const std::vector<Out> whole =
          read(out + std::int64_t{row} * matrix.n, static_cast<std::size_t>(matrix.n));
      for (const int column : columns) {
        if constexpr (std::is_same_v<Out, float>)
          own.push_back(static_cast<double>(whole[static_cast<std::size_t>(column)]));
        else
          own.push_back(static_cast<double>(to_float(whole[static_cast<std::size_t>(column)])));
      }
    }
    const bool fp8 = stack_.formats().fp8_weights && part != StackPart::head;
    judge_values(part, "output", own,
                 reference_gemm(input, weight_columns(part, columns), matrix.k),
                 fp8 ? kFp8GemmLimit : kGemmLimit);
  }
  void check_linear(StackPart part, const std::vector<double>& input, const Bf16* out) {
    check_linear(part, input, out, rows_);
  }

  void check_rope() {
    if (stack_.formats().e4m3_cache)
      check_rope_codes<E4m3>();
    else
      check_rope_codes<Bf16>();
  }

  template <class Element>
  Element code_of(double value) const {
    if constexpr (std::is_same_v<Element, Bf16>)
      return nearest_bf16(value);
    else
      return nearest_e4m3(value);
  }

  template <class Element>
  void check_rope_codes() {
    const auto d = static_cast<std::size_t>(shape().head_dim);
    const std::vector<double> frequencies = inverse_frequencies(stack_.rotary());
    const std::vector<double> qkv = values_of(rows_of(memory_.qkv, shape().qkv_width(), rows_));
    std::vector<Bf16> queries;
    std::vector<Element> written, expected;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows_[i]);
      const std::int64_t slot = stack_.slots()[row];
      for (int head = 0; head < shape().query_heads + 2 * shape().kv_heads; ++head) {
        const auto begin = qkv.begin() + static_cast<std::ptrdiff_t>(
                                             i * static_cast<std::size_t>(shape().qkv_width()) +
                                             static_cast<std::size_t>(head) * d);
        std::vector<double> values(begin, begin + static_cast<std::ptrdiff_t>(d));
        const int kv_head = head - shape().query_heads;
        const bool is_value = kv_head >= shape().kv_heads;
        if (!is_value) values = rotated(values, stack_.positions()[row], frequencies);
        if (kv_head < 0) {
          for (const double value : values) queries.push_back(nearest_bf16(value));
          continue;
        }
        for (const double value : values) expected.push_back(code_of<Element>(value));
        const auto* pages =
            static_cast<const Element*>(is_value ? layer().value_pages : layer().key_pages);
        const std::vector<Element> own =
            read(pages + place_of(slot, is_value ? kv_head - shape().kv_heads : kv_head), d);
        written.insert(written.end(), own.begin(), own.end());
      }
    }
    judge_codes(StackPart::rope_kv_write, "queries",
                rows_of(memory_.query, shape().query_width(), rows_), queries, kCodesLimit);
    judge_codes(StackPart::rope_kv_write, "keys and values", written, expected, kCodesLimit);
  }

  /// Of a slot's head, in the pages of a layer. Units: elements.
  std::int64_t place_of(std::int64_t slot, int kv_head) const {
    const int page_tokens = stack_.batch().page_tokens;
    return ((slot / page_tokens * shape().kv_heads + kv_head) * page_tokens + slot % page_tokens) *
           shape().head_dim;
  }

  void check_attention() {
    if (stack_.formats().e4m3_cache)
      check_attention_of<E4m3>();
    else
      check_attention_of<Bf16>();
  }

  /// The cache of one sequence and KV head, page after page.
  template <class Element>
  std::vector<float> cached(const void* pages, int sequence, int kv_head) const {
    const int page_tokens = stack_.batch().page_tokens;
    const int length = stack_.pages().lengths[static_cast<std::size_t>(sequence)];
    std::vector<float> values;
    for (int token = 0; token < length; token += page_tokens) {
      const std::int64_t slot = std::int64_t{stack_.pages().page_of(sequence, token)} * page_tokens;
      for (const Element code :
           read(static_cast<const Element*>(pages) + place_of(slot, kv_head),
                static_cast<std::size_t>(page_tokens) * static_cast<std::size_t>(shape().head_dim)))
        values.push_back(to_float(code));
    }
    return values;
  }

  /// The last token sees all of its sequence, in decode and prefill alike.
  template <class Element>
  void check_attention_of() {
    const int group = shape().query_heads / shape().kv_heads;
    const std::size_t group_width =
        static_cast<std::size_t>(group) * static_cast<std::size_t>(shape().head_dim);
    const int page_tokens = stack_.batch().page_tokens;
    std::vector<double> own, reference;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const int sequence = sequences_[i];
      const int kv_head = (layer_ + static_cast<int>(i)) % shape().kv_heads;
      const int length = stack_.pages().lengths[static_cast<std::size_t>(sequence)];
      const std::int64_t place = std::int64_t{rows_[i]} * shape().query_width() +
                                 static_cast<std::int64_t>(group_width) * kv_head;
      AttentionInputs inputs;
      inputs.shape = {group, 1, shape().head_dim, static_cast<double>(stack_.softmax_scale())};
      inputs.rows = {{0, length}};
      inputs.queries = narrowed(values_of(read(memory_.query + place, group_width)));
      inputs.keys = cached<Element>(layer().key_pages, sequence, kv_head);
      inputs.values = cached<Element>(layer().value_pages, sequence, kv_head);
      inputs.table.page_tokens = page_tokens;
      inputs.table.lengths = {length};
      inputs.table.pool_pages = inputs.table.row_pages = ceil_div(length, page_tokens);
      for (int page = 0; page < inputs.table.pool_pages; ++page)
        inputs.table.pages.push_back(page);  // they were put in order
      const std::vector<double> out = values_of(read(memory_.attended + place, group_width));
      const std::vector<double> exact = reference_attention(inputs).out;
      own.insert(own.end(), out.begin(), out.end());
      reference.insert(reference.end(), exact.begin(), exact.end());
    }
    judge_values(StackPart::attention, "output", own, reference,
                 !stack_.formats().e4m3_cache ? kAttentionLimit
                 : stack_.batch().is_decode() ? kE4m3AttentionLimit
                                              : kE4m3PromptsLimit);
  }

  void check_head() {
    const std::vector<Bf16> last = rows_of(memory_.last_hidden, shape().hidden, sequences_);
    judge_codes(StackPart::head, "last rows", last,
                rows_of(memory_.final_hidden, shape().hidden, rows_), 0);
    check_linear(StackPart::head, values_of(last), memory_.logits, sequences_);
  }

  /// Step by step the host waits in between; on their own, kernels begin while the one before ends.
  void check_in_one_go() {
    const std::vector<Bf16> stepwise = rows_of(memory_.last_hidden, shape().hidden, sequences_);
    stack_.launch({});
    judge_values(StackPart::final_norm, "in one go",
                 values_of(rows_of(memory_.last_hidden, shape().hidden, sequences_)),
                 values_of(stepwise), kInOneGoLimit);
  }

  void check_sampling() {
    for (const int sequence : sampled_indices(stack_.sequences(), kSampledLogits, seed_)) {
      const int largest =
          greedy_reference(read(memory_.logits + std::int64_t{sequence} * shape().vocab,
                                static_cast<std::size_t>(shape().vocab)));
      judge(StackPart::sampling, "token", read(memory_.sampled + sequence, 1)[0] == largest ? 0 : 1,
            0);
    }
  }

  const DecoderStack& stack_;
  const StackMemory& memory_;
  std::uint64_t seed_;
  std::vector<int> sequences_, rows_;  // sampled sequences, and the rows of their last tokens
  int layer_ = 0;
  std::vector<Bf16> hidden_, update_;  // of the sampled rows
  StackCheck result_;
};

}  // namespace

StackCheck check_decoder_stack(const DecoderStack& stack, std::uint64_t seed) {
  return Checking(stack, seed).run();
}

}  // namespace fleetsim::kernels
