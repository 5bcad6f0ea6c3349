// A replay from stored folder to scores, text, JSON and page: on a planted GPU whose every time is
// known, and on every measured one that is stored.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "calibrate/measured_replay.h"
#include "calibrate/operator_fit.h"
#include "hw_models/fitted_file.h"
#include "sim/report/chart_spec.h"
#include "sim/validation/replay_fit.h"
#include "sim/validation/replay_json.h"
#include "sim/validation/replay_page.h"
#include "sim/validation/replay_scores.h"
#include "sim/validation/replay_text.h"
#include "tests/calibrate/planted_gpu.h"
#include "tests/report/scratch_folder.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

MeasuredReplay loaded(const std::string& folder) {
  Problems problems;
  auto replay = load_replay(folder, problems);
  INFO(problems.text());
  REQUIRE(replay.has_value());
  return *std::move(replay);
}

ReplayScores scored(const std::string& folder, const std::optional<ReplayFit>& fit = {}) {
  Problems problems;
  const MeasuredReplay replay = loaded(folder);
  const auto used = fit ? fit : fit_beside(replay, problems);
  INFO(problems.text());
  REQUIRE(used.has_value());
  ReplayScores scores = scores_of(replay, *used, problems);
  REQUIRE(problems.text() == "");
  return scores;
}

/// A planted profile, written and fitted once: it takes a moment.
const ReplayFit& planted_fit() {
  static const ReplayFit fit = [] {
    const ScratchFolder scratch;
    write_planted_profile(scratch.path("profile"));
    Problems problems;
    auto found = fit_of_profile(scratch.path("profile"), problems);
    INFO(problems.text());
    REQUIRE(found.has_value());
    return *std::move(found);
  }();
  return fit;
}

/// Times of the replay are what the model predicts, off by `error` at each place.
std::vector<double> predicted_over_planted(const ReplayStack& stack,
                                           const std::vector<Composition>& compositions,
                                           const ReplayFit& fit) {
  ReplayPredictor predictor(*fit.gpu, fit.fitted(), 1 << 14);
  std::vector<double> ratios;
  for (const Composition& composition : compositions)
    ratios.push_back(predictor.predict(stack, composition).seconds /
                     planted_seconds(iteration_point(stack, composition)));
  return ratios;
}

std::size_t count_of(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos;
       at = text.find(word, at + word.size()))
    ++count;
  return count;
}

}  // namespace

TEST_CASE("a fit of a profile predicts the iterations of the same GPU, operator by operator",
          "[replay]") {
  for (const ReplayStack& stack : {ReplayStack{}, ReplayStack{"llama-3.1-8b", "fp8", "bf16", 16},
                                   ReplayStack{"llama-3.1-70b-tp8-rank", "bf16", "bf16", 16}}) {
    CAPTURE(stack.text());
    const ScratchFolder scratch;
    write_planted_replay(scratch.path("replay"), stack, planted_compositions(), {});
    const ReplayScores scores = scored(scratch.path("replay"), planted_fit());
    INFO(replay_text(scores, false));
    CHECK(scores.all.count == 16);
    CHECK(scores.all.median < 0.03);
    CHECK(scores.all.p90 < 0.08);
    CHECK(std::abs(scores.all.bias) < 0.03);
    CHECK(scores.under_floor == 0);
    CHECK(scores.parts.size() == 13);
    for (const PartScores& part : scores.parts) {
      CAPTURE(part.part);
      const bool matrix = part.part == "qkv" || part.part == "output" || part.part == "gate_up" ||
                          part.part == "down" || part.part == "head";
      if (part.part == "sampling") continue;  // planted from L2; the model counts the logits' trip
      // fp8 outputs of norms and SiLU are 16 bits to the model
      CHECK(part.scores.median < (matrix ? 0.03 : 0.15));
    }
    REQUIRE(scores.gap.has_value());
    CHECK(std::abs(scores.gap->bias) < 1e-4);  // planted: the whole is the sum
    CHECK(scores.eager_over_graph == Approx(2));
    CHECK(scores.prediction.find("a fit of these kernels") == 0);
  }
}

