// Llama's layer as vLLM launches it: the residual is added inside the norms, keys and values are
// written while queries and keys are rotated, gate and up are one product.

#include "kernels/measure/decoder_stack.h"

#include <algorithm>
#include <cmath>

#include "kernels/device/device_memory.h"
#include "kernels/operators/embedding.h"
#include "kernels/operators/quantise.h"
#include "kernels/operators/rms_norm.h"
#include "kernels/operators/silu_mul.h"

namespace fleetsim::kernels {
namespace {

/// New tokens of a batch, and tokens of a sequence: Llama 3.1's longest context. Engines are far
/// below the first.
constexpr std::int64_t kTokensMax = 131'072, kContextMax = 131'072;
/// Standard deviation of the e4m3 codes of weights: their largest, 448, is 5.6 of it.
constexpr float kCodeDeviation = 80.0F;
/// e4m3 codes for one standard deviation of what goes into a linear layer. Normed rows and averages
/// of values are about normal; the product of a gate and an up reaches further.
constexpr float kNormedScale = 1 / 80.0F, kAttendedScale = 1 / 80.0F, kActivatedScale = 1 / 20.0F;
/// Of queries, where keys are e4m3: codes reach 7 standard deviations.
constexpr float kQueryScale = 1 / 64.0F;
constexpr float kNormDeviation = 0.1F;

/// Every operand has a number of its own, and with it draws of its own.
std::uint64_t seed_of(std::uint64_t seed, std::uint64_t operand) {
  return seed + 0x9e3779b97f4a7c15ULL * (operand + 1);
}

std::size_t product_of(std::int64_t a, std::int64_t b) { return static_cast<std::size_t>(a * b); }

template <class T>
const T* take_copy(const std::vector<T>& values, Arena& arena) {
  T* memory = arena.take<T>(values.size());
  copy_to_device(memory, values.data(), values.size() * sizeof(T));
  return memory;
}

/// Activations begin as NaN: what an operator leaves out shows.
template <class T>
T* take_poisoned(std::size_t count, Arena& arena) {
  T* memory = arena.take<T>(count);
  device_fill(memory, 0xFF, count * sizeof(T), {});
  return memory;
}

const Bf16* take_normal(std::size_t count, float scale, std::uint64_t seed, Arena& arena) {
  Bf16* memory = arena.take<Bf16>(count);
  fill_normal(memory, count, scale, seed, {});
  return memory;
}

}  // namespace

bool StackBatch::is_decode() const {
  return std::all_of(new_lengths.begin(), new_lengths.end(), [](int q) { return q == 1; });
}

DecoderStack::DecoderStack(const StackShape& shape, StackFormats formats, const StackBatch& batch,
                           Arena& arena, std::uint64_t seed, StackGemm gemm)
    : shape_(shape), formats_(formats), batch_(batch), gemm_(std::move(gemm)) {
  check_limits();
  rotary_.head_dim = shape.head_dim;
  rotary_.stretch = 8;  // Llama 3.1
  steps_.push_back({StackPart::embedding, 0});
  for (int layer = 0; layer < shape.layers; ++layer)
    for (int part = 0; part < kStackParts; ++part)
      if (runs_in_each_layer(static_cast<StackPart>(part)))
        steps_.push_back({static_cast<StackPart>(part), layer});
  for (const StackPart part : {StackPart::final_norm, StackPart::head, StackPart::sampling})
    steps_.push_back({part, 0});
  take_weights(arena, seed);
  number_tokens(seed);
  take_cache(arena, seed);
  take_batch(arena, seed);
  take_activations(arena);
  device_synchronize();
}

void DecoderStack::check_limits() const {
  const std::vector<int>&fresh = batch_.new_lengths, &cached = batch_.cached_lengths;
  CHECK(!fresh.empty() && fresh.size() == cached.size());
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    CHECK(fresh[i] >= 1 && cached[i] >= 0);
    tokens += fresh[i];
    if (std::int64_t{fresh[i]} + cached[i] > kContextMax)
      throw NotSupportedHere("a sequence has more than " + std::to_string(kContextMax) +
                             " tokens, the model's longest context");
  }
  if (tokens > kTokensMax)
    throw NotSupportedHere("the batch has more than " + std::to_string(kTokensMax) + " new tokens");
  const int page = batch_.page_tokens;
  if (page < 16 || (page & (page - 1)) != 0)
    throw NotSupportedHere("the kernels take pages of a power of two of at least 16 tokens");
}

