// Base form, then surface, then honest scores.

#include "calibrate/operator_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <string_view>

#include "calibrate/knot_work.h"
#include "calibrate/least_squares.h"
#include "calibrate/row_flags.h"
#include "calibrate/shape_columns.h"
#include "calibrate/surface_fit.h"
#include "hw_models/check.h"
#include "hw_models/fitted_file.h"

namespace fleetsim {
namespace {

constexpr double kHuber = 0.1;        // relative error from which a row counts linearly in a base
constexpr double kBeyondKnots = 1.5;  // rows farther off, as a ratio, would bend the last knot

double middle_of(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = share * static_cast<double>(values.size() - 1);
  const std::size_t low = static_cast<std::size_t>(place);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (place - static_cast<double>(low)) * (values[high] - values[low]);
}

double base_of(const BaseForm& form, const OperatorWork& work) {
  const double compute = form.flops_per_second > 0 ? work.flops / form.flops_per_second : 0;
  const double memory = form.bytes_per_second > 0 ? work.bytes / form.bytes_per_second : 0;
  return form.floor_seconds + std::max(compute, memory);
}

double huber(double error) {
  return error < kHuber ? error * error : kHuber * (2 * error - kHuber);
}

/// One inner problem: each row on the side where `form` has it.
BaseForm step_of(const std::vector<FitRow>& rows, const BaseForm& form, const RateLimits& limits) {
  std::vector<std::vector<double>> columns(3, std::vector<double>(rows.size(), 0));
  std::vector<double> target(rows.size());
  const double least_flop = limits.flops_per_second > 0 ? 1 / limits.flops_per_second : 0;
  const double least_byte = limits.bytes_per_second > 0 ? 1 / limits.bytes_per_second : 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const OperatorWork& work = rows[i].work;
    const double error = std::abs(base_of(form, work) / rows[i].seconds - 1);
    const double weight = error > kHuber ? std::sqrt(kHuber / error) : 1;
    const double scale = weight / rows[i].seconds;
    const bool computes = form.flops_per_second > 0 &&
                          (form.bytes_per_second <= 0 ||
                           work.flops / form.flops_per_second > work.bytes / form.bytes_per_second);
    columns[0][i] = scale;
    columns[computes ? 1 : 2][i] = scale * (computes ? work.flops : work.bytes);
    target[i] = weight - columns[1][i] * least_flop - columns[2][i] * least_byte;
    if (limits.bytes_are_known) columns[2][i] = 0;
  }
  const std::vector<double> found = non_negative_least_squares(columns, target);
  const double per_flop = found[1] + least_flop;
  const double per_byte = limits.bytes_are_known ? least_byte : found[2] + least_byte;
  const auto used = [](const std::vector<double>& column) {
    return std::any_of(column.begin(), column.end(), [](double value) { return value > 0; });
  };
  BaseForm next = form;  // a side without rows keeps its rate
  next.floor_seconds = found[0];
  if (used(columns[1]) && per_flop > 0) next.flops_per_second = 1 / per_flop;
  if (limits.bytes_are_known) {
    next.bytes_per_second = limits.bytes_per_second;
  } else if (used(columns[2]) && per_byte > 0) {
    next.bytes_per_second = 1 / per_byte;
  }
  return next;
}

/// Times at the first and the last percentiles of efficiency set the scale to start from.
double best_rate(const std::vector<FitRow>& rows, double OperatorWork::*work) {
  std::vector<double> rates;
  for (const FitRow& row : rows)
    if (row.work.*work > 0) rates.push_back(row.work.*work / row.seconds);
  return middle_of(std::move(rates), 0.95);
}

std::uint64_t mixed(std::uint64_t state, double number) {
  state += 0x9e3779b97f4a7c15u + std::bit_cast<std::uint64_t>(number);
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
  state = (state ^ (state >> 27)) * 0x94d049bb133111ebu;
  return state ^ (state >> 31);
}

/// What makes a site, and how it is called in the file.
struct Site {
  std::vector<double> numbers;
  const char* name;
};
struct SiteOf {
  Site operator()(const GemmShape& s) const { return {{s.n, s.k}, "every fifth (n, k) site"}; }
  Site operator()(const ExpertsShape& s) const {
    return {{s.hidden, s.experts, s.experts_per_token},
            "every fifth (hidden, experts, experts_per_token) site"};
  }
  Site operator()(const DecodeAttentionShape& s) const {
    return {{s.query_heads, s.kv_heads}, "every fifth (query heads, KV heads) site"};
  }
  Site operator()(const PrefillAttentionShape& s) const {
    if (s.decodes > 0)
      return {{s.decodes, s.decode_context}, "every fifth (decodes, context) site"};
    return {{s.query_heads, s.kv_heads}, "every fifth (query heads, KV heads) site"};
  }
  Site operator()(const LatentDecodeShape& s) const {
    return {{s.batch, s.context}, "every fifth (batch, context) site"};
  }
  Site operator()(const LatentPrefillShape& s) const {
    return {{s.requests, s.queries}, "every fifth (requests, queries) site"};
  }
  Site operator()(const CollectiveShape& s) const { return {{s.bytes}, "every fifth size"}; }
  Site operator()(const ElementwiseShape& s) const { return {{s.bytes}, "every fifth size"}; }
};

std::uint64_t site_hash(const OperatorShape& shape) {
  const Site site = std::visit(SiteOf{}, shape);
  std::uint64_t state = 0;
  for (const double number : site.numbers) state = mixed(state, number);
  return state;
}

/// Sites dealt out to folds in the order of their hashes, so that no fold is empty.
class Folds {
 public:
  explicit Folds(const std::vector<FitRow>& rows) {
    for (const FitRow& row : rows) fold_.emplace(site_hash(row.shape), 0);
    std::int64_t place = 0;
    for (auto& [hash, fold] : fold_) fold = place++ % kFolds;
  }
  std::int64_t sites() const { return static_cast<std::int64_t>(fold_.size()); }
  std::int64_t count() const { return std::min(sites(), kFolds); }
  std::int64_t of(const OperatorShape& shape) const { return fold_.at(site_hash(shape)); }

