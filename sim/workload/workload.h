#pragma once
// The source of requests: draws the next arrival when asked, and follow-ups (closed loop, next turn
// of a session) when a request ends. Every draw is keyed by (seed, purpose, index), so that the
// same requests meet every policy.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/scenario/scenario.h"
#include "sim/workload/request.h"

namespace fleetsim {

/// What the workload knows of each class after resolution (index = Request::class_index).
struct ClassInfo {
  std::string name;
  std::optional<SimTime> timeout;
  Retry retry;
  std::optional<Slo> slo;
  std::string model;  // empty: the scenario's
};

/// Requests of a scenario in order of arrival.
///
/// What a request is (lengths, class, system prompt, cache hit) follows from its identity alone:
/// its number within its arrival process; (client, n-th) in a closed loop; (conversation, turn) in
/// a session. Only `id` and the names of streams that hang on it follow the order of creation. A
/// retry is the fleet's business: it offers the same request again. Arrivals stop at `duration`,
/// follow-ups included. `load_factor` multiplies the rates of open processes and the clients of
/// closed ones (rounded, at least 1) and divides the times of traces; it leaves batches and written
/// requests as they are. Errors: the constructor throws ConfigError for bad trace rows, naming
/// file, row and column, and for
///         values that make a law or process undefined, naming the place in the scenario.
class RequestSource {
 public:
  explicit RequestSource(const Scenario& scenario, std::uint64_t seed, double load_factor = 1.0);
  ~RequestSource();
  RequestSource(RequestSource&&) noexcept;
  RequestSource& operator=(RequestSource&&) noexcept;

  /// Arrival time of the next request that does not depend on an answer; kNever when there is none.
  SimTime next_arrival() const;
  /// Fills `request` (its vectors keep their capacity) with the next request and moves on.
  void take(Request& request);
  /// Tells the source that a request ended at `time` (for whatever reason). Returns true and fills
  /// `next` (another object than `ended`) when that makes another request arrive (>= time): closed
  /// loops and session turns. To be called once for each request, retries counted as one.
  bool follow_up(const Request& ended, SimTime time, Request& next);

  const std::vector<ClassInfo>& classes() const;
  /// Names of requests written out in the scenario or of a trace's ids; empty: use the number.
  const std::vector<std::string>& names() const;
  /// End of arrivals: `duration`, or the last arrival of a trace or list; kNever for a closed loop
  /// and for conversations without `duration`.
  SimTime end_of_arrivals() const;
  /// What a reader of the results must know about the input, e.g. trace rows left out.
  const std::vector<std::string>& notes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fleetsim
