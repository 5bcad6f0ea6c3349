#pragma once
// Embedding: rows of the table by token id; with a part of the vocabulary, zeros for the others'
// ids.

#include "kernels/device/launch.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

/// out[t] = table[ids[t] - first_id] when first_id <= ids[t] < first_id + rows, else zeros: under
/// tensor parallelism each rank holds a part of the vocabulary, and an all-reduce adds the outputs.
/// Valid: tokens >= 0 (0: nothing is launched); hidden a multiple of 8; tokens * hidden below 2^34
/// (CHECK); table and out 16-byte aligned. Bits are copied.
/// Traffic: 4 bytes an element.
struct EmbeddingArguments {
  const std::int32_t* ids = nullptr;  // [tokens]
  const Bf16* table = nullptr;        // [rows][hidden]
  Bf16* out = nullptr;                // [tokens][hidden]
  int tokens = 0, hidden = 0;
  int first_id = 0, rows = 0;  // of the vocabulary
};

/// Errors: CudaError.
void launch_embedding(const EmbeddingArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
