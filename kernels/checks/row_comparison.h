#pragma once
// Comparing what a row-wise operator put out, bf16 or e4m3, with its values in float64.

#include <optional>
#include <string>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/row_output.h"

namespace fleetsim::kernels {

enum class RowFormat { bf16, token_e4m3, tensor_e4m3 };
const char* name_of(RowFormat format);

/// An output of [tokens][width], or some of its rows, on the host.
struct RowValues {
  RowFormat format = RowFormat::bf16;
  int width = 0;
  float tensor_scale = 0;     // of tensor_e4m3
  std::vector<Bf16> values;   // of bf16
  std::vector<E4m3> codes;    // of the others
  std::vector<float> scales;  // of token_e4m3: [tokens]
};
/// The rule of kernels-and-cost-models §4.7. bf16: relative L2 error at most 4e-3, no NaN. e4m3:
/// the share of codes that differ is at most 1e-4 (of fewer than 10,000 codes: one), none by more
/// than a neighbour; token scales are within 1e-6.
CheckReport compare_rows(std::string what, const RowValues& rows,
                         const std::vector<double>& reference);

/// Device memory for an output of [tokens][width], poisoned and guarded.
class RowOutputBuffer {
 public:
  RowOutputBuffer(RowFormat format, int tokens, int width, float tensor_scale);

  RowOutput output() const;
  /// All bytes of the output, scales last.
  std::vector<std::uint8_t> bytes() const;
  void poison();
  bool guards_intact() const;
  CheckReport compared(std::string what, const std::vector<double>& reference) const;

 private:
  RowFormat format_;
  int width_;
  float tensor_scale_;
  DeviceBuffer<Bf16> values_;
  DeviceBuffer<E4m3> codes_;
  DeviceBuffer<float> scales_;  // of tokens, or the one of the tensor
};

/// The share of `codes` that are not the nearest to `scaled`, counted against 10,000 codes at
/// least; a code further away than its neighbour goes to `problem`. Either neighbour is right for
/// values within 1e-6 of the border between them: fp32 cannot tell, and with 8-bit significands in
/// x and weight, values right on the border are common.
double share_of_other_codes(const std::vector<E4m3>& codes, const std::vector<double>& scaled,
                            std::string& problem);

}  // namespace fleetsim::kernels
