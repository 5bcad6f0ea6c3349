#include "calibrate/profile_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "calibrate/chunk_attention.h"
#include "calibrate/profile.h"
#include "kernels/measure/profile_writer.h"
#include "kernels/measure/work.h"

namespace fleetsim {
namespace {

using kernels::Point;

double number(const Point& point, const char* axis) {
  return static_cast<double>(point.integer(axis));
}

OperatorShape gemm_shape(const Point& point) {
  static constexpr std::array<std::pair<const char*, GemmFormat>, 5> kFormats = {
      {{"bf16", GemmFormat::bf16},
       {"fp8", GemmFormat::fp8},
       {"fp8_block", GemmFormat::fp8_block},
       {"int8", GemmFormat::int8},
       {"w4a16", GemmFormat::w4a16}}};
  GemmShape shape{GemmFormat::bf16, number(point, "m"), number(point, "n"), number(point, "k")};
  for (const auto& [name, format] : kFormats)
    if (point.word("dtype") == name) shape.format = format;
  return shape;
}

double kv_bytes(const Point& point) { return point.word("kv_dtype") == "e4m3" ? 1 : 2; }

std::optional<OperatorShape> decode_shape(const Point& point, AttentionBackend backend) {
  DecodeAttentionShape shape;
  shape.backend = backend;
  shape.kv_element_bytes = kv_bytes(point);
  double tokens = 0;
  shape.batch = 0;
  for (const std::int64_t length : point.lengths("lengths")) {
    tokens += static_cast<double>(length);
    shape.batch += length > 0 ? 1 : 0;
  }
  if (shape.batch == 0) return std::nullopt;
  shape.context = tokens / shape.batch;
  shape.query_heads = number(point, "query_heads");
  shape.kv_heads = number(point, "kv_heads");
  shape.head_dim = number(point, "head_dim");
  return shape;
}

/// Sequences of one new token are decodes where others bring more: such a call is of
/// another family than prompts alone. A batch of decodes alone stays one of short prompts.
std::optional<OperatorShape> prefill_shape(const Point& point, AttentionBackend backend) {
  if (point.integer("causal") == 0) return std::nullopt;
  const std::string& variant = point.word("variant");
  if (variant == "portable") backend = AttentionBackend::fa2;
  if (variant == "one_consumer" || variant == "two_consumers") return std::nullopt;
  const double window = number(point, "window");
  PrefillAttentionShape shape;
  shape.backend = backend;
  shape.kv_element_bytes = kv_bytes(point);
  shape.requests = shape.queries = shape.pairs = shape.context = 0;
  const auto fresh = point.lengths("new_lengths"), cached = point.lengths("cached_lengths");
  const bool has_chunks =
      std::any_of(fresh.begin(), fresh.end(), [](std::int64_t tokens) { return tokens > 1; });
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    if (fresh[i] == 0) continue;
    const ChunkAttention chunk = {static_cast<double>(fresh[i]), static_cast<double>(cached[i]),
                                  window};
    shape.windowed = shape.windowed || chunk.cut_by_window();
    if (has_chunks && fresh[i] == 1) {
      shape.decodes += 1;
      shape.decode_context += chunk.keys_in_reach();
      continue;
    }
    shape.requests += 1;
    shape.queries += chunk.queries;
    shape.pairs += chunk.pairs();
    shape.context += chunk.keys_in_reach();
  }
  if (shape.requests == 0) return std::nullopt;
  if (shape.decodes > 0) shape.decode_context /= shape.decodes;  // the mean
  shape.query_heads = number(point, "query_heads");
  shape.kv_heads = number(point, "kv_heads");
  shape.head_dim = number(point, "head_dim");
  return shape;
}

/// One query token a sequence: the shape has no word for drafted ones.
std::optional<OperatorShape> latent_decode_shape(const Point& point) {
  if (point.integer("query_tokens") != 1) return std::nullopt;
  LatentDecodeShape shape;
  shape.kv_element_bytes = kv_bytes(point);
  double tokens = 0;
  shape.batch = 0;
  for (const std::int64_t length : point.lengths("lengths")) {
    tokens += static_cast<double>(length);
    shape.batch += length > 0 ? 1 : 0;
  }
  if (shape.batch == 0) return std::nullopt;
  shape.context = tokens / shape.batch;
  shape.heads = number(point, "heads");
  return shape;
}

std::optional<OperatorShape> latent_prefill_shape(const Point& point) {
  LatentPrefillShape shape;
  shape.kv_element_bytes = kv_bytes(point);
  shape.requests = shape.queries = shape.pairs = shape.context = 0;
  const auto fresh = point.lengths("new_lengths"), cached = point.lengths("cached_lengths");
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    if (fresh[i] == 0) continue;
    const ChunkAttention chunk = {static_cast<double>(fresh[i]), static_cast<double>(cached[i]), 0};
    shape.requests += 1;
    shape.queries += chunk.queries;
    shape.pairs += chunk.pairs();
    shape.context += chunk.keys_in_reach();
  }
  if (shape.requests == 0) return std::nullopt;
  shape.heads = number(point, "heads");
  return shape;
}