void DecoderStack::take_weights(Arena& arena, std::uint64_t seed) {
  std::uint64_t operand = 0;
  const auto next_seed = [&] { return seed_of(seed, operand++); };
  const auto hidden = static_cast<std::size_t>(shape_.hidden);
  const std::size_t table = product_of(shape_.vocab, shape_.hidden);
  memory_.embedding = take_normal(table, 1.0F, next_seed(), arena);
  memory_.head =
      take_normal(table, 1.0F / std::sqrt(static_cast<float>(shape_.hidden)), next_seed(), arena);

  // one run of draws; each norm's weights begin eight further than the one's before
  RandomInputs random(seed, "decoder stack norms");
  std::vector<Bf16> norms;
  for (std::size_t i = 0; i < hidden + 8 * (2 * static_cast<std::size_t>(shape_.layers) + 1); ++i)
    norms.push_back(to_bf16(1.0F + kNormDeviation * random.normal()));
  std::size_t norm = 0;
  const auto next_norm = [&] {
    Bf16* memory = arena.take<Bf16>(hidden);
    copy_to_device(memory, norms.data() + 8 * norm++, hidden * sizeof(Bf16));
    return memory;
  };

  memory_.final_norm = next_norm();
  for (int i = 0; i < shape_.layers; ++i) {
    LayerMemory layer;
    layer.input_norm = next_norm();
    layer.post_norm = next_norm();
    for (std::size_t m = 0; m < std::size(kLayerMatrices); ++m) {
      const StackMatrix matrix = stack_matrix(shape_, kLayerMatrices[m]);
      const std::size_t count = product_of(matrix.n, matrix.k);
      const float scale = 1.0F / std::sqrt(static_cast<float>(matrix.k));
      if (formats_.fp8_weights) {
        E4m3* codes = arena.take<E4m3>(count);
        fill_normal(codes, count, kCodeDeviation, next_seed(), {});
        layer.weights[m] = codes;
        if (i == 0)
          memory_.weight_scales[m] = take_copy(std::vector<float>{scale / kCodeDeviation}, arena);
      } else {
        layer.weights[m] = take_normal(count, scale, next_seed(), arena);
      }
    }
    memory_.layers.push_back(layer);
  }
  if (!formats_.fp8_weights) return;
  memory_.normed_scale = take_copy(std::vector<float>{kNormedScale}, arena);
  memory_.attended_scale = take_copy(std::vector<float>{kAttendedScale}, arena);
  memory_.activated_scale = take_copy(std::vector<float>{kActivatedScale}, arena);
}

/// Rows, positions and places in the cache of every new token.
void DecoderStack::number_tokens(std::uint64_t seed) {
  for (std::size_t i = 0; i < batch_.new_lengths.size(); ++i)
    lengths_.push_back(batch_.new_lengths[i] + batch_.cached_lengths[i]);
  RandomInputs random(seed, "decoder stack pages");
  pages_ = shuffled_page_table(lengths_, batch_.page_tokens, random);
  query_starts_.push_back(0);
  for (int sequence = 0; sequence < sequences(); ++sequence) {
    const auto i = static_cast<std::size_t>(sequence);
    for (int token = batch_.cached_lengths[i]; token < lengths_[i]; ++token) {
      positions_.push_back(token);
      slots_.push_back(std::int64_t{pages_.page_of(sequence, token)} * batch_.page_tokens +
                       token % batch_.page_tokens);
    }
    tokens_ += batch_.new_lengths[i];
    query_starts_.push_back(tokens_);
    last_rows_.push_back(tokens_ - 1);
  }
}

void DecoderStack::take_cache(Arena& arena, std::uint64_t seed) {
  const std::size_t count = product_of(
      pages_.pool_pages, std::int64_t{batch_.page_tokens} * shape_.kv_heads * shape_.head_dim);
  std::uint64_t operand = std::uint64_t{1} << 32;  // behind those of the weights
  const auto take = [&]() -> void* {
    const std::uint64_t own_seed = seed_of(seed, operand++);
    if (!formats_.e4m3_cache) {
      Bf16* values = arena.take<Bf16>(count);
      fill_normal(values, count, 1.0F, own_seed, {});
      return values;
    }
    E4m3* codes = arena.take<E4m3>(count);
    fill_normal(codes, count, 1.0F, own_seed, {});
    return codes;
  };
  for (LayerMemory& layer : memory_.layers) {
    layer.key_pages = take();
    layer.value_pages = take();
  }
}

