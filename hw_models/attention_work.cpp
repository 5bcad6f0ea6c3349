// Names, work and coordinates of attention.

#include "hw_models/attention_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <type_traits>
#include <variant>

#include "hw_models/check.h"

namespace fleetsim {
namespace {

constexpr double kElement = 2;  // bytes of a query's or an output's element

// DeepSeek-V3's widths (config.json): latent and rotary part of a key, value of a head, and a
// query's part without position.
constexpr double kLatent = 512, kRotary = 64, kValue = 128, kNope = 128;

// What writing scores to memory costs, for one score, as Hugging Face's eager attention does it
// (transformers, eager_attention_forward): product written in bf16 (2), scaled (2 + 2), mask added
// (2 + 2), softmax in fp32 (2 + 4), rounded (4 + 2), read by the second product (2).
constexpr double kNaiveScoreBytes = 24;

/// Widths of heads that public tables hold; kernels pad others to the next.
constexpr std::array<double, 5> kHeadDims = {64, 128, 192, 256, 512};

std::string attention_family(const char* phase, AttentionBackend backend, double kv_element_bytes,
                             double head_dim, bool windowed) {
  return fmt::format("{}-attention/{}/kv{}/d{}{}", phase, name_of(backend), kv_element_bytes,
                     head_dim, windowed ? "/windowed" : "");
}

std::string latent_family(const char* phase, double kv_element_bytes) {
  return fmt::format("latent-{}/kv{}", phase, kv_element_bytes);
}

/// The width itself, then those above it in rising order, then those below in falling order.
std::vector<double> head_dims_by_fitness(double head_dim) {
  std::vector<double> dims = {head_dim};
  for (const double dim : kHeadDims)
    if (dim > head_dim) dims.push_back(dim);
  for (auto dim = kHeadDims.rbegin(); dim != kHeadDims.rend(); ++dim)
    if (*dim < head_dim) dims.push_back(*dim);
  return dims;
}

template <class Shape>
std::vector<std::string> attention_stand_ins(const char* phase, const Shape& shape) {
  const double other_kv = shape.kv_element_bytes == 1 ? 2 : 1;
  const std::string own = family_of(shape);
  std::vector<std::string> names;
  for (const double kv : {shape.kv_element_bytes, other_kv}) {
    for (const double dim : head_dims_by_fitness(shape.head_dim)) {
      for (const bool windowed : {shape.windowed, false}) {
        std::string name = attention_family(phase, shape.backend, kv, dim, windowed);
        if (name != own && (names.empty() || names.back() != name))
          names.push_back(std::move(name));
      }
    }
  }
  return names;
}

std::vector<double> powers_of(double base, double first, double last) {
  std::vector<double> knots;
  for (double knot = first; knot <= last; knot *= base) knots.push_back(knot);
  return knots;
}

/// Where decodes leave the floor, from few streams at many keys to many at few; below 128 nothing
/// happens.
const std::vector<double> kDecodeContexts = {32,   128,  256,   512,   1024,  2048,
                                             4096, 8192, 16384, 32768, 65536, 131072};

/// Public tables hold windows of 128 keys at widths 64, 128 and 192, 1024 at 256, 8192 at 128.
/// Decodes: the window itself, and below it batches that only in part reach it.
std::vector<double> decode_windows(const std::string& family) {
  if (family.find("/d128/") != std::string::npos) return {32, 128, 1024, 8192};
  if (family.find("/d256/") != std::string::npos) return {128, 512, 1024};
  return {32, 128};
}
/// Prompts: their mean keys, from where the window begins to cut to where it is nearly always full.
std::vector<double> prefill_windows(const std::string& family) {
  if (family.find("/d128/") != std::string::npos)
    return {32, 64, 96, 112, 120, 128, 1024, 4915, 6144, 8192};
  if (family.find("/d256/") != std::string::npos) return {128, 512, 683, 853, 960, 1024};
  return {32, 64, 96, 112, 120, 128};
}

/// Coordinates of chunks without a window; see the head of the header.
struct ChunkCoordinates {
  double longest = 1, rows = 1;
};
ChunkCoordinates chunk_coordinates(double requests, double queries, double pairs, double heads) {
  // one request: cached + queries; several: their mean keys, weighted by queries, and half a mean
  // chunk
  const double longest = std::max(1.0, pairs / queries + (queries / requests - 1) / 2);
  return {longest, 2 * heads * pairs / (longest + 1)};
}

}  // namespace

std::string family_of(const DecodeAttentionShape& shape) {
  return attention_family("decode", shape.backend, shape.kv_element_bytes, shape.head_dim,
                          shape.windowed);
}
std::string family_of(const PrefillAttentionShape& shape) {
  return attention_family(shape.decodes > 0 ? "mixed" : "prefill", shape.backend,
                          shape.kv_element_bytes, shape.head_dim, shape.windowed);
}
std::string family_of(const LatentDecodeShape& shape) {
  return latent_family("decode", shape.kv_element_bytes);
}
std::string family_of(const LatentPrefillShape& shape) {
  return latent_family("prefill", shape.kv_element_bytes);
}

OperatorWork work_of(const DecodeAttentionShape& shape) {
  CHECK(shape.batch > 0 && shape.context > 0 && shape.query_heads > 0 && shape.kv_heads > 0 &&
            shape.head_dim > 0,
        family_of(shape));
  const double tokens = shape.batch * shape.context;
  OperatorWork work;
  work.flops = 4 * shape.query_heads * shape.head_dim * tokens;
  work.bytes = 2 * shape.kv_heads * shape.head_dim * shape.kv_element_bytes * tokens +
               2 * kElement * shape.batch * shape.query_heads * shape.head_dim;
  if (shape.backend == AttentionBackend::naive) {
    // KV heads are repeated for every query head before the products: read, written, read
    const double repeated = 2 * shape.query_heads * shape.head_dim * kElement * tokens;
    work.bytes += 2 * repeated + kNaiveScoreBytes * shape.query_heads * tokens;
  }
  work.at = {shape.batch * shape.kv_heads, shape.context, shape.query_heads / shape.kv_heads};
  return work;
}

OperatorWork work_of(const PrefillAttentionShape& shape) {
  CHECK(shape.requests > 0 && shape.queries > 0 && shape.pairs > 0 && shape.context > 0 &&
            shape.query_heads > 0 && shape.kv_heads > 0 && shape.head_dim > 0,
        family_of(shape));
  OperatorWork work;
  work.flops = 4 * shape.query_heads * shape.head_dim * shape.pairs;
  work.bytes = 2 * kElement * shape.queries * shape.query_heads * shape.head_dim +
               2 * shape.kv_heads * shape.head_dim * shape.kv_element_bytes * shape.context;
  if (shape.backend == AttentionBackend::naive) {
    // no pair is skipped: the mask is added to scores that are there
    const double scores = shape.queries * (shape.context / shape.requests);
    work.flops = 4 * shape.query_heads * shape.head_dim * scores;
    work.bytes += 4 * shape.query_heads * shape.head_dim * kElement * shape.context +
                  kNaiveScoreBytes * shape.query_heads * scores;
  }
  ChunkCoordinates chunk =
      chunk_coordinates(shape.requests, shape.queries, shape.pairs, shape.query_heads);
  if (shape.windowed) chunk = {shape.pairs / shape.queries, shape.queries * shape.query_heads};
  if (shape.decodes > 0) {
    CHECK(shape.decode_context > 0, family_of(shape));
    const double heads = shape.decodes * shape.query_heads;
    work.flops += 4 * shape.head_dim * heads * shape.decode_context;
    work.bytes +=
        2 * shape.head_dim * heads * (kElement + shape.kv_element_bytes * shape.decode_context);
    work.at = {heads, shape.decode_context, chunk.longest, chunk.rows};
  } else {
    work.at = {chunk.longest, chunk.rows, shape.query_heads / shape.kv_heads};
  }
  return work;
}

OperatorWork work_of(const LatentDecodeShape& shape) {
  CHECK(shape.batch > 0 && shape.context > 0 && shape.heads > 0, family_of(shape));
  const double tokens = shape.batch * shape.context, key = kLatent + kRotary;
  OperatorWork work;
  work.flops = 2 * shape.heads * (key + kLatent) * tokens;
  work.bytes = key * shape.kv_element_bytes * tokens +
               kElement * shape.batch * shape.heads * (key + kLatent);
  work.at = {shape.batch, shape.context, shape.heads};
  return work;
}

OperatorWork work_of(const LatentPrefillShape& shape) {
  CHECK(shape.requests > 0 && shape.queries > 0 && shape.pairs > 0 && shape.context > 0 &&
            shape.heads > 0,
        family_of(shape));
  const double key = kNope + kRotary;
  OperatorWork work;
  work.flops = 2 * shape.heads * (key + kValue) * shape.pairs;
  // keys and values are expanded to heads before the call, in 16 bits whatever the cache holds
  work.bytes = kElement * shape.heads * (key + kValue) * (shape.queries + shape.context);
  const ChunkCoordinates chunk =
      chunk_coordinates(shape.requests, shape.queries, shape.pairs, shape.heads);
  work.at = {chunk.longest, chunk.rows, shape.heads};
  return work;
}

std::vector<std::string> stand_ins(const DecodeAttentionShape& shape) {
  return attention_stand_ins("decode", shape);
}
std::vector<std::string> stand_ins(const PrefillAttentionShape& shape) {
  return attention_stand_ins(shape.decodes > 0 ? "mixed" : "prefill", shape);
}
std::vector<std::string> stand_ins(const LatentDecodeShape& shape) {
  return {latent_family("decode", shape.kv_element_bytes == 1 ? 2 : 1)};
}
std::vector<std::string> stand_ins(const LatentPrefillShape& shape) {
  return {latent_family("prefill", shape.kv_element_bytes == 1 ? 2 : 1)};
}

std::vector<std::string> stand_ins(const OperatorShape& shape) {
  return std::visit(
      [](const auto& one) -> std::vector<std::string> {
        using Shape = std::decay_t<decltype(one)>;
        constexpr bool kAttention = std::is_same_v<Shape, DecodeAttentionShape> ||
                                    std::is_same_v<Shape, PrefillAttentionShape> ||
                                    std::is_same_v<Shape, LatentDecodeShape> ||
                                    std::is_same_v<Shape, LatentPrefillShape>;
        if constexpr (kAttention) return stand_ins(one);
        return {};
      },
      shape);
}

bool is_attention_family(const std::string& family) {
  for (const char* kind : {"decode-attention/", "prefill-attention/", "mixed-attention/",
                           "latent-decode/", "latent-prefill/"})
    if (family.starts_with(kind)) return true;
  return false;
}

std::vector<LogSurface::Axis> attention_knots_of(const std::string& family) {
  CHECK(is_attention_family(family), family);
  const bool windowed = family.ends_with("/windowed");
  if (family.starts_with("decode-attention/")) {
    return {{"streams", powers_of(2, 1, 8192)},
            {"context", windowed ? decode_windows(family) : kDecodeContexts},
            {"group", windowed ? std::vector<double>{1, 2, 8, 64}
                               : std::vector<double>{1, 2, 8, 16, 32, 64}}};
  }
  const std::vector<double> longest = {1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
  if (family.starts_with("prefill-attention/")) {
    return {{"longest", windowed ? prefill_windows(family) : longest},
            {"rows", powers_of(4, 1, 1048576)},
            {"group", {1, 2, 8, 64}}};
  }
  if (family.starts_with("mixed-attention/")) {
    return {{"streams", powers_of(2, 32, 8192)},
            {"context", powers_of(4, 16, 16384)},
            {"longest", {16, 128, 1024, 4096, 16384}},
            {"rows", {512, 2048, 4096, 8192, 16384, 32768, 65536, 131072}}};
  }
  if (family.starts_with("latent-decode/")) {
    return {{"batch", powers_of(2, 1, 1024)},
            {"context", powers_of(2, 16, 131072)},
            {"heads", {1, 16, 32, 64, 128}}};
  }
  return {{"longest", {1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768}},
          {"rows", powers_of(4, 1, 1048576)},
          {"heads", {1, 8, 128}}};
}

}  // namespace fleetsim
