// A whole decoder stack on the emulated device, its GEMMs computed plainly, against a forward pass
// in float64 that shares no code with it; and the check that holds big stacks to float64.

#include "kernels/measure/decoder_stack.h"

#include <cmath>
#include <map>
#include <optional>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/emulation/emulated_device.h"
#include "kernels/measure/decoder_stack_check.h"
#include "kernels/reference/sampling.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

const StackShape kTiny = {"tiny", 2, 192, 4, 2, 64, 320, 500};

double operand(GemmFormat format, const void* values, const float* scale, std::size_t i) {
  if (format == GemmFormat::fp8)
    return static_cast<double>(to_float(static_cast<const E4m3*>(values)[i])) *
           static_cast<double>(*scale);
  return static_cast<double>(to_float(static_cast<const Bf16*>(values)[i]));
}

/// Memory of the emulated device is the host's.
void plain_gemm(GemmFormat format, GemmShape shape, const GemmOperands& o, Stream) {
  const auto k = static_cast<std::size_t>(shape.k), n = static_cast<std::size_t>(shape.n);
  for (std::size_t row = 0; row < static_cast<std::size_t>(shape.m); ++row)
    for (std::size_t column = 0; column < n; ++column) {
      double sum = 0;
      for (std::size_t i = 0; i < k; ++i)
        sum += operand(format, o.activations, o.activation_scales, row * k + i) *
               operand(format, o.weights, o.weight_scales, column * k + i);
      if (format == GemmFormat::bf16_to_fp32)
        static_cast<float*>(o.out)[row * n + column] = static_cast<float>(sum);
      else
        static_cast<Bf16*>(o.out)[row * n + column] = to_bf16(static_cast<float>(sum));
    }
}

StackBatch batch(std::vector<int> fresh, std::vector<int> cached) {
  return {std::move(fresh), std::move(cached), 16};
}
StackBatch decode() { return batch({1, 1, 1, 1}, {40, 0, 15, 129}); }
StackBatch prompts() { return batch({37, 5, 16}, {0, 0, 0}); }
StackBatch mixed() { return batch({20, 1, 1, 3}, {30, 64, 0, 7}); }

Arena& arena() {
  static Arena only(std::size_t{64} << 20);
  only.reset();
  return only;
}

DecoderStack tiny(const StackBatch& of, StackFormats formats = {}, StackGemm gemm = plain_gemm) {
  return DecoderStack(kTiny, formats, of, arena(), 11, std::move(gemm));
}

std::vector<float> logits_of(const DecoderStack& stack) {
  std::vector<float> logits(static_cast<std::size_t>(stack.sequences() * stack.shape().vocab));
  copy_to_host(logits.data(), stack.memory().logits, logits.size() * sizeof(float));
  return logits;
}
std::vector<std::int32_t> sampled_of(const DecoderStack& stack) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(stack.sequences()));
  copy_to_host(tokens.data(), stack.memory().sampled, tokens.size() * sizeof(std::int32_t));
  return tokens;
}

// The forward pass ------------------------------------------------------------------------------

using Row = std::vector<double>;

Row bf16_row(const Bf16* at, int count) {
  Row row;
  for (int i = 0; i < count; ++i) row.push_back(static_cast<double>(to_float(at[i])));
  return row;
}

Row times(const void* weights, int n, const Row& x) {
  const auto* matrix = static_cast<const Bf16*>(weights);
  Row out(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < out.size(); ++i)
    for (std::size_t j = 0; j < x.size(); ++j)
      out[i] += static_cast<double>(to_float(matrix[i * x.size() + j])) * x[j];
  return out;
}

Row plus(Row a, const Row& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

Row normed(const Row& x, const Bf16* weight) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  Row out = x;
  for (std::size_t i = 0; i < x.size(); ++i)
    out[i] *= static_cast<double>(to_float(weight[i])) /
              std::sqrt(squares / static_cast<double>(x.size()) + 1e-5);
  return out;
}

