#pragma once
// The next token of each row of logits: greedy, or drawn after temperature, top-k and top-p.

#include "kernels/device/launch.h"

namespace fleetsim::kernels {

/// How one row is sampled. 32 bytes, read by the device.
struct SamplingRow {
  float temperature = 1;       // below 1e-5: greedy (vLLM's bound)
  float top_p = 1;             // 1 or more: off
  std::int32_t top_k = 0;      // 0 or less, or vocab or more: off
  std::int32_t padding = 0;    // not read
  std::uint64_t seed = 0;      // of the request
  std::uint64_t position = 0;  // of the token in the request: another draw for every one
};

/// What a launch is able to do; one that does more costs more.
enum class SamplingMethod {
  greedy,    // one pass; looks at no SamplingRow
  gumbel,    // one pass; temperature, no top_k and top_p
  filtered,  // three passes for rows with top_k or top_p, else as gumbel
};

/// tokens[row] is the id of
///   greedy: the largest logit, of equal ones the lowest id;
///   else:   the largest logit / temperature + Gumbel noise among the kept ids, i.e. a draw from
///           their softmax.
/// Kept by top_k are the k largest logits and all that are equal to the least of these. Kept by
/// top_p is, of the distribution after top_k, the shortest run of largest probabilities that sums
/// to at least top_p, and all that are equal to its least. With either, ids less than 2^-64 as
/// probable as the largest are not kept. Noise is Philox by (seed, position, id): neither the other
/// rows, their order, nor `splits` change a row's token. NaN counts as minus infinity; a row of
/// minus infinities gives id 0.
///
/// Sums are exact in integers of 2^-44 of the largest probability, each term within 1e-6 of it: the
/// kept set equals float64's but for tokens whose cumulative probability is that near to top_p.
struct SamplingArguments {
  SamplingMethod method = SamplingMethod::filtered;
  const float* logits = nullptr;  // [rows][row_stride], 16-byte aligned
  int rows = 0;
  int vocab = 0;                            // 1 to 2^30
  std::int64_t row_stride = 0;              // >= vocab; reads of 16 bytes when a multiple of 4
  const SamplingRow* parameters = nullptr;  // [rows]; unused by greedy
  std::int32_t* tokens = nullptr;           // [rows]
  float* cuts = nullptr;  // [rows], or nullptr: the least logit kept by top_k and top_p; minus
                          // infinity for rows without
  void* workspace =
      nullptr;     // sampling_workspace_bytes(), 256-byte aligned; zeros before its first
                   // use with these shapes, left so that the next launch may use it
  int splits = 0;  // thread blocks a row; 0: sampling_splits()
};

/// Thread blocks a row that fill the device without getting less than 2048 logits each.
int sampling_splits(const SamplingArguments& arguments);
std::size_t sampling_workspace_bytes(const SamplingArguments& arguments);

/// Starts it on `stream`; sm_80 or later. CHECKs the arguments. Errors: CudaError.
/// Bytes at least: 4 * rows * vocab * passes (1, 1, 3; what is still in L2 comes from there).
/// Sources: Gumbel-max: Gumbel 1954, Yellott 1977; Philox: kernels/device/philox.h; top-p: Holtzman
/// et al. 2020.
void launch_sampling(const SamplingArguments& arguments, Stream stream);

}  // namespace fleetsim::kernels
