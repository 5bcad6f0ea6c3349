#include "sim/app/validate_command.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "hw_models/problems.h"
#include "sim/validation/service_validation.h"
#include "sim/validation/validation_text.h"

namespace fleetsim {

int validate_command(const ValidateOptions& options) {
  Problems problems;
  std::string data_dir = options.data_dir;
  if (data_dir.empty()) {
    const char* environment = std::getenv("FLEETSIM_DATA");
    if (environment != nullptr) data_dir = environment;
  }
  if (data_dir.empty()) {
    problems.add("--data", {}, "name the folder of the measurements, or set FLEETSIM_DATA");
    problems.throw_if_any();
  }
  const int threads = static_cast<int>(
      options.jobs > 0 ? options.jobs
                       : std::max<std::int64_t>(1, std::thread::hardware_concurrency()));
  const ServiceValidation services = validate_services(data_dir, {options.only}, threads, problems);
  problems.throw_if_any();
  const std::string text = options.rows ? rows_csv(services) : services_text(services);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace fleetsim