/// Llama 3.1: base 500000, long wavelengths eight times longer.
void rotate(double* head, int dim, int position) {
  for (int i = 0; i < dim / 2; ++i) {
    double frequency = std::pow(500000.0, -2.0 * i / dim);
    const double wavelength = 2 * 3.14159265358979323846 / frequency;
    if (wavelength > 8192)
      frequency /= 8;
    else if (wavelength > 8192 / 4.0) {
      const double share = (8192 / wavelength - 1) / 3;
      frequency *= (1 - share) / 8 + share;
    }
    const double angle = position * frequency, a = head[i], b = head[i + dim / 2];
    head[i] = a * std::cos(angle) - b * std::sin(angle);
    head[i + dim / 2] = b * std::cos(angle) + a * std::sin(angle);
  }
}

/// Keys or values of a sequence as they stand in its pages: [token][kv_heads * head_dim].
std::vector<Row> cached(const DecoderStack& stack, const void* pages, int sequence) {
  const StackShape& s = stack.shape();
  std::vector<Row> rows;
  for (int token = 0; token < stack.batch().cached_lengths[static_cast<std::size_t>(sequence)];
       ++token) {
    Row row;
    for (int head = 0; head < s.kv_heads; ++head) {
      const int page = stack.pages().page_of(sequence, token);
      const Row part = bf16_row(static_cast<const Bf16*>(pages) +
                                    ((page * s.kv_heads + head) * 16 + token % 16) * s.head_dim,
                                s.head_dim);
      row.insert(row.end(), part.begin(), part.end());
    }
    rows.push_back(row);
  }
  return rows;
}

/// Query heads `q` of a token over `keys` and `values`, all of which it sees.
Row attended(const StackShape& s, const Row& q, const std::vector<Row>& keys,
             const std::vector<Row>& values) {
  Row out(q.size());
  for (int head = 0; head < s.query_heads; ++head) {
    const std::size_t at = static_cast<std::size_t>(head * s.head_dim);
    const auto kv = static_cast<std::size_t>(head / (s.query_heads / s.kv_heads) * s.head_dim);
    double sum = 0;
    for (std::size_t t = 0; t < keys.size(); ++t) {
      double score = 0;
      for (int i = 0; i < s.head_dim; ++i)
        score += q[at + static_cast<std::size_t>(i)] * keys[t][kv + static_cast<std::size_t>(i)];
      const double weight = std::exp(score / std::sqrt(s.head_dim));
      sum += weight;
      for (int i = 0; i < s.head_dim; ++i)
        out[at + static_cast<std::size_t>(i)] +=
            weight * values[t][kv + static_cast<std::size_t>(i)];
    }
    for (int i = 0; i < s.head_dim; ++i) out[at + static_cast<std::size_t>(i)] /= sum;
  }
  return out;
}

/// Logits of the last token of each sequence, read off the stack's weights and its cached tokens.
/// Of the new tokens nothing of the device is used.
std::vector<double> forward(const DecoderStack& stack) {
  const StackShape& s = stack.shape();
  const StackMemory& m = stack.memory();
  const int kv_width = s.kv_heads * s.head_dim;
  std::vector<double> logits;
  int row = 0;
  for (int sequence = 0; sequence < stack.sequences(); ++sequence) {
    const auto at = static_cast<std::size_t>(sequence);
    const int fresh = stack.batch().new_lengths[at], before = stack.batch().cached_lengths[at];
    std::vector<Row> hidden;
    for (int i = 0; i < fresh; ++i)
      hidden.push_back(bf16_row(m.embedding + m.ids[row++] * s.hidden, s.hidden));
    for (const LayerMemory& layer : m.layers) {
      std::vector<Row> keys = cached(stack, layer.key_pages, sequence);
      std::vector<Row> values = cached(stack, layer.value_pages, sequence);
      for (int i = 0; i < fresh; ++i) {
        Row& x = hidden[static_cast<std::size_t>(i)];
        Row qkv = times(layer.weights[0], s.qkv_width(), normed(x, layer.input_norm));
        for (int head = 0; head < s.query_heads + s.kv_heads; ++head)
          rotate(qkv.data() + head * s.head_dim, s.head_dim, before + i);
        const auto key = qkv.begin() + s.query_width();
        keys.emplace_back(key, key + kv_width);
        values.emplace_back(key + kv_width, key + 2 * kv_width);
        qkv.resize(static_cast<std::size_t>(s.query_width()));
        x = plus(x, times(layer.weights[1], s.hidden, attended(s, qkv, keys, values)));
        const Row gate_up = times(layer.weights[2], 2 * s.ffn, normed(x, layer.post_norm));
        Row product;
        for (int j = 0; j < s.ffn; ++j) {
          const double gate = gate_up[static_cast<std::size_t>(j)];
          product.push_back(gate / (1 + std::exp(-gate)) *
                            gate_up[static_cast<std::size_t>(j + s.ffn)]);
        }
        x = plus(x, times(layer.weights[3], s.hidden, product));
      }
    }
    const Row own = times(m.head, s.vocab, normed(hidden.back(), m.final_norm));
    logits.insert(logits.end(), own.begin(), own.end());
  }
  return logits;
}

