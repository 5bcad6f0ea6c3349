// Rules look at rows only, never at names of files or kernels: the next version of a table may have
// mended what this one has wrong.

#include "calibrate/row_flags.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "calibrate/shape_columns.h"
#include "hw_models/operator_shapes.h"

namespace fleetsim {
namespace {

/// Operands up to this many times the L2 cache stay in it in part (kernels-and-cost-models §2.4).
constexpr double kWarmReach = 1.5;
/// GPUs clock above the datasheet's tensor clock when power allows: 1980 of 1830 MHz on H100.
constexpr double kBoost = 1.10;
/// The fastest call of a GEMM or an element-wise kernel may take this many nodes of a graph: vLLM's
/// eager fp8-block GEMMs take 22 to 84 (55 to 151 us), TensorRT-LLM's fp8 with its separate
/// quantisation 5 to 7 (12 us).
constexpr double kLaunchNodes = 10;
/// Collectives wait for each other and are long anyway: they are held to the fastest implementation
/// of the same collective. Eager ones take 5 to 12 times as long, graphs at most 2.
constexpr double kLaunchCollectives = 4;
/// A call of this many times the fastest hides its launch behind the device's work: at 8 x 150 us
/// vLLM's fp8-block rows agree with TensorRT-LLM's.
constexpr double kLaunchReach = 8;
/// A fastest call within this many times its datasheet time is slow because of its work.
constexpr double kWorkReach = 4;
constexpr double kStreamingShare = 1.0 / 3;
/// A kernel with rows under the floor at this share of its sites is wrong altogether.
constexpr double kWrongKernelShare = 0.25;

NumberFormat math_of(GemmFormat format) {
  switch (format) {
    case GemmFormat::bf16:
    case GemmFormat::w4a16:
      return NumberFormat::bf16;
    case GemmFormat::fp8:
    case GemmFormat::fp8_block:
    case GemmFormat::w4a8:
      return NumberFormat::fp8;
    case GemmFormat::nvfp4:
      return NumberFormat::fp4;
    case GemmFormat::int8:
      return NumberFormat::int8;
  }
  return NumberFormat::bf16;
}

/// The fastest format in which the call may multiply.
NumberFormat math_of(const OperatorShape& shape) {
  if (const auto* gemm = std::get_if<GemmShape>(&shape)) return math_of(gemm->format);
  if (const auto* experts = std::get_if<ExpertsShape>(&shape)) return math_of(experts->format);
  double element = 2;
  if (const auto* decode = std::get_if<DecodeAttentionShape>(&shape))
    element = decode->kv_element_bytes;
  if (const auto* prefill = std::get_if<PrefillAttentionShape>(&shape))
    element = prefill->kv_element_bytes;
  if (const auto* decode = std::get_if<LatentDecodeShape>(&shape))
    element = decode->kv_element_bytes;
  if (const auto* prefill = std::get_if<LatentPrefillShape>(&shape))
    element = prefill->kv_element_bytes;
  return element < 2 ? NumberFormat::fp8 : NumberFormat::bf16;
}

using Row = MeasuredOperator;

bool same_call(const Row& a, const Row& b) {
  return a.shape.index() == b.shape.index() && numbers_of(a.shape) == numbers_of(b.shape) &&
         a.engine == b.engine && a.kernel == b.kernel;
}

/// FNV-1a over words; rows of the same call have the same. Only groups follow from it, no order.
std::uint64_t call_hash(const Row& row) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto mix = [&](std::uint64_t word) {
    hash = (hash ^ word) * 0x100000001b3u;
    hash ^= hash >> 29;
  };
  mix(row.shape.index());
  for (const double number : numbers_of(row.shape)) mix(std::bit_cast<std::uint64_t>(number));
  for (const std::string* text : {&row.engine, &row.kernel})
    for (const char c : *text) mix(static_cast<unsigned char>(c));
  return hash;
}

/// The middle of the times; their order is lost.
double median_of(std::vector<double>& times) {
  std::sort(times.begin(), times.end());
  const std::size_t middle = times.size() / 2;
  return times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
}

/// Same calls among `group`, which ascends in rows: the first keeps the median.
void merge_same(std::vector<Row>& rows, std::vector<std::size_t> group) {
  while (group.size() > 1) {
    Row& first = rows[group.front()];
    std::vector<double> times = {first.seconds};
    std::vector<std::size_t> others;
    for (std::size_t i = 1; i < group.size(); ++i) {
      Row& row = rows[group[i]];
      if (!same_call(first, row)) {
        others.push_back(group[i]);
        continue;
      }
      times.push_back(row.seconds);
      if (row.flag == RowFlag::none) row.flag = RowFlag::repeated;
    }
    first.seconds = median_of(times);
    group = std::move(others);
  }
}

void flag_repeated(std::vector<Row>& rows) {
  std::vector<std::pair<std::uint64_t, std::size_t>> calls;  // hash, row
  calls.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) calls.emplace_back(call_hash(rows[i]), i);
  std::sort(calls.begin(), calls.end());
  for (std::size_t begin = 0, end = 0; begin < calls.size(); begin = end) {
    std::vector<std::size_t> group;
    for (; end < calls.size() && calls[end].first == calls[begin].first; ++end)
      group.push_back(calls[end].second);
    merge_same(rows, std::move(group));
  }
}

