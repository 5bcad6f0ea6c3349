#pragma once
// One case of each of the checks of latent attention, so that tests can run cases of their own and
// spoil them.

#include <string>
#include <vector>

#include "kernels/checks/attention_result.h"
#include "kernels/checks/check.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

struct LatentDecodeCase {
  int heads = 1, query_tokens = 1, page_tokens = 64;
  std::vector<int> lengths;  // by sequence, query tokens included
  int blocks = 0;            // that share the tokens; 0: as many as the operator takes
  int shared_pages = 0;      // the second sequence holds the first so many pages of the first
  int sampled = 0;           // (query token, head) pairs compared with float64; 0: all
  float query_scale = 1;     // standard deviation of the queries; large: peaked softmax
  bool wants_log_sum_exp = true;
};

/// What the device gets of a case.
struct LatentDecodeOperands {
  std::vector<Bf16> query, cache;
  std::vector<int> page_table, lengths;
};

/// Runs a case twice and compares every element (or those of a sample) with float64: the output's
/// relative error, its largest error against that of an implementation in separate bf16 steps, the
/// log-sum-exp. `spoil`, when given, changes what the device gets, not the reference; `result`,
/// when given, receives what the operator wrote.
std::vector<CheckReport> check_latent_decode_case(
    const LatentDecodeCase& c, std::uint64_t seed,
    void (*spoil)(LatentDecodeOperands& operands) = nullptr, AttentionResult* result = nullptr);

struct LatentPrefillCase {
  int heads = 1;
  std::vector<int> new_lengths, cached_lengths;  // by sequence
  bool causal = true;
  int blocks = 0;         // that take query tiles; 0: as many as the operator takes
  int sampled = 0;        // (new token, head) pairs compared with float64; 0: all
  float query_scale = 1;  // standard deviation of the queries; large: peaked softmax
};

/// What the device gets of a case. Between the keys of two sequences lie rows that nobody owns.
struct LatentPrefillOperands {
  std::vector<Bf16> query, keys, values;
  std::vector<int> query_starts, cached_lengths, key_starts;
};

/// As check_latent_decode_case.
std::vector<CheckReport> check_latent_prefill_case(
    const LatentPrefillCase& c, std::uint64_t seed,
    void (*spoil)(LatentPrefillOperands& operands) = nullptr, AttentionResult* result = nullptr);

}  // namespace fleetsim::kernels
