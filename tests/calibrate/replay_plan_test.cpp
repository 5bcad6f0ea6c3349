// From a log to points: which stack, which order, what is left out; and rows back to iterations.

#include "calibrate/replay_plan.h"

#include <algorithm>
#include <filesystem>

#include "calibrate/measured_replay.h"
#include "tests/calibrate/planted_gpu.h"
#include "tests/calibrate/replay_log.h"
#include "tests/calibrate/synthetic_profile.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

ReplayPlan plan_of(const std::string& text, const ReplayOptions& options = {}) {
  const ScratchFolder scratch;
  write_file(scratch.path("log"), text);
  Problems problems;
  auto plan = plan_replay(scratch.path("log"), options, problems);
  INFO(problems.text());
  REQUIRE(plan.has_value());
  return *std::move(plan);
}

std::int64_t count_of(const ReplayPlan& plan, const char* mode, const std::string& part) {
  return std::count_if(plan.points.begin(), plan.points.end(), [&](const kernels::Point& point) {
    return point.op() == "iteration" && point.word("mode") == mode && point.word("part") == part;
  });
}

}  // namespace

TEST_CASE("points are the ceilings, then whole iterations, then parts, then eager chunks",
          "[replay_plan]") {
  ReplayOptions options;
  options.with_parts = 2;
  const ReplayPlan plan = plan_of(replay_log("llama-3.1-8b", 1), options);
  CHECK(plan.stack == ReplayStack{"llama-3.1-8b", "bf16", "bf16", 16});
  CHECK(plan.notes.empty());
  CHECK(plan.left_out.empty());
  const auto all = static_cast<std::int64_t>(plan.replayed.size());
  CHECK(count_of(plan, "graph", "all") == all);
  for (const std::string& part : stack_part_names()) CHECK(count_of(plan, "graph", part) == 2);
  const auto chunks =
      std::count_if(plan.replayed.begin(), plan.replayed.end(), [](const ChosenComposition& one) {
        const CompositionKind kind = kind_of(one.composition);
        return kind == CompositionKind::prefill || kind == CompositionKind::mixed;
      });
  CHECK(chunks > 0);
  CHECK(count_of(plan, "eager", "all") == chunks);
  std::vector<int> stages;
  for (const kernels::Point& point : plan.points)
    stages.push_back(point.op() == "ceiling"         ? 0
                     : point.word("mode") == "eager" ? 3
                     : point.word("part") == "all"   ? 1
                                                     : 2);
  CHECK(stages.front() == 0);
  CHECK(std::is_sorted(stages.begin(), stages.end()));
}

TEST_CASE("the stack is the log's own where there is one, and the plan says where it is not",
          "[replay_plan]") {
  CHECK(plan_of(replay_log("llama-3.1-70b", 8)).stack.name == "llama-3.1-70b-tp8-rank");
  CHECK(plan_of(replay_log("llama-3.3-70b", 8)).notes.empty());  // the same shape
  const ReplayPlan other = plan_of(replay_log("qwen3-14b", 1));
  CHECK(other.stack.name == "llama-3.1-8b");
  REQUIRE(other.notes.size() == 1);
  CHECK(other.notes[0].find("the log is of qwen3-14b at tp 1; its iterations run on the stack of "
                            "llama-3.1-8b") == 0);
  ReplayOptions options;
  options.stack = "llama-3.1-70b-tp8-rank";
  CHECK(plan_of(replay_log("llama-3.1-8b", 1), options).notes.size() == 1);
  const ReplayPlan fp8 = plan_of(replay_log("llama-3.1-8b", 1, "fp8"));
  CHECK(fp8.stack.weights == "fp8");
  CHECK(fp8.stack.kv_dtype == "e4m3");
}

TEST_CASE("what the GPU's memory does not hold is left out and named", "[replay_plan]") {
  ReplayOptions options;
  options.gpu = find_gpu("rtx4090");  // 24 GB: 16 of them weights
  const ReplayPlan plan = plan_of(replay_log("llama-3.1-8b", 1), options);
  REQUIRE_FALSE(plan.left_out.empty());
  CHECK_FALSE(plan.replayed.empty());
  for (const LeftOut& one : plan.left_out) {
    CHECK(one.reason.find("GB of memory; rtx4090 has") != std::string::npos);
    CHECK(std::none_of(plan.replayed.begin(), plan.replayed.end(), [&](const auto& other) {
      return other.composition == one.chosen.composition;
    }));
  }
  CHECK(plan_text(plan).find("left out: ") != std::string::npos);
  options.gpu = find_gpu("rtx4090");
  const ScratchFolder scratch;
  write_file(scratch.path("log"), replay_log("llama-3.1-70b", 8));
  Problems problems;
  options.stack = "llama-3.1-8b";
  CHECK(plan_replay(scratch.path("log"), options, problems).has_value());
}

TEST_CASE("rows of a replay come back as iterations with their parts", "[replay_plan]") {
  const ScratchFolder scratch;
  const std::vector<Composition> compositions = {batch_of(4, 100), batch_of(2, 50, {{64, 0}})};
  PlantedReplay planted;
  write_planted_replay(scratch.path("replay"), {}, compositions, planted);
  Problems problems;
  const auto replay = load_replay(scratch.path("replay"), problems);
  INFO(problems.text());
  REQUIRE(replay.has_value());
  CHECK(replay->gpu == "h200-sxm");
  CHECK(replay->complete);
  REQUIRE(replay->iterations.size() == 2);
  CHECK(replay->iterations[0].composition == compositions[0]);
  CHECK_FALSE(replay->iterations[0].eager.has_value());
  REQUIRE(replay->iterations[1].eager.has_value());
  for (const MeasuredIteration& one : replay->iterations) {
    REQUIRE(one.graph.has_value());
    REQUIRE(one.sum_of_parts().has_value());
    CHECK(*one.sum_of_parts() == Approx(*one.graph).epsilon(1e-4));
  }
  write_synthetic_profile(scratch.path("profile"));
  CHECK_FALSE(load_replay(scratch.path("profile"), problems).has_value());
  CHECK(problems.text().find("holds no measured iteration: it is no replay") != std::string::npos);
}
