#pragma once
// The kernels for callers in C and Python: raw device pointers, a stream, an answer of 0 or 1.
//
// Every function returns 0, or 1 after it wrote down what was wrong: fleetsim_last_error(). Nothing
// is thrown across this border. Pointers are to memory of the current device unless a comment says
// "host"; shapes, alignment and what is allowed stand in the header of each operator
// (kernels/operators). `stream` is a cudaStream_t; launches are asynchronous and may be captured.
// kernels/compare_pytorch.py holds these structs once more: its test compares them with this file,
// which therefore has one member a line.

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

#define FLEETSIM_C __attribute__((visibility("default")))

/// Number formats. bf16 is 0.
enum { FLEETSIM_BF16 = 0, FLEETSIM_FP8 = 1, FLEETSIM_FP8_BLOCK = 2, FLEETSIM_INT8 = 3 };

/// What was wrong at the last call of this thread that returned 1; "" before the first.
FLEETSIM_C const char* fleetsim_last_error(void);

/// decode_attention.h. kv_format: FLEETSIM_BF16, or FLEETSIM_FP8 for e4m3.
typedef struct FleetsimDecodeAttention {
  const void* query;
  const void* key_pages;
  const void* value_pages;
  const int32_t* page_table;
  const int32_t* lengths;
  void* out;
  float* log_sum_exp;
  void* workspace;
  int32_t kv_format;
  int32_t sequences;
  int32_t query_heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t page_tokens;
  int32_t pages_per_sequence;
  int32_t blocks;
  float softmax_scale;
  float key_scale;
  float value_scale;
} FleetsimDecodeAttention;
FLEETSIM_C int fleetsim_decode_attention_workspace_bytes(const FleetsimDecodeAttention* arguments,
                                                         size_t* bytes);
FLEETSIM_C int fleetsim_prepare_decode_attention_workspace(const FleetsimDecodeAttention* arguments,
                                                           void* stream);
FLEETSIM_C int fleetsim_decode_attention(const FleetsimDecodeAttention* arguments, void* stream);

/// prefill_attention.h. causal: 0 or 1; workspace: may be null.
typedef struct FleetsimPrefillAttention {
  const void* query;
  const void* key_pages;
  const void* value_pages;
  const int32_t* page_table;
  const int32_t* query_starts;
  const int32_t* cached_lengths;
  void* out;
  float* log_sum_exp;
  void* workspace;
  int32_t sequences;
  int32_t total_tokens;
  int32_t query_heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t page_tokens;
  int32_t pages_per_sequence;
  int32_t causal;
  float softmax_scale;
} FleetsimPrefillAttention;
FLEETSIM_C int fleetsim_prefill_attention_workspace_bytes(const FleetsimPrefillAttention* arguments,
                                                          size_t* bytes);
FLEETSIM_C int fleetsim_prepare_prefill_attention_workspace(
    const FleetsimPrefillAttention* arguments, void* stream);
FLEETSIM_C int fleetsim_prefill_attention(const FleetsimPrefillAttention* arguments, void* stream);

/// latent_prefill_attention.h. causal: 0 or 1.
typedef struct FleetsimLatentPrefill {
  const void* query;
  const void* keys;
  const void* values;
  const int32_t* query_starts;
  const int32_t* cached_lengths;
  const int32_t* key_starts;
  void* out;
  float* log_sum_exp;
  void* workspace;
  int32_t sequences;
  int32_t total_tokens;
  int32_t total_keys;
  int32_t heads;
  int32_t causal;
  int32_t blocks;
  float softmax_scale;
} FleetsimLatentPrefill;
FLEETSIM_C int fleetsim_latent_prefill_workspace_bytes(const FleetsimLatentPrefill* arguments,
                                                       size_t* bytes);
FLEETSIM_C int fleetsim_prepare_latent_prefill_workspace(const FleetsimLatentPrefill* arguments,
                                                         void* stream);
FLEETSIM_C int fleetsim_latent_prefill(const FleetsimLatentPrefill* arguments, void* stream);

/// rms_norm.h. Either `values` or `codes` with one of the two scales; the rest is null.
typedef struct FleetsimRmsNorm {
  const void* x;
  void* residual;
  const void* weight;
  void* values;
  void* codes;
  float* token_scales;
  const float* tensor_scale;
  int32_t tokens;
  int32_t hidden;
  float epsilon;
} FleetsimRmsNorm;
FLEETSIM_C int fleetsim_rms_norm(const FleetsimRmsNorm* arguments, void* stream);

