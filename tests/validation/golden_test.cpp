// Our own predictions for a dozen configurations written here, as recorded: what guards clones that
// have no measurements. When predictions change on purpose, record them again with
//   FLEETSIM_RECORD_GOLDEN=1 build/release/tests/test_validation "[golden]"
// and look at the difference before committing it.

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "sim/validation/service_prediction.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

struct GoldenCase {
  const char* name;
  const char* model;
  const char* precision;  // weights, activations, KV
  const char* gpu;
  int tp;
  const char* version;
  int clients, prompt, output;
};

constexpr GoldenCase kCases[] = {
    {"8b-bf16-h100", "llama-3.1-8b", "bf16 bf16 bf16", "h100", 1, "0.15.1", 24, 700, 180},
    {"8b-bf16-h200", "llama-3.1-8b", "bf16 bf16 bf16", "h200", 1, "2026-08", 24, 700, 180},
    {"8b-bf16-b200", "llama-3.1-8b", "bf16 bf16 bf16", "b200", 1, "2026-08", 24, 700, 180},
    {"8b-fp8-h100", "llama-3.1-8b", "fp8 fp8 fp8", "h100", 1, "0.15.1", 96, 1500, 90},
    {"70b-fp8-h100-tp2", "llama-3.3-70b", "fp8 fp8 fp8", "h100", 2, "0.10.2", 12, 3000, 220},
    {"70b-fp8-h100-tp8", "llama-3.3-70b", "fp8 fp8 fp8", "h100", 8, "0.10.2", 48, 900, 300},
    {"70b-fp8-h200-tp4", "llama-3.3-70b", "fp8 fp8 bf16", "h200", 4, "2026-08", 48, 900, 300},
    {"70b-fp4-b200-tp1", "llama-3.3-70b", "fp4 fp4 fp8", "b200", 1, "0.15.1", 20, 2500, 150},
    {"gpt-oss-120b-b200-tp2", "gpt-oss-120b", "bf16 bf16 fp8", "b200", 2, "0.15.1", 40, 1200, 250},
    {"gpt-oss-120b-h100-tp4", "gpt-oss-120b", "bf16 bf16 bf16", "h100", 4, "0.15.1", 40, 1200, 250},
    {"mixtral-8x7b-h100-tp4", "mixtral-8x7b", "bf16 bf16 bf16", "h100", 4, "0.15.1", 16, 600, 200},
    {"qwen3-14b-l40s", "qwen3-14b", "bf16 bf16 bf16", "l40s", 1, "2026-08", 8, 500, 120},
};

std::string scenario_of(const GoldenCase& one) {
  std::istringstream words(one.precision);
  std::string weights, activations, kv;
  words >> weights >> activations >> kv;
  return fmt::format(
      "name: {}\nseed: 7\nworkload:\n  arrivals: {{process: closed, clients: {}, requests: {}}}\n"
      "  prompt_tokens: {{distribution: uniform, min: {}, max: {}}}\n"
      "  output_tokens: {{distribution: uniform, min: {}, max: {}}}\nmodel: {}\n"
      "precision: {{weights: {}, activations: {}, kv_cache: {}}}\nfleet:\n  pools:\n"
      "    - gpu: {}\n      parallelism: {{tp: {}}}\n      engine: {{version: \"{}\", "
      "max_model_len: 8192}}\n",
      one.name, one.clients, 6 * one.clients, one.prompt / 2, one.prompt, one.output / 2,
      one.output, one.model, weights, activations, kv, one.gpu, one.tp, one.version);
}

std::string recorded() {
  std::ifstream file(FLEETSIM_SOURCE_DIR "/tests/validation/golden.csv", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("predictions are those that were recorded", "[golden]") {
  std::vector<NamedScenario> scenarios;
  for (const GoldenCase& one : kCases) scenarios.push_back({one.name, scenario_of(one)});
  const auto predictions = predict_services(scenarios, 2);
  std::string text = "case,ttft_mean_s,tpot_mean_s,output_tokens_per_s\n";
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    INFO(scenarios[i].name);
    REQUIRE(predictions[i].refused == "");
    text += fmt::format("{},{},{},{}\n", scenarios[i].name, predictions[i].ttft_mean_s,
                        predictions[i].tpot_mean_s, predictions[i].output_tokens_per_s);
  }
  if (std::getenv("FLEETSIM_RECORD_GOLDEN") != nullptr)
    std::ofstream(FLEETSIM_SOURCE_DIR "/tests/validation/golden.csv", std::ios::binary) << text;
  CHECK(text == recorded());
}

}  // namespace
}  // namespace fleetsim
