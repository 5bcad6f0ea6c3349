// Each choice is one line. Lengths are small against max_model_len, but not always; arrivals at
// equal instants, empty answers, pools that run dry and clients that give up are likely, not corner
// cases.

#include "tests/fleet/random_scenario.h"

#include <fmt/format.h>

#include <cstdlib>
#include <vector>

#include "sim/core/random.h"
#include "sim/fleet/router.h"

namespace fleetsim::test {

namespace {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : stream_(seed, "random scenario", 0) {}
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(
                     stream_.index(static_cast<std::uint64_t>(high - low + 1), draw_++));
  }
  bool chance(double probability) { return stream_.uniform(draw_++) < probability; }
  template <class T>
  T one_of(const std::vector<T>& choices) {
    return choices[static_cast<std::size_t>(
        between(0, static_cast<std::int64_t>(choices.size()) - 1))];
  }

 private:
  RandomStream stream_;
  std::uint64_t draw_ = 0;
};

std::string arrivals(Dice& dice) {
  const std::int64_t rate = dice.one_of<std::int64_t>({10, 25, 50, 100});
  switch (dice.between(0, 7)) {
    case 0:
      return fmt::format("{{process: constant, rate: {}/s}}", rate);
    case 1:
      return fmt::format("{{process: gamma, rate: {}/s, cv: 3}}", rate);
    case 2:
      return fmt::format(
          "{{process: mmpp, states: [{{rate: {}/s, mean_duration: 300ms}}, "
          "{{rate: {}/s, mean_duration: 500ms}}]}}",
          4 * rate, rate / 5);
    case 3:
      return fmt::format(
          "{{process: piecewise, steps: [{{from: 0s, rate: {}/s}}, "
          "{{from: 1s, rate: {}/s}}]}}",
          rate, 3 * rate);
    case 4:
      return fmt::format("{{process: batch, requests: {}}}", dice.between(20, 120));
    case 5:
      return fmt::format("{{process: closed, clients: {}, requests: {}, think_time: {}ms}}",
                         dice.between(1, 30), dice.between(30, 150), dice.between(0, 2) * 10);
    case 6:
      return fmt::format("{{process: poisson, rate: {}/s, peak_to_mean: 1.5, period: 1s}}", rate);
    default:
      return fmt::format("{{process: poisson, rate: {}/s}}", rate);
  }
}

std::string prompt_law(Dice& dice) {
  switch (dice.between(0, 3)) {
    case 0:
      return fmt::format("{{distribution: fixed, value: {}}}", dice.between(1, 120));
    case 1:
      return "{distribution: lognormal, mean: 80, p95: 240, max: 600}";
    case 2:
      return "{distribution: geometric, mean: 60}";
    default:
      return fmt::format("{{distribution: uniform, min: 1, max: {}}}", dice.between(2, 200));
  }
}

std::string output_law(Dice& dice) {
  switch (dice.between(0, 3)) {
    case 0:
      return fmt::format("{{distribution: fixed, value: {}}}", dice.between(1, 60));
    case 1:
      return "{distribution: geometric, mean: 30}";
    case 2:
      return "{distribution: uniform, min: 0, max: 40}";
    default:
      return fmt::format("{{distribution: uniform, min: 1, max: {}}}", dice.between(2, 90));
  }
}

// The keys that a class and the workload share, indented by `indent`.
std::string class_keys(Dice& dice, const std::string& indent) {
  std::string text;
  const auto line = [&](const std::string& content) { text += indent + content + "\n"; };
  line("prompt_tokens: " + prompt_law(dice));
  line("output_tokens: " + output_law(dice));
  if (dice.chance(0.3)) line("max_tokens: {distribution: uniform, min: 20, max: 120}");
  if (dice.chance(0.5)) {
    line(
        fmt::format("prefixes: {{system_prompts: {}, tokens: {}, popularity: zipf, exponent: 1.0}}",
                    dice.between(1, 5), dice.between(1, 100)));
  }
  if (dice.chance(0.3)) {
    line("sessions: {turns: {distribution: geometric, mean: 2}, think_time: 50ms}");
  }
  if (dice.chance(0.4)) {
    line(fmt::format("timeout: {}ms", dice.one_of<std::int64_t>({100, 300, 1000, 1005})));
    if (dice.chance(0.5)) {
      line(fmt::format("retry: {{max: {}, backoff: {}ms}}", dice.between(1, 2),
                       dice.one_of<std::int64_t>({0, 10, 55})));
    }
  }
  if (dice.chance(0.5)) line(fmt::format("priority: {}", dice.between(-1, 1)));
  return text;
}