class OnDevice {
 public:
  explicit OnDevice(int compute_capability, std::uint64_t schedule_seed) {
    emulation::device_traits().compute_capability = compute_capability;
    emulation::set_schedule_seed(schedule_seed);
  }
  ~OnDevice() { emulation::device_traits().compute_capability = 90; }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
};

}  // namespace

TEST_CASE("a stack computes what a forward pass in float64 does, for every kind of batch",
          "[kernels][stack]") {
  for (const auto& [sm, seed] : {std::pair{90, 1}, {90, 2}, {80, 3}}) {
    const OnDevice device(sm, static_cast<std::uint64_t>(seed));
    for (const StackBatch& of : {decode(), prompts(), mixed()}) {
      CAPTURE(sm, seed, of.new_lengths);
      const DecoderStack stack = tiny(of);
      const std::vector<double> reference = forward(stack);
      stack.launch({});
      const std::vector<float> logits = logits_of(stack);
      const Comparison comparison = compare(logits, reference);
      CHECK(comparison.not_finite == 0);
      CHECK(comparison.relative_error < 1e-2);
      CHECK(comparison.relative_error > 1e-4);  // bf16 was at work
      const std::vector<std::int32_t> sampled = sampled_of(stack);
      for (std::size_t i = 0; i < sampled.size(); ++i) {
        const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(i) * kTiny.vocab;
        CHECK(sampled[i] == greedy_reference({begin, begin + kTiny.vocab}));
      }
    }
  }
}

TEST_CASE("an iteration repeated gives the same bits", "[kernels][stack]") {
  for (const StackBatch& of : {decode(), mixed()}) {
    const DecoderStack stack = tiny(of);
    stack.launch({});
    const std::vector<float> first = logits_of(stack);
    stack.launch({});
    CHECK(logits_of(stack) == first);
  }
}

TEST_CASE("the parts in their order add up to the whole", "[kernels][stack]") {
  StackShape one_layer = kTiny;
  one_layer.layers = 1;
  const DecoderStack stack(one_layer, {}, mixed(), arena(), 3, plain_gemm);
  stack.launch({});
  const std::vector<float> whole = logits_of(stack);
  device_fill(stack.memory().logits, 0xFF, whole.size() * sizeof(float), {});
  for (int part = 0; part < kStackParts; ++part)
    stack.launch_part(static_cast<StackPart>(part), {});
  CHECK(logits_of(stack) == whole);
}

TEST_CASE("a part alone runs once in every layer that has it, each with its own weights",
          "[kernels][stack]") {
  std::map<const void*, int> uses;
  const DecoderStack stack =
      tiny(decode(), {},
           [&](GemmFormat, GemmShape, const GemmOperands& o, Stream) { ++uses[o.weights]; });
  const auto count = [&](StackPart part) {
    uses.clear();
    stack.launch_part(part, {});
    return uses.size();
  };
  for (const StackPart part : kLayerMatrices) {
    CAPTURE(name_of(part));
    CHECK(count(part) == 2);
    for (const auto& [weights, times_used] : uses) CHECK(times_used == 1);
  }
  CHECK(count(StackPart::head) == 1);
  CHECK(count(StackPart::silu_mul) == 0);
}