OperatorShape all_reduce_shape(const Point& point) {
  const bool nccl = point.word("algorithm") == "nccl";
  return CollectiveShape{nccl ? Collective::all_reduce_nccl : Collective::all_reduce_custom,
                         number(point, "gpus"), number(point, "bytes")};
}

/// The whole layer alone: prices hold both products, the activation and the moves of rows in one.
OperatorShape experts_shape(const Point& point) {
  ExpertsShape shape;
  shape.tokens = number(point, "tokens");
  shape.hidden = number(point, "hidden");
  shape.ffn = number(point, "ffn");
  shape.experts = number(point, "experts");
  shape.local_experts = number(point, "local_experts");
  shape.experts_per_token = number(point, "experts_per_token");
  shape.skew = number(point, "skew_hundredths") / 100;
  return shape;
}

std::optional<OperatorShape> shape_of_point(const Point& point, const GpuSpec& gpu) {
  const std::string& op = point.op();
  if (op == "gemm") return gemm_shape(point);
  if (op == "decode_attention") return decode_shape(point, backend_of_own_kernels(gpu));
  if (op == "prefill_attention") return prefill_shape(point, backend_of_own_kernels(gpu));
  if (op == "latent_decode_attention") return latent_decode_shape(point);
  if (op == "latent_prefill_attention") return latent_prefill_shape(point);
  if (op == "all_reduce") return all_reduce_shape(point);
  if (op == "experts") return experts_shape(point);
  if (op == "rms_norm" || op == "silu_mul" || op == "rope_kv_write" || op == "embedding" ||
      op == "sampling" || op == "expert_routing")
    return ElementwiseShape{static_cast<double>(kernels::work_of(point).bytes)};
  return std::nullopt;
}

/// What tells rows of one shape apart: the algorithm or method, else the operator.
std::string kernel_of(const Point& point) {
  for (const auto& [axis, value] : point.values())
    if (axis == "algo" || axis == "algorithm" || axis == "method" ||
        (axis == "variant" && value != "best"))
      return point.op() + " " + value;
  return point.op();
}

}  // namespace

AttentionBackend backend_of_own_kernels(const GpuSpec& gpu) {
  return gpu.architecture_sm == 90 ? AttentionBackend::fa3 : AttentionBackend::fa2;
}

ImportedFile read_profile_rows(const std::string& folder, const GpuSpec& gpu,
                               std::vector<MeasuredOperator>& rows, Problems& problems) {
  ImportedFile file;
  file.file = folder;
  const auto profile = load_profile(folder, {}, problems);
  if (!profile) return file;
  if (kernels::gpu_slug(profile->facts.device.name) != gpu.name) {
    problems.add(
        folder, {},
        fmt::format("was measured on {}, and --gpu is {}", profile->facts.device.name, gpu.name));
    return file;
  }
  for (const kernels::MeasuredRow& row : profile->rows) {
    ++file.rows_read;
    const auto shape = shape_of_point(row.point, gpu);
    if (!shape) {
      ++file.without_shape[row.point.op()];
      continue;
    }
    rows.push_back({*shape, static_cast<double>(row.median_ns) * 1e-9, "fleetsim-kernels",
                    kernel_of(row.point),
                    row.l2 == kernels::L2State::warm ? RowFlag::warm_l2 : RowFlag::none});
  }
  return file;
}

}  // namespace fleetsim