/// rope_kv_write.h. kv_format: FLEETSIM_BF16, or FLEETSIM_FP8 for e4m3.
typedef struct FleetsimRopeKvWrite {
  const void* qkv;
  void* query;
  void* key_pages;
  void* value_pages;
  const int64_t* slots;
  const int32_t* positions;
  const float* table;
  int64_t query_row;
  int32_t kv_format;
  int32_t tokens;
  int32_t query_heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t page_tokens;
  float key_scale;
  float value_scale;
} FleetsimRopeKvWrite;
FLEETSIM_C int fleetsim_rope_kv_write(const FleetsimRopeKvWrite* arguments, void* stream);
/// Fills `table` (host): [positions][head_dim] for a model without frequency scaling.
FLEETSIM_C int fleetsim_rotary_table(int32_t head_dim, double theta, int32_t positions,
                                     float* table);

/// w4a16_gemm.h. The plan is the one for this device.
typedef struct FleetsimW4a16Gemm {
  const void* activations;
  const void* weights;
  void* out;
  void* workspace;
  int32_t m;
  int32_t n;
  int32_t k;
} FleetsimW4a16Gemm;
/// Bytes of workspace, and how many of its first must be zero at first use.
FLEETSIM_C int fleetsim_w4a16_workspace_bytes(int32_t m, int32_t n, int32_t k, size_t* bytes,
                                              size_t* zeroed_bytes);
FLEETSIM_C int fleetsim_w4a16_gemm(const FleetsimW4a16Gemm* arguments, void* stream);
/// Bytes of the tiles of an [n][k] layer, and the tiles (all host): codes [k][n] and zeros
/// [k/128][n] of 0 to 15, scales [k/128][n] in bf16.
FLEETSIM_C int fleetsim_w4a16_tiles_bytes(int32_t n, int32_t k, size_t* bytes);
FLEETSIM_C int fleetsim_pack_w4a16_tiles(const uint8_t* codes, const uint8_t* zeros,
                                         const uint16_t* scales, int32_t n, int32_t k,
                                         uint8_t* tiles);

/// gemm_cublaslt.h. format: any of the four above.
typedef struct FleetsimGemm {
  const void* activations;
  const void* weights;
  void* out;
  const float* activation_scales;
  const float* weight_scales;
} FleetsimGemm;
typedef struct FleetsimGemmPlan FleetsimGemmPlan;
/// A plan to be freed, and how many algorithms it has; number 0 is the heuristic's first.
FLEETSIM_C int fleetsim_gemm_plan(int32_t format, int32_t m, int32_t n, int32_t k,
                                  FleetsimGemmPlan** plan, int32_t* algorithms);
FLEETSIM_C int fleetsim_gemm(const FleetsimGemmPlan* plan, int32_t algorithm,
                             const FleetsimGemm* arguments, void* stream);
/// cuBLASLt's numbers of an algorithm; the text is the thread's until its next call.
FLEETSIM_C int fleetsim_gemm_algorithm_name(const FleetsimGemmPlan* plan, int32_t algorithm,
                                            const char** name);
FLEETSIM_C void fleetsim_free_gemm_plan(FleetsimGemmPlan* plan);

/// decoder_stack.h: one iteration of a stack that draws its own bf16 weights and cache from `seed`.
/// Lengths are in host memory, `sequences` each.
typedef struct FleetsimStackBatch {
  const int32_t* new_lengths;
  const int32_t* cached_lengths;
  int32_t sequences;
  int32_t page_tokens;
} FleetsimStackBatch;
typedef struct FleetsimStackMemory {
  const void* embedding;
  const void* final_norm;
  const void* head;
  const int32_t* ids;
  const int32_t* page_table;
  const void* last_hidden;
  const float* logits;
  const int32_t* sampled;
  int32_t tokens;
  int32_t pages_per_sequence;
  int32_t pool_pages;
} FleetsimStackMemory;
typedef struct FleetsimStackLayer {
  const void* input_norm;
  const void* post_norm;
  const void* qkv;
  const void* output;
  const void* gate_up;
  const void* down;
  const void* key_pages;
  const void* value_pages;
} FleetsimStackLayer;
typedef struct FleetsimDecoderStack FleetsimDecoderStack;
/// A stack to be freed: the first `layers` of the shape of that name, within `bytes` of memory.
FLEETSIM_C int fleetsim_decoder_stack(const char* shape, int32_t layers,
                                      const FleetsimStackBatch* batch, uint64_t seed, size_t bytes,
                                      FleetsimDecoderStack** stack);
FLEETSIM_C int fleetsim_decoder_stack_memory(const FleetsimDecoderStack* stack,
                                             FleetsimStackMemory* memory);
FLEETSIM_C int fleetsim_decoder_stack_layer(const FleetsimDecoderStack* stack, int32_t layer,
                                            FleetsimStackLayer* memory);
FLEETSIM_C int fleetsim_launch_decoder_stack(const FleetsimDecoderStack* stack, void* stream);
FLEETSIM_C void fleetsim_free_decoder_stack(FleetsimDecoderStack* stack);

/// Like "13.1.0"; the text lives for ever.
FLEETSIM_C const char* fleetsim_cublaslt_version(void);

#if defined(__cplusplus)
}
#endif
