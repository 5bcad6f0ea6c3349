#pragma once
// A request inside an engine: what the scheduler and the replica keep about it while it lives.

#include <cstdint>

#include "sim/core/sim_time.h"
#include "sim/engine/kv_blocks.h"
#include "sim/workload/request.h"

namespace fleetsim {

enum class EngineState : std::uint8_t { waiting, running, ended };

/// One live request. `computed` counts tokens whose KV exists or is scheduled; `placeholders`
/// output tokens that steps in flight will deliver (async scheduling only). What every iteration
/// touches stands first, within two cache lines: replicas are many and the rest stays cold.
struct alignas(64) EngineRequest {
  BlockTable table;
  std::int32_t generated = 0;  // output tokens delivered by processed steps
  std::int32_t computed = 0;
  std::int32_t prompt_tokens = 0;  // of `request`
  std::int32_t stop_after = 0;     // output tokens after which it ends, by length or EOS
  std::int32_t length_limit = 0;   // output tokens after which it would end by length
  std::int32_t full_blocks =
      0;  // blocks whose content the engine has registered, see VllmV1::note_full
  std::int32_t shareable_blocks = 0;  // leading blocks that another request may ask for

  SimTime last_chunk = -1;  // when its newest chunk was delivered
  SimTime last_token = -1;  // when its newest token was computed
  std::int32_t placeholders = 0;
  std::int32_t steps_in_flight = 0;  // planned steps whose result is not processed yet
  std::int32_t tokens_since_chunk = 0;
  std::uint16_t preemptions = 0;
  EngineState state = EngineState::waiting;
  bool scheduled_in_plan = false;  // scratch of the planner
  bool emits_tokens = true;        // false: prefill only
  SimTime first_token = -1;
  SimTime running_since = 0;
  SimTime queued_since = 0;  // waiting since
  SimTime first_scheduled = -1;

  Request request;
  std::uint64_t order = 0;  // arrival order at this replica; breaks ties of the priority policy
  std::int32_t cached_tokens = -1;  // at first admission; -1 before

  // of the fleet
  std::int32_t slot = -1;  // index in the fleet's table of live requests
  std::int16_t pool = -1;
  std::int32_t replica = -1;
  std::uint32_t generation = 0;  // tells a reused slot from the request a timer meant
  std::int32_t attempt = 0;      // retries so far
  SimTime response_delay = 0;    // front end, on the way out

  std::int32_t known_tokens() const { return prompt_tokens + generated; }
  TokenSequence tokens() const {
    return {&request.prompt, prompt_tokens, request.output_stream, generated};
  }
};

}  // namespace fleetsim
