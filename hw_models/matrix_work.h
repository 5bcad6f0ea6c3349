#pragma once
// Matrix products, experts, collectives and streaming kernels: their work, and where a call lies on
// the surface of its family.
//
//   gemm/FORMAT       m, n, k
//   experts/FORMAT    rows an expert on the busiest GPU, ffn, local experts, GPUs that share the
//                     experts
//   COLLECTIVE/GPUS   bytes of the message
//   elementwise       bytes
//
// The tables behind hold experts of several hidden widths: the base form carries them (they scale
// work, and kernels' efficiency follows ffn, the narrower side of both products).

#include <string>
#include <vector>

#include "hw_models/log_surface.h"
#include "hw_models/operator_shapes.h"

namespace fleetsim {

/// "gemm/fp8", "experts/nvfp4", "all-reduce-custom/8", "elementwise".
std::string family_of(const GemmShape& shape);
std::string family_of(const ExpertsShape& shape);
std::string family_of(const CollectiveShape& shape);
std::string family_of(const ElementwiseShape& shape);

/// Bytes of a stored weight, scales included (kernels-and-cost-models §3; mxfp4 has a byte for 32).
double weight_bytes(GemmFormat format);

/// Operands once: weights with their scales, activations and outputs in 16 bits (quantising reads
/// them so; the quantised copy is taken to stay in the cache). Extents must be positive.
OperatorWork work_of(const GemmShape& shape);
/// Weights of the experts that at least one token picked, and activations of the rows that land on
/// the busiest GPU, for which the others wait.
OperatorWork work_of(const ExpertsShape& shape);
/// Bytes that must leave this GPU: (gpus - 1) / gpus of the message. A reduction in the network's
/// switch needs no more.
OperatorWork work_of(const CollectiveShape& shape);
OperatorWork work_of(const ElementwiseShape& shape);

/// What lands on the busiest of the GPUs that share a layer's experts: rows (tokens x picks) and
/// how many of its experts get any. Tokens pick independently, by a power law of popularity when
/// there is skew; the busiest GPU has the most popular expert and else an even share of the rest.
struct BusiestGpu {
  double rows = 0, distinct_experts = 0;
};
BusiestGpu busiest_gpu(const ExpertsShape& shape);

/// True for families of this header.
bool is_matrix_family(const std::string& family);
/// Coordinates of a family's surface with the knots that fits use. CHECKs is_matrix_family.
std::vector<LogSurface::Axis> matrix_knots_of(const std::string& family);

}  // namespace fleetsim
