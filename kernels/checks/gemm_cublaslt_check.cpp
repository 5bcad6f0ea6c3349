// GEMM through cuBLASLt against float64 on the dequantised operands: every algorithm that the
// heuristic offers, whole outputs of small products, sampled rows and columns of big ones.

#include <cmath>
#include <cstring>

#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/gemm_cublaslt.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/random_inputs.h"

namespace fleetsim::kernels {
namespace {

/// One operand on both sides: bytes for the device, values for the reference.
struct Operand {
  std::vector<std::uint8_t> bytes;
  std::vector<float> scales;  // fp8 alone
  std::vector<double> values;
};

template <class T>
std::vector<std::uint8_t> bytes_of(const std::vector<T>& elements) {
  std::vector<std::uint8_t> bytes(elements.size() * sizeof(T));
  std::memcpy(bytes.data(), elements.data(), bytes.size());
  return bytes;
}

Operand make_operand(GemmFormat format, Scaling scaling, int rows, int columns, float scale,
                     RandomInputs& draws) {
  const std::size_t count = static_cast<std::size_t>(rows) * columns;
  switch (format) {
    case GemmFormat::bf16:
    case GemmFormat::bf16_to_fp32: {
      const std::vector<Bf16> values = draws.normals_bf16(count, scale);
      return {bytes_of(values), {}, doubles_of(values)};
    }
    case GemmFormat::int8: {
      std::vector<std::int8_t> codes(count);
      for (std::int8_t& code : codes) code = static_cast<std::int8_t>(draws.word());
      return {bytes_of(codes), {}, doubles_of(codes)};
    }
    case GemmFormat::fp8:
    case GemmFormat::fp8_block:
      break;
  }
  const QuantisedMatrix matrix = quantise_e4m3(draws.normals(count, scale), rows, columns, scaling);
  return {bytes_of(matrix.codes), matrix.scales, matrix.values()};
}

/// The rows (or columns) `chosen` of a [..][k] matrix.
std::vector<double> rows_of(const std::vector<double>& matrix, const std::vector<int>& chosen,
                            int k) {
  std::vector<double> picked;
  for (const int row : chosen) {
    const auto begin = matrix.begin() + static_cast<std::ptrdiff_t>(row) * k;
    picked.insert(picked.end(), begin, begin + k);
  }
  return picked;
}

struct Sample {
  std::vector<int> rows, columns;
  std::vector<double> reference;  // [rows][columns]
};

/// Elements of `out` that differ from the exact integers.
std::int64_t differing(const std::vector<std::uint8_t>& out, const Sample& sample, int n) {
  std::int64_t count = 0;
  std::size_t i = 0;
  for (const int row : sample.rows)
    for (const int column : sample.columns) {
      std::int32_t value = 0;
      std::memcpy(&value, out.data() + (static_cast<std::size_t>(row) * n + column) * 4, 4);
      if (static_cast<double>(value) != sample.reference[i++]) ++count;
    }
  return count;
}

Comparison compared(const std::vector<std::uint8_t>& out, bool in_fp32, const Sample& sample,
                    int n) {
  std::vector<float> picked;
  for (const int row : sample.rows)
    for (const int column : sample.columns) {
      const std::size_t place = static_cast<std::size_t>(row) * n + column;
      Bf16 value{};
      float whole = 0;
      if (in_fp32)
        std::memcpy(&whole, out.data() + place * 4, 4);
      else
        std::memcpy(&value, out.data() + place * 2, 2);
      picked.push_back(in_fp32 ? whole : to_float(value));
    }
  return compare(picked, sample.reference);
}

class GemmCase {
 public:
  GemmCase(GemmFormat format, GemmShape shape, int sample_max, std::uint64_t seed)
      : format_(format),
        shape_(shape),
        rows_(gemm_rows(format, shape.m)),
        name_(std::string(name_of(format)) + " m " + std::to_string(shape.m) + " n " +
              std::to_string(shape.n) + " k " + std::to_string(shape.k) + ", seed " +
              std::to_string(seed)),
        draws_(seed, name_) {
    const bool fp8 = format == GemmFormat::fp8 || format == GemmFormat::fp8_block;
    activations_ = make_operand(format, fp8 ? activation_scaling(format) : Scaling::tensor, rows_,
                                shape.k, 1.0F, draws_);
    weights_ = make_operand(format, fp8 ? weight_scaling(format) : Scaling::tensor, shape.n,
                            shape.k, 1.0F / std::sqrt(static_cast<float>(shape.k)), draws_);
    sample_.rows = sampled_indices(shape.m, sample_max, seed);
    sample_.columns = sampled_indices(shape.n, 4 * sample_max, seed + 1);
    sample_.reference = reference_gemm(rows_of(activations_.values, sample_.rows, shape.k),
                                       rows_of(weights_.values, sample_.columns, shape.k), shape.k);
  }

