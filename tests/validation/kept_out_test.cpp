// Points kept out of their own fit: every row once, by a fit that has not seen its site.

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "calibrate/operator_fit.h"
#include "sim/validation/kept_out_scores.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

/// GEMMs at one rate; the site (2048, 512), if asked for, is slower than its neighbours tell.
MeasuredTable gemm_table(bool one_site, double odd_site = 1) {
  MeasuredTable table = {"h200-sxm", "made up", "a formula", "none", {}};
  for (const double m : {1.0, 8.0, 32.0, 128.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0})
    for (const double n : {512.0, 2048.0, 8192.0})
      for (const double k : {512.0, 2048.0, 8192.0}) {
        if (one_site && (n != 2048 || k != 2048)) continue;
        const GemmShape shape = {GemmFormat::bf16, m, n, k};
        const OperatorWork work = work_of(OperatorShape(shape));
        const double odd = n == 2048 && k == 512 ? odd_site : 1;
        table.rows.push_back({shape,
                              odd * (4e-6 + std::max(work.flops / 600e12, work.bytes / 3e12)),
                              "vllm", "planted", RowFlag::none});
      }
  return table;
}

KeptOutScores scores_of_table(const MeasuredTable& table) {
  return score_kept_out(fit_gpu(*find_gpu("h200-sxm"), {table}, KeptOut::every_fold));
}

const KeptOutFamily& family_named(const KeptOutScores& scores, const std::string& name) {
  for (const KeptOutFamily& family : scores.families)
    if (family.name == name) return family;
  FAIL(name);
  return scores.families.front();
}

}  // namespace

TEST_CASE("every row is kept out once, and an exact law is predicted exactly", "[kept_out]") {
  const KeptOutScores scores = scores_of_table(gemm_table(false));
  const KeptOutFamily& gemm = family_named(scores, "gemm/bf16");
  CHECK(gemm.sites == 9);
  CHECK(gemm.rows == 90);
  REQUIRE(gemm.scores.has_value());
  CHECK(gemm.scores->count == 90);
  CHECK(gemm.scores->p90 < 0.02);
  CHECK(gemm.worst.size() == 3);
}

TEST_CASE("a site that its neighbours do not foretell is predicted as they are", "[kept_out]") {
  const GpuFit fit = fit_gpu(*find_gpu("h200-sxm"), {gemm_table(false, 2.0)}, KeptOut::every_fold);
  int rows = 0;
  for (const FittedFamily& family : fit.families)
    for (const KeptOutRow& row : family.kept_out) {
      const auto* shape = std::get_if<GemmShape>(&row.shape);
      if (shape == nullptr || shape->n != 2048 || shape->k != 512) continue;
      ++rows;
      // a fit that had seen it would have met it
      CHECK(row.predicted_seconds < 0.75 * row.measured_seconds);
    }
  CHECK(rows == 10);
  const KeptOutScores scores = score_kept_out(fit);
  const KeptOutFamily& gemm = family_named(scores, "gemm/bf16");
  REQUIRE(gemm.worst.size() == 3);
  for (std::size_t i = 1; i < 3; ++i)
    CHECK(std::abs(gemm.worst[i - 1].predicted_seconds / gemm.worst[i - 1].measured_seconds - 1) >=
          std::abs(gemm.worst[i].predicted_seconds / gemm.worst[i].measured_seconds - 1));
  const std::string text = kept_out_text(scores, false);
  CHECK(text.find("gemm format=bf16") != std::string::npos);
  CHECK(text.find("No replay is stored") != std::string::npos);
}

TEST_CASE("a family of one site says that nothing can be kept out", "[kept_out]") {
  const KeptOutScores scores = scores_of_table(gemm_table(true));
  const KeptOutFamily& gemm = family_named(scores, "gemm/bf16");
  CHECK(gemm.sites == 1);
  CHECK_FALSE(gemm.scores.has_value());
  CHECK(
      kept_out_text(scores, false).find("Not measurable: gemm/bf16: all 10 rows are of one site") !=
      std::string::npos);
  const auto json = nlohmann::json::parse(kept_out_json(scores));
  CHECK(json.at("schema") == "fleetsim.kept_out/1");
  for (const auto& family : json.at("families"))
    if (family.at("family") == "gemm/bf16") CHECK(family.count("kept_out") == 0);
}

TEST_CASE("what a fit says of held-out sites does not depend on who asks", "[kept_out]") {
  const GpuSpec& gpu = *find_gpu("h200-sxm");
  const GpuFit plain = fit_gpu(gpu, {gemm_table(false)});
  const GpuFit folds = fit_gpu(gpu, {gemm_table(false)}, KeptOut::every_fold);
  REQUIRE(plain.families.size() == folds.families.size());
  CHECK(plain.families[0].family.floor_seconds == folds.families[0].family.floor_seconds);
  CHECK(plain.families[0].family.surface.ln_factor() ==
        folds.families[0].family.surface.ln_factor());
  CHECK(static_cast<std::int64_t>(plain.families[0].kept_out.size()) ==
        plain.families[0].family.quality.held_out_rows);
}

}  // namespace fleetsim
