#pragma once
// A decoder stack of the Llama family with random weights and a filled, paged KV cache, and one
// iteration of it over a batch: the operators in the order in which engines launch them.

#include <functional>

#include "kernels/measure/arena.h"
#include "kernels/measure/stack_shape.h"
#include "kernels/operators/decode_attention.h"
#include "kernels/operators/gemm_cublaslt.h"
#include "kernels/operators/prefill_attention.h"
#include "kernels/operators/rope_kv_write.h"
#include "kernels/operators/row_output.h"
#include "kernels/operators/sampling.h"
#include "kernels/reference/page_table.h"
#include "kernels/reference/rope.h"

namespace fleetsim::kernels {

/// The sequences of an iteration. Each brings new tokens (at least one) behind its cached ones, and
/// its last new token is sampled.
struct StackBatch {
  std::vector<int> new_lengths, cached_lengths;
  int page_tokens = 16;

  /// One new token a sequence: the decode kernel runs; otherwise the prefill kernel takes all.
  bool is_decode() const;
};

struct StackFormats {
  bool fp8_weights = false;  // of the layers: e4m3, one scale a matrix, and so their activations
  bool e4m3_cache = false;   // scale 1, as engines do without calibration
};

/// Multiplies: out = activations x weights^T, asynchronously. Of formats bf16, fp8, bf16_to_fp32.
using StackGemm = std::function<void(GemmFormat, GemmShape, const GemmOperands&, Stream)>;

/// Linear layers of a layer, in the order of LayerMemory::weights.
inline constexpr StackPart kLayerMatrices[] = {StackPart::qkv, StackPart::output,
                                               StackPart::gate_up, StackPart::down};

/// A layer's own memory. Elements: bf16, or e4m3 by StackFormats.
struct LayerMemory {
  const Bf16 *input_norm = nullptr, *post_norm = nullptr;  // [hidden]
  const void* weights[4] = {};                             // [n][k] of kLayerMatrices
  void *key_pages = nullptr, *value_pages = nullptr;       // [pages][kv_heads][page][head_dim]
};

/// What stands where, named by what it means; a layer overwrites what the one before left.
struct StackMemory {
  std::vector<LayerMemory> layers;
  const Bf16* embedding = nullptr;     // [vocab][hidden]
  const Bf16* final_norm = nullptr;    // [hidden]
  const Bf16* head = nullptr;          // [vocab][hidden]
  const float* weight_scales[4] = {};  // of kLayerMatrices, with fp8 weights
  // what goes into linear layers with fp8 weights: scales of normed, attended, activated
  const float *normed_scale = nullptr, *attended_scale = nullptr, *activated_scale = nullptr;

  const float* rotary_table = nullptr;
  const std::int32_t* ids = nullptr;        // [tokens]
  const int* positions = nullptr;           // [tokens]
  const std::int64_t* slots = nullptr;      // [tokens]
  const int* page_table = nullptr;          // [sequences][row_pages]
  const int* query_starts = nullptr;        // [sequences + 1]
  const int* cached_lengths = nullptr;      // [sequences]
  const int* lengths = nullptr;             // [sequences]: cached and new
  const std::int32_t* last_rows = nullptr;  // [sequences]: row of each one's last token

  Bf16* hidden = nullptr;           // [tokens][hidden]: the residual stream
  Bf16* update = nullptr;           // [tokens][hidden]: what the next norm adds to it
  RowOutput normed;                 // [tokens][hidden]
  Bf16* qkv = nullptr;              // [tokens][qkv_width]
  Bf16* query = nullptr;            // [tokens][query_width], rotated
  Bf16* attended = nullptr;         // [tokens][query_width]
  E4m3* attended_codes = nullptr;   // the same for the output projection, with fp8 weights
  Bf16* gate_up = nullptr;          // [tokens][2 ffn]
  RowOutput activated;              // [tokens][ffn]
  Bf16* final_hidden = nullptr;     // [tokens][hidden]: normed
  Bf16* last_hidden = nullptr;      // [sequences][hidden]: its sampled rows; final_hidden in decode
  float* logits = nullptr;          // [sequences][vocab]
  std::int32_t* sampled = nullptr;  // [sequences]

