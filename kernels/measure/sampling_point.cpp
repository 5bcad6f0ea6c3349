// Points of `sampling`: temperature 1, top_k 50, top_p 0.9, logits with a standard deviation of 3.

#include <memory>

#include "kernels/checks/sampling_check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

constexpr int kSampledRows = 4;

struct Samplings {
  std::vector<SamplingArguments> sets;
  std::vector<SamplingRow> rows;
};

/// Contradictions with float64 among the sampled rows.
double check_error(const Samplings& samplings, std::uint64_t seed) {
  const SamplingArguments& a = samplings.sets[0];
  const auto rows = static_cast<std::size_t>(a.rows);
  device_fill(a.tokens, 0xFF, rows * sizeof(std::int32_t), {});
  launch_sampling(a, {});
  device_synchronize();
  std::vector<std::int32_t> tokens(rows);
  std::vector<float> cuts(rows);
  copy_to_host(tokens.data(), a.tokens, rows * sizeof(std::int32_t));
  copy_to_host(cuts.data(), a.cuts, rows * sizeof(float));
  double wrong = 0;
  for (const int row : sampled_indices(a.rows, kSampledRows, seed)) {
    const auto at = static_cast<std::size_t>(row);
    wrong += static_cast<double>(
        sampling_contradictions(rows_of(a.logits, static_cast<int>(a.row_stride), {row}),
                                samplings.rows[at], tokens[at], cuts[at]));
  }
  return wrong;
}

}  // namespace

PreparedPoint prepare_sampling(const Point& point, Arena& arena, std::uint64_t seed) {
  SamplingArguments a;
  a.rows = static_cast<int>(point.integer("rows"));
  a.vocab = static_cast<int>(point.integer("vocab"));
  a.row_stride = a.vocab;
  const std::string& method = point.word("method");
  a.method = method == "greedy"   ? SamplingMethod::greedy
             : method == "gumbel" ? SamplingMethod::gumbel
                                  : SamplingMethod::filtered;
  SamplingRow row;
  if (method == "greedy") row.temperature = 0;
  if (method == "top_k" || method == "top_k_top_p") row.top_k = 50;
  if (method == "top_p" || method == "top_k_top_p") row.top_p = 0.9F;
  const auto samplings = std::make_shared<Samplings>();
  RandomInputs random(seed, "sampling point");
  for (int i = 0; i < a.rows; ++i) {
    row.seed = std::uint64_t{random.word()} << 32 | random.word();
    row.position = random.below(8192);
    samplings->rows.push_back(row);
  }
  const auto rows = static_cast<std::size_t>(a.rows);
  auto* parameters = arena.take<SamplingRow>(rows);
  copy_to_device(parameters, samplings->rows.data(), rows * sizeof(SamplingRow));
  a.parameters = parameters;
  a.tokens = arena.take<std::int32_t>(rows);
  a.cuts = arena.take<float>(rows);
  const std::size_t workspace_bytes = sampling_workspace_bytes(a);
  a.workspace = arena.take<unsigned char>(workspace_bytes);
  device_fill(a.workspace, 0, workspace_bytes, {});

  const std::size_t logits = rows * static_cast<std::size_t>(a.vocab);
  const int copies = rotation_copies(logits * sizeof(float));
  for (int copy = 0; copy < copies; ++copy) {
    float* values = arena.take<float>(logits);
    fill_normal(values, logits, 3.0F, seed + static_cast<std::uint64_t>(copy), {});
    a.logits = values;
    samplings->sets.push_back(a);
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [samplings](Stream stream, int copy) {
    launch_sampling(samplings->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [samplings, seed] { return check_error(*samplings, seed); };
  prepared.error_limit = 0;
  return prepared;
}

}  // namespace fleetsim::kernels