TEST_CASE("the check passes a sound stack in all of its formats", "[kernels][stack]") {
  struct Case {
    StackBatch of;
    StackFormats formats;
  };
  for (const Case& one : {Case{decode(), {}}, Case{prompts(), {}}, Case{mixed(), {}},
                          Case{decode(), {true, false}}, Case{mixed(), {true, false}},
                          Case{decode(), {false, true}}, Case{decode(), {true, true}}}) {
    CAPTURE(one.of.new_lengths, one.formats.fp8_weights, one.formats.e4m3_cache);
    const StackCheck check = check_decoder_stack(tiny(one.of, one.formats), 5);
    CHECK(check.fault == "");
    CHECK(check.error > 1e-4);
    CHECK(check.error < 1e-2);
  }
}

TEST_CASE("prompts go through an e4m3 cache where heads of 128 and sm_90 allow it",
          "[kernels][stack]") {
  StackShape wide = kTiny;
  wide.head_dim = 128;
  const DecoderStack stack(wide, {false, true}, mixed(), arena(), 11, plain_gemm);
  const StackCheck check = check_decoder_stack(stack, 5);
  CHECK(check.fault == "");
  CHECK(check.error > 5e-3);  // queries and probabilities have 8 bits
  CHECK(check.error < kStackErrorMax);
  const OnDevice older(80, 1);
  CHECK_THROWS_AS(DecoderStack(wide, {false, true}, mixed(), arena(), 11, plain_gemm),
                  NotSupportedHere);
}

TEST_CASE("the check looks at the first layer and the last of many", "[kernels][stack]") {
  StackShape deep = kTiny;
  deep.layers = 5;
  for (const int bad : {-1, 0, 2, 4}) {
    CAPTURE(bad);
    const DecoderStack* self = nullptr;
    const auto gemm = [&](GemmFormat format, GemmShape shape, GemmOperands o, Stream stream) {
      const auto& layers = self->memory().layers;
      if (bad >= 0 && o.weights == layers[static_cast<std::size_t>(bad)].weights[3])
        o.weights = layers[static_cast<std::size_t>(bad == 0 ? 1 : 0)].weights[3];
      plain_gemm(format, shape, o, stream);
    };
    const DecoderStack stack(deep, {}, decode(), arena(), 3, gemm);
    self = &stack;
    const std::string fault = check_decoder_stack(stack, 5).fault;
    if (bad == 0 || bad == 4)
      CHECK(fault.find("down of layer " + std::to_string(bad)) == 0);
    else
      CHECK(fault == "");
  }
}

