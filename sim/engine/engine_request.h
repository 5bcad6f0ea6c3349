#pragma once
// A request inside an engine: what the scheduler and the replica keep about it while it lives.

#include <cstdint>

#include "sim/core/sim_time.h"
#include "sim/engine/kv_blocks.h"
#include "sim/workload/request.h"

namespace fleetsim {

enum class EngineState : std::uint8_t { waiting, running, ended };

/// One live request. `computed` counts tokens whose KV exists or is scheduled; `placeholders` output
/// tokens that steps in flight will deliver (async scheduling only).
struct EngineRequest {
  Request request;
  std::uint64_t order = 0;            // arrival order at this replica; breaks ties of the priority policy
  EngineState state = EngineState::waiting;
  std::int32_t generated = 0;         // output tokens delivered by processed steps
  std::int32_t computed = 0;
  std::int32_t placeholders = 0;
  std::int32_t steps_in_flight = 0;   // planned steps whose result is not processed yet
  std::int32_t cached_tokens = -1;    // at first admission; -1 before
  std::uint16_t preemptions = 0;
  bool scheduled_in_plan = false;     // scratch of the planner
  BlockTable table;

  SimTime queued_since = 0;           // waiting since
  SimTime running_since = 0;
  SimTime first_scheduled = -1;
  SimTime first_token = -1;
  SimTime last_token = -1;            // when its newest token was computed
  SimTime last_chunk = -1;            // when its newest chunk was delivered
  std::int32_t tokens_since_chunk = 0;

  // of the fleet
  std::int32_t slot = -1;             // index in the fleet's table of live requests
  std::int16_t pool = -1;
  std::int32_t replica = -1;
  std::uint32_t generation = 0;       // tells a reused slot from the request a timer meant
  std::int32_t attempt = 0;           // retries so far
  SimTime response_delay = 0;         // front end, on the way out
  SimTime deadline = kNever;

  std::int32_t known_tokens() const { return request.prompt_tokens + generated; }
  TokenSequence tokens() const {
    return {&request.prompt, request.prompt_tokens, request.output_stream, generated};
  }
};

}  // namespace fleetsim
