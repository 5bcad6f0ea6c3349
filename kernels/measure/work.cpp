// One function an operator family, kernels-and-cost-models §3 with T tokens, h query heads, kv KV
// heads, d head dimension. Where fusing spares a trip to memory that §3 counts, the smaller number
// stands here: a floor must hold for the best kernel.

#include "kernels/measure/work.h"

#include <algorithm>
#include <vector>

#include "hw_models/check.h"
#include "kernels/measure/expert_choices.h"
#include "kernels/measure/stack_shape.h"

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
  // e4m3 is multiplied as it is
  work.rate = kv_element_bytes(point) == 1 ? MathRate::fp8 : MathRate::bf16;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    if (fresh[i] == 0) continue;  // nobody attends
    const double q = real(fresh[i]), c = real(cached[i]);
    const double window = point.integer("window") > 0 ? number(point, "window") : c + q;
    // the first tokens see all before them, the others a full window
    const double growing = std::clamp(window - c, 0.0, q);
    const double causal = growing * c + growing * (growing + 1) / 2 + (q - growing) * window;
    const double pairs = point.integer("causal") == 1 ? causal : q * (c + q);
    work.flops += 4 * h * d * pairs;
    work.bytes +=
        4 * h * d * q + 2 * kv * d * kv_element_bytes(point) * std::min(c + q, window - 1 + q);
  }
  return work;
}

/// A node of a tree sees its ancestors and itself.
Work verify_work(const Point& point) {
  const double h = number(point, "query_heads"), kv = number(point, "kv_heads");
  const double d = number(point, "head_dim"), q = number(point, "draft_tokens");
  const bool tree = point.word("draft") == "tree";
  double seen = 0;  // of the draft, by all of its tokens
  std::vector<double> depth;
  for (std::size_t i = 0; i < static_cast<std::size_t>(q); ++i) {
    depth.push_back(i == 0 ? 1 : depth[tree ? (i - 1) / 4 : i - 1] + 1);
    seen += depth[i];
  }
  Work work;
  work.rate = MathRate::bf16;
  for (const std::int64_t length : point.lengths("lengths")) {
    const double c = real(length);
    work.flops += 4 * h * d * (q * c + seen);
    work.bytes += 4 * h * d * q + 2 * kv * d * kv_element_bytes(point) * (c + q);
  }
  return work;
}

/// A row of the cache: 512 latent elements, which are the value too, and 64 rotated ones.
Work latent_decode_work(const Point& point) {
  constexpr double kLatent = 512, kRow = kLatent + 64;
  const double h = number(point, "heads"), n = number(point, "query_tokens");
  Work work;
  work.rate = MathRate::bf16;
  for (const std::int64_t length : point.lengths("lengths")) {
    // of n query tokens the last sees all, each before it one less
    for (std::int64_t seen = length; seen > length - static_cast<std::int64_t>(n) && seen > 0;
         --seen)
      work.flops += 2 * h * (kRow + kLatent) * real(seen);
    work.bytes += kRow * kv_element_bytes(point) * real(length);
    work.bytes += 2 * h * n * (length > 0 ? kRow + kLatent : kLatent);
  }
  return work;
}

/// Keys of 192 elements and values of 128, of each head.
Work latent_prefill_work(const Point& point) {
  constexpr double kKey = 192, kValue = 128;
  const double h = number(point, "heads");
  const auto fresh = point.lengths("new_lengths"), cached = point.lengths("cached_lengths");
  Work work;
  work.rate = MathRate::bf16;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    if (fresh[i] == 0) continue;  // nobody attends
    const double q = real(fresh[i]), c = real(cached[i]);
    work.flops += 2 * h * (kKey + kValue) * (q * c + q * (q + 1) / 2);
    work.bytes += 2 * h * (kKey + kValue) * (q + c + q);
  }
  return work;
}

/// One pass over the target's logits; what the draw of the next token reads again can still be in
/// L2, but not the row of draft probabilities that it is drawn with.
Work rejection_work(const Point& point) {
  const double rows = number(point, "requests") * number(point, "draft_tokens");
  Work work;
  work.flops = rows * number(point, "vocab");
  work.bytes = 4 * work.flops;
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

/// What the new and cached tokens of an iteration come to.
struct Batch {
  double sequences = 0, tokens = 0;  // tokens: new ones
  double keys = 0;                   // cached and new
  double pairs = 0;                  // of a new token and a key that it sees
};

Batch batch_of(const Point& point) {
  const auto fresh = point.lengths("new_lengths"), cached = point.lengths("cached_lengths");
  Batch batch;
  batch.sequences = real(std::ssize(fresh));
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    const double q = real(fresh[i]), c = real(cached[i]);
    batch.tokens += q;
    batch.keys += q + c;
    batch.pairs += q * c + q * (q + 1) / 2;
  }
  return batch;
}

