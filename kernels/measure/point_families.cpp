// The table of what prepares the points of each operator, in the order of operator_axes().

#include "kernels/measure/operator_points.h"

namespace fleetsim::kernels {

const std::vector<PointFamily>& point_families() {
  static const std::vector<PointFamily> table = {
      {"ceiling", prepare_ceiling},
      {"gemm", prepare_gemm},
      {"decode_attention", prepare_decode_attention},
      {"prefill_attention", prepare_prefill_attention},
      {"latent_decode_attention", prepare_latent_decode_attention},
      {"latent_prefill_attention", prepare_latent_prefill_attention},
      {"rope_kv_write", prepare_rope_kv_write},
      {"block_copy", prepare_block_copy},
      {"block_gather", prepare_block_gather},
      {"block_scatter", prepare_block_scatter},
      {"swap", prepare_swap},
      {"rms_norm", prepare_rms_norm},
      {"silu_mul", prepare_silu_mul},
      {"embedding", prepare_embedding},
      {"sampling", prepare_sampling},
      {"all_reduce", prepare_all_reduce},
      {"expert_routing", prepare_expert_routing},
      {"expert_permute", prepare_expert_permute},
      {"expert_unpermute", prepare_expert_unpermute},
      {"grouped_gemm", prepare_grouped_gemm},
      {"experts", prepare_experts},
      {"iteration", prepare_iteration},
      {"verify_attention", prepare_verify_attention},
      {"rejection_sampling", prepare_rejection_sampling},
  };
  return table;
}

}  // namespace fleetsim::kernels
