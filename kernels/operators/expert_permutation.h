#pragma once
// Rows of tokens in the order of their experts, and back: where each (token, slot) goes, copies of
// rows, the weighted sum. Nothing comes to the host: counts stay on the device, launches do not
// depend on them and can be captured.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"
#include "kernels/operators/expert_routing.h"

namespace fleetsim::kernels {

/// The order of rows: by expert, then by token and slot. Experts outside [first_expert,
/// first_expert + local_experts) belong to other ranks: what goes to them has no row here.
struct ExpertOrder {
  std::int32_t* offsets = nullptr;      // [local_experts + 1]: rows before each expert, and all
  std::int32_t* row_of_slot = nullptr;  // [tokens * experts_per_token]; -1: of another rank
  std::int32_t* slot_of_row = nullptr;  // [tokens * experts_per_token]; the first offsets.back()
                                        // are written: token * experts_per_token + slot
};

/// Valid: tokens >= 0; tokens * experts_per_token below 2^31 - 2^16; local_experts 1 to kExpertsMax
/// (CHECK).
struct ExpertOrderArguments {
  const std::int32_t* ids = nullptr;  // [tokens][experts_per_token], distinct for each token
  int tokens = 0, experts_per_token = 0;
  int first_expert = 0, local_experts = 0;
  ExpertOrder order;
  std::int32_t* workspace = nullptr;  // expert_order_workspace() of them
};
/// Elements of the workspace; its contents do not matter.
std::size_t expert_order_workspace(const ExpertOrderArguments& arguments);
/// Without tokens the offsets become zeros. Errors: CudaError.
void launch_expert_order(const ExpertOrderArguments& arguments, Stream stream);

/// out [row_of_slot[t][s]] = rows[t] for all that have a row. row_bytes: a multiple of 16; pointers
/// 16-byte aligned. Each token's row is read once. Errors: CudaError.
struct RowGatherArguments {
  const void* rows = nullptr;  // [tokens][row_bytes]
  void* out = nullptr;         // [tokens * experts_per_token][row_bytes]
  const std::int32_t* row_of_slot = nullptr;
  int tokens = 0, experts_per_token = 0;
  std::int64_t row_bytes = 0;
};
void launch_row_gather(const RowGatherArguments& arguments, Stream stream);

/// out[t] = sum over slots s, in their order, of weights[t][s] * rows[row_of_slot[t][s]], fp32, one
/// rounding; slots without a row add nothing. hidden: a multiple of 8. Errors: CudaError.
struct RowCombineArguments {
  const Bf16* rows = nullptr;  // [tokens * experts_per_token][hidden]
  const std::int32_t* row_of_slot = nullptr;
  const float* weights = nullptr;  // [tokens][experts_per_token]
  Bf16* out = nullptr;             // [tokens][hidden]
  int tokens = 0, experts_per_token = 0, hidden = 0;
};
void launch_row_combine(const RowCombineArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