/// One part in one layer. Of linear layers the weights alone, of attention the keys and values:
/// what lies between two operators of an iteration can stay in L2.
Work part_work(const Point& point, StackPart part, const Batch& batch) {
  const StackShape& shape = stack_shape(point.word("stack"));
  const double weight_bytes = point.word("weights") == "fp8" ? 1 : 2;
  const double hidden = shape.hidden, queries = shape.query_width(),
               keys = shape.kv_heads * shape.head_dim;
  Work work;
  switch (part) {
    case StackPart::embedding:
      work.bytes = 4 * hidden * batch.tokens;
      break;
    case StackPart::input_norm:
    case StackPart::post_norm:
      work.flops = 6 * hidden * batch.tokens;
      work.bytes = (6 + weight_bytes) * hidden * batch.tokens;  // the output is in their format
      break;
    case StackPart::final_norm:
      work.flops = 6 * hidden * batch.tokens;
      work.bytes = 8 * hidden * batch.tokens;
      break;
    case StackPart::rope_kv_write:
      work.flops = 6 * (queries + keys) * batch.tokens;
      work.bytes = (4 * queries + (4 + 2 * kv_element_bytes(point)) * keys) * batch.tokens;
      break;
    case StackPart::attention:
      work.flops = 4 * queries * batch.pairs;
      work.bytes = 2 * keys * kv_element_bytes(point) * batch.keys;
      work.rate = MathRate::bf16;
      break;
    case StackPart::silu_mul:
      work.flops = 4.0 * shape.ffn * batch.tokens;
      work.bytes = (4 + weight_bytes) * shape.ffn * batch.tokens;
      break;
    case StackPart::sampling:
      work.flops = batch.sequences * shape.vocab;
      work.bytes = 4 * batch.sequences * shape.vocab;
      break;
    case StackPart::qkv:
    case StackPart::output:
    case StackPart::gate_up:
    case StackPart::down:
    case StackPart::head: {
      const bool head = part == StackPart::head;
      const StackMatrix matrix = stack_matrix(shape, part);
      const double weights = static_cast<double>(matrix.n) * matrix.k;
      work.flops = 2 * weights * (head ? batch.sequences : batch.tokens);
      work.bytes = weights * (head ? 2 : weight_bytes);
      work.rate = !head && weight_bytes == 1 ? MathRate::fp8 : MathRate::bf16;
      break;
    }
  }
  return work;
}

/// Of the whole: what must come from memory however large L2 is, weights, keys and values; and the
/// arithmetic of tensor cores, all of it at the rate of fp8 where linear layers have that.
Work iteration_work(const Point& point) {
  const Batch batch = batch_of(point);
  const double layers = stack_shape(point.word("stack")).layers;
  const StackPart* const only = find_stack_part(point.word("part"));
  Work sum;
  sum.rate = point.word("weights") == "fp8" ? MathRate::fp8 : MathRate::bf16;
  for (int i = 0; i < kStackParts; ++i) {
    const auto part = static_cast<StackPart>(i);
    Work work = part_work(point, part, batch);
    const double times = runs_in_each_layer(part) ? layers : 1;
    work.flops *= times;
    work.bytes *= times;
    if (part == StackPart::input_norm)  // layer 0 has nothing to add, and writes no sum
      work.bytes -= 4.0 * stack_shape(point.word("stack")).hidden * batch.tokens;
    if (only != nullptr && *only == part) return work;
    if (work.rate == MathRate::plain) continue;
    sum.flops += work.flops;
    sum.bytes += work.bytes;
  }
  return sum;
}

Work routing_work(const Point& point) {
  const double logits = number(point, "tokens") * number(point, "experts");
  Work work;
  work.flops = logits;
  work.bytes = 4 * logits + 8 * number(point, "tokens") * number(point, "experts_per_token");
  return work;
}

LocalRows rows_here(const Point& point) {
  const ExpertLayer layer = expert_layer(point);
  return local_rows(layer, expert_choices(layer));
}
/// Of what is said of each (token, slot) in 4 bytes: ids, places, weights.
double slots_bytes(const Point& point) {
  return 4 * number(point, "tokens") * number(point, "experts_per_token");
}

/// Reads ids and the rows of tokens that have one here, writes places and rows.
Work permute_work(const Point& point) {
  const LocalRows here = rows_here(point);
  Work work;
  work.bytes =
      2 * slots_bytes(point) + 2 * number(point, "hidden") * real(here.tokens_met + here.all);
  return work;
}
/// Reads places, weights and rows, writes a row for every token.
Work unpermute_work(const Point& point) {
  const double hidden = number(point, "hidden");
  const LocalRows here = rows_here(point);
  Work work;
  work.flops = 2 * hidden * real(here.all);
  work.bytes = 2 * slots_bytes(point) + 2 * hidden * (real(here.all) + number(point, "tokens"));
  return work;
}

/// Weights of the experts that got rows, and the rows.
Work grouped_work(const Point& point) {
  const double n = number(point, "n"), k = number(point, "k");
  const double element = point.word("dtype") == "fp8" ? 1 : 2;
  const LocalRows here = rows_here(point);
  return {2 * real(here.all) * n * k,
          element * k * (n * real(here.experts_met) + real(here.all)) + 2 * n * real(here.all),
          element == 1 ? MathRate::fp8 : MathRate::bf16, 0, Link::none};
}

/// Weights, tokens and sums; what passes between the parts can stay in L2.
Work experts_work(const Point& point) {
  const double hidden = number(point, "hidden"), ffn = number(point, "ffn");
  const double weights = 3 * hidden * ffn;
  const LocalRows here = rows_here(point);
  return {2 * weights * real(here.all),
          2 * weights * real(here.experts_met) + 2 * slots_bytes(point) +
              2 * hidden * (real(here.tokens_met) + number(point, "tokens")),
          MathRate::bf16, 0, Link::none};
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
    {"latent_decode_attention", latent_decode_work},
    {"latent_prefill_attention", latent_prefill_work},
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
    {"verify_attention", verify_work},
    {"rejection_sampling", rejection_work},
    {"expert_routing", routing_work},
    {"expert_permute", permute_work},
    {"expert_unpermute", unpermute_work},
    {"grouped_gemm", grouped_work},
    {"experts", experts_work},
    {"iteration", iteration_work},
};

}  // namespace

Work work_of(const Point& point) {
  for (const WorkRow& row : kWork)
    if (point.op() == row.op) return row.work(point);
  CHECK(false, "no work known of " + point.op());
  return {};
}

}  // namespace fleetsim::kernels
