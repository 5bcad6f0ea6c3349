#include "sim/app/calibrate_import.h"

#include <fmt/format.h>

#include <cstdio>

#include "calibrate/import.h"
#include "calibrate/measured_folder.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"

namespace fleetsim {
int import_command(const ImportOptions& options) {
  Problems problems;
  const auto owner = table_owner_named(options.from);
  if (!owner) problems.add("--from", {}, unknown_name("form", options.from, table_owner_names()));
  const GpuSpec* gpu = find_gpu(options.gpu);
  if (gpu == nullptr) problems.add("--gpu", {}, unknown_name("GPU", options.gpu, gpu_names()));
  problems.throw_if_any();
  const Import import = import_tables(*owner, options.paths, *gpu, problems);
  problems.throw_if_any();
  if (!options.out.empty()) write_measured_folder(import.table, options.out, options.force);
  std::fputs(import_report(import, *gpu).c_str(), stdout);
  if (!options.out.empty()) std::fputs(fmt::format("\nwritten: {}\n", options.out).c_str(), stdout);
  return 0;
}

}  // namespace fleetsim
