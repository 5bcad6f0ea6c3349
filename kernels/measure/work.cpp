// One function an operator family, kernels-and-cost-models §3 with T tokens, h query heads, kv KV
// heads, d head dimension. Where fusing spares a trip to memory that §3 counts, the smaller number
// stands here: a floor must hold for the best kernel.

#include "kernels/measure/work.h"

#include <algorithm>

#include "hw_models/check.h"

namespace fleetsim::kernels {
namespace {

double real(std::int64_t n) { return static_cast<double>(n); }
double number(const Point& point, const char* axis) { return real(point.integer(axis)); }
double kv_element_bytes(const Point& point) { return point.word("kv_dtype") == "e4m3" ? 1 : 2; }
double output_element_bytes(const Point& point) { return point.word("output") == "e4m3" ? 1 : 2; }

Work ceiling_work(const Point& point) {
  const std::string& kind = point.word("kind");
  const double bytes = number(point, "bytes"), edge = number(point, "edge");
  Work work;
  if (kind == "copy") work.bytes = 2 * bytes;
  if (kind == "read" || kind == "write") work.bytes = bytes;
  if (kind == "host_to_device") work.link_bytes = bytes, work.link = Link::host_to_device;
  if (kind == "device_to_host") work.link_bytes = bytes, work.link = Link::device_to_host;
  if (kind == "both_ways") work.link_bytes = 2 * bytes, work.link = Link::both_ways;
  if (kind == "gemm_bf16" || kind == "gemm_fp8") {
    const bool fp8 = kind == "gemm_fp8";
    work.flops = 2 * edge * edge * edge;
    work.bytes = (fp8 ? 1 + 1 + 2 : 2 + 2 + 2) * edge * edge;
    work.rate = fp8 ? MathRate::fp8 : MathRate::bf16;
  }
  return work;
}

/// Bytes of an element of weights and activations, scales included; outputs are bf16.
struct GemmFormat {
  const char* dtype;
  MathRate rate;
  double weight_bytes, activation_bytes;
};
constexpr GemmFormat kGemmFormats[] = {
    {"bf16", MathRate::bf16, 2, 2},
    {"fp8", MathRate::fp8, 1, 1},
    // fp32 scales, one for 128 x 128 weights and one for 1 x 128 activations
    {"fp8_block", MathRate::fp8, 1 + 4.0 / (128 * 128), 1 + 4.0 / 128},
    {"int8", MathRate::fp8, 1, 1},  // tensor cores do int8 at the rate of fp8
    // 16-bit scale and 4-bit zero point for 128 weights; multiplied as bf16
    {"w4a16", MathRate::bf16, 0.5 + 2.5 / 128, 2},
};

Work gemm_work(const Point& point) {
  const double m = number(point, "m"), n = number(point, "n"), k = number(point, "k");
  for (const GemmFormat& format : kGemmFormats)
    if (point.word("dtype") == format.dtype)
      return {2 * m * n * k,
              format.weight_bytes * n * k + format.activation_bytes * m * k + 2 * m * n,
              format.rate, 0, Link::none};
  CHECK(false, point.text());
  return {};
}

Work decode_work(const Point& point) {
  const double h = number(point, "query_heads"), kv = number(point, "kv_heads");
  const double d = number(point, "head_dim");
  Work work;
  work.rate = MathRate::bf16;
  for (const std::int64_t length : point.lengths("lengths")) {
    work.flops += 4 * h * d * real(length);
    work.bytes += 2 * kv * d * kv_element_bytes(point) * real(length);
    // the query in and the output out; of an empty sequence zeros out alone
    work.bytes += (length > 0 ? 4 : 2) * h * d;
  }
  return work;
}

Work prefill_work(const Point& point) {
  const double h = number(point, "query_heads"), kv = number(point, "kv_heads");
  const double d = number(point, "head_dim");
  const auto fresh = point.lengths("new_lengths"), cached = point.lengths("cached_lengths");
  Work work;
  work.rate = MathRate::bf16;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    if (fresh[i] == 0) continue;  // nobody attends
    const double q = real(fresh[i]), c = real(cached[i]);
    const double pairs = point.integer("causal") == 1 ? q * c + q * (q + 1) / 2 : q * (c + q);
    work.flops += 4 * h * d * pairs;
    work.bytes += 4 * h * d * q + 2 * kv * d * kv_element_bytes(point) * (c + q);
  }
  return work;
}

/// Reads the qkv rows, writes rotated queries, and keys and values to their pages: 4T·kv·d bytes
/// less than §3, which counts a kernel that writes rotated keys back and reads them again.
Work rope_work(const Point& point) {
  const double h = number(point, "query_heads"), kv = number(point, "kv_heads");
  const double d = number(point, "head_dim"), tokens = number(point, "tokens");
  Work work;
  work.flops = 6 * tokens * (h + kv) * d;
  work.bytes = tokens * d * (2 * (h + 2 * kv) + 2 * h + 2 * kv * kv_element_bytes(point));
  return work;
}

Work blocks_work(const Point& point) {
  Work work;
  work.bytes = 2 * number(point, "block_bytes") * number(point, "blocks");
  return work;
}

Work swap_work(const Point& point) {
  Work work;
  work.link_bytes = number(point, "block_bytes") * number(point, "blocks");
  work.bytes = work.link_bytes;
  work.link = point.word("direction") == "to_host" ? Link::device_to_host : Link::host_to_device;
  return work;
}

Work rms_norm_work(const Point& point) {
  const double elements = number(point, "tokens") * number(point, "hidden");
  Work work;
  work.flops = 6 * elements;
  const double residual = point.integer("residual") == 1 ? 2 + 2 : 0;  // read, sum written back
  work.bytes = (2 + residual + output_element_bytes(point)) * elements;
  return work;
}

Work silu_work(const Point& point) {
  const double elements = number(point, "tokens") * number(point, "width");
  Work work;
  work.flops = 4 * elements;
  work.bytes = (2 + 2 + output_element_bytes(point)) * elements;
  return work;
}

Work embedding_work(const Point& point) {
  Work work;
  const double tokens = number(point, "tokens"), vocab = number(point, "vocab");
  // a row that two tokens ask for comes from memory once
  work.bytes = 2 * number(point, "hidden") * (std::min(tokens, vocab) + tokens);
  return work;
}

/// One pass: what a further pass reads again can still be in L2.
Work sampling_work(const Point& point) {
  const double logits = number(point, "rows") * number(point, "vocab");
  Work work;
  work.flops = logits;
  work.bytes = 4 * logits;
  return work;
}

Work all_reduce_work(const Point& point) {
  const double gpus = number(point, "gpus");
  Work work;
  work.link_bytes = 2 * (gpus - 1) / gpus * number(point, "bytes");
  work.link = Link::peers;
  return work;
}

struct WorkRow {
  const char* op;
  Work (*work)(const Point& point);
};
constexpr WorkRow kWork[] = {
    {"ceiling", ceiling_work},
    {"gemm", gemm_work},
    {"decode_attention", decode_work},
    {"prefill_attention", prefill_work},
    {"rope_kv_write", rope_work},
    {"block_copy", blocks_work},
    {"block_gather", blocks_work},
    {"block_scatter", blocks_work},
    {"swap", swap_work},
    {"rms_norm", rms_norm_work},
    {"silu_mul", silu_work},
    {"embedding", embedding_work},
    {"sampling", sampling_work},
    {"all_reduce", all_reduce_work},
};

}  // namespace

Work work_of(const Point& point) {
  for (const WorkRow& row : kWork)
    if (point.op() == row.op) return row.work(point);
  CHECK(false, "no work known of " + point.op());
  return {};
}

}  // namespace fleetsim::kernels