  void *decode_workspace = nullptr, *prefill_workspace = nullptr, *sampling_workspace = nullptr;
};

/// Valid as long as its arena is not reset.
class DecoderStack {
 public:
  /// Takes everything from `arena` and fills it by `seed`: weights normal with variance 1 / k,
  /// embedding, keys and values with variance 1, norms about 1; every layer has its own.
  /// `gemm` multiplies whenever the stack is launched. Errors: ArenaFull; NotSupportedHere where
  /// an operator does not take this batch (page size; prompts on an e4m3 cache before sm_90).
  DecoderStack(const StackShape& shape, StackFormats formats, const StackBatch& batch, Arena& arena,
               std::uint64_t seed, StackGemm gemm);

  /// One iteration; repeated, it does the same again.
  void launch(Stream stream) const;
  /// One operator in all layers that have it, on whatever stands in memory.
  void launch_part(StackPart part, Stream stream) const;
  /// The same in one layer; `layer` is 0 for parts that run once.
  void launch_step(StackPart part, int layer, Stream stream) const;

  struct Step {
    StackPart part;
    int layer;
  };
  /// An iteration's operators in their order.
  const std::vector<Step>& steps() const { return steps_; }

  const StackShape& shape() const { return shape_; }
  StackFormats formats() const { return formats_; }
  const StackBatch& batch() const { return batch_; }
  const StackMemory& memory() const { return memory_; }
  const PageTable& pages() const { return pages_; }
  const RotaryEmbedding& rotary() const { return rotary_; }
  int tokens() const { return tokens_; }
  int sequences() const { return static_cast<int>(batch_.new_lengths.size()); }
  /// Host copies of what the memory names so.
  const std::vector<int>& positions() const { return positions_; }
  const std::vector<std::int64_t>& slots() const { return slots_; }
  const std::vector<std::int32_t>& last_rows() const { return last_rows_; }
  float norm_epsilon() const { return 1e-5F; }  // Llama 3.1
  float softmax_scale() const;
  /// Of a linear layer. rows: tokens, of the head sequences.
  GemmFormat gemm_format(StackPart part) const;
  GemmShape gemm_shape(StackPart part) const;

 private:
  void check_limits() const;
  void number_tokens(std::uint64_t seed);
  void take_weights(Arena& arena, std::uint64_t seed);
  void take_cache(Arena& arena, std::uint64_t seed);
  void take_batch(Arena& arena, std::uint64_t seed);
  void take_activations(Arena& arena);
  template <class Element>
  void take_decode_workspace(DecodeAttentionArguments<Element> arguments, Arena& arena);
  template <class Element>
  void take_prefill_workspace(PrefillArguments<Element> arguments, Arena& arena);

  template <class Element>
  RopeKvWriteArguments<Element> rope_arguments(int layer) const;
  template <class Element>
  DecodeAttentionArguments<Element> decode_arguments(int layer) const;
  template <class Element>
  PrefillArguments<Element> prefill_arguments(int layer) const;
  SamplingArguments sampling_arguments() const;
  void norm(const Bf16* x, Bf16* residual, const Bf16* weight, const RowOutput& out,
            Stream stream) const;
  void linear(StackPart part, int layer, Stream stream) const;
  void rope_kv_write(int layer, Stream stream) const;
  void attention(int layer, Stream stream) const;

  StackShape shape_;
  StackFormats formats_;
  StackBatch batch_;
  StackGemm gemm_;
  StackMemory memory_;
  PageTable pages_;
  RotaryEmbedding rotary_;
  std::vector<Step> steps_;
  int tokens_ = 0;
  std::vector<int> positions_, query_starts_, lengths_;
  std::vector<std::int64_t> slots_;
  std::vector<std::int32_t> last_rows_;
};

}  // namespace fleetsim::kernels
