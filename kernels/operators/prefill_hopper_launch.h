#pragma once
// Starts the Hopper prefill kernel in one of its designs.

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/operators/prefill_hopper_kernel.h"

namespace fleetsim::kernels::hopper {

inline std::size_t align_256(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

/// Places of the workspace for pieces of cut tiles.
inline int workspace_places() { return kPlacesPerBlock * device_facts().sms; }

inline Workspace workspace_of(const PrefillBatch& batch) {
  Workspace workspace = {};
  if (batch.workspace == nullptr) return workspace;
  const auto places = static_cast<std::size_t>(workspace_places());
  auto* at = static_cast<unsigned char*>(batch.workspace);
  workspace.next = reinterpret_cast<unsigned*>(at);
  workspace.arrived = workspace.next + 1;
  at += align_256((1 + 2 * places) * sizeof(unsigned));
  workspace.sums = reinterpret_cast<RowSums*>(at);
  at += align_256(places * 128 * sizeof(RowSums));
  workspace.out = reinterpret_cast<float*>(at);
  return workspace;
}

/// Pages of one head, one behind the other: [pages * kv_heads][page_tokens][head_dim]. How many
/// pages there are is not known here: as many as fit into a terabyte, which is more than any GPU
/// has and far from where addresses of 48 bits end.
template <class Element>
TensorMap map_of_pages(const PrefillBatch& a, const Element* pages, int box_tokens) {
  constexpr int kBytes = sizeof(Element);
  constexpr std::int64_t kReach = std::int64_t{1} << 40;
  TensorShape shape;
  shape.base = pages;
  shape.element_bytes = kBytes;
  shape.rank = 3;
  shape.sizes[0] = a.head_dim;
  shape.sizes[1] = a.page_tokens;
  shape.strides[1] = std::int64_t{a.head_dim} * kBytes;
  shape.strides[2] = shape.strides[1] * a.page_tokens;
  shape.sizes[2] =
      std::min<std::int64_t>(kReach / shape.strides[2], std::numeric_limits<int>::max());
  shape.box[0] = kPanelRowBytes / kBytes;
  shape.box[1] = box_tokens;
  shape.box[2] = 1;
  return make_tensor_map(shape);
}

inline TensorMap map_of_queries(const PrefillBatch& a, int tile_tokens) {
  TensorShape shape;
  shape.base = a.query;
  shape.rank = 3;
  shape.sizes[0] = a.head_dim;
  shape.sizes[1] = a.query_heads;
  shape.sizes[2] = a.total_tokens;
  shape.strides[1] = std::int64_t{a.head_dim} * 2;
  shape.strides[2] = shape.strides[1] * a.query_heads;
  shape.box[0] = 64;
  shape.box[1] = a.query_heads / a.kv_heads;
  shape.box[2] = tile_tokens;
  return make_tensor_map(shape);
}

template <class D>
void launch_design(const PrefillArguments<typename D::Element>& a, Stream stream) {
  Parameters p;
  p.arguments = a;
  p.group = a.query_heads / a.kv_heads;
  // no context is longer, and sums stay below 2^31
  p.arguments.window = std::min(a.window, 1 << 30);
  const int tile_tokens = D::kRows / p.group;
  const int key_tiles_most =
      a.window > 0 ? key_tiles_of_window(p.arguments.window, tile_tokens) : 1 << 30;
  p.lengths = {a.query_starts, a.cached_lengths, a.sequences,
               tile_tokens,    key_tiles_most,   a.causal};
  p.workspace = workspace_of(a);
  p.places = a.workspace == nullptr ? 0 : workspace_places();
  p.box_tokens = std::gcd(a.page_tokens, kTileKeys);
  p.scale_log2 = a.softmax_scale * a.query_scale * a.key_scale * kLog2E;
  p.query_codes = 1 / a.query_scale;
  p.value_scale = a.value_scale;

  LaunchShape shape;
  shape.grid = dim3{static_cast<unsigned>(device_facts().sms), 1, 1};
  shape.block = dim3{D::kThreads, 1, 1};
  shape.shared_bytes = D::kControl + sizeof(Control);
  shape.stream = stream;
  shape.after_trigger = true;
  kernels::launch(prefill_hopper_kernel<D>, shape, p, map_of_queries(a, tile_tokens),
                  map_of_pages(a, a.key_pages, p.box_tokens),
                  map_of_pages(a, a.value_pages, p.box_tokens));
}

}  // namespace fleetsim::kernels::hopper
