#pragma once
// A request as it enters the fleet: lengths, content by stretches, limits. Immutable once made.

#include <cstdint>
#include <vector>

#include "sim/core/sim_time.h"

namespace fleetsim {

/// Names one stream of tokens. Token i of a stream is the same wherever it occurs and differs from
/// every other (stream, index).
using StreamId = std::uint64_t;

/// Tokens [from, to) of a stream.
struct Stretch {
  StreamId stream = 0;
  std::int32_t from = 0;
  std::int32_t to = 0;
  std::int32_t length() const { return to - from; }
  bool operator==(const Stretch&) const = default;
};

/// Dense index of a request in order of creation.
using RequestId = std::uint32_t;

/// One request. `prompt` covers exactly prompt_tokens tokens, adjacent stretches of one stream
/// merged. Generated tokens belong to `output_stream`, unique to the request unless a session names
/// it.
struct Request {
  RequestId id = 0;
  std::uint16_t class_index = 0;
  SimTime arrival = 0;  // at the front end
  std::int32_t prompt_tokens = 0;
  std::int32_t output_tokens = 0;   // what the model would produce; 0 = prefill only
  std::int32_t max_tokens = 0;      // declared limit, >= output_tokens
  std::int64_t priority = 0;        // smaller is earlier
  std::uint64_t session = 0;        // 0: none; the prefix-affinity router's first key
  std::uint32_t turn = 0;           // 0-based turn of the session
  bool response_cache_hit = false;  // answered before any GPU
  std::vector<Stretch> prompt;
  StreamId output_stream = 0;
  std::uint64_t origin = 0;  // the source's own note for follow_up(); others leave it alone
};

}  // namespace fleetsim
