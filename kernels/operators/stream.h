#pragma once
// Streams of device memory at the rate it can give: read, write and copy, whose speeds are the
// ceilings that other kernels are judged by.
//
// The words of a stream are a counting pattern, so that what was read or written can be proven
// exactly by arithmetic, for gigabytes as for bytes: word i (32 bits, from 0) is first + i * step.

#include "kernels/device/launch.h"

namespace fleetsim::kernels {

struct StreamPattern {
  std::uint32_t first = 1;
  std::uint32_t step = 0x9E3779B1U;  // odd: 2^32 words pass before a value comes back
};

/// Word `index` of the pattern, modulo 2^32.
FLEETSIM_BOTH std::uint32_t pattern_word(StreamPattern pattern, std::uint64_t index) {
  return pattern.first + static_cast<std::uint32_t>(index) * pattern.step;
}

/// Sum of the first `words` words of the pattern, modulo 2^32.
std::uint32_t pattern_sum(StreamPattern pattern, std::uint64_t words);

/// Writes `bytes` bytes of the pattern to `to`. `to` is 16-byte aligned, bytes a multiple of 16 and
/// at most 2^40; 0 bytes launch nothing. Traffic: `bytes` written. Errors: CHECK; CudaError.
void launch_stream_write(void* to, std::size_t bytes, StreamPattern pattern, Stream stream);

/// Adds the sum of the 32-bit words of `from` (modulo 2^32) to *sum: integers, so that the order of
/// the threads does not show. Same conditions; `sum` is 4-byte aligned and somebody else's to
/// clear. Traffic: `bytes` read.
void launch_stream_read(const void* from, std::size_t bytes, std::uint32_t* sum, Stream stream);

/// Copies; the two ranges do not overlap. Same conditions. Traffic: `bytes` read, `bytes` written.
void launch_stream_copy(void* to, const void* from, std::size_t bytes, Stream stream);

}  // namespace fleetsim::kernels