std::string workload(Dice& dice) {
  std::string text = "workload:\n";
  text += "  arrivals: " + arrivals(dice) + "\n";
  if (dice.chance(0.5)) {
    text += class_keys(dice, "  ");
  } else {
    text += "  classes:\n";
    const std::int64_t classes = dice.between(1, 3);
    for (std::int64_t i = 0; i < classes; ++i) {
      text += fmt::format("    - name: class{}\n", i);
      if (i > 0 && dice.chance(0.3)) {
        text += "      arrivals: " + arrivals(dice) + "\n";
      } else {
        text += fmt::format("      share: {}\n", i + 1);
      }
      text += class_keys(dice, "      ");
    }
  }
  if (dice.chance(0.3)) {
    text +=
        fmt::format("  response_cache: {{hit_rate: 0.2, latency: {}ms}}\n", dice.between(0, 20));
  }
  return text;
}

std::string engine(Dice& dice) {
  const std::string version = dice.one_of<std::string>({"0.10", "0.15.1", "2026-04", "2026-08"});
  const std::int64_t block_size = dice.one_of<std::int64_t>({4, 8, 16});
  const std::int64_t longest = dice.one_of<std::int64_t>({150, 256, 400});
  const std::int64_t seats = dice.one_of<std::int64_t>({1, 3, 8, 32});
  const std::int64_t holds_one = (longest + block_size - 1) / block_size + 1;
  std::vector<std::string> keys = {
      fmt::format("version: \"{}\"", version),
      fmt::format("block_size: {}", block_size),
      fmt::format("max_model_len: {}", longest),
      fmt::format("max_num_seqs: {}", seats),
      fmt::format("num_gpu_blocks_override: {}",
                  holds_one + (dice.chance(0.7) ? dice.between(0, holds_one) : 40 * holds_one)),
      fmt::format("enable_prefix_caching: {}", dice.chance(0.7)),
      fmt::format("async_scheduling: {}", dice.chance(0.5))};
  if (dice.chance(0.15)) {
    keys.push_back("enable_chunked_prefill: false");
    keys.push_back(fmt::format("max_num_batched_tokens: {}", longest + dice.between(0, 100)));
  } else {
    keys.push_back(fmt::format("max_num_batched_tokens: {}",
                               std::max(seats, dice.one_of<std::int64_t>({16, 64, 256, 512}))));
    if (dice.chance(0.3)) {
      keys.push_back(fmt::format("long_prefill_token_threshold: {}", dice.between(1, 40)));
    }
  }
  if (version == "2026-08" && dice.chance(0.4)) keys.push_back("watermark: 0.05");
  if (version >= "2026" && dice.chance(0.4)) keys.push_back("scheduler_reserve_full_isl: false");
  if (dice.chance(0.4)) keys.push_back("scheduling_policy: priority");
  return fmt::format("{{{}}}", fmt::join(keys, ", "));
}

std::string fleet(Dice& dice) {
  std::string text = "fleet:\n  pools:\n";
  const std::int64_t pools = dice.between(1, 3);
  for (std::int64_t i = 0; i < pools; ++i) {
    text += fmt::format("    - {{name: pool{}, gpu: {}, replicas: {}, engine: {}}}\n", i,
                        dice.one_of<std::string>({"h100-sxm", "a100-80gb-sxm", "l40s"}),
                        dice.between(1, 3), engine(dice));
  }
  return text;
}

std::string cost_model(Dice& dice) {
  switch (dice.between(0, 3)) {
    case 0:
      return "cost_model: roofline\n";
    case 1:
      return "cost_model: {linear: {base: 4ms, per_token: 31us, per_context_token: 703ns}}\n";
    default:
      return "cost_model: {fixed: {iteration: 10ms}}\n";
  }
}

}  // namespace

std::string random_scenario(std::uint64_t seed) {
  Dice dice(seed);
  std::string text = fmt::format("name: random-{}\nseed: {}\nduration: {}ms\n", seed, seed,
                                 dice.one_of<std::int64_t>({1000, 2000, 2500}));
  if (dice.chance(0.3)) text += "drain: 200ms\n";  // some runs end with work left
  if (dice.chance(0.5))
    text += "slo: {e2e: 900ms, ttft: 300ms, tpot: 20ms, itl: 30ms, window: 1s}\n";
  text += workload(dice);
  text += dice.chance(0.15) ? "model: gpt-oss-20b\n" : "model: qwen3-0.6b\n";
  text += fleet(dice);
  if (dice.chance(0.4)) {
    text += fmt::format(
        "frontend: {{network: {}ms, tokenize: {{base: {}us, per_token: 2us}}, "
        "stream_interval: {}}}\n",
        dice.between(0, 2) * 5, dice.between(0, 300), dice.between(1, 3));
  }
  text += fmt::format("router: {{policy: {}}}\n", dice.one_of(router_names()));
  text += cost_model(dice);
  text += "outputs: {timeseries_interval: 100ms}\n";
  return text;
}

std::string repeat_command(std::uint64_t seed, const std::string& test_case) {
  return fmt::format("repeat with: FLEETSIM_TEST_SEED={} test_fleet \"{}\"", seed, test_case);
}

SeedRange test_seeds(std::uint64_t count) {
  if (const char* seed = std::getenv("FLEETSIM_TEST_SEED")) {
    const std::uint64_t one = std::strtoull(seed, nullptr, 10);
    return {one, one};
  }
  return {1, count};
}

}  // namespace fleetsim::test
