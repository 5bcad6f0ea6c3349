#pragma once
// The prefill kernel for sm_90a behind prefill_attention.h: what its launch and its workspace are.

#include "kernels/operators/prefill_attention.h"

namespace fleetsim::kernels::hopper {

/// As prefill_attention_workspace_bytes, for this kernel.
std::size_t workspace_bytes(const PrefillBatch& batch);
void prepare_workspace(const PrefillBatch& batch, Stream stream);

/// Arguments that launch_prefill_attention has checked, with something to do; any variant but
/// `portable`.
void launch(const PrefillArguments<Bf16>& arguments, Stream stream);
/// The variant `best` alone.
void launch(const PrefillArguments<E4m3>& arguments, Stream stream);

/// The stages before the last (kernels-and-cost-models §5.3), head_dim 128.
void launch_stage(const PrefillArguments<Bf16>& arguments, Stream stream);

}  // namespace fleetsim::kernels::hopper