 private:
  std::map<std::uint64_t, std::int64_t> fold_;
};

bool is_on_grid(const OperatorWork& work, const std::vector<LogSurface::Axis>& axes) {
  for (std::size_t a = 0; a < axes.size(); ++a)
    if (work.at[a] < axes[a].knots.front() / kBeyondKnots ||
        work.at[a] > axes[a].knots.back() * kBeyondKnots)
      return false;
  return true;
}

/// Knots that nothing is measured around make a surface dearer, not better.
std::vector<LogSurface::Axis> trimmed(std::vector<LogSurface::Axis> axes,
                                      const std::vector<FitRow>& rows) {
  for (std::size_t a = 0; a < axes.size(); ++a) {
    double low = rows.front().work.at[a], high = low;
    for (const FitRow& row : rows) {
      low = std::min(low, row.work.at[a]);
      high = std::max(high, row.work.at[a]);
    }
    std::vector<double>& knots = axes[a].knots;
    while (knots.size() > 1 && knots[1] <= low) knots.erase(knots.begin());
    while (knots.size() > 1 && knots[knots.size() - 2] >= high) knots.pop_back();
  }
  return axes;
}

/// Behind the last measured knot of a line along the last axis the surface is flat, which also
/// keeps files small.
LogSurface flat_tails(const LogSurface& surface) {
  std::vector<double> ln_factor = surface.ln_factor();
  const std::size_t row = surface.axes().back().knots.size();
  for (std::size_t begin = 0; begin < ln_factor.size(); begin += row) {
    std::size_t known = row;
    while (known > 1 && surface.measured()[begin + known - 1] == 0) --known;
    for (std::size_t i = known; i < row; ++i) ln_factor[begin + i] = ln_factor[begin + i - 1];
  }
  return {surface.axes(), std::move(ln_factor), surface.measured()};
}

LogSurface monotone(const std::string& name, LogSurface surface, const OperatorFamily& family) {
  const std::vector<std::size_t> along = monotone_axes(name);
  if (along.empty()) return surface;
  std::vector<double> ln_base;
  const std::vector<LogSurface::Axis>& axes = surface.axes();
  for (std::size_t i = 0; i < surface.ln_factor().size(); ++i) {
    std::array<double, kMostAxes> at = {};
    std::size_t rest = i;
    for (std::size_t a = axes.size(); a-- > 0;) {
      at[a] = axes[a].knots[rest % axes[a].knots.size()];
      rest /= axes[a].knots.size();
    }
    const auto work = work_at(name, at);
    CHECK(work.has_value(), name);
    ln_base.push_back(std::log(family.base_seconds(*work)));
  }
  // one axis after the other disturbs the one before a little less each time
  constexpr int kSweeps = 3;
  for (int sweep = 0; sweep < kSweeps; ++sweep)
    for (const std::size_t axis : along)
      if (axis < axes.size()) surface = made_monotone(surface, ln_base, axis);
  return surface;
}

/// Without quality.
OperatorFamily family_from(const std::string& name, const std::vector<FitRow>& rows,
                           const RateLimits& limits, const std::vector<LogSurface::Axis>& axes) {
  OperatorFamily family;
  family.name = name;
  family.flop_limit = limits.flops_per_second;
  family.byte_limit = limits.datasheet_bytes_per_second;
  const BaseForm base = fit_base(rows, limits);
  family.floor_seconds = base.floor_seconds;
  family.flops_per_second = base.flops_per_second;
  family.bytes_per_second = base.bytes_per_second;
  round_as_in_file(family);  // before the surface, which then takes the rounding up
  std::vector<SurfacePoint> points;
  for (const FitRow& row : rows)
    points.push_back({row.work.at, std::log(row.seconds / family.base_seconds(row.work))});
  family.surface = monotone(name, flat_tails(fit_surface(points, axes, {})), family);
  round_as_in_file(family);
  return family;
}

std::vector<double> errors_of(const OperatorFamily& family, const std::vector<FitRow>& rows) {
  std::vector<double> errors;
  for (const FitRow& row : rows)
    errors.push_back(std::abs(family.time(row.work).time.value / row.seconds - 1));
  return errors;
}

/// Which implementation stands for a family, where several were measured: words that engine or
/// kernel must be, best first.
struct KernelChoice {
  std::string_view family;  // how its name begins
  std::vector<std::string_view> engines;
  std::string_view kernel;   // empty: any
  std::string_view without;  // part of names of kernels that do not count; empty: all do
};
const std::vector<KernelChoice>& kernel_choices() {
  static const std::vector<KernelChoice> choices = {
      // vLLM's rows hold the host's launch; its kernels (DeepGEMM, CUTLASS) are the other's
      {"gemm/fp8-block", {"trtllm"}, "", ""},
      // decodes run in graphs
      {"all-reduce-custom/", {"vllm"}, "vllm_graph", ""},
      // a fall-back to Marlin with another activation than the model's: GPT-OSS runs Triton's
      // kernel on Hopper and TensorRT-LLM's on Blackwell, int4 weights run Marlin
      {"experts/w4a16", {"vllm"}, "", "w4a4mxfp4moe_marlin"},
      {"", {"vllm", "trtllm", "nccl", "sglang"}, "", ""},
      // cuBLASLt's first choice is what PyTorch takes; the best of eight is not
      {"gemm/", {"fleetsim-kernels"}, "gemm top", ""},
  };
  return choices;
}

struct TableRow {
  FitRow row;
  std::string engine, kernel, source;
};

/// Rows of the implementation to fit.
std::vector<TableRow> chosen_rows(const std::string& family, const std::vector<TableRow>& rows) {
  for (const KernelChoice& choice : kernel_choices()) {
    if (!family.starts_with(choice.family)) continue;
    for (const std::string_view engine : choice.engines) {
      std::vector<TableRow> chosen;
      for (const TableRow& row : rows)
        if (row.engine == engine && (choice.kernel.empty() || row.kernel == choice.kernel) &&
            (choice.without.empty() || row.kernel.find(choice.without) == std::string::npos))
          chosen.push_back(row);
      if (static_cast<std::int64_t>(chosen.size()) >= kLeastRows) return chosen;
    }
  }
  return rows;
}

/// "vllm (torch.nn.functional.linear); REPOSITORY ..."
std::string source_of(const std::vector<TableRow>& rows) {
  std::set<std::string> names, sources;
  for (const TableRow& row : rows) {
    names.insert(row.kernel.empty() ? row.engine : row.engine + " " + row.kernel);
    sources.insert(row.source);
  }
  return fmt::format("{}; {}", fmt::join(names, ", "), fmt::join(sources, "; "));
}

OperatorFamily parametric(const OperatorShape& shape, const GpuSpec& gpu, double flop_share,
                          double byte_share, const std::string& source) {
  OperatorFamily family;
  family.name = family_of(shape);
  family.source = source;
  const RateLimits limits = rate_limits(shape, gpu);
  family.floor_seconds = gpu.gemm_floor.value;
  family.flops_per_second = flop_share * limits.flops_per_second;
  family.bytes_per_second = byte_share * limits.bytes_per_second;
  family.flop_limit = limits.flops_per_second;
  family.byte_limit = limits.datasheet_bytes_per_second;
  round_as_in_file(family);
  return family;
}

void add_parametric(const GpuSpec& gpu, FittedGpu& fitted) {
  const auto missing = [&](const OperatorShape& shape) {
    return std::none_of(fitted.families.begin(), fitted.families.end(),
                        [&](const OperatorFamily& f) { return f.name == family_of(shape); });
  };
  const GemmShape w4a16 = {GemmFormat::w4a16, 1, 1, 1};
  if (missing(w4a16))
    fitted.families.push_back(
        parametric(w4a16, gpu, gpu.gemm_efficiency, gpu.gemm_bandwidth_share,
                   "no table: the GPU's bf16 shares (gpus/*.yaml), weights of half a byte"));
  const GemmShape int8 = {GemmFormat::int8, 1, 1, 1};
  if (gpu.has(NumberFormat::int8) && missing(int8))
    fitted.families.push_back(parametric(int8, gpu, gpu.gemm_efficiency_at(NumberFormat::int8),
                                         gpu.gemm_bandwidth_share,
                                         "no table: the GPU's int8 shares (gpus/*.yaml)"));
  if (missing(ElementwiseShape{}))
    fitted.families.push_back(
        parametric(ElementwiseShape{}, gpu, 0, gpu.attention_bandwidth_share,
                   "no table: a graph's smallest node and the best read rate (gpus/*.yaml)"));
}

/// The fitted decode family of a prefill family's kernel, the one without a window; nullptr when
/// there is none or the family is no prefill.
const OperatorFamily* decode_of(const std::string& name, const FittedGpu& fitted) {
  const std::size_t place = name.find("prefill");
  if (place == std::string::npos) return nullptr;
  std::string decode = name;
  decode.replace(place, std::string_view("prefill").size(), "decode");
  if (decode.ends_with("/windowed"))
    decode.resize(decode.size() - std::string_view("/windowed").size());
  return fitted.find(decode);
}

}  // namespace

