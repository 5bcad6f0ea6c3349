#include "calibrate/measurements.h"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <string_view>

#include "calibrate/import.h"
#include "calibrate/measured_folder.h"
#include "calibrate/profile.h"
#include "hw_models/gpu_spec.h"
#include "kernels/measure/profile_writer.h"

namespace fleetsim {

bool is_profile_folder(const std::string& folder) {
  // The schema stands in the first line; what is wrong behind it is for the reader to say.
  std::ifstream file(folder + "/manifest.yaml", std::ios::binary);
  std::array<char, 256> head = {};
  file.read(head.data(), head.size());
  const std::string_view text(head.data(), static_cast<std::size_t>(file.gcount()));
  return text.find("fleetsim.profile/") != std::string_view::npos;
}

std::optional<MeasuredTable> read_measurements(const std::string& folder, Problems& problems) {
  if (!is_profile_folder(folder)) return read_measured_folder(folder, problems);
  const auto profile = load_profile(folder, {}, problems);
  if (!profile) return std::nullopt;
  const std::string name = kernels::gpu_slug(profile->facts.device.name);
  const GpuSpec* gpu = find_gpu(name);
  if (gpu == nullptr) {
    problems.add(folder, {},
                 fmt::format("was measured on '{}', which the catalogue of GPUs does not have",
                             profile->facts.device.name));
    return std::nullopt;
  }
  const std::size_t before = problems.size();
  Import import = import_tables(TableOwner::profile, {folder}, *gpu, problems);
  if (problems.size() > before) return std::nullopt;
  return std::move(import.table);
}

}  // namespace fleetsim