void flag_floors(std::vector<Row>& rows, const GpuSpec& gpu) {
  for (Row& row : rows) {
    if (row.flag != RowFlag::none) continue;
    const DatasheetFloor floor = datasheet_floor(row.shape, gpu);
    const auto* experts = std::get_if<ExpertsShape>(&row.shape);
    const bool bytes_known = experts == nullptr || experts->skew == 0;
    if (row.seconds < floor.compute / kBoost) {
      row.flag = RowFlag::under_floor;
    } else if (bytes_known && row.seconds < floor.memory) {
      const bool fits = floor.bytes < kWarmReach * gpu.l2_bytes &&
                        !std::holds_alternative<CollectiveShape>(row.shape);
      row.flag = fits ? RowFlag::warm_l2 : RowFlag::under_floor;
    }
  }
}

/// Experts of one model by one engine, whatever the split over GPUs (which a shape does not tell
/// from a narrower model: ffn and local experts are left out).
using ExpertsSite = std::tuple<std::string, double, double, double>;  // engine, hidden, E, k
ExpertsSite site_of(const Row& row, const ExpertsShape& shape) {
  return {row.engine, shape.hidden, shape.experts, shape.experts_per_token};
}

void flag_experts(std::vector<Row>& rows) {
  using Kernel = std::tuple<std::string, std::string, GemmFormat>;
  std::map<Kernel, std::set<ExpertsSite>> sites, wrong_sites;
  const auto each = [&](const auto& visit) {
    for (Row& row : rows)
      if (const auto* shape = std::get_if<ExpertsShape>(&row.shape))
        visit(row, Kernel{row.engine, row.kernel, shape->format}, site_of(row, *shape));
  };
  each([&](Row& row, const Kernel& kernel, const ExpertsSite& site) {
    sites[kernel].insert(site);
    if (row.flag == RowFlag::under_floor) wrong_sites[kernel].insert(site);
  });
  std::set<Kernel> wrong_kernels;
  std::set<ExpertsSite> distrusted;
  for (const auto& [kernel, wrong] : wrong_sites) {
    const double share =
        static_cast<double>(wrong.size()) / static_cast<double>(sites[kernel].size());
    if (sites[kernel].size() > 1 && share >= kWrongKernelShare) {
      wrong_kernels.insert(kernel);
    } else {
      distrusted.insert(wrong.begin(), wrong.end());
    }
  }
  each([&](Row& row, const Kernel& kernel, const ExpertsSite& site) {
    if (row.flag == RowFlag::none &&
        (wrong_kernels.count(kernel) > 0 || distrusted.count(site) > 0))
      row.flag = RowFlag::not_modelled;
  });
}

/// Rows that share an implementation: how a fit would tell them apart.
using Implementation = std::tuple<std::size_t, std::string, std::string, int, double>;
Implementation implementation_of(const Row& row) {
  int variant = 0;
  double gpus = 0;
  if (const auto* gemm = std::get_if<GemmShape>(&row.shape))
    variant = static_cast<int>(gemm->format);
  if (const auto* collective = std::get_if<CollectiveShape>(&row.shape)) {
    variant = static_cast<int>(collective->collective);
    gpus = collective->gpus;
  }
  return {row.shape.index(), row.engine, row.kernel, variant, gpus};
}