BaseForm fit_base(const std::vector<FitRow>& rows, const RateLimits& limits) {
  CHECK(!rows.empty(), "rows");
  std::vector<double> times;
  for (const FitRow& row : rows) times.push_back(row.seconds);
  BaseForm best;
  double best_loss = -1;
  // the outer search: from a compute- and from a memory-leaning start
  for (const double lean : {1.0, 2.0, 0.5}) {
    BaseForm form;
    form.floor_seconds = middle_of(times, 0.01);
    form.flops_per_second = best_rate(rows, &OperatorWork::flops) * lean;
    form.bytes_per_second = limits.bytes_are_known ? limits.bytes_per_second
                                                   : best_rate(rows, &OperatorWork::bytes) / lean;
    constexpr int kSteps = 25;
    for (int step = 0; step < kSteps; ++step) {
      form = step_of(rows, form, limits);
      double loss = 0;
      for (const FitRow& row : rows)
        loss += huber(std::abs(base_of(form, row.work) / row.seconds - 1));
      if (best_loss < 0 || loss < best_loss) {
        best = form;
        best_loss = loss;
      }
    }
  }
  return best;
}

RateLimits rate_limits(const OperatorShape& shape, const GpuSpec& gpu) {
  const DatasheetFloor floor = datasheet_floor(shape, gpu);
  RateLimits limits;
  if (floor.compute > 0) limits.flops_per_second = work_of(shape).flops / floor.compute;
  limits.bytes_per_second = gpu.memory_bandwidth.value;
  if (std::holds_alternative<CollectiveShape>(shape))
    limits.bytes_per_second = gpu.nvlink_per_direction ? gpu.nvlink_per_direction->value : 0;
  // a decode in a mixed call counts its keys once a query head, most of which the cache serves
  const auto* prefill = std::get_if<PrefillAttentionShape>(&shape);
  if (prefill != nullptr && prefill->decodes > 0) limits.bytes_per_second = 0;
  limits.datasheet_bytes_per_second = limits.bytes_per_second;
  return limits;
}

