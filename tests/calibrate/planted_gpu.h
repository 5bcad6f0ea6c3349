#pragma once
// A made-up H200 whose every operator takes a floor and then its bytes or FLOPs at one rate:
// profiles and replays of it are known exactly. No GPU printed any of its numbers.

#include <functional>
#include <string>
#include <vector>

#include "calibrate/composition.h"
#include "calibrate/replay_stack.h"
#include "kernels/measure/point.h"

namespace fleetsim {

/// Seconds of a run of the point. Valid: every operator but ceilings; iterations are the sum of
/// their parts, each in its layers.
double planted_seconds(const kernels::Point& point);

kernels::Point iteration_point(const ReplayStack& stack, const Composition& composition,
                               const std::string& mode = "graph", const std::string& part = "all");

/// Ceilings and the full grid of the operators that an iteration launches, in bf16 and fp8.
void write_planted_profile(const std::string& folder);

/// What happened to a replay's times on the way.
struct PlantedReplay {
  double node_seconds = 0;  // added to the whole for each kernel of the stack
  bool parts = true;        // every operator alone, too
  bool eager = true;        // chunks without a graph, at twice the time
  std::string stopped;      // as ProfileWriter::finish takes it
  /// Factor on the whole's time, by the composition's place.
  std::function<double(std::size_t)> factor = [](std::size_t) { return 1.0; };
};
void write_planted_replay(const std::string& folder, const ReplayStack& stack,
                          const std::vector<Composition>& compositions,
                          const PlantedReplay& planted);

/// `decodes` sequences of `context` cached tokens behind chunks of (new, cached) tokens.
Composition batch_of(std::int64_t decodes, std::int64_t context,
                     const std::vector<std::pair<std::int64_t, std::int64_t>>& chunks = {});
/// One of every kind and a few more: 16 compositions.
std::vector<Composition> planted_compositions();

}  // namespace fleetsim