void flag_slow_streams(std::vector<Row>& rows, const GpuSpec& gpu) {
  std::map<Implementation, double> best;  // bytes a second
  const auto each = [&](const auto& visit) {
    for (Row& row : rows)
      if (const auto* shape = std::get_if<ElementwiseShape>(&row.shape);
          shape != nullptr && row.flag == RowFlag::none)
        visit(row, best[implementation_of(row)], shape->bytes / row.seconds);
  };
  each([](Row&, double& most, double rate) { most = std::max(most, rate); });
  each([&](Row& row, double most, double) {
    if (most < kStreamingShare * gpu.memory_bandwidth.value) row.flag = RowFlag::not_modelled;
  });
}

void flag_launch_bound(std::vector<Row>& rows, const GpuSpec& gpu) {
  struct Fastest {
    double seconds = 0;
    double floor = 0;  // of that call
  };
  std::map<Implementation, Fastest> fastest;
  std::map<std::pair<Collective, double>, double> best_collective;
  const auto applies = [](const Row& row) {
    return row.flag == RowFlag::none && (std::holds_alternative<GemmShape>(row.shape) ||
                                         std::holds_alternative<ElementwiseShape>(row.shape) ||
                                         std::holds_alternative<CollectiveShape>(row.shape));
  };
  for (const Row& row : rows) {
    if (!applies(row)) continue;
    Fastest& known = fastest[implementation_of(row)];
    if (known.seconds > 0 && known.seconds <= row.seconds) continue;
    const DatasheetFloor floor = datasheet_floor(row.shape, gpu);
    const bool has_peak = floor.compute > 0 || !std::holds_alternative<GemmShape>(row.shape);
    known = {row.seconds, has_peak ? std::max(floor.compute, floor.memory)
                                   : row.seconds};  // nothing to judge by
    if (const auto* collective = std::get_if<CollectiveShape>(&row.shape)) {
      double& best = best_collective[{collective->collective, collective->gpus}];
      best = best > 0 ? std::min(best, row.seconds) : row.seconds;
    }
  }
  for (Row& row : rows) {
    if (!applies(row)) continue;
    const Fastest& known = fastest[implementation_of(row)];
    const auto* collective = std::get_if<CollectiveShape>(&row.shape);
    const double usual =
        collective != nullptr
            ? kLaunchCollectives * best_collective[{collective->collective, collective->gpus}]
            : kLaunchNodes * gpu.gemm_floor.value;
    const bool bound =
        known.seconds > usual && known.seconds > usual / 2 + kWorkReach * known.floor;
    if (bound && row.seconds < kLaunchReach * known.seconds) row.flag = RowFlag::launch_bound;
  }
}

}  // namespace

DatasheetFloor datasheet_floor(const OperatorShape& shape, const GpuSpec& gpu) {
  DatasheetFloor floor;
  if (const auto* collective = std::get_if<CollectiveShape>(&shape)) {
    floor.bytes = collective->bytes * (collective->gpus - 1) / collective->gpus;
    if (gpu.nvlink_per_direction) floor.memory = floor.bytes / gpu.nvlink_per_direction->value;
    return floor;
  }
  OperatorShape judged = shape;
  // FLOPs do not depend on the skew, and bytes are not known with it
  if (auto* experts = std::get_if<ExpertsShape>(&judged)) experts->skew = 0;
  // decodes beside a chunk read their keys once at least, however often a kernel does
  OperatorWork decodes;
  if (auto* prefill = std::get_if<PrefillAttentionShape>(&judged);
      prefill && prefill->decodes > 0) {
    decodes = work_of(DecodeAttentionShape{
        prefill->backend, prefill->kv_element_bytes, prefill->decodes, prefill->decode_context,
        prefill->query_heads, prefill->kv_heads, prefill->head_dim, prefill->windowed});
    prefill->decodes = 0;
  }
  OperatorWork work = work_of(judged);
  work.flops += decodes.flops;
  work.bytes += decodes.bytes;
  const auto peak = gpu.dense_peak.find(math_of(shape));
  if (peak != gpu.dense_peak.end()) floor.compute = work.flops / peak->second.value;
  floor.bytes = work.bytes;
  floor.memory = work.bytes / gpu.memory_bandwidth.value;
  return floor;
}

void flag_rows(std::vector<MeasuredOperator>& rows, const GpuSpec& gpu) {
  flag_repeated(rows);
  flag_floors(rows, gpu);
  flag_experts(rows);
  flag_slow_streams(rows, gpu);
  flag_launch_bound(rows, gpu);
}

}  // namespace fleetsim
