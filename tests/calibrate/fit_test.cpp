// Fits: least squares, surfaces, and whole families of planted and of published measurements.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "calibrate/import.h"
#include "calibrate/least_squares.h"
#include "calibrate/operator_fit.h"
#include "calibrate/surface_fit.h"
#include "hw_models/fitted_file.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

double uniform(std::mt19937_64& draws) { return static_cast<double>(draws() >> 11) * 0x1p-53; }

/// GEMMs on a made-up GPU: floor, two rates, a bend along k, and a tooth above 256 rows.
double planted_seconds(const OperatorWork& work, bool tooth) {
  const double base = 4e-6 + std::max(work.flops / 600e12, work.bytes / 3e12);
  const double bend = 0.1 * std::log(work.at[2] / 128);
  return base * std::exp(bend) * (tooth && work.at[0] > 256 && work.at[0] < 400 ? 1.8 : 1);
}

MeasuredTable planted_table(GemmFormat format, bool tooth) {
  MeasuredTable table = {"h200-sxm", "made up", "a formula", "none", {}};
  for (const double m : {1.0, 8.0, 32.0, 128.0, 256.0, 257.0, 512.0, 1024.0, 4096.0})
    for (const double n : {128.0, 512.0, 2048.0, 4096.0, 8192.0, 16384.0})
      for (const double k : {128.0, 512.0, 2048.0, 4096.0, 8192.0, 16384.0}) {
        const GemmShape shape = {format, m, n, k};
        table.rows.push_back(
            {shape, planted_seconds(work_of(shape), tooth), "vllm", "planted", RowFlag::none});
      }
  return table;
}

}  // namespace

TEST_CASE("Non-negative least squares meets the optimality conditions on random problems") {
  std::mt19937_64 draws(11);
  int bound = 0;
  for (int problem = 0; problem < 200; ++problem) {
    const std::size_t count = 1 + static_cast<std::size_t>(draws() % 5), rows = 30;
    std::vector<std::vector<double>> columns(count, std::vector<double>(rows));
    std::vector<double> target(rows);
    for (auto& column : columns)
      for (double& value : column) value = uniform(draws) - 0.3;
    for (double& value : target) value = uniform(draws) - 0.5;
    const std::vector<double> x = non_negative_least_squares(columns, target);
    for (std::size_t j = 0; j < count; ++j) {
      double gradient = 0;  // of half the squares, downhill
      for (std::size_t i = 0; i < rows; ++i) {
        double left = target[i];
        for (std::size_t l = 0; l < count; ++l) left -= x[l] * columns[l][i];
        gradient += left * columns[j][i];
      }
      CHECK(x[j] >= 0);
      if (x[j] > 0) CHECK(std::abs(gradient) < 1e-9);
      if (x[j] == 0) {
        CHECK(gradient < 1e-9);
        ++bound;
      }
    }
  }
  CHECK(bound > 50);  // else the conditions at the bound were not tried
}

TEST_CASE("A column of zeros gets nothing, and one exact column is found") {
  const std::vector<double> x = non_negative_least_squares({{0, 0, 0}, {1, 2, 3}}, {2, 4, 6});
  CHECK(x[0] == 0);
  CHECK(x[1] == Approx(2));
}

TEST_CASE("Pooling adjacent violators gives rising values, and leaves rising ones alone") {
  CHECK(non_decreasing({1, 2, 3}, {1, 1, 1}) == std::vector<double>{1, 2, 3});
  CHECK(non_decreasing({3, 1, 2, 5}, {1, 1, 1, 1}) == std::vector<double>{2, 2, 2, 5});
  // what is not measured gives way
  const std::vector<double> pooled = non_decreasing({9, 1}, {1e-3, 1});
  CHECK(pooled[0] == pooled[1]);
  CHECK(pooled[0] == Approx(1).margin(0.01));
}

TEST_CASE("A planted surface is found from scattered points, outliers among them") {
  std::mt19937_64 draws(5);
  const auto planted = [](double x, double y) { return 0.3 * std::log(x) - 0.1 * std::log(y); };
  std::vector<SurfacePoint> points;
  for (int i = 0; i < 2000; ++i) {
    const double x = std::exp2(10 * uniform(draws)), y = std::exp2(8 * uniform(draws));
    points.push_back({{x, y}, planted(x, y) + (i % 40 == 0 ? 2.0 : 0.0)});
  }
  const LogSurface surface =
      fit_surface(points, {{"x", {1, 4, 16, 64, 256, 1024}}, {"y", {1, 8, 32, 256}}}, {});
  for (const double x : {1.5, 20.0, 700.0})
    for (const double y : {2.0, 30.0, 200.0}) {
      const LogSurface::Value value = surface.at({x, y});
      CHECK(std::log(value.factor) == Approx(planted(x, y)).margin(0.02));
      CHECK(value.place == LogSurface::Place::inside);
    }
}

TEST_CASE("Knots without points nearby are filled in and say that nothing was measured") {
  std::vector<SurfacePoint> points;
  for (int i = 0; i < 20; ++i) points.push_back({{1.0 + i}, 0.5});
  const LogSurface surface = fit_surface(points, {{"x", {1, 4, 16, 1024}}}, {});
  CHECK(surface.measured() == std::vector<char>{1, 1, 1, 0});
  CHECK(surface.ln_factor()[3] == Approx(0.5).margin(0.05));
}