  void run(std::vector<CheckReport>& reports) const {
    try {
      const GemmPlan plan(format_, shape_);
      for (int algorithm = 0; algorithm < plan.algorithms(); ++algorithm)
        reports.push_back(run_algorithm(plan, algorithm));
    } catch (const NotSupportedHere& refusal) {
      reports.push_back(refused(refusal.what()));
    }
  }

 private:
  /// Where the format is promised, a refusal is a failure; elsewhere it is passed over, and said
  /// so.
  CheckReport refused(const std::string& why) const {
    const int sm = device_facts().compute_capability;
    const bool promised = format_ == GemmFormat::fp8_block ? sm == 90
                          : format_ == GemmFormat::fp8     ? sm >= 89
                                                           : sm >= 80;
    if (promised) return {name_, 0, 0, why};
    return {name_ + ": not supported here (" + why + ")", 0, 0, ""};
  }

  CheckReport run_algorithm(const GemmPlan& plan, int algorithm) const {
    const DeviceBuffer<std::uint8_t> activations(activations_.bytes), weights(weights_.bytes);
    const DeviceBuffer<float> activation_scales(activations_.scales),
        weight_scales(weights_.scales);
    const std::size_t out_bytes =
        static_cast<std::size_t>(rows_) * shape_.n * output_bytes(format_);
    const auto product = [&](const DeviceBuffer<std::uint8_t>& out) {
      plan.launch(algorithm,
                  {activations.data(), weights.data(), out.data(), activation_scales.data(),
                   weight_scales.data()},
                  {});
      return out.values();
    };
    const DeviceBuffer<std::uint8_t> first(out_bytes), second(out_bytes);
    const std::vector<std::uint8_t> out = product(first);
    const std::string what = name_ + ", " + plan.algorithm_name(algorithm);
    CheckReport report =
        format_ == GemmFormat::int8
            ? CheckReport{what, static_cast<double>(differing(out, sample_, shape_.n)), 0, ""}
            : report_of(what, compared(out, format_ == GemmFormat::bf16_to_fp32, sample_, shape_.n),
                        operand_bytes(format_) == 2 ? 3e-3 : 5e-3);
    if (report.problem.empty() && out != product(second)) report.problem = "two runs differ";
    if (report.problem.empty() && !(first.guards_intact() && second.guards_intact()))
      report.problem = "wrote beyond the output";
    return report;
  }

  GemmFormat format_;
  GemmShape shape_;
  int rows_;
  std::string name_;
  RandomInputs draws_;
  Operand activations_, weights_;
  Sample sample_;
};

}  // namespace

std::vector<CheckReport> check_gemm(std::uint64_t seed, Scale scale) {
  CHECK(scale == Scale::device, "cuBLASLt has no emulation");
  constexpr int kAll = 1 << 20;  // samples: every element
  std::vector<CheckReport> reports;
  for (const GemmFormat format : {GemmFormat::bf16, GemmFormat::fp8, GemmFormat::fp8_block,
                                  GemmFormat::int8, GemmFormat::bf16_to_fp32}) {
    for (const int m : {1, 2, 7, 64, 129}) GemmCase(format, {m, 256, 640}, kAll, seed).run(reports);
    GemmCase(format, {257, 384, 1024}, kAll, seed).run(reports);
    GemmCase(format, {1, 6144, 4096}, 64, seed).run(reports);
    GemmCase(format, {1025, 4096, 4096}, 64, seed).run(reports);
  }
  return reports;
}

}  // namespace fleetsim::kernels
