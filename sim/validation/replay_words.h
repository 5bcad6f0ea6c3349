#pragma once
// What a replay's scores say, as sentences and tables for terminal and page alike.

#include <string>
#include <vector>

#include "sim/validation/replay_scores.h"

namespace fleetsim {

struct ReplayTable {
  std::string title;
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
};

/// "+3.1 %", "-0.4 %": always with its sign.
std::string signed_percent_text(double share);

/// One line: how far the predictions are off, and whether that is within the gates.
std::string replay_headline(const ReplayScores& scores);
/// Errors by kind of iteration, the sum last.
ReplayTable kinds_table(const ReplayScores& scores);
/// Errors by operator; without rows when no operator was measured alone.
ReplayTable parts_table(const ReplayScores& scores);
/// An iteration's operators: predicted, and measured where they were.
ReplayTable operators_table(const ReplayedIteration& one);
/// "+12.3 %: 8.1 ms measured, 9.1 ms predicted: 64 decodes over 2048 cached (decode)"
std::string iteration_text(const ReplayedIteration& one);
/// Gap of parts and whole, residual a node, eager launches, floor, what is left out, what the
/// comparison rests on; a sentence each.
std::vector<std::string> replay_findings(const ReplayScores& scores);

}  // namespace fleetsim
