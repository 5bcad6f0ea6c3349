// Points of `gemm`: cuBLASLt's first choice or the fastest of its eight, or our own kernel for int4
// weights.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/operator_points.h"
#include "kernels/operators/gemm_cublaslt.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

/// Rows and columns of the output that the check computes again in float64.
constexpr int kSampledRows = 16, kSampledColumns = 64;
/// Standard deviation of e4m3 codes: 448, their largest, is 5.6 of it, as where a scale is the
/// largest magnitude of a big normal matrix over 448.
constexpr float kCodeDeviation = 80.0F;

GemmFormat format_of(const std::string& dtype) {
  for (const GemmFormat format :
       {GemmFormat::bf16, GemmFormat::fp8, GemmFormat::fp8_block, GemmFormat::int8})
    if (dtype == name_of(format)) return format;
  CHECK(false, "a dtype that the point's row does not allow: " + dtype);
  return {};
}

/// The operands of a point in the arena, `copies` times.
struct OperandSets {
  GemmFormat format;
  GemmShape shape;
  std::vector<GemmOperands> sets;

  std::size_t activation_count() const {
    return static_cast<std::size_t>(gemm_rows(format, shape.m)) * shape.k;
  }
  std::size_t weight_count() const { return static_cast<std::size_t>(shape.n) * shape.k; }
  std::size_t output_count() const {
    return static_cast<std::size_t>(gemm_rows(format, shape.m)) * shape.n;
  }
  std::size_t bytes() const {
    return (activation_count() + weight_count()) * operand_bytes(format) +
           output_count() * output_bytes(format);
  }
};

/// Scales around 1 / kCodeDeviation, on the device.
const float* take_scales(Scaling scaling, int rows, int columns, float scale, Arena& arena,
                         RandomInputs& draws) {
  std::vector<float> scales(scale_count(scaling, rows, columns));
  for (float& value : scales) value = scale / kCodeDeviation * (0.5F + draws.unit());
  float* memory = arena.take<float>(scales.size());
  copy_to_device(memory, scales.data(), scales.size() * sizeof(float));
  return memory;
}

void fill_operand(GemmFormat format, void* to, std::size_t count, float scale, std::uint64_t seed) {
  switch (format) {
    case GemmFormat::bf16:
    case GemmFormat::bf16_to_fp32:
      return fill_normal(static_cast<Bf16*>(to), count, scale, seed, {});
    case GemmFormat::fp8:
    case GemmFormat::fp8_block:
      return fill_normal(static_cast<E4m3*>(to), count, kCodeDeviation, seed, {});
    case GemmFormat::int8:
      return fill_bytes(to, count, seed, {});
  }
}

std::shared_ptr<OperandSets> take_operands(GemmFormat format, GemmShape shape, Arena& arena,
                                           std::uint64_t seed) {
  auto operands = std::make_shared<OperandSets>(OperandSets{format, shape, {}});
  const float weight_scale = 1.0F / std::sqrt(static_cast<float>(shape.k));
  const bool fp8 = format == GemmFormat::fp8 || format == GemmFormat::fp8_block;
  RandomInputs draws(seed, "gemm scales");
  const float *activation_scales = nullptr, *weight_scales = nullptr;
  if (fp8) {  // shared by all sets: 1/32 of the operands' bytes at most
    activation_scales = take_scales(activation_scaling(format), gemm_rows(format, shape.m), shape.k,
                                    1.0F, arena, draws);
    weight_scales =
        take_scales(weight_scaling(format), shape.n, shape.k, weight_scale, arena, draws);
  }
  const int copies = rotation_copies(operands->bytes());
  for (int copy = 0; copy < copies; ++copy) {
    GemmOperands set;
    set.activation_scales = activation_scales;
    set.weight_scales = weight_scales;
    auto* activations =
        arena.take<std::uint8_t>(operands->activation_count() * operand_bytes(format));
    auto* weights = arena.take<std::uint8_t>(operands->weight_count() * operand_bytes(format));
    set.out = arena.take<std::uint8_t>(operands->output_count() * output_bytes(format));
    const std::uint64_t own_seed = seed + 2 * static_cast<std::uint64_t>(copy);
    fill_operand(format, activations, operands->activation_count(), 1.0F, own_seed);
    fill_operand(format, weights, operands->weight_count(), weight_scale, own_seed + 1);
    set.activations = activations;
    set.weights = weights;
    operands->sets.push_back(set);
  }
  return operands;
}

