#pragma once
// What a simulation hands out while it runs: one record a finished request, one an iteration.

#include <cstdint>
#include <span>

#include "sim/core/sim_time.h"
#include "sim/workload/request.h"

namespace fleetsim {

enum class RequestStatus : std::uint8_t {
  completed,
  cache_hit,
  rejected,
  timed_out,
  lost,
  unfinished
};
const char* name_of(RequestStatus status);

/// The compact trace a finished request leaves (at most 64 bytes). Times on the simulation clock;
/// -1 where the event never happened. `last_token` of a prefill-only request is the end of its
/// prefill.
struct RequestRecord {
  SimTime arrival = 0;
  SimTime first_scheduled = -1;
  SimTime first_token = -1;  // as delivered to the client, network included
  SimTime last_token = -1;   // likewise; cache hits: when the answer was delivered
  RequestId id = 0;
  std::int32_t prompt_tokens = 0;
  std::int32_t output_tokens = 0;  // delivered
  std::int32_t cached_tokens = 0;  // at first admission
  std::int32_t replica = -1;       // index within its pool; -1 when it reached none
  std::uint16_t preemptions = 0;
  std::uint16_t class_index = 0;
  std::int16_t pool = -1;
  RequestStatus status = RequestStatus::unfinished;
};
static_assert(sizeof(RequestRecord) <= 64);

/// One request's part of an iteration, in scheduling order.
struct ScheduledTokens {
  RequestId id = 0;
  std::int32_t tokens = 0;
  std::int32_t context = 0;  // tokens already in KV
  bool prefill = false;
};

/// One engine iteration; the spans are valid during the call only.
struct IterationRecord {
  SimTime start = 0;         // the GPU starts
  SimTime scheduled_at = 0;  // planned (earlier under async scheduling)
  SimTime duration = 0;
  std::int32_t pool = 0, replica = 0;
  std::int64_t iteration = 0;  // from 1, per replica
  std::span<const ScheduledTokens> scheduled;
  std::span<const RequestId> preempted;
  std::span<const RequestId> finished;
  std::int64_t kv_blocks_used = 0;
  std::int64_t waiting = 0, running = 0;  // after scheduling
};

/// Receives records and progress and may ask to stop; it cannot influence a run otherwise.
class Sink {
 public:
  virtual ~Sink() = default;
  /// Asked once, before the run: iteration records cost time and are made only on request.
  virtual bool wants_iterations() const { return false; }
  virtual void on_request(const RequestRecord&) {}
  virtual void on_iteration(const IterationRecord&) {}
  /// Called about every 2^14 requests; `end` is the end of arrivals or kNever.
  virtual void on_progress(SimTime /*now*/, SimTime /*end*/, std::int64_t /*arrived*/) {}
  /// True ends the run cleanly at the next event; what is left counts as unfinished.
  virtual bool stop_requested() const { return false; }
};

}  // namespace fleetsim