void DecoderStack::take_batch(Arena& arena, std::uint64_t seed) {
  RandomInputs random(seed, "decoder stack tokens");
  std::vector<std::int32_t> ids;
  for (int i = 0; i < tokens_; ++i)
    ids.push_back(
        static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(shape_.vocab))));
  memory_.ids = take_copy(ids, arena);
  memory_.positions = take_copy(positions_, arena);
  memory_.slots = take_copy(slots_, arena);
  memory_.page_table = take_copy(pages_.pages, arena);
  memory_.query_starts = take_copy(query_starts_, arena);
  memory_.cached_lengths = take_copy(batch_.cached_lengths, arena);
  memory_.lengths = take_copy(lengths_, arena);
  memory_.last_rows = take_copy(last_rows_, arena);
  const int longest = *std::max_element(lengths_.begin(), lengths_.end());
  memory_.rotary_table = take_copy(kernels::rotary_table(rotary_, longest), arena);
}

void DecoderStack::take_activations(Arena& arena) {
  const auto rows_of = [&](std::int64_t width) { return product_of(tokens_, width); };
  const auto for_linear = [&](std::int64_t width, const float* scale) {
    RowOutput out;
    if (formats_.fp8_weights)
      out.codes = take_poisoned<E4m3>(rows_of(width), arena), out.tensor_scale = scale;
    else
      out.values = take_poisoned<Bf16>(rows_of(width), arena);
    return out;
  };
  StackMemory& m = memory_;
  m.hidden = take_poisoned<Bf16>(rows_of(shape_.hidden), arena);
  m.update = take_poisoned<Bf16>(rows_of(shape_.hidden), arena);
  m.normed = for_linear(shape_.hidden, m.normed_scale);
  m.qkv = take_poisoned<Bf16>(rows_of(shape_.qkv_width()), arena);
  m.query = take_poisoned<Bf16>(rows_of(shape_.query_width()), arena);
  m.attended = take_poisoned<Bf16>(rows_of(shape_.query_width()), arena);
  if (formats_.fp8_weights)
    m.attended_codes = take_poisoned<E4m3>(rows_of(shape_.query_width()), arena);
  m.gate_up = take_poisoned<Bf16>(rows_of(2 * std::int64_t{shape_.ffn}), arena);
  m.activated = for_linear(shape_.ffn, m.activated_scale);
  m.final_hidden = take_poisoned<Bf16>(rows_of(shape_.hidden), arena);
  m.last_hidden = batch_.is_decode()
                      ? m.final_hidden
                      : take_poisoned<Bf16>(product_of(sequences(), shape_.hidden), arena);
  m.logits = take_poisoned<float>(product_of(sequences(), shape_.vocab), arena);
  m.sampled = take_poisoned<std::int32_t>(static_cast<std::size_t>(sequences()), arena);
  const std::size_t sampling_bytes = sampling_workspace_bytes(sampling_arguments());
  m.sampling_workspace = arena.take<unsigned char>(sampling_bytes);
  device_fill(m.sampling_workspace, 0, sampling_bytes, {});
  if (!batch_.is_decode()) {
    if (formats_.e4m3_cache)
      take_prefill_workspace(prefill_arguments<E4m3>(0), arena);
    else
      take_prefill_workspace(prefill_arguments<Bf16>(0), arena);
  } else if (formats_.e4m3_cache) {
    take_decode_workspace(decode_arguments<E4m3>(0), arena);
  } else {
    take_decode_workspace(decode_arguments<Bf16>(0), arena);
  }
}

template <class Element>
void DecoderStack::take_decode_workspace(DecodeAttentionArguments<Element> arguments,
                                         Arena& arena) {
  if (!decode_attention_supports(arguments))
    throw NotSupportedHere("the decode kernel does not take this batch");
  memory_.decode_workspace = arena.take<unsigned char>(decode_attention_workspace_bytes(arguments));
  arguments.workspace = memory_.decode_workspace;
  prepare_decode_attention_workspace(arguments, {});
}

template <class Element>
void DecoderStack::take_prefill_workspace(PrefillArguments<Element> arguments, Arena& arena) {
  if (!prefill_attention_supports(arguments, tokens_))
    throw NotSupportedHere(formats_.e4m3_cache
                               ? "prompts on an e4m3 cache need sm_90 and heads of 128"
                               : "the prefill kernel does not take this batch");
  memory_.prefill_workspace =
      arena.take<unsigned char>(prefill_attention_workspace_bytes(arguments));
  arguments.workspace = memory_.prefill_workspace;
  prepare_prefill_attention_workspace(arguments, {});
}

