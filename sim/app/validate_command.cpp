#include "sim/app/validate_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "hw_models/problems.h"
#include "sim/report/output_folder.h"
#include "sim/validation/gates.h"
#include "sim/validation/validation.h"
#include "sim/validation/validation_json.h"
#include "sim/validation/validation_page.h"
#include "sim/validation/validation_text.h"

namespace fleetsim {
namespace {

constexpr int kExitGateBroken = 1;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::string data_folder(const ValidateOptions& options, Problems& problems) {
  std::string folder = options.data_dir;
  if (folder.empty())
    if (const char* environment = std::getenv("FLEETSIM_DATA")) folder = environment;
  if (folder.empty())
    problems.add("--data", {}, "name the folder of the measurements, or set FLEETSIM_DATA");
  return folder;
}

/// What would fail or mean nothing behind the work is said before it.
void check_outputs(const ValidateOptions& options, Problems& problems) {
  namespace fs = std::filesystem;
  if (!options.out.empty() && fs::exists(options.out) && !fs::is_directory(options.out))
    problems.add("--out " + options.out, {}, "the output folder is a file");
  for (const std::string& path : {options.markdown, options.record_gates}) {
    const fs::path folder = fs::path(path).parent_path();
    if (!folder.empty() && !fs::is_directory(folder))
      problems.add(path, {}, "its folder does not exist");
  }
  if (!options.record_gates.empty() && (!options.services || !options.only.empty()))
    problems.add("--record-gates", {},
                 "gates are of all whole services: not with --operators alone or --only");
  if (options.rows && !options.services)
    problems.add("--rows", {}, "rows are of whole services: not with --operators alone");
}

void write_file(const std::string& path, const std::string& text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

Validation validate(const ValidateOptions& options, const std::string& data_dir,
                    Problems& problems) {
  const int threads = static_cast<int>(
      options.jobs > 0 ? options.jobs
                       : std::max<std::int64_t>(1, std::thread::hardware_concurrency()));
  Validation validation;
  if (options.services) {
    validation.services = validate_services(data_dir, {options.only}, threads, problems);
    std::vector<ServiceRow> rows;
    for (const ValidatedRow& row : validation.services->rows) rows.push_back(row.row);
    if (!options.rows) validation.ratios = validate_ratios(rows, threads);
  }
  if (options.operators && !options.rows)
    validation.operators = validate_operators(data_dir, options.only, problems);
  return validation;
}

}  // namespace

int validate_command(const ValidateOptions& options) {
  Problems problems;
  const std::string data_dir = data_folder(options, problems);
  std::vector<Gate> gates;
  if (!options.gates.empty()) gates = read_gates(options.gates, problems);
  check_outputs(options, problems);
  problems.throw_if_any();
  const Validation validation = validate(options, data_dir, problems);
  problems.throw_if_any();

  print(options.rows && validation.services ? rows_csv(*validation.services)
                                            : validation_text(validation));
  if (!options.out.empty()) {
    std::filesystem::create_directories(options.out);
    write_file(options.out + "/validation.json", validation_json(validation));
    write_file(options.out + "/validation.html", validation_html(validation));
    print(fmt::format("\nwrote {0}/validation.json, {0}/validation.html\n", options.out));
  }
  if (!options.markdown.empty()) write_file(options.markdown, validation_markdown(validation));
  if (!options.record_gates.empty()) write_file(options.record_gates, gates_yaml(validation));
  const std::vector<std::string> broken = broken_gates(gates, validation);
  for (const std::string& line : broken) fmt::print(stderr, "gate: {}\n", line);
  if (!gates.empty() && broken.empty())
    print(fmt::format("\nall {} gates of {} hold\n", gates.size(), options.gates));
  return broken.empty() ? 0 : kExitGateBroken;
}

}  // namespace fleetsim