/// Row `row` of a [..][k] operand as values.
std::vector<double> operand_row(const OperandSets& operands, bool of_weights, int row) {
  const int k = operands.shape.k;
  const GemmOperands& set = operands.sets[0];
  const std::size_t row_bytes = static_cast<std::size_t>(k) * operand_bytes(operands.format);
  std::vector<std::uint8_t> bytes(row_bytes);
  copy_to_host(bytes.data(),
               static_cast<const std::uint8_t*>(of_weights ? set.weights : set.activations) +
                   static_cast<std::size_t>(row) * row_bytes,
               row_bytes);
  std::vector<double> values(static_cast<std::size_t>(k));
  for (int i = 0; i < k; ++i) {
    if (operands.format == GemmFormat::bf16) {
      Bf16 value{};
      std::memcpy(&value, bytes.data() + 2 * static_cast<std::size_t>(i), 2);
      values[i] = static_cast<double>(to_float(value));
    } else if (operands.format == GemmFormat::int8) {
      values[i] = static_cast<std::int8_t>(bytes[i]);
    } else {
      values[i] = static_cast<double>(to_float(E4m3{bytes[i]}));
    }
  }
  return values;
}

/// Codes become values: each times its scale.
void apply_scales(const OperandSets& operands, bool of_weights, int row,
                  const std::vector<float>& scales, std::vector<double>& values) {
  const GemmFormat format = operands.format;
  const Scaling scaling = of_weights ? weight_scaling(format) : activation_scaling(format);
  const int rows = of_weights ? operands.shape.n : gemm_rows(format, operands.shape.m);
  for (int i = 0; i < operands.shape.k; ++i)
    values[i] *= static_cast<double>(scales[scale_index(scaling, row, i, rows, operands.shape.k)]);
}

std::vector<float> scales_of(const OperandSets& operands, bool of_weights) {
  if (operands.sets[0].weight_scales == nullptr) return {};
  const GemmFormat format = operands.format;
  const GemmShape& shape = operands.shape;
  std::vector<float> scales(
      of_weights ? scale_count(weight_scaling(format), shape.n, shape.k)
                 : scale_count(activation_scaling(format), gemm_rows(format, shape.m), shape.k));
  copy_to_host(scales.data(),
               of_weights ? operands.sets[0].weight_scales : operands.sets[0].activation_scales,
               scales.size() * sizeof(float));
  return scales;
}

std::vector<double> operand_rows(const OperandSets& operands, bool of_weights,
                                 const std::vector<int>& rows) {
  const std::vector<float> scales = scales_of(operands, of_weights);
  std::vector<double> all;
  for (const int row : rows) {
    std::vector<double> values = operand_row(operands, of_weights, row);
    if (!scales.empty()) apply_scales(operands, of_weights, row, scales, values);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// Runs `algorithm` on set 0, whose output was poisoned, and compares sampled rows and columns. In
/// int8 the integers are exact or the answer is infinite.
double check_error(const GemmPlan& plan, int algorithm, const OperandSets& operands,
                   std::uint64_t seed) {
  const GemmFormat format = operands.format;
  const auto n = static_cast<std::size_t>(operands.shape.n);
  device_fill(operands.sets[0].out, 0xFF, operands.output_count() * output_bytes(format), {});
  plan.launch(algorithm, operands.sets[0], {});
  const std::vector<int> rows = sampled_indices(operands.shape.m, kSampledRows, seed);
  const std::vector<int> columns = sampled_indices(operands.shape.n, kSampledColumns, seed + 1);
  const std::vector<double> reference = reference_gemm(
      operand_rows(operands, false, rows), operand_rows(operands, true, columns), operands.shape.k);
  std::vector<float> picked;
  bool exact = true;
  std::vector<std::uint8_t> row_bytes(n * output_bytes(format));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    copy_to_host(row_bytes.data(),
                 static_cast<const std::uint8_t*>(operands.sets[0].out) +
                     static_cast<std::size_t>(rows[r]) * row_bytes.size(),
                 row_bytes.size());
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const auto column = static_cast<std::size_t>(columns[c]);
      if (format == GemmFormat::int8) {
        std::int32_t value = 0;
        std::memcpy(&value, row_bytes.data() + 4 * column, 4);
        exact = exact && static_cast<double>(value) == reference[r * columns.size() + c];
      } else {
        Bf16 value{};
        std::memcpy(&value, row_bytes.data() + 2 * column, 2);
        picked.push_back(to_float(value));
      }
    }
  }
  constexpr double kWrong = std::numeric_limits<double>::infinity();
  if (format == GemmFormat::int8) return exact ? 0.0 : kWrong;
  const Comparison comparison = compare(picked, reference);
  return comparison.not_finite > 0 ? kWrong : comparison.relative_error;
}

