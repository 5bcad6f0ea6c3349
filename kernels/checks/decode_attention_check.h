#pragma once
// One case of the decode-attention check, so that tests can run cases of their own and spoil them.

#include <string>
#include <vector>

#include "kernels/checks/attention_result.h"
#include "kernels/checks/check.h"
#include "kernels/device/number_formats.h"

namespace fleetsim::kernels {

enum class DecodeOracle {
  float64,      // on the CPU, for small shapes
  plain_kernel  // plain_attention.cu, for shapes that take a CPU too long
};

struct DecodeCase {
  bool e4m3 = false;  // format of the cache
  int query_heads = 1, kv_heads = 1, head_dim = 64, page_tokens = 16;
  std::vector<int> lengths;  // by sequence
  int blocks = 0;            // that share the work; 0: as many as the operator takes
  int shared_pages = 0;      // the second sequence holds the first so many pages of the first
  float query_scale = 1;     // standard deviation of the queries; large: peaked softmax
  bool wants_log_sum_exp = true;
  DecodeOracle oracle = DecodeOracle::float64;
  bool checks_plain_kernel = false;  // too, against float64
};

/// What the device gets of a case.
struct DecodeOperands {
  std::vector<Bf16> query;
  std::vector<std::uint8_t> keys, values;  // bytes of the pools
  std::vector<int> page_table, lengths;
};

/// Runs a case twice and compares every element with the oracle: the output's relative error; with
/// a bf16 cache its largest error against that of an implementation in separate bf16 steps; the
/// log-sum-exp. `spoil`, when given, changes what the device gets, not the reference; `result`,
/// when given, receives what the operator wrote.
std::vector<CheckReport> check_decode_case(const DecodeCase& c, std::uint64_t seed,
                                           void (*spoil)(DecodeOperands& operands) = nullptr,
                                           AttentionResult* result = nullptr);

}  // namespace fleetsim::kernels
