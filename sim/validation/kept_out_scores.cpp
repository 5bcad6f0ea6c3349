#include "sim/validation/kept_out_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "calibrate/shape_columns.h"
#include "sim/breakdown/text_table.h"
#include "sim/report/decimal_text.h"
#include "sim/validation/replay_words.h"

namespace fleetsim {
namespace {

constexpr std::size_t kWorst = 3;

double error_of(const KeptOutRow& row) { return row.predicted_seconds / row.measured_seconds - 1; }

KeptOutFamily family_scores(const FittedFamily& fitted) {
  KeptOutFamily family;
  family.name = fitted.family.name;
  family.rows = fitted.family.quality.rows;
  family.sites = fitted.sites;
  std::vector<MeasuredPair> pairs;
  for (const KeptOutRow& row : fitted.kept_out)
    pairs.push_back({row.measured_seconds, row.predicted_seconds});
  family.scores = error_scores(pairs);
  family.worst = fitted.kept_out;
  std::stable_sort(family.worst.begin(), family.worst.end(),
                   [](const KeptOutRow& a, const KeptOutRow& b) {
                     return std::abs(error_of(a)) > std::abs(error_of(b));
                   });
  if (family.worst.size() > kWorst) family.worst.resize(kWorst);
  return family;
}

std::string unmeasured_text(const KeptOutFamily& family) {
  return fmt::format("{}: all {} rows are of one site, and nothing can be kept out", family.name,
                     family.rows);
}

}  // namespace

KeptOutScores score_kept_out(const GpuFit& fit) {
  KeptOutScores scores;
  scores.gpu = fit.fitted.gpu;
  scores.too_few_rows = fit.too_few_rows;
  for (const FittedFamily& family : fit.families) scores.families.push_back(family_scores(family));
  std::sort(scores.families.begin(), scores.families.end(),
            [](const KeptOutFamily& a, const KeptOutFamily& b) { return a.name < b.name; });
  return scores;
}

std::string kept_out_text(const KeptOutScores& scores, bool color) {
  std::string out = fmt::format(
      "{}: rows predicted by fits that have not seen their site (at most {} folds of sites)\n",
      scores.gpu, kFolds);
  TextTable table({"family", "sites", "kept out", "median", "p90", "bias"});
  for (const KeptOutFamily& one : scores.families)
    if (one.scores)
      table.add({one.name, count_text(one.sites), count_text(one.scores->count),
                 percent_text(one.scores->median), percent_text(one.scores->p90),
                 signed_percent_text(one.scores->bias)});
  out += table.text(color);
  out += "\nThe worst of each family\n";
  TextTable worst({"error", "measured", "predicted", "call"});
  for (const KeptOutFamily& one : scores.families)
    for (const KeptOutRow& row : one.worst)
      worst.add({signed_percent_text(error_of(row)), duration_text(row.measured_seconds),
                 duration_text(row.predicted_seconds), text_of(row.shape)});
  out += worst.text(color, 3);
  out += "\n";
  for (const KeptOutFamily& one : scores.families)
    if (!one.scores) out += fmt::format("- Not measurable: {}\n", unmeasured_text(one));
  for (const std::string& name : scores.too_few_rows)
    out += fmt::format("- Not fitted: {} (fewer than {} sound rows)\n", name, kLeastRows);
  for (const ReplayScores& replay : scores.replays)
    out += fmt::format("- Replay {}: {}\n", replay.folder, replay_headline(replay));
  if (scores.replays.empty()) out += "- No replay is stored beside the measurements.\n";
  return out;
}

}  // namespace fleetsim