TEST_CASE("errors that were planted are the errors that are found, and gates follow them",
          "[replay]") {
  const std::vector<Composition> compositions = planted_compositions();
  const ReplayStack stack;
  const std::vector<double> ratios = predicted_over_planted(stack, compositions, planted_fit());
  const auto scores_with = [&](const std::function<double(std::size_t)>& error) {
    const ScratchFolder scratch;
    PlantedReplay planted;
    planted.parts = planted.eager = false;
    planted.factor = [&](std::size_t i) { return ratios[i] / (1 + error(i)); };
    write_planted_replay(scratch.path("replay"), stack, compositions, planted);
    return scored(scratch.path("replay"), planted_fit());
  };
  const ReplayScores exact = scores_with([](std::size_t) { return 0.0; });
  CHECK(exact.all.p90 < 1e-4);
  CHECK(exact.passed());
  const ReplayScores within = scores_with([](std::size_t i) { return i % 2 == 0 ? 0.04 : -0.045; });
  CHECK(within.all.median == Approx(0.0425).epsilon(1e-3));
  CHECK(std::abs(within.all.bias) < 0.004);
  CHECK(within.passed());
  const ReplayScores biased = scores_with([](std::size_t) { return 0.03; });
  CHECK(biased.all.bias == Approx(0.03).epsilon(1e-3));
  CHECK_FALSE(biased.passed());
  const ReplayScores wide = scores_with([](std::size_t i) { return i % 2 == 0 ? 0.06 : -0.06; });
  CHECK_FALSE(wide.passed());
  const ReplayScores tail = scores_with([](std::size_t i) { return i % 4 == 1 ? 0.2 : 0.0; });
  CHECK(tail.all.median < 1e-4);
  CHECK_FALSE(tail.passed());
  const std::vector<std::size_t> worst = tail.worst(5);
  REQUIRE(worst.size() == 5);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(tail.iterations[worst[i]].pair().error() == Approx(0.2).epsilon(1e-3));
}

TEST_CASE("what is left over is found as time a kernel node and stays out of the predictions",
          "[replay]") {
  const std::vector<Composition> compositions = planted_compositions();
  const ReplayStack stack;
  const std::vector<double> ratios = predicted_over_planted(stack, compositions, planted_fit());
  const ScratchFolder scratch;
  PlantedReplay planted;
  planted.parts = planted.eager = false;
  planted.factor = [&](std::size_t i) {  // the model plus a microsecond a node
    const double whole = planted_seconds(iteration_point(stack, compositions[i]));
    return ratios[i] + 1e-6 * static_cast<double>(stack_nodes(stack)) / whole;
  };
  write_planted_replay(scratch.path("replay"), stack, compositions, planted);
  const ReplayScores scores = scored(scratch.path("replay"), planted_fit());
  CHECK(stack_nodes(stack) == 292);
  CHECK(scores.node_residual_seconds == Approx(1e-6).epsilon(0.01));
  CHECK(scores.graph_node_seconds == Approx(1.1e-6));
  CHECK(scores.all.bias < -0.01);
  REQUIRE(scores.with_residual.has_value());
  CHECK(scores.with_residual->p90 < 1e-3);
}

TEST_CASE("an iteration faster than the datasheet allows fails the replay", "[replay]") {
  const ReplayStack stack;
  const ReplayFit fit = catalogue_fit(*find_gpu("h200-sxm"));
  ReplayPredictor predictor(*fit.gpu, fit.fitted(), 1 << 14);
  const PredictedIteration predicted = predictor.predict(stack, batch_of(64, 2047));
  // weights and keys of 64 x 2,048 tokens at 4.8 TB/s (kernels-and-cost-models §6)
  CHECK(predicted.floor_seconds == Approx(6.7e-3).epsilon(0.02));
  CHECK(predicted.seconds > predicted.floor_seconds);
  MeasuredReplay replay;
  replay.gpu = "h200-sxm";
  replay.complete = true;
  replay.iterations.push_back(
      {stack, batch_of(64, 2047), 0.9 * predicted.floor_seconds, {}, {}, {}});
  const ReplayScores scores = score_replay(replay, predictor);
  CHECK(scores.under_floor == 1);
  CHECK_FALSE(scores.passed());
}

TEST_CASE("the replay of a profile is predicted by that profile's fit, iterations left out",
          "[replay]") {
  const ScratchFolder scratch;
  const std::vector<Composition> compositions = {batch_of(16, 1023), batch_of(0, 0, {{512, 0}})};
  PlantedReplay planted;
  planted.factor = [](std::size_t) { return 3.0; };  // a fit that had seen these would be wrong
  write_planted_profile(scratch.path("profile"));
  write_planted_replay(scratch.path("profile/replay"), {}, compositions, planted);
  for (const char* name : {"profile/replay", "profile/replay/"}) {
    const ReplayScores scores = scored(scratch.path(name));
    CHECK(scores.prediction == "a fit of these kernels (" + scratch.path("profile") + ")");
    CHECK(scores.all.bias == Approx(-2.0 / 3).epsilon(0.05));
  }
  write_planted_replay(scratch.path("alone"), {}, compositions, planted);
  CHECK(scored(scratch.path("alone")).prediction == "a fit of an engine's kernels (the catalogue)");
}

TEST_CASE("a fit of another GPU, a folder without iterations and a file that is no fit are refused",
          "[replay]") {
  const ScratchFolder scratch;
  write_planted_replay(scratch.path("replay"), {}, {batch_of(1, 100)}, {});
  Problems problems;
  scores_of(loaded(scratch.path("replay")), catalogue_fit(*find_gpu("h100")), problems);
  CHECK(problems.text().find("was measured on h200-sxm; the catalogue is of h100-sxm") !=
        std::string::npos);
  CHECK_FALSE(load_replay(scratch.path("nowhere"), problems).has_value());
  CHECK_FALSE(fit_of_file(scratch.path("replay/manifest.yaml"), problems).has_value());
  CHECK_FALSE(fit_of_file(scratch.path("nowhere"), problems).has_value());
  CHECK(problems.text().find("is no file that `fleetsim calibrate fit --out` wrote") !=
        std::string::npos);
}