bool is_held_out(const OperatorShape& shape) { return site_hash(shape) % kFolds == 0; }

FittedFamily fit_family(const std::string& name, const std::vector<FitRow>& rows,
                        const RateLimits& limits, KeptOut kept_out) {
  FittedFamily result;
  std::vector<FitRow> all, skewed;
  for (const FitRow& row : rows) {
    const auto* experts = std::get_if<ExpertsShape>(&row.shape);
    if (experts != nullptr && experts->skew > 0) {
      skewed.push_back(row);
      continue;
    }
    if (!is_on_grid(row.work, knots_of(name))) {
      ++result.rows_off_grid;
      continue;
    }
    all.push_back(row);
  }
  CHECK(!all.empty(), name);
  const std::vector<LogSurface::Axis> axes = trimmed(knots_of(name), all);
  result.family = family_from(name, all, limits, axes);
  FitQuality& quality = result.family.quality;
  quality.rows = static_cast<std::int64_t>(all.size());
  const std::vector<double> errors = errors_of(result.family, all);
  quality.median_error = middle_of(errors, 0.5);
  quality.p90_error = middle_of(errors, 0.9);
  if (!skewed.empty()) {
    const std::vector<double> off = errors_of(result.family, skewed);
    result.skewed = fmt::format("skewed routing, not fitted: {} rows, median {:.3g}, p90 {:.3g}",
                                off.size(), middle_of(off, 0.5), middle_of(off, 0.9));
  }
  const Folds folds(all);
  result.sites = folds.sites();
  const auto score = [&](const auto& is_out) {
    std::vector<FitRow> seen, unseen;
    for (const FitRow& row : all) (is_out(row.shape) ? unseen : seen).push_back(row);
    if (seen.empty() || unseen.empty()) return;
    const OperatorFamily blind = family_from(name, seen, limits, axes);
    for (const FitRow& row : unseen)
      result.kept_out.push_back({row.shape, row.seconds, blind.time(row.work).time.value});
  };
  if (kept_out == KeptOut::held_out) {
    score(is_held_out);
    std::vector<double> blind;
    for (const KeptOutRow& row : result.kept_out)
      blind.push_back(std::abs(row.predicted_seconds / row.measured_seconds - 1));
    if (!blind.empty()) {
      quality.held_out = std::visit(SiteOf{}, all.front().shape).name;
      quality.held_out_rows = static_cast<std::int64_t>(blind.size());
      quality.held_out_median_error = middle_of(blind, 0.5);
      quality.held_out_p90_error = middle_of(blind, 0.9);
    }
  } else {
    for (std::int64_t fold = 0; fold < folds.count(); ++fold)
      score([&](const OperatorShape& shape) { return folds.of(shape) == fold; });
  }
  round_as_in_file(result.family);
  return result;
}

