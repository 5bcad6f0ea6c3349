// The portable prefill kernel (prefill_kernel.h) behind its interface, and the kernel for causal
// and full attention.

#include <algorithm>

#include "kernels/operators/prefill_attention_hopper.h"
#include "kernels/operators/prefill_kernel.h"

namespace fleetsim::kernels {
namespace {

/// Other GPUs, newer ones too, have no wgmma.
bool runs_on_hopper(const PrefillBatch& batch) {
  return device_facts().compute_capability == 90 && batch.variant != PrefillVariant::portable;
}

/// What both element types and all kernels ask of heads, pages and sizes.
bool supports_batch(const PrefillBatch& a, std::int64_t total_tokens) {
  if (a.head_dim != 64 && a.head_dim != 128) return false;
  if (a.page_tokens < prefill::kCopyTokens || a.page_tokens % prefill::kCopyTokens != 0)
    return false;
  if (a.kv_heads < 1 || a.query_heads < 1 || a.query_heads % a.kv_heads != 0) return false;
  const std::int64_t group = a.query_heads / a.kv_heads;
  if (group > kPrefillGroupMax || a.sequences < 0 || total_tokens < 0) return false;
  if (a.window < 0 || (a.window > 0 && !a.causal)) return false;
  if (a.tree_masks != nullptr && (!a.causal || a.window > 0)) return false;
  // rows are counted in 32 bits, and a grid is 65535 blocks high
  return total_tokens <= std::int64_t{kPrefillTilesMax} * kQueryTileRows / group &&
         total_tokens * group / kQueryTileRows + a.sequences <= kPrefillTilesMax;
}

void launch_portable(const PrefillAttentionArguments& a, Stream stream) {
  const int group = a.query_heads / a.kv_heads;
  const int tiles = query_tiles_max(a.total_tokens, a.sequences, group);

  prefill::Parameters parameters{a,
                                 {a.query_starts, a.cached_lengths, a.sequences, group, a.causal},
                                 prefill::PagePlaces(a.page_tokens),
                                 a.softmax_scale * prefill::kLog2E};
  if (a.window > 0) {
    // no context is longer, and sums stay below 2^31
    parameters.arguments.window = std::min(a.window, 1 << 30);
    parameters.lengths.key_tiles_most = window_key_tiles(parameters.arguments.window, group);
    prefill::launch_windowed(parameters, tiles, stream);
  } else if (a.tree_masks != nullptr) {
    prefill::launch_tree(parameters, tiles, stream);
  } else {
    prefill::launch_kernel<prefill::Sight::all>(parameters, tiles, stream);
  }
}

}  // namespace

template <>
bool prefill_attention_supports(const PrefillArguments<Bf16>& arguments,
                                std::int64_t total_tokens) {
  const bool stage =
      arguments.variant != PrefillVariant::best && arguments.variant != PrefillVariant::portable;
  return supports_batch(arguments, total_tokens) &&
         (!stage || (arguments.head_dim == 128 && runs_on_hopper(arguments)));
}
template <>
bool prefill_attention_supports(const PrefillArguments<E4m3>& arguments,
                                std::int64_t total_tokens) {
  return supports_batch(arguments, total_tokens) && arguments.head_dim == 128 &&
         arguments.variant == PrefillVariant::best && runs_on_hopper(arguments);
}

template <class Element>
std::size_t prefill_attention_workspace_bytes(const PrefillArguments<Element>& arguments) {
  constexpr std::size_t kLeast = 256;  // not nothing, so that every caller has one
  return runs_on_hopper(arguments) ? hopper::workspace_bytes(arguments) : kLeast;
}

template <class Element>
void prepare_prefill_attention_workspace(const PrefillArguments<Element>& arguments,
                                         Stream stream) {
  if (runs_on_hopper(arguments)) hopper::prepare_workspace(arguments, stream);
}

template <class Element>
void launch_prefill_attention(const PrefillArguments<Element>& arguments, Stream stream) {
  const PrefillArguments<Element>& a = arguments;
  CHECK(prefill_attention_supports(a, a.total_tokens));
  CHECK(a.softmax_scale > 0 && a.pages_per_sequence >= 0);
  CHECK(a.query_scale > 0 && a.key_scale > 0 && a.value_scale > 0);
  if (a.total_tokens == 0 || a.sequences == 0) return;
  if (runs_on_hopper(a)) return hopper::launch(a, stream);
  if constexpr (sizeof(Element) == 2) launch_portable(a, stream);
}

template std::size_t prefill_attention_workspace_bytes(const PrefillArguments<Bf16>&);
template std::size_t prefill_attention_workspace_bytes(const PrefillArguments<E4m3>&);
template void prepare_prefill_attention_workspace(const PrefillArguments<Bf16>&, Stream);
template void prepare_prefill_attention_workspace(const PrefillArguments<E4m3>&, Stream);
template void launch_prefill_attention(const PrefillArguments<Bf16>&, Stream);
template void launch_prefill_attention(const PrefillArguments<E4m3>&, Stream);

}  // namespace fleetsim::kernels
