// The table of checks: kernels of ours everywhere, NVIDIA's library where there is a GPU.

#include "kernels/checks/operator_checks.h"

namespace fleetsim::kernels {

const std::vector<Check>& all_checks() {
  static const std::vector<Check> table = {
    {"decode_attention", check_decode_attention},
    {"prefill_attention", check_prefill_attention},
    {"latent_decode_attention", check_latent_decode_attention},
    {"latent_prefill_attention", check_latent_prefill_attention},
    {"rope_kv_write", check_rope_kv_write},
    {"block_copies", check_block_copies},
    {"swap", check_swap},
    {"rms_norm", check_rms_norm},
    {"silu_mul", check_silu_mul},
    {"quantise", check_quantise},
    {"embedding", check_embedding},
    {"sampling", check_sampling},
    {"rejection_sampling", check_rejection_sampling},
    {"w4a16_gemm", check_w4a16_gemm},
    {"all_reduce", check_all_reduce},
    {"expert_routing", check_expert_routing},
    {"expert_permutation", check_expert_permutation},
    {"grouped_gemm", check_grouped_gemm},
#if defined(FLEETSIM_CUDA_RUNTIME)
    {"gemm", check_gemm},
#endif
  };
  return table;
}

}  // namespace fleetsim::kernels
