#pragma once
// What makes the points of each operator ready, one function a row of point_families(); see
// PointFamily::prepare for what they promise.

#include "kernels/measure/prepared_point.h"

namespace fleetsim::kernels {

PreparedPoint prepare_ceiling(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_gemm(const Point& point, Arena& arena, std::uint64_t seed);
/// gemm points whose dtype is w4a16.
PreparedPoint prepare_w4a16_gemm(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_decode_attention(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_prefill_attention(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_latent_decode_attention(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_latent_prefill_attention(const Point& point, Arena& arena,
                                               std::uint64_t seed);
PreparedPoint prepare_verify_attention(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_rope_kv_write(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_block_copy(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_block_gather(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_block_scatter(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_swap(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_rms_norm(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_silu_mul(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_embedding(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_sampling(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_rejection_sampling(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_all_reduce(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_expert_routing(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_expert_permute(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_expert_unpermute(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_grouped_gemm(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_experts(const Point& point, Arena& arena, std::uint64_t seed);
PreparedPoint prepare_iteration(const Point& point, Arena& arena, std::uint64_t seed);

}  // namespace fleetsim::kernels