float DecoderStack::softmax_scale() const {
  return 1.0F / std::sqrt(static_cast<float>(shape_.head_dim));
}

GemmFormat DecoderStack::gemm_format(StackPart part) const {
  if (part == StackPart::head) return GemmFormat::bf16_to_fp32;
  return formats_.fp8_weights ? GemmFormat::fp8 : GemmFormat::bf16;
}

GemmShape DecoderStack::gemm_shape(StackPart part) const {
  const StackMatrix matrix = stack_matrix(shape_, part);
  CHECK(matrix.n > 0, name_of(part));
  return {part == StackPart::head ? sequences() : tokens_, matrix.n, matrix.k};
}

void DecoderStack::launch(Stream stream) const {
  for (const Step& step : steps_) launch_step(step.part, step.layer, stream);
}

void DecoderStack::launch_part(StackPart part, Stream stream) const {
  for (const Step& step : steps_)
    if (step.part == part) launch_step(step.part, step.layer, stream);
}

void DecoderStack::launch_step(StackPart part, int layer, Stream stream) const {
  const StackMemory& m = memory_;
  const LayerMemory& own = m.layers[static_cast<std::size_t>(layer)];
  switch (part) {
    case StackPart::embedding:
      return launch_embedding(
          {m.ids, m.embedding, m.hidden, tokens_, shape_.hidden, 0, shape_.vocab}, stream);
    case StackPart::input_norm:
      // the residual stream begins with the embeddings: layer 0 has nothing to add
      if (layer == 0) return norm(m.hidden, nullptr, own.input_norm, m.normed, stream);
      return norm(m.update, m.hidden, own.input_norm, m.normed, stream);
    case StackPart::rope_kv_write:
      return rope_kv_write(layer, stream);
    case StackPart::attention:
      return attention(layer, stream);
    case StackPart::post_norm:
      return norm(m.update, m.hidden, own.post_norm, m.normed, stream);
    case StackPart::silu_mul:
      return launch_silu_mul({m.gate_up, m.activated, tokens_, shape_.ffn}, stream);
    case StackPart::final_norm: {
      RowOutput out;
      out.values = m.final_hidden;
      return norm(m.update, m.hidden, m.final_norm, out, stream);
    }
    case StackPart::sampling:
      return launch_sampling(sampling_arguments(), stream);
    case StackPart::qkv:
    case StackPart::output:
    case StackPart::gate_up:
    case StackPart::down:
    case StackPart::head:
      return linear(part, layer, stream);
  }
}

void DecoderStack::norm(const Bf16* x, Bf16* residual, const Bf16* weight, const RowOutput& out,
                        Stream stream) const {
  launch_rms_norm({x, residual, weight, out, tokens_, shape_.hidden, norm_epsilon()}, stream);
}

void DecoderStack::linear(StackPart part, int layer, Stream stream) const {
  const StackMemory& m = memory_;
  const LayerMemory& own = m.layers[static_cast<std::size_t>(layer)];
  const auto input_of = [](const RowOutput& rows) {
    return rows.codes != nullptr ? static_cast<const void*>(rows.codes) : rows.values;
  };
  GemmOperands operands;
  for (std::size_t i = 0; i < std::size(kLayerMatrices); ++i)
    if (kLayerMatrices[i] == part)
      operands.weights = own.weights[i], operands.weight_scales = m.weight_scales[i];
  switch (part) {
    case StackPart::qkv:
      operands.activations = input_of(m.normed), operands.activation_scales = m.normed_scale;
      operands.out = m.qkv;
      break;
    case StackPart::output:
      operands.activations = m.attended, operands.out = m.update;
      if (formats_.fp8_weights) {
        launch_quantise({m.attended, m.attended_codes, m.attended_scale,
                         std::int64_t{tokens_} * shape_.query_width()},
                        stream);
        operands.activations = m.attended_codes;
        operands.activation_scales = m.attended_scale;
      }
      break;
    case StackPart::gate_up:
      operands.activations = input_of(m.normed), operands.activation_scales = m.normed_scale;
      operands.out = m.gate_up;
      break;
    case StackPart::down:
      operands.activations = input_of(m.activated);
      operands.activation_scales = m.activated_scale;
      operands.out = m.update;
      break;
    default:
      CHECK(part == StackPart::head);
      if (!batch_.is_decode())  // the embedding kernel gathers rows of any table
        launch_embedding(
            {m.last_rows, m.final_hidden, m.last_hidden, sequences(), shape_.hidden, 0, tokens_},
            stream);
      operands.activations = m.last_hidden, operands.weights = m.head, operands.out = m.logits;
  }
  gemm_(gemm_format(part), gemm_shape(part), operands, stream);
}

