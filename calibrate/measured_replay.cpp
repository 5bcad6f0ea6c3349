#include "calibrate/measured_replay.h"

#include <fmt/format.h>

#include <map>
#include <tuple>

#include "calibrate/profile.h"
#include "kernels/measure/profile_writer.h"
#include "kernels/measure/stack_shape.h"

namespace fleetsim {
namespace {

ReplayStack stack_of(const kernels::Point& point) {
  return {point.word("stack"), point.word("weights"), point.word("kv_dtype"),
          point.integer("page_tokens")};
}

void add_row(const kernels::MeasuredRow& row, MeasuredIteration& iteration) {
  const double seconds = static_cast<double>(row.median_ns) * 1e-9;
  const std::string& part = row.point.word("part");
  iteration.noisy = iteration.noisy || row.noisy;
  if (part != "all") {
    if (row.point.word("mode") == "graph") iteration.parts.emplace_back(part, seconds);
  } else if (row.point.word("mode") == "graph") {
    iteration.graph = seconds;
  } else {
    iteration.eager = seconds;
  }
}

}  // namespace

std::optional<double> MeasuredIteration::sum_of_parts() const {
  if (parts.size() != kernels::kStackParts) return std::nullopt;
  double sum = 0;
  for (const auto& [name, seconds] : parts) sum += seconds;
  return sum;
}

std::vector<std::string> stack_part_names() {
  std::vector<std::string> names;
  for (int part = 0; part < kernels::kStackParts; ++part)
    names.emplace_back(kernels::name_of(static_cast<kernels::StackPart>(part)));
  return names;
}

std::optional<MeasuredReplay> load_replay(const std::string& folder, Problems& problems) {
  const auto profile = load_profile(folder, {}, problems);
  if (!profile) return std::nullopt;
  MeasuredReplay replay;
  replay.folder = folder;
  replay.gpu = kernels::gpu_slug(profile->facts.device.name);
  replay.started_utc = profile->facts.started_utc;
  replay.complete = profile->complete;
  replay.stopped = profile->stopped;
  replay.warnings = profile->warnings;
  replay.graph_node_seconds = profile->ceilings.node_us * 1e-6;
  std::map<std::pair<ReplayStack, Composition>, std::size_t> places;
  for (const kernels::MeasuredRow& row : profile->rows) {
    if (row.point.op() != "iteration") continue;
    const ReplayStack stack = stack_of(row.point);
    Composition composition{row.point.lengths("new_lengths"), row.point.lengths("cached_lengths")};
    const auto [place, fresh] =
        places.emplace(std::make_pair(stack, composition), replay.iterations.size());
    if (fresh) replay.iterations.push_back({stack, std::move(composition), {}, {}, {}, false});
    add_row(row, replay.iterations[place->second]);
  }
  if (!replay.iterations.empty()) return replay;
  problems.add(folder, {}, "holds no measured iteration: it is no replay");
  return std::nullopt;
}

}  // namespace fleetsim