TEST_CASE("planted faults are found, by the operator that has them", "[kernels][stack]") {
  const auto fault_with = [](const StackBatch& of,
                             const std::function<void(const DecoderStack&)>& before,
                             const std::function<void(const DecoderStack&, void*)>& behind_gemm) {
    std::optional<DecoderStack> stack;
    stack.emplace(
        tiny(of, {}, [&](GemmFormat format, GemmShape shape, const GemmOperands& o, Stream stream) {
          plain_gemm(format, shape, o, stream);
          if (behind_gemm) behind_gemm(*stack, o.out);
        }));
    if (before) before(*stack);
    return check_decoder_stack(*stack, 5).fault;
  };
  // a wrong page: the longest sequence reads one of another's
  for (const StackBatch& of : {decode(), mixed()}) {
    const std::string fault = fault_with(
        of,
        [](const DecoderStack& stack) {
          const PageTable& pages = stack.pages();
          int longest = 0;
          for (int i = 0; i < stack.sequences(); ++i)
            if (pages.lengths[static_cast<std::size_t>(i)] >
                pages.lengths[static_cast<std::size_t>(longest)])
              longest = i;
          const int other = pages.page_of(longest == 0 ? 1 : 0, 0);
          copy_to_device(const_cast<int*>(stack.memory().page_table) + longest * pages.row_pages,
                         &other, sizeof other);
        },
        nullptr);
    CHECK(fault.find("attention of layer 0") == 0);
  }
  // a missing residual: the stream is lost between two norms
  CHECK(fault_with(decode(), nullptr, [](const DecoderStack& stack, void* out) {
          if (out == stack.memory().update)
            device_fill(stack.memory().hidden, 0,
                        static_cast<std::size_t>(stack.tokens() * kTiny.hidden) * sizeof(Bf16), {});
        }).find("post_norm of layer 0, residual stream") == 0);
  // a token's place in the cache is another's
  CHECK(fault_with(
            decode(),
            [](const DecoderStack& stack) {
              const std::int64_t other = stack.slots()[1] + 1;
              copy_to_device(const_cast<std::int64_t*>(stack.memory().slots) + 1, &other,
                             sizeof other);
            },
            nullptr)
            .find("rope_kv_write of layer 0, keys and values") == 0);
  // a position that is one too high
  CHECK(fault_with(
            mixed(),
            [](const DecoderStack& stack) {
              std::vector<int> positions = stack.positions();
              for (int& position : positions) ++position;
              copy_to_device(const_cast<int*>(stack.memory().positions), positions.data(),
                             positions.size() * sizeof(int));
            },
            nullptr)
            .find("rope_kv_write of layer 0, queries") == 0);
  // another row than the last is sampled
  CHECK(fault_with(
            prompts(),
            [](const DecoderStack& stack) {
              std::vector<std::int32_t> rows = stack.last_rows();
              for (std::int32_t& row : rows) --row;
              copy_to_device(const_cast<std::int32_t*>(stack.memory().last_rows), rows.data(),
                             rows.size() * sizeof(std::int32_t));
            },
            nullptr)
            .find("head of layer 0, last rows") == 0);
  // a product that is off by two percent
  CHECK(fault_with(mixed(), nullptr, [](const DecoderStack& stack, void* out) {
          if (out != stack.memory().gate_up) return;
          for (int i = 0; i < stack.tokens() * 2 * kTiny.ffn; ++i) {
            Bf16& value = stack.memory().gate_up[i];
            value = to_bf16(to_float(value) * 1.02F);
          }
        }).find("gate_up of layer 0") == 0);
  // what comes out in one go is not what came out step by step
  int products = 0;
  CHECK(fault_with(decode(), nullptr, [&](const DecoderStack& stack, void* out) {
          if (++products > 2 * 4 + 1 && out == stack.memory().qkv)
            device_fill(out, 0,
                        sizeof(Bf16) * static_cast<std::size_t>(stack.tokens() * kTiny.qkv_width()),
                        {});
        }).find("final_norm of layer 0, in one go") == 0);
  // something left out is NaN, and found
  CHECK(fault_with(decode(), nullptr, [](const DecoderStack& stack, void* out) {
          if (out == stack.memory().logits)
            device_fill(out, 0xFF, logits_of(stack).size() * sizeof(float), {});
        }).find("head of layer 0, output: error inf") == 0);
}

TEST_CASE("a batch that the kernels do not take is refused, a stack too big for the arena, too",
          "[kernels][stack]") {
  StackBatch odd = decode();
  odd.page_tokens = 24;
  CHECK_THROWS_AS(tiny(odd), NotSupportedHere);
  CHECK_THROWS_AS(tiny(mixed(), {false, true}), NotSupportedHere);
  CHECK_THROWS_AS(tiny(batch({1}, {131'072})), NotSupportedHere);
  CHECK_THROWS_AS(tiny(batch({70'000, 70'000}, {0, 0})), NotSupportedHere);
  Arena small(std::size_t{1} << 20);
  CHECK_THROWS_AS(DecoderStack(kTiny, {}, decode(), small, 1, plain_gemm), ArenaFull);
}
