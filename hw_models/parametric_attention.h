#pragma once
// Attention backends for which no table exists: times from published rates. `naive` is worth asking
// about everywhere, `fa2` on Hopper and Blackwell, where engines run something faster.

#include "hw_models/fitted_gpu.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/operator_shapes.h"

namespace fleetsim {

/// The family of the shape on that GPU: of naive and fa2 only, CHECKed. Times of it are parametric,
/// whatever place on the surface OperatorFamily::time finds.
///   fa2   prefill: FlashAttention 2's rates on H100 by length (FlashAttention-3's figures, causal,
///         width 128), on Ampere and Ada their measured shares of the peak; on few rows the longest
///         row of tiles rules. Decode: A100's, 77 % of the bandwidth behind a floor. The KV type
///         changes bytes alone. Mixed calls: as the chunks, decodes among them counted in the work.
///   naive scores written to memory as in Hugging Face's eager attention, at the rates of large
///         GEMMs and of copies; eight kernels.
OperatorFamily parametric_attention(const PrefillAttentionShape& shape, const GpuSpec& gpu);
OperatorFamily parametric_attention(const DecodeAttentionShape& shape, const GpuSpec& gpu);

}  // namespace fleetsim
