#include "kernels/measure/physical_floor.h"

#include <algorithm>

#include "kernels/measure/work.h"

namespace fleetsim::kernels {
namespace {

/// Nanoseconds for `amount` at `rate` units of 10^9 (bytes) or 10^12 (FLOPs) a second; 0 when the
/// rate was not measured.
double at_gb_s(double bytes, double gb_s) { return gb_s > 0 ? bytes / gb_s : 0; }
double at_tflop_s(double flops, double tflop_s) { return tflop_s > 0 ? flops / tflop_s / 1e3 : 0; }

/// Tensor cores do fp8 (and int8) at twice bf16's rate on every GPU that has it: a GPU without fp8
/// is given that for its int8.
double math_ceiling(MathRate rate, const Ceilings& ceilings) {
  if (rate == MathRate::plain) return 0;  // bounded by its bytes long before its arithmetic
  if (rate == MathRate::bf16) return ceilings.bf16_tflop_s;
  return ceilings.fp8_tflop_s > 0 ? ceilings.fp8_tflop_s : 2 * ceilings.bf16_tflop_s;
}

double link_ceiling(Link link, const Ceilings& ceilings) {
  switch (link) {
    case Link::host_to_device:
      return ceilings.h2d_gb_s;
    case Link::device_to_host:
      return ceilings.d2h_gb_s;
    case Link::both_ways:
      return ceilings.both_ways_gb_s;
    case Link::none:
    case Link::peers:  // no ceiling of it is measured
      return 0;
  }
  return 0;
}

}  // namespace

const std::vector<CeilingFigure>& ceiling_figures() {
  static const std::vector<CeilingFigure> figures = {
      {"hbm_read_gb_s", &Ceilings::hbm_read_gb_s},
      {"hbm_write_gb_s", &Ceilings::hbm_write_gb_s},
      {"hbm_copy_gb_s", &Ceilings::hbm_copy_gb_s},
      {"bf16_tflop_s", &Ceilings::bf16_tflop_s},
      {"fp8_tflop_s", &Ceilings::fp8_tflop_s},
      {"h2d_gb_s", &Ceilings::h2d_gb_s},
      {"d2h_gb_s", &Ceilings::d2h_gb_s},
      {"both_ways_gb_s", &Ceilings::both_ways_gb_s},
      {"launch_us", &Ceilings::launch_us},
      {"graph_launch_us", &Ceilings::graph_launch_us},
      {"node_us", &Ceilings::node_us},
  };
  return figures;
}

void add_ceiling(Ceilings& ceilings, const MeasuredRow& row) {
  if (row.point.op() != "ceiling") return;
  const std::string& kind = row.point.word("kind");
  const Work work = work_of(row.point);
  const double ns = static_cast<double>(row.median_ns);
  const auto highest = [](double& best, double rate) { best = std::max(best, rate); };
  const auto lowest = [](double& best, double time) {
    best = best == 0 ? time : std::min(best, time);
  };
  if (kind == "read") highest(ceilings.hbm_read_gb_s, work.bytes / ns);
  if (kind == "write") highest(ceilings.hbm_write_gb_s, work.bytes / ns);
  if (kind == "copy") highest(ceilings.hbm_copy_gb_s, work.bytes / ns);
  if (kind == "gemm_bf16") highest(ceilings.bf16_tflop_s, work.flops / ns / 1e3);
  if (kind == "gemm_fp8") highest(ceilings.fp8_tflop_s, work.flops / ns / 1e3);
  if (kind == "host_to_device") highest(ceilings.h2d_gb_s, work.link_bytes / ns);
  if (kind == "device_to_host") highest(ceilings.d2h_gb_s, work.link_bytes / ns);
  if (kind == "both_ways") highest(ceilings.both_ways_gb_s, work.link_bytes / ns);
  if (kind == "launch") lowest(ceilings.launch_us, ns / 1e3);
  if (kind == "graph_launch") lowest(ceilings.graph_launch_us, ns / 1e3);
  if (kind == "graph_node") lowest(ceilings.node_us, ns / 1e3);
}

double floor_ns(const Point& point, L2State l2, const Ceilings& ceilings) {
  if (point.op() == "ceiling") return 0;  // what others are judged by
  const Work work = work_of(point);
  const double memory =
      std::max({ceilings.hbm_read_gb_s, ceilings.hbm_write_gb_s, ceilings.hbm_copy_gb_s});
  const double bytes_ns = l2 == L2State::cold ? at_gb_s(work.bytes, memory) : 0;
  const double link_ns = at_gb_s(work.link_bytes, link_ceiling(work.link, ceilings));
  const double flops_ns = at_tflop_s(work.flops, math_ceiling(work.rate, ceilings));
  return std::max({bytes_ns / (1 + kBytesTolerance), link_ns / (1 + kBytesTolerance),
                   flops_ns / (1 + kFlopsTolerance)});
}

}  // namespace fleetsim::kernels
