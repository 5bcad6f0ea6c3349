// Work, coordinates and knots of matrix products, experts, collectives and streaming kernels.

#include "hw_models/matrix_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "hw_models/check.h"
#include "hw_models/precision.h"

namespace fleetsim {
namespace {

constexpr double kElement = 2;  // bytes of an activation between kernels

constexpr std::array<Collective, 5> kCollectives = {
    Collective::all_reduce_custom, Collective::all_reduce_nccl, Collective::all_gather,
    Collective::reduce_scatter, Collective::all_to_all};

bool is_collective_family(const std::string& family) {
  return std::any_of(kCollectives.begin(), kCollectives.end(), [&](Collective collective) {
    return family.starts_with(std::string(name_of(collective)) + "/");
  });
}

std::vector<double> powers_of(double base, double first, double last) {
  std::vector<double> knots;
  for (double knot = first; knot <= last; knot *= base) knots.push_back(knot);
  return knots;
}

/// cuBLAS hides its tiles in bf16; kernels of quantised formats have teeth at whole tiles of rows,
/// 128 high and 256 in the large (kernels-and-cost-models §2.2), which need a knot on either side.
std::vector<double> knots_of_m(const std::string& family) {
  if (family == "gemm/bf16")
    return {1,   4,   8,   16,  17,   32,   48,   64,   96,   128,  192,
            256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 32768};
  return {1,    4,    8,    16,   17,   32,   33,   64,   65,   96,   128,
          129,  160,  192,  193,  256,  257,  512,  513,  768,  769,  1024,
          1025, 1536, 1537, 2048, 2049, 3072, 3073, 4096, 4097, 8192, 32768};
}

/// Widths of weights; tables hold 20 of 128 and more, in which a site left out is met as well by
/// these (found on the H200's bf16 and fp8 tables).
std::vector<double> knots_of_width() {
  return {128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 10240, 12288, 16384, 65536};
}

}  // namespace

std::string family_of(const GemmShape& shape) {
  return fmt::format("gemm/{}", name_of(shape.format));
}
std::string family_of(const ExpertsShape& shape) {
  return fmt::format("experts/{}", name_of(shape.format));
}
std::string family_of(const CollectiveShape& shape) {
  return fmt::format("{}/{}", name_of(shape.collective), shape.gpus);
}
std::string family_of(const ElementwiseShape&) { return "elementwise"; }

double weight_bytes(GemmFormat format) {
  switch (format) {
    case GemmFormat::bf16:
      return weight_bytes(NumberFormat::bf16);
    case GemmFormat::fp8:
    case GemmFormat::fp8_block:
      return weight_bytes(NumberFormat::fp8);
    case GemmFormat::int8:
      return weight_bytes(NumberFormat::int8);
    case GemmFormat::nvfp4:
      return weight_bytes(NumberFormat::fp4);
    case GemmFormat::w4a16:
      return weight_bytes(NumberFormat::int4);
    case GemmFormat::w4a8:
      return 0.5 + 1.0 / 32;
  }
  CHECK(false, "format");
  return 0;
}

OperatorWork work_of(const GemmShape& shape) {
  CHECK(shape.m > 0 && shape.n > 0 && shape.k > 0, family_of(shape));
  OperatorWork work;
  work.flops = 2 * shape.m * shape.n * shape.k;
  work.bytes =
      weight_bytes(shape.format) * shape.n * shape.k + kElement * shape.m * (shape.k + shape.n);
  work.at = {shape.m, shape.n, shape.k};
  return work;
}

namespace {

/// What a token's choice means for each expert, the most popular first.
struct ExpertChances {
  double experts = 0, picks = 0, skew = 0;  // that they follow from
  std::vector<double> chance;               // that a token picks it
  std::vector<double> ln_missed;            // ln(1 - chance); chance 1: minus infinity
};

ExpertChances expert_chances(double experts, double picks, double skew) {
  ExpertChances result{experts, picks, skew, {}, {}};
  std::vector<double> popularity;
  double left = 0;
  for (double rank = 1; rank <= experts; ++rank) {
    popularity.push_back(std::pow(rank, -skew));
    left += popularity.back();
  }
  // A token cannot pick an expert twice: what the popular ones have above 1 goes to the others.
  for (const double share : popularity) {
    const double chance = left > 0 ? std::min(1.0, picks * share / left) : 0;
    picks -= chance;
    left -= share;
    result.chance.push_back(chance);
    result.ln_missed.push_back(std::log1p(-chance));
  }
  return result;
}

/// The last one asked for stays: a model is priced at thousands of numbers of tokens in a row.
const ExpertChances& recent_chances(const ExpertsShape& shape) {
  thread_local ExpertChances recent;
  if (recent.experts != shape.experts || recent.picks != shape.experts_per_token ||
      recent.skew != shape.skew)
    recent = expert_chances(shape.experts, shape.experts_per_token, shape.skew);
  return recent;
}

}  // namespace

BusiestGpu busiest_gpu(const ExpertsShape& shape) {
  CHECK(shape.tokens > 0 && shape.experts > 0 && shape.local_experts > 0 &&
            shape.local_experts <= shape.experts && shape.experts_per_token > 0 &&
            shape.experts_per_token <= shape.experts && shape.skew >= 0,
        family_of(shape));
  const double experts = shape.experts, local = shape.local_experts, tokens = shape.tokens;
  const auto hit = [&](double ln_missed) { return -std::expm1(tokens * ln_missed); };
  if (shape.skew == 0) {
    const double chance = shape.experts_per_token / experts;
    return {tokens * chance * local, local * (chance >= 1 ? 1 : hit(std::log1p(-chance)))};
  }
  const ExpertChances& chances = recent_chances(shape);
  double others_hit = 0;
  for (std::size_t rank = 1; rank < chances.ln_missed.size(); ++rank)
    others_hit += hit(chances.ln_missed[rank]);
  const double first = chances.chance.front();
  const double others = experts > 1 ? (local - 1) / (experts - 1) : 0;
  return {tokens * (first + others * (shape.experts_per_token - first)),
          hit(chances.ln_missed.front()) + others * others_hit};
}

OperatorWork work_of(const ExpertsShape& shape) {
  CHECK(shape.hidden > 0 && shape.ffn > 0, family_of(shape));
  const BusiestGpu busiest = busiest_gpu(shape);
  // the gate's, the up and the down matrix
  const double weights = 3 * shape.hidden * shape.ffn;
  OperatorWork work;
  work.flops = 2 * busiest.rows * weights;
  work.bytes = weights * weight_bytes(shape.format) * busiest.distinct_experts +
               kElement * busiest.rows * (2 * shape.hidden + 3 * shape.ffn);
  work.at = {busiest.rows / shape.local_experts, shape.ffn, shape.local_experts,
             shape.experts / shape.local_experts};
  return work;
}

OperatorWork work_of(const CollectiveShape& shape) {
  CHECK(shape.gpus > 1 && shape.bytes > 0, family_of(shape));
  OperatorWork work;
  work.bytes = shape.bytes * (shape.gpus - 1) / shape.gpus;
  work.at = {shape.bytes};
  return work;
}

OperatorWork work_of(const ElementwiseShape& shape) {
  CHECK(shape.bytes > 0, family_of(shape));
  OperatorWork work;
  work.bytes = shape.bytes;
  work.at = {shape.bytes};
  return work;
}

bool is_matrix_family(const std::string& family) {
  return family.starts_with("gemm/") || family.starts_with("experts/") || family == "elementwise" ||
         is_collective_family(family);
}

std::vector<LogSurface::Axis> matrix_knots_of(const std::string& family) {
  if (family.starts_with("gemm/"))
    return {{"m", knots_of_m(family)}, {"n", knots_of_width()}, {"k", knots_of_width()}};
  if (family.starts_with("experts/"))
    return {
        {"rows", {1.0 / 64, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096}},
        {"ffn", {32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 4096, 8192, 16384}},
        {"local_experts", {1, 2, 4, 8, 16, 32, 128, 512}},
        {"ranks", {1, 2, 8, 32, 256}}};
  if (is_collective_family(family)) {
    // kernels change between 16 KiB and 16 MiB; far from there a curve is straight
    std::vector<double> knots = {256, 2048, 8192};
    for (const double knot : powers_of(2, 16384, 16777216)) knots.push_back(knot);
    for (const double knot : {67108864.0, 268435456.0, 1073741824.0}) knots.push_back(knot);
    return {{"bytes", knots}};
  }
  CHECK(family == "elementwise", family);
  return {{"bytes", powers_of(16, 1024, 1 << 30)}};
}

}  // namespace fleetsim