GpuFit fit_gpu(const GpuSpec& gpu, const std::vector<MeasuredTable>& tables, KeptOut kept_out) {
  std::map<std::string, std::vector<TableRow>> by_family;
  std::set<std::string> origins;
  for (const MeasuredTable& table : tables) {
    CHECK(table.gpu == gpu.name, table.gpu);
    origins.insert(fmt::format("{} ({})", table.source, table.licence));
    for (const MeasuredOperator& row : table.rows)
      if (row.flag == RowFlag::none)
        by_family[family_of(row.shape)].push_back(
            {{row.shape, work_of(row.shape), row.seconds}, row.engine, row.kernel, table.owner});
  }
  GpuFit fit;
  fit.fitted.gpu = gpu.name;
  fit.fitted.provenance = fmt::format("{}", fmt::join(origins, "; "));
  for (auto& [name, rows] : by_family) {
    std::sort(rows.begin(), rows.end(), [](const TableRow& a, const TableRow& b) {
      return std::make_tuple(numbers_of(a.row.shape), a.row.seconds, std::tie(a.engine, a.kernel)) <
             std::make_tuple(numbers_of(b.row.shape), b.row.seconds, std::tie(b.engine, b.kernel));
    });
    const std::vector<TableRow> chosen = chosen_rows(name, rows);
    if (static_cast<std::int64_t>(chosen.size()) < kLeastRows) {
      fit.too_few_rows.push_back(name);
      continue;
    }
    std::vector<FitRow> plain;
    for (const TableRow& row : chosen) plain.push_back(row.row);
    RateLimits limits = rate_limits(plain.front().shape, gpu);
    // Few prompts are bound by bytes, so their rate is the one at which the same kernel's decodes
    // read (fitted before: names ascend).
    if (const OperatorFamily* decode = decode_of(name, fit.fitted)) {
      limits.bytes_per_second = decode->bytes_per_second;
      limits.bytes_are_known = true;
    }
    FittedFamily family = fit_family(name, plain, limits, kept_out);
    family.rows_of_other_kernels = static_cast<std::int64_t>(rows.size() - chosen.size());
    family.family.source = source_of(chosen);
    if (!family.skewed.empty()) family.family.source += "; " + family.skewed;
    fit.fitted.families.push_back(family.family);
    fit.families.push_back(std::move(family));
  }
  add_parametric(gpu, fit.fitted);
  std::sort(fit.fitted.families.begin(), fit.fitted.families.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return fit;
}

}  // namespace fleetsim
