#pragma once
// How the ids of token streams are composed, so that no two sources of tokens can share one by
// chance.
//
// Top 4 bits: the kind. The 60 bits below belong to the kind alone:
//   system_prompt   class (12) | group (48)
//   conversation    process (12) | conversation (48): what one client writes, turn after turn
//   output          request id (60): what the model generates
//   trace_block     process (12) | block id of the trace (48)
//   named           number of the name in the scenario, in order of appearance (60)

#include <cstdint>

#include "hw_models/check.h"
#include "sim/workload/request.h"

namespace fleetsim {

enum class StreamKind : std::uint8_t {
  system_prompt = 1,
  conversation = 2,
  output = 3,
  trace_block = 4,
  named = 5,
};

inline constexpr std::uint64_t kStreamOwners = std::uint64_t{1} << 12;
inline constexpr std::uint64_t kStreamNumbers = std::uint64_t{1} << 48;

/// The stream of a kind that belongs to `owner` (a class or process, below 2^12), `number` below
/// 2^48.
inline StreamId stream_id(StreamKind kind, std::uint64_t owner, std::uint64_t number) {
  CHECK(owner < kStreamOwners && number < kStreamNumbers);
  return (static_cast<std::uint64_t>(kind) << 60) | (owner << 48) | number;
}

inline StreamKind stream_kind(StreamId stream) { return static_cast<StreamKind>(stream >> 60); }

}  // namespace fleetsim