template <class Element>
RopeKvWriteArguments<Element> DecoderStack::rope_arguments(int layer) const {
  const LayerMemory& own = memory_.layers[static_cast<std::size_t>(layer)];
  RopeKvWriteArguments<Element> a;
  a.qkv = memory_.qkv;
  a.query = memory_.query;
  a.query_row = shape_.query_width();
  a.key_pages = static_cast<Element*>(own.key_pages);
  a.value_pages = static_cast<Element*>(own.value_pages);
  a.slots = memory_.slots;
  a.positions = memory_.positions;
  a.table = memory_.rotary_table;
  a.tokens = tokens_;
  a.query_heads = shape_.query_heads, a.kv_heads = shape_.kv_heads, a.head_dim = shape_.head_dim;
  a.page_tokens = batch_.page_tokens;
  return a;
}

void DecoderStack::rope_kv_write(int layer, Stream stream) const {
  if (formats_.e4m3_cache)
    launch_rope_kv_write(rope_arguments<E4m3>(layer), stream);
  else
    launch_rope_kv_write(rope_arguments<Bf16>(layer), stream);
}

template <class Element>
DecodeAttentionArguments<Element> DecoderStack::decode_arguments(int layer) const {
  const LayerMemory& own = memory_.layers[static_cast<std::size_t>(layer)];
  DecodeAttentionArguments<Element> a;
  a.query = memory_.query;
  a.key_pages = static_cast<const Element*>(own.key_pages);
  a.value_pages = static_cast<const Element*>(own.value_pages);
  a.page_table = memory_.page_table;
  a.lengths = memory_.lengths;
  a.out = memory_.attended;
  a.workspace = memory_.decode_workspace;
  a.sequences = sequences();
  a.query_heads = shape_.query_heads, a.kv_heads = shape_.kv_heads, a.head_dim = shape_.head_dim;
  a.page_tokens = batch_.page_tokens;
  a.pages_per_sequence = pages_.row_pages;
  a.softmax_scale = softmax_scale();
  return a;
}

template <class Element>
PrefillArguments<Element> DecoderStack::prefill_arguments(int layer) const {
  const LayerMemory& own = memory_.layers[static_cast<std::size_t>(layer)];
  PrefillArguments<Element> a;
  if (formats_.e4m3_cache) a.query_scale = kQueryScale;
  a.query = memory_.query;
  a.key_pages = static_cast<const Element*>(own.key_pages);
  a.value_pages = static_cast<const Element*>(own.value_pages);
  a.page_table = memory_.page_table;
  a.query_starts = memory_.query_starts;
  a.cached_lengths = memory_.cached_lengths;
  a.out = memory_.attended;
  a.workspace = memory_.prefill_workspace;
  a.sequences = sequences();
  a.total_tokens = tokens_;
  a.query_heads = shape_.query_heads, a.kv_heads = shape_.kv_heads, a.head_dim = shape_.head_dim;
  a.page_tokens = batch_.page_tokens;
  a.pages_per_sequence = pages_.row_pages;
  a.softmax_scale = softmax_scale();
  return a;
}

void DecoderStack::attention(int layer, Stream stream) const {
  if (!batch_.is_decode() && formats_.e4m3_cache)
    launch_prefill_attention(prefill_arguments<E4m3>(layer), stream);
  else if (!batch_.is_decode())
    launch_prefill_attention(prefill_arguments<Bf16>(layer), stream);
  else if (formats_.e4m3_cache)
    launch_decode_attention(decode_arguments<E4m3>(layer), stream);
  else
    launch_decode_attention(decode_arguments<Bf16>(layer), stream);
}

SamplingArguments DecoderStack::sampling_arguments() const {
  SamplingArguments a;
  a.method = SamplingMethod::greedy;
  a.logits = memory_.logits;
  a.rows = sequences();
  a.vocab = shape_.vocab;
  a.row_stride = shape_.vocab;
  a.tokens = memory_.sampled;
  a.workspace = memory_.sampling_workspace;
  return a;
}

}  // namespace fleetsim::kernels
