#pragma once
// A replay held against the hardware model: whole iterations, their operators, and what neither
// explains.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/measured_replay.h"
#include "calibrate/replay_prediction.h"
#include "sim/validation/error_scores.h"

namespace fleetsim {

/// An iteration that was measured as a graph and predicted.
struct ReplayedIteration {
  MeasuredIteration measured;
  PredictedIteration predicted;

  CompositionKind kind() const { return kind_of(measured.composition); }
  MeasuredPair pair() const { return {*measured.graph, predicted.seconds}; }
  /// Faster than the datasheet's memory and arithmetic allow: the measurement is at fault.
  bool under_floor() const { return *measured.graph < predicted.floor_seconds; }
};

struct KindScores {
  CompositionKind kind;
  ErrorScores scores;
};
/// Of an operator over all iterations whose operators were measured one by one.
struct PartScores {
  std::string part;
  ErrorScores scores;
  double share = 0;  // of the measured time of all parts
};

/// Gates of kernels-and-cost-models §6, on compositions that no fit has seen.
struct ReplayGate {
  const char* name;
  double limit = 0, reached = 0;  // shares of the measured time
  bool met() const { return reached <= limit; }
};
inline constexpr double kReplayMedianLimit = 0.05, kReplayP90Limit = 0.10, kReplayBiasLimit = 0.02;

struct ReplayScores {
  std::string folder, gpu, started_utc;
  std::string stopped;                // why the measurement is partial; empty: it is whole
  std::string prediction;             // what predicts, in words
  std::vector<std::string> warnings;  // of the measurement
  std::vector<ReplayedIteration> iterations;
  std::vector<std::string> not_compared;  // iterations without a graph's time or a prediction, and
                                          // why
  ErrorScores all;                        // count 0 when there is no iteration
  std::vector<KindScores> kinds;          // those that occur, in the order of the kinds
  std::vector<PartScores> parts;          // in the order of the stack; empty: none measured
  /// Sum of an iteration's parts against the whole: what graphs gain by overlap and lose by caches.
  std::optional<ErrorScores> gap;
  /// Median of (measured - predicted) over the nodes of the graph: what the model leaves out if all
  /// of it belongs to launches. Reported, in no prediction.
  double node_residual_seconds = 0;
  double graph_node_seconds = 0;  // measured: an empty node; 0: not measured
  /// Scores if that constant were added, each half of the iterations with the other half's
  /// constant.
  std::optional<ErrorScores> with_residual;
  std::optional<double> eager_over_graph;  // median of the ratio of times
  std::int64_t under_floor = 0;

  std::array<ReplayGate, 3> gates() const;
  /// All gates are met, by at least one iteration, none of them under its floor.
  bool passed() const;
  /// Places of the `count` iterations with the largest errors, worst first.
  std::vector<std::size_t> worst(std::size_t count) const;
};

/// Errors: CHECK that the predictor is of the replay's GPU.
ReplayScores score_replay(const MeasuredReplay& replay, ReplayPredictor& predictor);

}  // namespace fleetsim