TEST_CASE("A tooth is kept where a format has teeth, and times rise in rows where it has none") {
  const GpuSpec& gpu = *find_gpu("h200");
  const auto ratio = [&](GemmFormat format, bool tooth, double high, double low) {
    const GpuFit fit = fit_gpu(gpu, {planted_table(format, tooth)});
    const OperatorFamily* family = fit.fitted.find(family_of(GemmShape{format, 1, 1, 1}));
    REQUIRE(family != nullptr);
    const auto at = [&](double m) {
      return family->time(work_of(GemmShape{format, m, 4096, 4096})).time.value;
    };
    return at(high) / at(low);
  };
  CHECK(ratio(GemmFormat::fp8, true, 257, 256) > 1.6);
  CHECK(ratio(GemmFormat::fp8, true, 512, 257) < ratio(GemmFormat::fp8, false, 512, 257) / 1.5);
  CHECK(ratio(GemmFormat::bf16, true, 512, 256) >= 1);
}

TEST_CASE("A planted base form is found, and its family predicts the planted times") {
  const GpuFit fit = fit_gpu(*find_gpu("h200"), {planted_table(GemmFormat::bf16, false)});
  const OperatorFamily* family = fit.fitted.find("gemm/bf16");
  REQUIRE(family != nullptr);
  CHECK(family->quality.rows == 9 * 36);
  CHECK(family->quality.median_error < 0.01);
  CHECK(family->quality.held_out_rows > 0);
  CHECK(family->quality.held_out_median_error < 0.03);
  CHECK(family->floor_seconds == Approx(4e-6).epsilon(0.5));
  CHECK(family->flops_per_second <= 989e12 * (1 + 1e-5));
  CHECK(family->bytes_per_second <= 4800e9 * (1 + 1e-5));
}

TEST_CASE("A fit is the same bytes for rows in any order") {
  MeasuredTable table = planted_table(GemmFormat::fp8, true);
  const GpuSpec& gpu = *find_gpu("h200");
  const std::string text = fitted_text(fit_gpu(gpu, {table}).fitted);
  std::reverse(table.rows.begin(), table.rows.end());
  CHECK(fitted_text(fit_gpu(gpu, {table}).fitted) == text);
  CHECK(fitted_text(read_fitted(text, "again")) == text);
}

TEST_CASE("Flagged rows and kernels that the engine does not run stay out of a fit") {
  MeasuredTable table = planted_table(GemmFormat::bf16, false);
  const GpuSpec& gpu = *find_gpu("h200");
  const std::string clean = fitted_text(fit_gpu(gpu, {table}).fitted);
  MeasuredOperator wrong = table.rows.front();
  wrong.seconds *= 1000;
  wrong.flag = RowFlag::launch_bound;
  table.rows.push_back(wrong);
  wrong.flag = RowFlag::none;
  wrong.engine = "trtllm";  // vLLM's rows are preferred
  table.rows.push_back(wrong);
  const GpuFit fit = fit_gpu(gpu, {table});
  CHECK(fitted_text(fit.fitted) == clean);
  REQUIRE(fit.families.size() == 1);
  CHECK(fit.families.front().rows_of_other_kernels == 1);
}

TEST_CASE("Families without a table are parametric and say so") {
  const GpuFit fit = fit_gpu(*find_gpu("h200"), {});
  const OperatorFamily* int8 = fit.fitted.find("gemm/int8");
  REQUIRE(int8 != nullptr);
  CHECK(int8->time(work_of(GemmShape{GemmFormat::int8, 8, 4096, 4096})).provenance ==
        Provenance::parametric);
  CHECK(int8->source.find("no table") != std::string::npos);
}

TEST_CASE("The built-in all-reduce of an H200 is what its published table fits to, byte for byte") {
  const char* folder = std::getenv("FLEETSIM_DATA");
  const std::string table =
      std::string(folder != nullptr ? folder : FLEETSIM_SOURCE_DIR "/../shared/data") +
      "/aiconfigurator/custom_allreduce.csv";
  if (!std::filesystem::exists(table)) {
    WARN("skipped: " << table << " is not here");
    return;
  }
  const GpuSpec& gpu = *find_gpu("h200");
  Problems problems;
  Import import = import_tables(TableOwner::aiconfigurator, {table}, gpu, problems);
  INFO(problems.text());
  REQUIRE(problems.empty());
  const GpuFit fit = fit_gpu(gpu, {import.table});
  for (const char* name : {"all-reduce-custom/2", "all-reduce-custom/4", "all-reduce-custom/8"}) {
    const OperatorFamily* again = fit.fitted.find(name);
    const OperatorFamily* built_in = find_fitted("h200-sxm")->find(name);
    REQUIRE(again != nullptr);
    REQUIRE(built_in != nullptr);
    FittedGpu one, other;
    one.families = {*again};
    other.families = {*built_in};
    CHECK(fitted_text(one) == fitted_text(other));
  }
}
