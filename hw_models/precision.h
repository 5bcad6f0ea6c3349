#pragma once
// Number formats of weights, activations and KV cache.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fleetsim {

/// int4 is weight-only with group size 128 (W4A16, AWQ/GPTQ layout); fp4 is nvfp4 / mxfp4.
enum class NumberFormat { fp32, fp16, bf16, fp8, int8, int4, fp4 };

struct Precision {
  NumberFormat weights = NumberFormat::bf16;
  NumberFormat activations = NumberFormat::bf16;
  NumberFormat kv_cache = NumberFormat::bf16;
  /// Of the routed experts, where a checkpoint quantises them alone; absent: as they are published
  /// under 16-bit weights, else as the weights.
  std::optional<NumberFormat> experts = std::nullopt;
};

const char* name_of(NumberFormat format);
std::optional<NumberFormat> number_format_named(std::string_view name);
std::vector<std::string> number_format_names();

/// Bytes of one stored weight, scales included (int4: 0.5 + 2.5/128; fp4: 0.5 + 1/16), per
/// kernels-and-cost-models §3.
double weight_bytes(NumberFormat format);
/// Bytes of one activation or KV element; int4 and fp4 elements are half a byte.
double element_bytes(NumberFormat format);

}  // namespace fleetsim
