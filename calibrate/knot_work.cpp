// Coordinates back to shapes.

#include "calibrate/knot_work.h"

#include <algorithm>
#include <charconv>

#include "hw_models/attention_work.h"
#include "hw_models/check.h"
#include "hw_models/matrix_work.h"

namespace fleetsim {
namespace {

using Coordinates = std::array<double, kMostAxes>;

constexpr GemmFormat kFormats[] = {GemmFormat::bf16,  GemmFormat::fp8,  GemmFormat::fp8_block,
                                   GemmFormat::nvfp4, GemmFormat::int8, GemmFormat::w4a16,
                                   GemmFormat::w4a8};

/// The number behind `mark` in "decode-attention/fa3/kv2/d128".
double number_behind(const std::string& family, const std::string& mark) {
  const std::size_t place = family.find(mark);
  CHECK(place != std::string::npos, family);
  double number = 0;
  const char* begin = family.data() + place + mark.size();
  const auto [rest, error] = std::from_chars(begin, family.data() + family.size(), number);
  CHECK(error == std::errc(), family);
  return number;
}

OperatorWork attention_work_at(const std::string& family, const Coordinates& at) {
  const double kv = number_behind(family, "/kv");
  if (family.starts_with("latent-decode/"))
    return work_of(LatentDecodeShape{kv, at[0], at[1], at[2]});
  if (family.starts_with("latent-prefill/"))
    return work_of(LatentPrefillShape{kv, 1, at[0], at[0] * (at[0] + 1) / 2, at[0],
                                      std::max(1.0, at[1] / at[0])});
  if (family.starts_with("decode-attention/")) {
    DecodeAttentionShape shape;
    shape.kv_element_bytes = kv;
    shape.batch = at[0];
    shape.context = at[1];
    shape.query_heads = at[2];
    shape.head_dim = number_behind(family, "/d");
    return work_of(shape);
  }
  // one prompt whose last query sees `longest` keys
  PrefillAttentionShape shape;
  shape.kv_element_bytes = kv;
  shape.queries = shape.context = at[0];
  shape.pairs = at[0] * (at[0] + 1) / 2;
  shape.query_heads = at[1] / at[0];
  if (family.ends_with("/windowed")) {
    // as many keys a query in the mean
    shape.query_heads = 1;
    shape.queries = shape.context = at[1];
    shape.pairs = at[0] * at[1];
  }
  shape.kv_heads = shape.query_heads / at[2];
  shape.head_dim = number_behind(family, "/d");
  return work_of(shape);
}

}  // namespace

std::optional<OperatorWork> work_at(const std::string& family, const Coordinates& at) {
  if (family.starts_with("mixed-attention/")) return std::nullopt;
  if (is_attention_family(family)) return attention_work_at(family, at);
  for (const GemmFormat format : kFormats) {
    if (family == family_of(GemmShape{format, 1, 1, 1}))
      return work_of(GemmShape{format, at[0], at[1], at[2]});
    ExpertsShape experts;
    experts.format = format;
    if (family == family_of(experts)) {
      experts.hidden = 4096;
      experts.ffn = at[1];
      experts.local_experts = at[2];
      experts.experts = at[2] * at[3];
      experts.experts_per_token = std::min(8.0, experts.experts);
      experts.tokens = at[0] * experts.experts / experts.experts_per_token;
      return work_of(experts);
    }
  }
  if (family == family_of(ElementwiseShape{})) return work_of(ElementwiseShape{at[0]});
  CHECK(is_matrix_family(family), family);
  CollectiveShape shape;
  shape.gpus = number_behind(family, "/");
  shape.bytes = at[0];
  return work_of(shape);
}

std::vector<std::size_t> monotone_axes(const std::string& family) {
  if (family.starts_with("gemm/") && family != "gemm/bf16") return {};
  if (family.starts_with("mixed-attention/")) return {};
  // At equal rows longer keys may be another kind of call (few queries over a long prompt).
  if (family.find("prefill") != std::string::npos) return {1};
  if (is_attention_family(family)) return {1, 0};
  return {0};
}

}  // namespace fleetsim
