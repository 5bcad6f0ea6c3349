#pragma once
// The operators that hardware models are fitted for: what a call of each computes (its shape), the
// work that follows exactly, and the coordinates on which its fitted surface lies. The fit
// (calibrate/) and the prediction (fitted_gpu.h) both go through work_of, so that they cannot
// differ.

#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "hw_models/log_surface.h"
#include "hw_models/precision.h"

namespace fleetsim {

/// How the operands of a matrix product are stored and multiplied.
enum class GemmFormat {
  bf16,
  fp8,        // e4m3 with one scale a tensor (or row); quantising the activations is included
  fp8_block,  // e4m3 with 128 x 128 weight scales; quantising the activations is included
  nvfp4,      // e2m1 with a scale for every 16; quantising the activations is included
  int8,
  w4a16,  // int4 or mxfp4 weights, bf16 activations and math
  w4a8,   // mxfp4 weights, mxfp8 activations
};
const char* name_of(GemmFormat format);

/// Kernels of attention. fa2: FlashAttention 2 (mma.sync); fa3: FlashAttention 3 (Hopper); trtllm:
/// TensorRT-LLM's (XQA, trtllm-gen), which FlashInfer and so vLLM on Blackwell run; naive: scores
/// written to memory.
enum class AttentionBackend { naive, fa2, fa3, trtllm };
const char* name_of(AttentionBackend backend);

/// y[m,n] = x[m,k] w[k,n] on one GPU.
struct GemmShape {
  GemmFormat format = GemmFormat::bf16;
  double m = 1, n = 1, k = 1;
};

/// One query token a sequence against its KV cache, on one GPU and one layer. `context`: mean
/// tokens of KV a sequence (the window, where it is smaller). `windowed`: the window cuts keys off,
/// the sequence being longer; where it does not, kernels take the path without a window.
struct DecodeAttentionShape {
  AttentionBackend backend = AttentionBackend::fa3;
  double kv_element_bytes = 2;
  double batch = 1, context = 1, query_heads = 1, kv_heads = 1, head_dim = 128;
  bool windowed = false;
};

/// Causal attention of prompt chunks, on one GPU and one layer, all chunks of an iteration in one
/// call. `queries`: new tokens of all chunks; `pairs`: (query, key) pairs that the mask leaves;
/// `context`: KV tokens of all chunks, new ones included. `windowed`: as for decodes.
struct PrefillAttentionShape {
  AttentionBackend backend = AttentionBackend::fa3;
  double kv_element_bytes = 2;
  double requests = 1, queries = 1, pairs = 1, context = 1;
  double query_heads = 1, kv_heads = 1, head_dim = 128;
  bool windowed = false;
  /// Decodes that run in the same call, one query each over `decode_context` keys in the mean;
  /// counted in no other field. Kernels without a split over keys (fa2) take them as prompts of one
  /// token, which costs several times a call of decodes alone.
  double decodes = 0, decode_context = 0;
};

/// Multi-head latent attention (DeepSeek-V3's widths: latent 512, rotary 64, value 128), decode on
/// the latent itself (absorbed) or prefill on expanded heads; attention core alone.
struct LatentDecodeShape {
  double kv_element_bytes = 2;
  double batch = 1, context = 1, heads = 128;
};
struct LatentPrefillShape {
  double kv_element_bytes = 2;
  double requests = 1, queries = 1, pairs = 1, context = 1, heads = 128;
};

/// The routed experts of one layer on one GPU: permutation, both grouped GEMMs with the activation
/// between them, and the weighted sum. `tokens` reach the layer (over all ranks of the expert
/// group), each picks `experts_per_token` of `experts`; this GPU holds `local_experts` of width
/// `ffn` (per tensor-parallel rank).
struct ExpertsShape {
  GemmFormat format = GemmFormat::bf16;
  double tokens = 1, hidden = 1, ffn = 1;
  double experts = 8, local_experts = 8, experts_per_token = 2;
  double skew = 0;  // exponent of a power law of the experts' popularity; 0: balanced
};

enum class Collective {
  all_reduce_custom,
  all_reduce_nccl,
  all_gather,
  reduce_scatter,
  all_to_all
};
const char* name_of(Collective collective);
/// `bytes`: of the message as nccl-tests counts it (all-gather and reduce-scatter: the whole
/// gathered or unreduced buffer).
struct CollectiveShape {
  Collective collective = Collective::all_reduce_custom;
  double gpus = 2, bytes = 1;
};

/// A kernel that streams its operands once: norms, activations, rotary embedding, sampling,
/// quantisation. `bytes` read and written.
struct ElementwiseShape {
  double bytes = 1;
};

using OperatorShape =
    std::variant<GemmShape, DecodeAttentionShape, PrefillAttentionShape, LatentDecodeShape,
                 LatentPrefillShape, ExpertsShape, CollectiveShape, ElementwiseShape>;

/// What a call must compute and move at least, and where it lies on its family's surface.
struct OperatorWork {
  double flops = 0;
  double bytes = 0;               // HBM; collectives: bytes that cross this GPU's link
  std::array<double, 4> at = {};  // positive coordinates; those beyond the family's axes are 0
};

/// Operators that share kernels and so one fit, for example "gemm/fp8",
/// "decode-attention/fa3/kv2/d128", "experts/nvfp4", "all-reduce-custom/8".
std::string family_of(const OperatorShape& shape);
/// Names of the coordinates of a family's surface, in order (at most four).
std::vector<std::string> axes_of(const std::string& family);
/// The same with the knots that fits use.
std::vector<LogSurface::Axis> knots_of(const std::string& family);
OperatorWork work_of(const OperatorShape& shape);

}  // namespace fleetsim