TEST_CASE("text, JSON and page say the same figures; the page needs nothing from outside",
          "[replay]") {
  const ScratchFolder scratch;
  PlantedReplay planted;
  planted.stopped = "budget";
  planted.factor = [](std::size_t i) { return i % 3 == 0 ? 1.12 : 0.97; };
  write_planted_replay(scratch.path("replay"), {}, planted_compositions(), planted);
  const ReplayScores scores = scored(scratch.path("replay"), planted_fit());
  const std::string text = replay_text(scores, false);
  for (const char* part :
       {"16 replayed iterations on h200-sxm", "decode", "ragged decode", "prefill", "mixed",
        "gate_up", "The worst", "for each kernel of a graph", "The measurement is partial: budget",
        "an invented warning", "No row of a replayed iteration is used in any fit"}) {
    CAPTURE(part);
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(text.find("\033[") == std::string::npos);
  const auto json = nlohmann::json::parse(replay_json(scores));
  CHECK(json.at("schema") == "fleetsim.replay/1");
  CHECK(json.at("iterations").size() == 16);
  CHECK(json.at("scores").at("median").get<double>() == scores.all.median);
  for (const auto& one : json.at("iterations")) {
    double sum = 0;
    for (const auto& part : one.at("parts")) sum += part.at("predicted_s").get<double>();
    CHECK(sum == Approx(one.at("predicted_s").get<double>()));
    CHECK(one.at("measured_s").get<double>() > one.at("floor_s").get<double>());
  }
  const std::string page = replay_html(scores);
  const std::string libraries =
      plot_file("vega.min.js") + plot_file("vega-lite.min.js") + plot_file("vega-embed.min.js");
  for (const char* outside : {" src=", "<link rel=\"stylesheet\"", "@import", "url(", "{{"})
    CHECK(count_of(page, outside) == count_of(libraries, outside));
  for (const char* chart : {"replay_scatter", "replay_errors"})
    CHECK(count_of(page, fmt::format("data-chart=\"{}\"", chart)) == 1);
  CHECK(page.find("16 replayed iterations on h200-sxm") != std::string::npos);
  CHECK(page == replay_html(scores));
}

// Not run by itself: tests/browser/run.sh asks for it to get a page to look at.
TEST_CASE("write an example page", "[.pages]") {
  const char* folder = std::getenv("FLEETSIM_EXAMPLE_PAGES");
  REQUIRE(folder != nullptr);
  const ScratchFolder scratch;
  PlantedReplay planted;
  planted.factor = [](std::size_t i) { return i % 3 == 0 ? 1.12 : 0.97; };
  write_planted_replay(scratch.path("replay"), {}, planted_compositions(), planted);
  std::ofstream(std::string(folder) + "/replay.html")
      << replay_html(scored(scratch.path("replay"), planted_fit()));
}

TEST_CASE("a replay in which nothing can be compared still has a page", "[replay]") {
  MeasuredReplay replay;
  replay.gpu = "h200-sxm";
  MeasuredIteration eager_alone{{}, batch_of(4, 100), {}, 0.01, {}, false};
  replay.iterations.push_back(eager_alone);
  const ReplayFit fit = catalogue_fit(*find_gpu("h200-sxm"));
  ReplayPredictor predictor(*fit.gpu, fit.fitted(), 64);
  const ReplayScores scores = score_replay(replay, predictor);
  CHECK_FALSE(scores.passed());
  CHECK(scores.not_compared.size() == 1);
  CHECK(replay_text(scores, false).find("No iteration could be compared") == 0);
  CHECK(replay_html(scores).find("No iteration could be compared") != std::string::npos);
  CHECK(nlohmann::json::parse(replay_json(scores)).count("scores") == 0);
}

TEST_CASE("every stored replay is predicted within the gates", "[replay][stored]") {
  namespace fs = std::filesystem;
  std::vector<std::string> folders;
  std::error_code error;
  for (fs::recursive_directory_iterator it("hw_models/profiles", error), end; !error && it != end;
       it.increment(error))
    if (it->is_directory() && it->path().filename() == "replay") folders.push_back(it->path());
  std::sort(folders.begin(), folders.end());
  if (folders.empty()) {
    WARN("skipped: no replay is stored below hw_models/profiles; none has been measured yet");
    return;
  }
  for (const std::string& folder : folders) {
    const ReplayScores scores = scored(folder);
    INFO(folder << "\n" << replay_text(scores, false));
    CHECK(scores.passed());
  }
}

}  // namespace fleetsim
