#pragma once
// The checks of each operator, one function a row of all_checks(); see Check::run for what they
// promise.

#include "kernels/checks/check.h"

namespace fleetsim::kernels {

std::vector<CheckReport> check_decode_attention(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_prefill_attention(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_latent_decode_attention(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_latent_prefill_attention(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_w4a16_gemm(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_rope_kv_write(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_block_copies(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_swap(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_rms_norm(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_silu_mul(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_quantise(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_embedding(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_sampling(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_rejection_sampling(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_all_reduce(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_expert_routing(std::uint64_t seed, Scale scale);
std::vector<CheckReport> check_expert_permutation(std::uint64_t seed, Scale scale);
/// sm_90 only: NotSupportedHere elsewhere.
std::vector<CheckReport> check_grouped_gemm(std::uint64_t seed, Scale scale);
/// cuBLASLt: on a GPU only.
std::vector<CheckReport> check_gemm(std::uint64_t seed, Scale scale);

}  // namespace fleetsim::kernels