/// Events and a stream of their own, freed at the end.
class Stopwatch {
 public:
  Stopwatch() {
    CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    CUDA_CHECK(cudaEventCreate(&begin_));
    CUDA_CHECK(cudaEventCreate(&end_));
  }
  ~Stopwatch() {
    cudaEventDestroy(end_);
    cudaEventDestroy(begin_);
    cudaStreamDestroy(stream_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  template <class Work>
  double milliseconds(const Work& work) {
    CUDA_CHECK(cudaEventRecord(begin_, stream_));
    work(stream_);
    CUDA_CHECK(cudaEventRecord(end_, stream_));
    CUDA_CHECK(cudaEventSynchronize(end_));
    float time = 0;
    CUDA_CHECK(cudaEventElapsedTime(&time, begin_, end_));
    return static_cast<double>(time);
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

/// The fastest algorithm: the median of five short runs each, taken in turn so that a drift of the
/// clocks meets all alike. About 2 ms a run, hence at most 80 ms a point.
int fastest_algorithm(const GemmPlan& plan, const OperandSets& operands) {
  if (plan.algorithms() == 1) return 0;
  constexpr int kRounds = 5;
  constexpr double kRunMilliseconds = 2;
  Stopwatch stopwatch;
  int next = 0;
  const auto run = [&](int algorithm, int launches) {
    return stopwatch.milliseconds([&](cudaStream_t stream) {
      for (int i = 0; i < launches; ++i)
        plan.launch(algorithm, operands.sets[next++ % operands.sets.size()], stream);
    });
  };
  device_synchronize();  // operands are filled on another stream
  std::vector<int> launches;
  for (int algorithm = 0; algorithm < plan.algorithms(); ++algorithm) {
    run(algorithm, 1);  // loads its code
    const double one = run(algorithm, 2) / 2;
    launches.push_back(std::clamp(static_cast<int>(kRunMilliseconds / one), 1, 64));
  }
  std::vector<std::array<double, kRounds>> times(launches.size());
  for (int round = 0; round < kRounds; ++round)
    for (int algorithm = 0; algorithm < plan.algorithms(); ++algorithm)
      times[algorithm][round] = run(algorithm, launches[algorithm]) / launches[algorithm];
  int fastest = 0;
  std::vector<double> medians;
  for (std::array<double, kRounds>& own : times) {
    std::sort(own.begin(), own.end());
    medians.push_back(own[kRounds / 2]);
    if (medians.back() < medians[fastest]) fastest = static_cast<int>(medians.size()) - 1;
  }
  return fastest;
}

}  // namespace

PreparedPoint prepare_gemm(const Point& point, Arena& arena, std::uint64_t seed) {
  const std::string dtype = point.word("dtype");
  if (dtype == "w4a16") return prepare_w4a16_gemm(point, arena, seed);
  const GemmShape shape{static_cast<int>(point.integer("m")), static_cast<int>(point.integer("n")),
                        static_cast<int>(point.integer("k"))};
  const GemmFormat format = format_of(dtype);
  const auto plan = std::make_shared<const GemmPlan>(format, shape);
  const auto operands = take_operands(format, shape, arena, seed);
  const int algorithm = point.word("algo") == "best8" ? fastest_algorithm(*plan, *operands) : 0;

  PreparedPoint prepared;
  prepared.copies = static_cast<int>(operands->sets.size());
  prepared.launch = [plan, operands, algorithm](Stream stream, int copy) {
    plan->launch(algorithm, operands->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [plan, operands, algorithm, seed] {
    return check_error(*plan, algorithm, *operands, seed);
  };
  prepared.error_limit = format == GemmFormat::int8 ? 0 : format == GemmFormat::bf16 ? 3e-3 : 5e-3;
  prepared.note = "number " + std::to_string(algorithm) + " of " +
                  std::to_string(plan->algorithms()) + ": " + plan->algorithm_name(algorithm);
  return prepared;
}

}  // namespace fleetsim::kernels
