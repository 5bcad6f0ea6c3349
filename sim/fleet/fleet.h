#pragma once
// The state of a running simulation and its one event switch: arrivals, ends of iterations, plans,
// time-outs, retries.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <vector>

#include "sim/core/event_queue.h"
#include "sim/engine/replica.h"
#include "sim/fleet/iteration_order.h"
#include "sim/fleet/live_requests.h"
#include "sim/fleet/outstanding.h"
#include "sim/fleet/router.h"
#include "sim/fleet/simulation.h"
#include "sim/metrics/collector.h"
#include "sim/workload/workload.h"

namespace fleetsim {

class Fleet {
 public:
  Fleet(const Scenario& scenario, const Deployment& deployment, std::uint64_t seed,
        RequestSource& source, Collector& collector, Sink& sink, const SimulationOptions& options);

  /// Runs until nothing is left to happen, `horizon` is passed or the sink asks to stop. Returns
  /// the time of the end.
  SimTime run(SimTime horizon);
  bool stopped_early() const { return stopped_early_; }
  std::int64_t events_popped() const { return events_.popped(); }

 private:
  // Simultaneous events, in this order. Ends first: results are known before anybody decides. Then
  // clients that give up, then arrivals; plans last, so that they see everything of their instant.
  enum class Phase : std::uint8_t { end = 0, timeout = 1, arrival = 2, plan = 3 };
  struct Event {
    enum class Kind : std::uint8_t { iteration_end, timeout, reach_front_end, reach_router, plan };
    Kind kind = Kind::plan;
    std::int32_t index = 0;   // replica, class or slot
    std::uint32_t epoch = 0;  // of the replica's announced end, or generation of the slot
  };
  struct Station {  // a replica and what the fleet knows about it
    std::unique_ptr<Replica> replica;
    std::int32_t pool = 0, number = 0;
    std::int32_t group = 0, position = 0;  // among the replicas that serve the same model
    std::uint32_t epoch = 0;
    SimTime announced = kNever;  // end posted in the queue
    bool plan_posted = false;
  };
  struct Group {  // replicas that serve one model, with their router
    std::string model;
    std::vector<std::int32_t> stations;
    std::unique_ptr<OutstandingCounts> outstanding;
    std::unique_ptr<RoutingPolicy> router;
  };
  struct Deadline {
    SimTime at = 0;
    std::int32_t slot = 0;
    std::uint32_t generation = 0;
  };

  void build_stations(const SimulationOptions& options);
  void build_groups(std::uint64_t seed);
  std::int32_t group_of(const std::string& model) const;

  bool source_is_next() const;
  void prefetch_next() const;
  bool drop_stale();
  void handle(const Event& event);
  void reach_front_end(EngineRequest& request);
  /// When the front end is through with a prompt that it received, where it works on a few at a
  /// time, in the order in which they came.
  SimTime tokenized(SimTime received, SimTime work);
  void reach_router(EngineRequest& request);
  void deliver_end(std::int32_t station);
  void make_ready(std::int32_t station);
  void plan(std::int32_t station);
  void post(std::int32_t station);
  void expire(std::int32_t class_index);
  void watch_deadline(EngineRequest& request);
  void await_deadline(std::int32_t class_index);
  bool is_over(const Deadline& deadline);
  void give_up(EngineRequest& request);
  void retry(EngineRequest& request);
  void leave_router(const EngineRequest& request);
  void record(const EngineRequest& request, RequestStatus status, SimTime last_token);
  void follow(const Request& ended, SimTime time);
  void close(SimTime end);
  void report_progress();

  const Scenario& scenario_;
  const Deployment& deployment_;
  RequestSource& source_;
  Collector& collector_;
  Sink& sink_;
  IterationOrder iteration_order_;
  std::vector<Station> stations_;
  std::vector<Group> groups_;
  std::vector<std::int32_t> group_of_class_;
  LiveRequests live_;
  EventQueue<Event, Phase> events_;
  std::vector<std::deque<Deadline>> deadlines_;  // by class, in order of time
  Departures departures_;
  std::vector<std::int32_t> abandoned_;  // scratch of expire(): stations
  Request next_;                         // scratch of follow()
  SimTime now_ = 0;
  std::int64_t arrived_ = 0;
  /// When each taken place of the front end is free again, the soonest on top.
  std::priority_queue<SimTime, std::vector<SimTime>, std::greater<>> tokenizers_;
  bool stopped_early_ = false;
};

}  // namespace fleetsim
